//! Fast path for lines that match the [template](super::super::template).

use super::{
    super::{
        error::ErrorKind,
        families::MetricType,
        index::{self, LineForm, SampleRun},
        number,
        sample::{self, SourceName},
        sample_check::CheckedSeries,
        sample_tail::{self, SampleTail},
        template::{BoundKind, MetadataBlock, TemplatePlacement, TemplateSample},
        type_rules::RuleSample,
    },
    DuplicateCandidate, Indexer, SamplePlacement, WrittenSeries,
};

/// A line that matches the template up to its value.
#[derive(Clone, Copy)]
struct TemplateMatch<'a> {
    /// The index of the template sample.
    i: usize,
    sample: &'a TemplateSample,
    offset: usize,
    /// The body from the value on.
    rest: &'a [u8],
}

impl<'a> Indexer<'a> {
    /// Takes lines from `offset` on as long as they differ from the template only after their
    /// labels. Returns the number of lines and the offset of the next one.
    ///
    /// Unusual lines are left to the general path, which gives the same result.
    #[inline]
    pub(super) fn take_matching_lines(
        &mut self,
        mut offset: usize,
    ) -> Result<(usize, usize), (usize, ErrorKind)> {
        let mut count = 0;
        if self.has_ended {
            return Ok((count, offset));
        }
        loop {
            let Some(matched) = self.next_match(offset) else {
                let Some(block) = self.take_metadata_block(offset) else { break };
                count += block.lines;
                offset += block.length;
                continue;
            };
            let taken = match number::plain_number_length(matched.rest) {
                Some(length) => self.take_match(matched, length, None),
                None => self.take_other_tail(matched),
            };
            match taken.map_err(|kind| (count, kind))? {
                Some(length) => offset += length + 1,
                None => break,
            }
            count += 1;
        }
        Ok((count, offset))
    }

    /// The line at `offset`, if it matches the expected sample.
    #[inline(always)]
    fn next_match(&self, offset: usize) -> Option<TemplateMatch<'a>> {
        let cursor = self.cursor.as_ref()?;
        let (i, template) = (cursor.next, cursor.template);
        let (sample, before_value) = template.before_value(i)?;
        let rest = self.context.body.get(offset..)?.strip_prefix(before_value)?;
        Some(TemplateMatch { i, sample, offset, rest })
    }

    /// Takes the metadata lines at `offset`, if they match the expected block.
    fn take_metadata_block(&mut self, offset: usize) -> Option<MetadataBlock> {
        let cursor = self.cursor.as_mut().filter(|_| self.matches_template)?;
        let template = cursor.template;
        let block = *template.blocks.get(cursor.block)?;
        let is_next = block.families.0 == self.index.families.len()
            && self.context.body.get(offset..)?.starts_with(template.text(&block));
        if !is_next {
            return None;
        }
        cursor.next = block.sample;
        cursor.block += 1;
        self.end_run();
        self.reset_placements();
        let distance = (offset as u32).wrapping_sub(block.start as u32);
        let families = template.families.get(block.families.0..block.families.1)?;
        self.index.families.extend(families.iter().map(|family| family.shifted(distance)));
        Some(block)
    }

    /// Takes a line with more than a decimal number after its labels.
    #[cold]
    fn take_other_tail(&mut self, matched: TemplateMatch<'a>) -> Result<Option<usize>, ErrorKind> {
        let line = index::line(matched.rest, 0);
        if !line.has_plain_break || self.checker.encoding(line.text).is_err() {
            return Ok(None);
        }
        match sample_tail::parse(line.text, self.context.source) {
            Ok(tail) => self.take_match(matched, line.text.len(), Some(&tail)),
            Err(_) => Ok(None),
        }
    }

    /// Makes `previous` the placement of the line. Returns false if the placement differs from that
    /// in the template.
    #[inline(always)]
    fn ensure_placement(
        &mut self,
        sample: &TemplateSample,
        offset: usize,
    ) -> Result<bool, ErrorKind> {
        if self.template_placement == Some(sample.placement) {
            return Ok(true);
        }
        self.move_to(sample, offset)
    }

    #[inline(never)]
    fn move_to(&mut self, sample: &TemplateSample, offset: usize) -> Result<bool, ErrorKind> {
        self.template_placement = None;
        let template = self.cursor.as_ref().map(|cursor| cursor.template);
        let Some(placement) = template.and_then(|template| template.placement(sample)) else {
            return Ok(false);
        };
        self.place_from_template(sample, placement, offset)?;
        let SamplePlacement { family, role, .. } = self.previous;
        if role != placement.role
            || self.will_have_canonical_bounds(family) != placement.has_canonical_bounds
        {
            return Ok(false);
        }
        self.template_placement = Some(sample.placement);
        if let Some(family) = self.family_mut(family) {
            family.shape.add(role, placement.le.into(), placement.quantile.into());
            family.shape.labels.join(placement.labels);
        }
        Ok(true)
    }

    /// Sets `previous` to the placement of the samples of this line.
    fn place_from_template(
        &mut self,
        sample: &TemplateSample,
        &TemplatePlacement { family, role, name, .. }: &TemplatePlacement,
        offset: usize,
    ) -> Result<(), ErrorKind> {
        let (last, placements) = &mut self.placements;
        if *last != family {
            (*last, *placements) = (family, Default::default());
        }
        if let Some(Some(placement)) = placements.get(role as usize) {
            self.previous = *placement;
            return Ok(());
        }
        let line = self.context.body.get(offset..).unwrap_or_default();
        let line = line.get(..usize::from(sample.end)).unwrap_or_default();
        let name = match line.get(..name as usize) {
            Some(text) if !text.is_empty() => SourceName { text, is_quoted: false },
            _ => sample::name_of(line),
        };
        let matches_template = self.matches_template;
        self.previous = if matches_template && self.index.families.len() == sample.families as usize
        {
            self.placement_in(name, family, role)
        } else {
            self.placement_of(name)?
        };
        // The line can have named a new family, as it did in the template.
        self.matches_template |= matches_template
            && self.index.families.len() == sample.families as usize
            && (self.previous.family, self.previous.role) == (family, role);
        if let Some(known) = self.placements.1.get_mut(role as usize) {
            *known = Some(self.previous);
        }
        Ok(())
    }

    /// Takes a line with `tail_length` bytes after its labels. Without `tail` they are a decimal
    /// number. Returns the length of the line, or `None` if the general path must take it.
    #[inline(always)]
    fn take_match(
        &mut self,
        matched: TemplateMatch<'a>,
        tail_length: usize,
        tail: Option<&SampleTail<'a>>,
    ) -> Result<Option<usize>, ErrorKind> {
        let TemplateMatch { i, sample, rest, .. } = matched;
        let (samples, limits) = (self.index.lines.len(), self.context.limits);
        let text = usize::from(sample.end) + tail_length;
        let is_allowed =
            text <= limits.max_line && (limits.max_samples == 0 || samples < limits.max_samples);
        if !is_allowed || !self.ensure_placement(sample, matched.offset)? {
            return Ok(None);
        }
        let (line, offset) = (samples as u32, matched.offset as u32);
        let family = self.previous.family;
        match &mut self.run {
            Some(SampleRun { family: same, count, .. }) if *same == family => *count += 1,
            _ => _ = self.extend_run(family, offset, line),
        }
        let added = self.context.labels.inserted(sample.has_braces).len();
        let end = usize::from(sample.end);
        let series = (end as i32 + sample.growth) as usize + added;
        let is_same = |tail: &SampleTail<'_>| {
            tail.is_canonical
                && tail.exemplar.is_none()
                && (tail.timestamp.is_none() || self.context.source == self.context.dialect.naming)
        };
        let (form, length) = match tail {
            Some(tail) if !is_same(tail) => (LineForm::REWRITE, series + self.tail_length(tail)?),
            _ => (self.form(i, sample, text + 1), series + tail_length + 1),
        };
        self.index.lines.push(form);
        self.index.sample_bytes += length as u64;
        self.index.renamed_labels += usize::from(sample.renamed);
        if let Some(exemplar) = tail.and_then(|tail| tail.exemplar.as_ref()) {
            self.exemplar(exemplar);
        }
        let timestamp = tail.and_then(|tail| tail.timestamp);
        let timestamp = timestamp.map(|text| self.timestamp_key(text));
        match (timestamp, &mut self.cursor) {
            (None, Some(cursor)) => {
                cursor.next = i + 1;
                let earlier = cursor.mark_found(i, offset);
                self.duplicate_candidates.extend(earlier.map(|earlier| DuplicateCandidate {
                    line,
                    offset,
                    earlier,
                }));
            }
            _ => self.record_sample(sample.series, timestamp, offset, line),
        }
        if self.context.dialect.is_openmetrics() {
            let value = tail.map_or_else(|| rest.get(..tail_length), |tail| Some(tail.value));
            self.rule_checker.add(&RuleSample {
                role: self.previous.target_role,
                metric: sample.metric,
                bound: sample.bound,
                value: value.and_then(number::parse).unwrap_or(f64::NAN),
                timestamp,
            });
        }
        Ok(Some(text))
    }

    /// The form of a line of `length` bytes that matches template sample `i` up to its value.
    #[inline(always)]
    fn form(&self, i: usize, sample: &TemplateSample, length: usize) -> LineForm {
        let is_expected =
            |run: &SampleRun| run.template_sample.wrapping_add(run.count - 1) as usize == i;
        if !sample.is_rewritten {
            return LineForm::copy(length, sample.insert.into());
        }
        match LineForm::from_template(length - usize::from(sample.rest)) {
            Some(form) if sample.rest > 0 && self.run.as_ref().is_some_and(is_expected) => form,
            _ => LineForm::REWRITE,
        }
    }

    /// Whether bounds are canonical in the run of the family's next sample.
    fn will_have_canonical_bounds(&self, family: u32) -> bool {
        match &self.run {
            Some(run) if run.family == family => run.has_canonical_bounds,
            _ => self.has_canonical_bounds(family),
        }
    }

    /// Whether bounds are canonical for the type that is known so far.
    fn has_canonical_bounds(&self, family: u32) -> bool {
        let naming = self.context.dialect.naming;
        let source = self.source(family);
        let metric_type = source.destination(source.main_role(), naming).metric_type;
        self.context.dialect.is_openmetrics()
            && metric_type.is_some_and(MetricType::is_compound)
            && !source.has_equal_bounds()
    }
}

impl SamplePlacement<'_> {
    /// The placement of a line for the template.
    pub(super) fn template_placement(
        &self,
        checked: &CheckedSeries<'_>,
        has_canonical_bounds: bool,
    ) -> TemplatePlacement {
        let starts_with_name = checked.is_canonical && !checked.name.is_quoted;
        TemplatePlacement {
            family: self.family,
            name: if starts_with_name { checked.name.text.len() as u32 } else { 0 },
            role: self.role,
            le: BoundKind::from(checked.facts.le),
            quantile: BoundKind::from(checked.facts.quantile),
            labels: checked.labels,
            has_canonical_bounds,
        }
    }

    /// The properties of a line for the template.
    pub(super) fn template_sample(
        &self,
        offset: u32,
        checked: &CheckedSeries<'_>,
        written: &WrittenSeries,
        placement: u32,
        is_usable: bool,
    ) -> TemplateSample {
        let facts = &written.facts;
        // Lines longer than 64 KiB and with more than 255 renamed labels are rare.
        let end = u16::try_from(checked.end).unwrap_or_default();
        let is_usable = is_usable && written.renamed <= usize::from(u8::MAX);
        TemplateSample {
            series: facts.series.wrapping_add(written.name_hash),
            metric: facts.metric(self.target_role),
            bound: facts.bound(self.target_role),
            offset,
            growth: written.series as i32 - checked.end as i32,
            families: u32::MAX,
            placement,
            end: if is_usable { end } else { 0 },
            insert: checked.insert as u16,
            rest: 0,
            renamed: written.renamed as u8,
            is_rewritten: written.is_rewritten,
            has_braces: written.has_braces,
        }
    }
}
