//! Sorts the samples of one family of one instance into the order that OpenMetrics requires.
//!
//! Most bodies have this order. Samples are sorted if metrics are interleaved, have several
//! timestamps, or come from two families.

use std::collections::{HashMap, HashSet};

use foldhash::quality::RandomState;

use super::{
    body::TextBody,
    families::{MetricType, Role, Roles},
    index::LineForm,
    lost_type::TypeRule,
    number,
    output_dialect::OutputDialect,
    output_family::{OutputFamily, OutputPart},
    rewrite::{RewriteContext, Rewriter},
    sample::{self, TextLabel},
    sample_check::{self, SeriesFacts},
    sample_tail,
    type_rules::{RuleSample, TypeRules},
};

/// Lines in the order of the output.
pub(super) struct Regrouped {
    pub(super) lines: Vec<RegroupedLine>,
    /// The first violation of a rule of the type.
    pub(super) violation: Option<Violation>,
    /// Whether bounds are written in the canonical form, although the type was not known when the
    /// body was parsed.
    pub(super) has_canonical_bounds: bool,
    /// The change in length of the lines.
    pub(super) grown_bytes: i64,
    /// Lines that are left out. Their series has samples with and without a timestamp, which
    /// OpenMetrics forbids for all types.
    pub(super) ambiguous: usize,
    pub(super) ambiguous_bytes: u64,
}

/// A line that violates a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Violation {
    pub(super) rule: TypeRule,
    /// The offset of the line.
    pub(super) offset: u32,
}

/// The position of a line.
#[derive(Clone, Copy)]
pub(super) struct RegroupedLine {
    pub(super) run: u32,
    pub(super) offset: u32,
}

/// A line that was parsed again.
struct RegroupedSample {
    line: RegroupedLine,
    /// The length in the output, without an exemplar.
    length: usize,
    point: RuleSample,
    /// The number of the metric, in the order of first appearance.
    metric: usize,
}

impl RegroupedSample {
    /// The metric and timestamp. It is equal for the samples of one metric point.
    fn point_of(&self) -> (usize, Option<u64>) {
        (self.metric, self.point.timestamp)
    }

    /// The bound as a sort key. Samples without a bound are last.
    fn bound(&self) -> f64 {
        self.point.bound.number().unwrap_or(f64::INFINITY)
    }
}

/// Sorts the lines of `parts`, which are of one instance, for this family.
pub(super) fn regroup(
    instance: &TextBody,
    parts: &[OutputPart],
    dialect: &OutputDialect,
    family: &OutputFamily,
) -> Regrouped {
    Regrouper::of(instance, parts, dialect, family).finish()
}

/// The first violation of a rule in lines that are written in the order of the body.
pub(super) fn violation(
    instance: &TextBody,
    parts: &[OutputPart],
    dialect: &OutputDialect,
    family: &OutputFamily,
) -> Option<Violation> {
    let mut regrouper = Regrouper::of(instance, parts, dialect, family);
    regrouper.check_rules();
    regrouper.find_equal_points();
    regrouper.violation
}

struct Regrouper<'a> {
    instance: &'a TextBody,
    dialect: &'a OutputDialect,
    family: &'a OutputFamily,
    metric_type: MetricType,
    state: RandomState,
    rewritten: Vec<u8>,
    metrics: HashMap<u64, usize, RandomState>,
    entries: Vec<RegroupedSample>,
    violation: Option<Violation>,
    grown_bytes: i64,
}

impl<'a> Regrouper<'a> {
    /// Parses the lines of `parts` again.
    fn of(
        instance: &'a TextBody,
        parts: &[OutputPart],
        dialect: &'a OutputDialect,
        family: &'a OutputFamily,
    ) -> Self {
        let mut regrouper = Self {
            instance,
            dialect,
            family,
            metric_type: family.metric_type().unwrap_or(MetricType::Unknown),
            state: RandomState::default(),
            rewritten: Vec::new(),
            metrics: HashMap::default(),
            entries: Vec::new(),
            violation: None,
            grown_bytes: 0,
        };
        for part in parts {
            regrouper.run(part.run, part.only);
        }
        regrouper
    }

    fn run(&mut self, r: u32, only: Roles) {
        let index = &self.instance.index;
        let Some(run) = index.runs.get(r as usize) else { return };
        let lines = index.lines.iter().skip(run.line as usize).take(run.count as usize);
        let mut offset = run.offset as usize;
        for form in lines {
            let text = self.instance.line(offset);
            let entry = RegroupedLine { run: r, offset: offset as u32 };
            offset = text.next;
            if *form != LineForm::DROPPED {
                self.line(entry, text.text, only);
            }
        }
    }

    fn line(&mut self, line: RegroupedLine, text: &[u8], only: Roles) -> Option<()> {
        let form = self.instance.form(line.run as usize, false);
        let source_role = form.family.role_of(sample::name_of(text));
        if !only.contains(source_role) {
            return None;
        }
        // The line was parsed and rewritten before, so there is no error.
        let labels = &self.instance.labels;
        let mut rewriter = Rewriter::new(*self.dialect);
        let measured = self.length(&mut rewriter, text, form)?;
        let form = RewriteContext {
            has_canonical_bounds: form.has_canonical_bounds || self.metric_type.is_compound(),
            ..form
        };
        let length = self.length(&mut rewriter, text, form)?;
        self.grown_bytes += length as i64 - measured as i64;
        self.rewritten.clear();
        let written = rewriter.series(text, labels, form, &mut self.rewritten).ok()?;
        let naming = self.instance.naming;
        let tail = sample_tail::parse(text.get(written.end..)?, naming).ok()?;
        let (name, facts) = sample_check::facts(&self.rewritten, &self.state, true).ok()?;
        let role = self.family.role_of(name);
        let metric = self.metric(&facts, role, line.offset)?;
        let next = self.metrics.len();
        let position = *self.metrics.entry(metric).or_insert(next);
        let timestamp = tail
            .timestamp
            .map(|text| sample_tail::timestamp_key(text, naming, self.dialect.naming));
        let value = number::parse(tail.value)?;
        self.entries.push(RegroupedSample {
            line,
            length,
            point: RuleSample { role, metric, bound: facts.bound(role), value, timestamp },
            metric: position,
        });
        Some(())
    }

    /// The length of a line in the output, without an exemplar.
    fn length<'t>(
        &mut self,
        rewriter: &mut Rewriter<'t>,
        text: &'t [u8],
        form: RewriteContext<'_>,
    ) -> Option<usize> {
        self.rewritten.clear();
        let labels = &self.instance.labels;
        let line = rewriter.line(text, labels, form, &mut self.rewritten).ok()?;
        Some(line.length(&self.rewritten, labels))
    }

    /// A hash that is equal for the samples of one metric.
    fn metric(&mut self, facts: &SeriesFacts, role: Role, offset: u32) -> Option<u64> {
        match self.metric_type {
            MetricType::Info => Some(0),
            MetricType::StateSet => {
                let mut state = None;
                let family = self.family.name();
                sample::parse(&self.rewritten, &[], &mut |label: TextLabel<'_>| {
                    if *label.name.unescaped() == *family {
                        state = Some(sample_check::hash(&self.state, label.text));
                    }
                    Ok(())
                })
                .ok()?;
                if state.is_none() {
                    self.violate(TypeRule::StateLabel, offset);
                }
                Some(facts.series.wrapping_sub(state.unwrap_or_default()))
            }
            metric_type if metric_type.is_compound() => Some(facts.metric(role)),
            _ => Some(facts.series),
        }
    }

    fn finish(mut self) -> Regrouped {
        self.entries.sort_by_key(RegroupedSample::point_of);
        // Only points with unsorted buckets are sorted. Merging an output again does not change it
        // then.
        if matches!(self.metric_type, MetricType::Histogram | MetricType::GaugeHistogram) {
            for point in self.entries.chunk_by_mut(|one, next| one.point_of() == next.point_of()) {
                sort_samples(point);
            }
        }
        let (ambiguous, ambiguous_bytes) = self.drop_ambiguous();
        self.check_rules();
        self.find_equal_points();
        let lines = self.entries.iter().map(|entry| entry.line).collect();
        let has_canonical_bounds = self.metric_type.is_compound();
        let grown_bytes = self.grown_bytes;
        Regrouped {
            lines,
            violation: self.violation,
            has_canonical_bounds,
            grown_bytes,
            ambiguous,
            ambiguous_bytes,
        }
    }

    /// Notes a violation, unless an earlier one is known.
    fn violate(&mut self, rule: TypeRule, offset: u32) {
        self.violation.get_or_insert(Violation { rule, offset });
    }

    fn check_rules(&mut self) {
        let mut rules = TypeRules::new(self.metric_type);
        let mut found = None;
        let points = self.entries.chunk_by(|one, next| one.point_of() == next.point_of());
        'points: for point in points {
            for entry in point {
                rules.add(&entry.point);
                if let Some(rule) = rules.violated() {
                    found = Some((rule, entry.line.offset));
                    break 'points;
                }
            }
            // What is missing has no line, so it is reported for the first sample of the point.
            if let (Some(rule), Some(entry)) = (rules.end_metric(), point.first()) {
                found = Some((rule, entry.line.offset));
                break;
            }
        }
        if let Some((rule, offset)) = found {
            self.violate(rule, offset);
        }
    }

    /// Finds samples that canonical bounds made equal.
    fn find_equal_points(&mut self) {
        if !self.metric_type.is_compound() {
            return;
        }
        let mut seen = HashSet::<_, RandomState>::default();
        let mut is_new = |entry: &RegroupedSample| {
            let bound = entry.point.bound.number().map(|n| (n + 0.0).to_bits());
            seen.insert((entry.point_of(), entry.point.role, bound))
        };
        let equal = self.entries.iter().find(|entry| !is_new(entry)).map(|entry| entry.line.offset);
        if let Some(offset) = equal {
            self.violate(TypeRule::EqualBounds, offset);
        }
    }

    /// Drops samples without a timestamp from metrics that have samples with one. Returns the count
    /// and the length of dropped samples.
    fn drop_ambiguous(&mut self) -> (usize, u64) {
        let mixed: Vec<_> = self
            .entries
            .chunk_by(|one, next| one.metric == next.metric)
            .filter(|entries| {
                let count = entries.iter().filter(|entry| entry.point.timestamp.is_some()).count();
                count > 0 && count < entries.len()
            })
            .filter_map(|entries| entries.first().map(|entry| (entry.metric, entry.line.offset)))
            .collect();
        let Some(&(_, offset)) = mixed.first() else { return (0, 0) };
        if !matches!(self.metric_type, MetricType::Gauge | MetricType::Unknown) {
            self.violate(TypeRule::Timestamps, offset);
            return (0, 0);
        }
        let (mut count, mut bytes) = (0, 0);
        self.entries.retain(|entry| {
            let is_kept = entry.point.timestamp.is_some()
                || mixed.binary_search_by_key(&entry.metric, |one| one.0).is_err();
            if !is_kept {
                count += 1;
                bytes += entry.length as u64;
            }
            is_kept
        });
        (count, bytes)
    }
}

/// Sorts the samples of a point if its buckets do not ascend.
fn sort_samples(point: &mut [RegroupedSample]) {
    let buckets = point.iter().filter(|entry| rank(entry.point.role) == 0);
    if buckets.is_sorted_by(|one, next| one.bound() <= next.bound()) {
        return;
    }
    point.sort_by(|one, other| {
        let (rank, other_rank) = (rank(one.point.role), rank(other.point.role));
        rank.cmp(&other_rank).then(one.bound().total_cmp(&other.bound()))
    });
}

/// The position in a point: buckets first, then count and sum, then the created timestamp.
fn rank(role: Role) -> u8 {
    match role {
        Role::Plain | Role::Bucket | Role::Total | Role::Info => 0,
        Role::Count | Role::GaugeCount | Role::Sum | Role::GaugeSum => 1,
        Role::Created | Role::TotalCreated => 2,
    }
}
