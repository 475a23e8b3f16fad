//! Samples of one family of one instance, put in the order that OpenMetrics wants.
//!
//! Mostly they stand so in their body. Where not, because metrics are interleaved, have
//! several timestamps, or come from two families, the lines are read again and sorted.

use std::collections::{HashMap, HashSet};

use foldhash::quality::RandomState;

use super::{
    check::{self, Facts},
    dialect::Dialect,
    families::{MetricType, Role, Roles},
    index::Line,
    instance::Instance,
    number,
    planned::{Part, Planned},
    rewrite::{Form, Rewriter},
    sample::{self, Label},
    strict::{Point, Rules},
    tail,
};

/// Lines in the order in which they are written.
pub(super) struct Regrouped {
    pub(super) lines: Vec<RegroupedLine>,
    /// Whether they break a rule of the type.
    pub(super) is_broken: bool,
    /// Whether bounds are written as OpenMetrics wants them, although the type was not known
    /// when the body was read.
    pub(super) has_bounds: bool,
    /// How much longer the lines are for that.
    pub(super) grown_bytes: i64,
    /// Lines that are left out: their series has some with and some without a timestamp, which
    /// no reader of OpenMetrics takes, whatever the type.
    pub(super) ambiguous: usize,
    pub(super) ambiguous_bytes: u64,
}

/// Where a line is.
#[derive(Clone, Copy)]
pub(super) struct RegroupedLine {
    pub(super) run: u32,
    pub(super) offset: u32,
}

/// A line that was read again.
struct Entry {
    line: RegroupedLine,
    /// How long it is when written, without an exemplar.
    length: usize,
    point: Point,
    /// In the order of first appearance.
    metric: usize,
}

impl Entry {
    /// What is equal for the samples of one point.
    fn point_of(&self) -> (usize, Option<u64>) {
        (self.metric, self.point.timestamp)
    }

    /// Samples without a bound follow those that have one.
    fn bound(&self) -> f64 {
        self.point.bound.number().unwrap_or(f64::INFINITY)
    }
}

/// Sorts the lines of `parts`, all of one instance, for this family.
pub(super) fn regroup(
    instance: &Instance,
    parts: &[Part],
    dialect: &Dialect,
    family: &Planned,
) -> Regrouped {
    let mut gather = Gather {
        instance,
        dialect,
        family,
        metric_type: family.metric_type().unwrap_or(MetricType::Unknown),
        state: RandomState::default(),
        rewritten: Vec::new(),
        metrics: HashMap::default(),
        entries: Vec::new(),
        is_broken: false,
        grown_bytes: 0,
    };
    for part in parts {
        gather.run(part.run, part.only);
    }
    gather.finish()
}

struct Gather<'a> {
    instance: &'a Instance,
    dialect: &'a Dialect,
    family: &'a Planned,
    metric_type: MetricType,
    state: RandomState,
    rewritten: Vec<u8>,
    metrics: HashMap<u64, usize, RandomState>,
    entries: Vec<Entry>,
    is_broken: bool,
    grown_bytes: i64,
}

impl Gather<'_> {
    fn run(&mut self, r: u32, only: Roles) {
        let index = &self.instance.index;
        let Some(run) = index.runs.get(r as usize) else { return };
        let lines = index.lines.iter().skip(run.line as usize).take(run.count as usize);
        let mut offset = run.offset as usize;
        for form in lines {
            let text = self.instance.line(offset);
            let entry = RegroupedLine { run: r, offset: offset as u32 };
            offset = text.next;
            if *form != Line::DROPPED {
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
        // It was read and written before, so all of this is there.
        let labels = &self.instance.labels;
        let mut rewriter = Rewriter::new(*self.dialect);
        let measured = self.length(&mut rewriter, text, form)?;
        let form = Form { has_bounds: form.has_bounds || self.metric_type.is_compound(), ..form };
        let length = self.length(&mut rewriter, text, form)?;
        self.grown_bytes += length as i64 - measured as i64;
        self.rewritten.clear();
        let written = rewriter.series(text, labels, form, &mut self.rewritten).ok()?;
        let naming = self.instance.naming;
        let tail = tail::parse(text.get(written.end..)?, naming).ok()?;
        let (name, facts) = check::facts(&self.rewritten, &self.state, true).ok()?;
        let role = self.family.role_of(name);
        let metric = self.metric(&facts, role)?;
        let next = self.metrics.len();
        let position = *self.metrics.entry(metric).or_insert(next);
        let timestamp =
            tail.timestamp.map(|text| tail::timestamp_key(text, naming, self.dialect.naming));
        let value = number::parse(tail.value)?;
        self.entries.push(Entry {
            line,
            length,
            point: Point { role, metric, bound: facts.bound(role), value, timestamp },
            metric: position,
        });
        Some(())
    }

    /// How long a line is when written, without an exemplar.
    fn length<'a>(
        &mut self,
        rewriter: &mut Rewriter<'a>,
        text: &'a [u8],
        form: Form<'_>,
    ) -> Option<usize> {
        self.rewritten.clear();
        let labels = &self.instance.labels;
        let line = rewriter.line(text, labels, form, &mut self.rewritten).ok()?;
        Some(line.length(&self.rewritten, labels))
    }

    /// What is equal for the samples of one metric.
    fn metric(&mut self, facts: &Facts, role: Role) -> Option<u64> {
        match self.metric_type {
            MetricType::Info => Some(0),
            MetricType::StateSet => {
                let mut state = None;
                let family = self.family.name();
                sample::parse(&self.rewritten, &[], &mut |label: Label<'_>| {
                    if *label.name.unescaped() == *family {
                        state = Some(check::hash(&self.state, label.text));
                    }
                    Ok(())
                })
                .ok()?;
                self.is_broken |= state.is_none();
                Some(facts.series.wrapping_sub(state.unwrap_or_default()))
            }
            metric_type if metric_type.is_compound() => Some(facts.metric(role)),
            _ => Some(facts.series),
        }
    }

    fn finish(mut self) -> Regrouped {
        self.entries.sort_by_key(Entry::point_of);
        // Each point by itself: those of an output that is read again stay as they are.
        if matches!(self.metric_type, MetricType::Histogram | MetricType::GaugeHistogram) {
            for point in self.entries.chunk_by_mut(|one, next| one.point_of() == next.point_of()) {
                put_in_order(point);
            }
        }
        let (ambiguous, ambiguous_bytes) = self.drop_ambiguous();
        let mut rules = Rules::new(self.metric_type);
        for entry in &self.entries {
            rules.add(&entry.point);
        }
        let is_broken = self.is_broken || self.has_equal_points() || rules.are_broken();
        let lines = self.entries.iter().map(|entry| entry.line).collect();
        let has_bounds = self.metric_type.is_compound();
        let grown_bytes = self.grown_bytes;
        Regrouped { lines, is_broken, has_bounds, grown_bytes, ambiguous, ambiguous_bytes }
    }

    /// Whether two samples became one when their bounds were spelled alike.
    fn has_equal_points(&self) -> bool {
        let mut seen = HashSet::<_, RandomState>::default();
        let mut points = self.entries.iter().map(|entry| {
            (
                entry.point_of(),
                entry.point.role,
                entry.point.bound.number().map(|n| (n + 0.0).to_bits()),
            )
        });
        self.metric_type.is_compound() && points.any(|point| !seen.insert(point))
    }

    /// Sees to it that a metric has timestamps, or has none.
    fn drop_ambiguous(&mut self) -> (usize, u64) {
        let mixed: Vec<_> = self
            .entries
            .chunk_by(|one, next| one.metric == next.metric)
            .filter(|entries| {
                let count = entries.iter().filter(|entry| entry.point.timestamp.is_some()).count();
                count > 0 && count < entries.len()
            })
            .filter_map(|entries| entries.first().map(|entry| entry.metric))
            .collect();
        if mixed.is_empty() {
            return (0, 0);
        }
        if !matches!(self.metric_type, MetricType::Gauge | MetricType::Unknown) {
            self.is_broken = true;
            return (0, 0);
        }
        let (mut count, mut bytes) = (0, 0);
        self.entries.retain(|entry| {
            let is_kept =
                entry.point.timestamp.is_some() || mixed.binary_search(&entry.metric).is_err();
            if !is_kept {
                count += 1;
                bytes += entry.length as u64;
            }
            is_kept
        });
        (count, bytes)
    }
}

/// Sorts the samples of a point whose buckets do not ascend.
fn put_in_order(point: &mut [Entry]) {
    let buckets = point.iter().filter(|entry| rank(entry.point.role) == 0);
    if buckets.is_sorted_by(|one, next| one.bound() <= next.bound()) {
        return;
    }
    point.sort_by(|one, other| {
        let (rank, other_rank) = (rank(one.point.role), rank(other.point.role));
        rank.cmp(&other_rank).then(one.bound().total_cmp(&other.bound()))
    });
}

/// Buckets, then what they come to, in whichever order.
fn rank(role: Role) -> u8 {
    match role {
        Role::Plain | Role::Bucket | Role::Total | Role::Info => 0,
        Role::Count | Role::GaugeCount | Role::Sum | Role::GaugeSum => 1,
        Role::Created | Role::TotalCreated => 2,
    }
}
