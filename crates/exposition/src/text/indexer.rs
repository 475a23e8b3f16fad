//! Validates and indexes a body.

mod duplicate_removal;
mod fast_path;
mod placement;

use std::{borrow::Cow, collections::HashMap};

use foldhash::quality::RandomState;

use super::{
    duplicates::SeriesFingerprint,
    error::{Error, ErrorKind},
    families::{FamilyNaming, MetricType, Role},
    index::ParseContext,
    index::{self, BodyLine, LineForm, SampleRun, TextIndex},
    metadata::{self, MetadataLine},
    number,
    rewrite::{self, RewriteContext, Rewriter},
    sample::{SourceName, skip_blanks},
    sample_check::{self, SampleChecker, SeriesFacts},
    sample_tail::{self, SampleTail},
    span::Span,
    template::{TemplateBody, TemplateBuilder, TemplateCursor},
    type_rules::{RuleChecker, RuleSample},
};

pub(super) struct Indexer<'a> {
    context: ParseContext<'a>,
    checker: SampleChecker<'a>,
    /// The seed of all hashes.
    state: RandomState,
    rewriter: Rewriter<'a>,
    rewritten: Vec<u8>,
    names: HashMap<Cow<'a, [u8]>, u32, RandomState>,
    index: TextIndex,
    /// Samples to compare with each other.
    fingerprints: Vec<SeriesFingerprint>,
    /// Lines whose series was seen before.
    duplicate_candidates: Vec<DuplicateCandidate>,
    previous: SamplePlacement<'a>,
    run: Option<SampleRun>,
    rule_checker: RuleChecker,
    has_ended: bool,
    cursor: Option<TemplateCursor<'a>>,
    /// The template placement that `previous` corresponds to, if its family already has the
    /// properties of such samples.
    template_placement: Option<u32>,
    /// A family of the template, and the placements of its samples by role.
    placements: (u32, [Option<SamplePlacement<'a>>; Role::ALL.len()]),
    /// The family that was named last.
    last_family: (SourceName<'a>, u32),
    /// Whether the families so far are the first ones of the template, with the same types.
    matches_template: bool,
    /// Collects the properties of this body if it becomes the template.
    template_builder: Option<TemplateBuilder>,
}

/// The placement of the last sample. The next sample mostly has the same one.
#[derive(Clone, Copy)]
struct SamplePlacement<'a> {
    name: SourceName<'a>,
    /// The hash of the output name.
    hash: u64,
    family: u32,
    role: Role,
    /// The role in the naming of the output format.
    target_role: Role,
    /// Whether samples of this name may have exemplars.
    takes_exemplars: bool,
}

/// A line whose series was seen before.
struct DuplicateCandidate {
    line: u32,
    offset: u32,
    /// The offset of the earlier line.
    earlier: u32,
}

/// The output form of a sample line.
struct WrittenSeries {
    form: LineForm,
    length: usize,
    facts: SeriesFacts,
    name_hash: u64,
    /// The length of the series, without the added labels.
    series: usize,
    has_braces: bool,
    renamed: usize,
    is_rewritten: bool,
}

impl<'a> Indexer<'a> {
    /// With a `template`, the body is compared with it. Otherwise the body becomes a template if
    /// `becomes_template`.
    pub(super) fn new(
        context: ParseContext<'a>,
        template: Option<&'a TemplateBody>,
        becomes_template: bool,
    ) -> Self {
        let template = template.filter(|template| {
            // Otherwise the output name depends on more than the line.
            context.dialect.keeps_suffixes() && template.is_for(&context)
        });
        let state = template.map_or_else(RandomState::default, |template| template.state.clone());
        let ParseContext { body, labels, limits, dialect, .. } = context;
        let mut names = HashMap::default();
        let mut index = TextIndex::default();
        if let Some(template) = template {
            names.reserve(template.families.len());
            index.families.reserve_exact(template.families.len());
            index.lines.reserve_exact(template.samples.len());
        }
        // With a template, few lines need this check.
        let is_utf8 = template.is_none() && std::str::from_utf8(body).is_ok();
        Self {
            context,
            checker: SampleChecker::new(is_utf8, labels, limits, dialect, state.clone()),
            state,
            rewriter: Rewriter::new(dialect),
            rewritten: Vec::new(),
            names,
            index,
            fingerprints: Vec::new(),
            duplicate_candidates: Vec::new(),
            previous: SamplePlacement {
                name: SourceName::default(),
                hash: 0,
                family: 0,
                role: Role::Plain,
                target_role: Role::Plain,
                takes_exemplars: false,
            },
            run: None,
            rule_checker: RuleChecker::default(),
            has_ended: false,
            cursor: template.map(TemplateCursor::new),
            template_placement: None,
            placements: Default::default(),
            last_family: (SourceName::default(), u32::MAX),
            matches_template: template.is_some(),
            template_builder: (becomes_template && template.is_none())
                .then(TemplateBuilder::default),
        }
    }

    /// Returns the index, and the builder of a template if this body becomes one.
    pub(super) fn index(mut self) -> Result<(TextIndex, Option<TemplateBuilder>), Error> {
        let body = self.context.body;
        let mut offset = index::start(body);
        let mut number = 0;
        while offset < body.len() {
            number += 1;
            let (count, next) = self
                .take_matching_lines(offset)
                .map_err(|(count, kind)| Error::new(kind, number + count))?;
            if count > 0 {
                (number, offset) = (number + count - 1, next);
                continue;
            }
            let line = index::line(body, offset);
            self.line(&line, offset).map_err(|kind| Error::new(kind, number))?;
            offset = line.next;
        }
        if self.context.source == FamilyNaming::OpenMetrics && !self.has_ended {
            return Err(Error::new(ErrorKind::MissingEof, number.max(1)));
        }
        self.end_run();
        self.drop_duplicates();
        self.index.lines.shrink_to_fit();
        self.index.runs.shrink_to_fit();
        self.index.families.shrink_to_fit();
        self.index.has_template_families = self.matches_template;
        let families = self
            .template_builder
            .is_some()
            .then(|| self.index.families.iter().map(|family| family.shifted(0)).collect());
        let template_builder = self.template_builder.map(|template_builder| TemplateBuilder {
            state: self.state,
            families: families.unwrap_or_default(),
            ..template_builder
        });
        Ok((self.index, template_builder))
    }

    #[inline]
    fn line(&mut self, line: &BodyLine<'a>, offset: usize) -> Result<(), ErrorKind> {
        if line.text.len() > self.context.limits.max_line {
            return Err(ErrorKind::LineTooLong);
        }
        let text = skip_blanks(line.text);
        match text.first() {
            None => self.end_run(),
            Some(_) if self.has_ended => return Err(ErrorKind::AfterEof),
            Some(b'#') => {
                self.end_run();
                self.metadata(text)?;
            }
            Some(_) => self.sample(line, offset)?,
        }
        Ok(())
    }

    fn metadata(&mut self, text: &'a [u8]) -> Result<(), ErrorKind> {
        let body = self.context.body;
        match metadata::parse(text, self.context.source)? {
            MetadataLine::Comment => {}
            MetadataLine::Eof => self.has_ended = true,
            MetadataLine::Help { name, text } => {
                self.checker.encoding(text)?;
                let family = self.family(name)?;
                if let Some(family) = self.family_mut(family)
                    && family.help.is_empty()
                {
                    family.help = Span::within(body, text);
                }
            }
            MetadataLine::Unit { name, unit } => {
                let family = self.family(name)?;
                if let Some(family) = self.family_mut(family)
                    && family.unit.is_empty()
                {
                    family.unit = Span::within(body, unit);
                }
            }
            MetadataLine::Type { name, metric_type } => {
                let family = self.family(name)?;
                if let Some(family) = self.family_mut(family) {
                    family.metric_type.get_or_insert(metric_type);
                }
                self.matches_template = false;
                self.reset_placements();
            }
        }
        Ok(())
    }

    /// Samples of the following names can belong to another family now.
    fn reset_placements(&mut self) {
        self.previous.name = SourceName::default();
        self.template_placement = None;
        self.placements = Default::default();
    }

    #[inline]
    fn sample(&mut self, line: &BodyLine<'a>, offset: usize) -> Result<(), ErrorKind> {
        let checked = self.checker.series(line.text)?;
        let tail = sample_tail::parse(
            line.text.get(checked.end..).unwrap_or_default(),
            self.context.source,
        )?;
        let count = self.index.lines.len();
        if self.context.limits.max_samples != 0 && count == self.context.limits.max_samples {
            return Err(ErrorKind::TooManySamples);
        }
        if checked.name != self.previous.name {
            self.previous = self.placement_of(checked.name)?;
            self.template_placement = None;
        }
        let SamplePlacement { family, role, .. } = self.previous;
        if let Some(family) = self.family_mut(family) {
            family.shape.add(role, checked.facts.le, checked.facts.quantile);
            family.shape.labels.join(checked.labels);
        }
        let offset = offset as u32;
        let has_canonical_bounds = self.extend_run(family, offset, count as u32);

        let must_rewrite =
            !checked.is_canonical || has_canonical_bounds && checked.facts.has_noncanonical_bound;
        let written = if must_rewrite {
            self.rewrite(line.text, &tail, has_canonical_bounds)?
        } else {
            self.keep(line, checked.insert, checked.end, checked.facts, &tail)?
        };
        self.index.lines.push(written.form);
        self.index.sample_bytes += written.length as u64;
        if let Some(exemplar) = &tail.exemplar {
            self.exemplar(exemplar);
        }
        let timestamp = tail.timestamp.map(|text| self.timestamp_key(text));
        let series = written.facts.series.wrapping_add(written.name_hash);
        self.record_sample(series, timestamp, offset, count as u32);
        if let Some(template_builder) = &mut self.template_builder {
            let is_usable = timestamp.is_none();
            let placement = template_builder
                .placement(self.previous.template_placement(&checked, has_canonical_bounds));
            let sample =
                self.previous.template_sample(offset, &checked, &written, placement, is_usable);
            template_builder.samples.push(sample);
        }
        if self.context.dialect.is_openmetrics() {
            let role = self.previous.target_role;
            self.rule_checker.add(&RuleSample {
                role,
                metric: written.facts.metric(role),
                bound: written.facts.bound(role),
                value: number::parse(tail.value).unwrap_or(f64::NAN),
                timestamp,
            });
        }
        Ok(())
    }

    /// Keeps a series that is canonical.
    #[inline]
    fn keep(
        &mut self,
        line: &BodyLine<'a>,
        insert: usize,
        end: usize,
        facts: SeriesFacts,
        tail: &SampleTail<'_>,
    ) -> Result<WrittenSeries, ErrorKind> {
        if let Some(template_builder) = &mut self.template_builder {
            template_builder.prefixes.push(None);
        }
        let has_braces = line.text.get(insert) == Some(&b'}');
        let added = self.context.labels.inserted(has_braces).len();
        let is_same = tail.exemplar.is_none()
            && (tail.timestamp.is_none() || self.context.source == self.context.dialect.naming);
        let (form, length) = if is_same && tail.is_canonical && line.has_plain_break {
            let length = line.text.len() + 1;
            (LineForm::copy(length, insert), length + added)
        } else {
            (LineForm::REWRITE, end + added + self.tail_length(tail)?)
        };
        let name_hash = self.previous.hash;
        let (renamed, is_rewritten) = (0, false);
        Ok(WrittenSeries {
            form,
            length,
            facts,
            name_hash,
            series: end,
            has_braces,
            renamed,
            is_rewritten,
        })
    }

    /// Rewrites a series into the canonical form.
    fn rewrite(
        &mut self,
        line: &'a [u8],
        tail: &SampleTail<'_>,
        has_canonical_bounds: bool,
    ) -> Result<WrittenSeries, ErrorKind> {
        self.rewritten.clear();
        let ParseContext { labels, .. } = self.context;
        let family = self.source(self.previous.family);
        let form = RewriteContext { family, has_canonical_bounds, keeps_exemplar: false };
        let written = self.rewriter.series(line, labels, form, &mut self.rewritten)?;
        if let Some(template_builder) = &mut self.template_builder {
            template_builder.prefixes.push(self.rewritten.get(..written.insert));
        }
        let has_braces = self.rewritten.get(written.insert) == Some(&b'}');
        let series = self.rewritten.len();
        let (name, facts) = self.checker.facts(&self.rewritten)?;
        let name_hash = sample_check::hash(&self.state, name);
        let renamed = written.renamed;
        self.index.renamed_labels += renamed;
        let length = series + labels.inserted(has_braces).len() + self.tail_length(tail)?;
        let (form, is_rewritten) = (LineForm::REWRITE, true);
        Ok(WrittenSeries {
            form,
            length,
            facts,
            name_hash,
            series,
            has_braces,
            renamed,
            is_rewritten,
        })
    }

    /// The length of the value, timestamp and line break in the output.
    fn tail_length(&mut self, tail: &SampleTail<'_>) -> Result<usize, ErrorKind> {
        self.rewritten.clear();
        let ParseContext { source, dialect, .. } = self.context;
        rewrite::write_tail(tail, source, dialect.naming, &mut self.rewritten)?;
        Ok(self.rewritten.len() + 1)
    }

    fn exemplar(&mut self, exemplar: &sample_tail::TextExemplar<'_>) {
        if !self.context.dialect.is_openmetrics()
            || !self.previous.takes_exemplars
            || exemplar.is_too_long
        {
            self.index.lost_exemplars += 1;
            return;
        }
        self.rewritten.clear();
        rewrite::write_exemplar(exemplar, &self.context.dialect, &mut self.rewritten);
        let length = self.rewritten.len() as u32;
        let SamplePlacement { family, role, .. } = self.previous;
        let exemplars = self.index.exemplars.entry(family).or_default().of(role);
        exemplars.count += 1;
        exemplars.bytes += length;
    }

    /// Records a sample for the detection of duplicates.
    fn record_sample(&mut self, series: u64, timestamp: Option<u64>, offset: u32, line: u32) {
        if let Some(cursor) = &mut self.cursor
            && let Some(i) = cursor.seek(series)
            && timestamp.is_none()
        {
            let earlier = cursor.mark_found(i, offset);
            self.duplicate_candidates.extend(earlier.map(|earlier| DuplicateCandidate {
                line,
                offset,
                earlier,
            }));
            return;
        }
        let time = timestamp.map_or(0, |key| sample_check::hash(&self.state, &key.to_le_bytes()));
        self.fingerprints.push(SeriesFingerprint { hash: series.wrapping_add(time), offset, line });
    }

    /// Equal for timestamps that are equal in the output.
    fn timestamp_key(&self, text: &[u8]) -> u64 {
        sample_tail::timestamp_key(text, self.context.source, self.context.dialect.naming)
    }

    /// Adds a sample to the run of its family. Returns whether bounds are canonical in the run.
    #[inline]
    fn extend_run(&mut self, family: u32, offset: u32, line: u32) -> bool {
        if let Some(run) = &mut self.run
            && run.family == family
        {
            run.count += 1;
            return run.has_canonical_bounds;
        }
        self.end_run();
        let has_canonical_bounds =
            self.context.dialect.is_openmetrics() && self.begin_rule_check(family);
        let template_sample = self.cursor.as_ref().map_or(0, |cursor| cursor.next as u32);
        self.run = Some(SampleRun {
            family,
            offset,
            line,
            count: 1,
            template_sample,
            has_canonical_bounds,
        });
        has_canonical_bounds
    }

    /// Returns whether the samples of the family have bounds that are written in the canonical
    /// form.
    fn begin_rule_check(&mut self, family: u32) -> bool {
        let naming = self.context.dialect.naming;
        let source = self.source(family);
        let metric_type = source.destination(source.main_role(), naming).metric_type;
        self.rule_checker.begin(family, metric_type);
        let is_compound = metric_type.is_some_and(MetricType::is_compound);
        let has_equal_bounds = is_compound && source.has_equal_bounds();
        if let Some(family) = self.family_mut(family).filter(|_| has_equal_bounds) {
            family.rule_result.has_equal_bounds = true;
        }
        is_compound && !has_equal_bounds
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        let rule_result = self.rule_checker.end();
        if let Some(family) = self.family_mut(run.family) {
            family.rule_result.join(rule_result);
        }
        self.index.runs.push(run);
    }
}
