//! The short way for lines that are as the [model](super::super::siblings) has them.

use super::{
    super::{
        check::Checked,
        error::ErrorKind,
        families::MetricType,
        index::{self, Line, Run},
        number,
        sample::{self, Name},
        siblings::{Block, Fact, Kind, Place},
        strict::Point,
        tail::{self, Tail},
    },
    Indexer, Previous, Suspect, Written,
};

/// A line of which all but the value is known.
#[derive(Clone, Copy)]
struct Alike<'a> {
    /// Its place in the model.
    i: usize,
    fact: &'a Fact,
    offset: usize,
    /// What follows on the labels, to the end of the body.
    rest: &'a [u8],
}

impl<'a> Indexer<'a> {
    /// Takes lines from `offset` on for as long as they differ from the model's next ones
    /// only behind their labels. Returns how many there were, and where the next one starts.
    ///
    /// Whatever is unusual about a line is left for the long way, which finds the same.
    #[inline]
    pub(super) fn alike(
        &mut self,
        mut offset: usize,
    ) -> Result<(usize, usize), (usize, ErrorKind)> {
        let mut count = 0;
        if self.has_ended {
            return Ok((count, offset));
        }
        loop {
            let Some(alike) = self.next_alike(offset) else {
                let Some(block) = self.take_block(offset) else { break };
                count += block.lines;
                offset += block.length;
                continue;
            };
            let taken = match number::plain(alike.rest) {
                Some(length) => self.take_alike(alike, length, None),
                None => self.take_unusual(alike),
            };
            match taken.map_err(|kind| (count, kind))? {
                Some(length) => offset += length + 1,
                None => break,
            }
            count += 1;
        }
        Ok((count, offset))
    }

    /// The line at `offset`, if it is as the next one of the model.
    #[inline(always)]
    fn next_alike(&self, offset: usize) -> Option<Alike<'a>> {
        let likeness = self.likeness.as_ref()?;
        let (i, model) = (likeness.next, likeness.model);
        let (fact, before_value) = model.before_value(i)?;
        let rest = self.task.body.get(offset..)?.strip_prefix(before_value)?;
        Some(Alike { i, fact, offset, rest })
    }

    /// Takes the lines at `offset` that name families, if they are as the model's next ones.
    fn take_block(&mut self, offset: usize) -> Option<Block> {
        let likeness = self.likeness.as_mut().filter(|_| self.is_in_step)?;
        let model = likeness.model;
        let block = *model.blocks.get(likeness.block)?;
        let is_next = block.families.0 == self.index.families.len()
            && self.task.body.get(offset..)?.starts_with(model.text(&block));
        if !is_next {
            return None;
        }
        likeness.next = block.sample;
        likeness.block += 1;
        self.end_run();
        self.forget_places();
        let distance = (offset as u32).wrapping_sub(block.start as u32);
        let families = model.families.get(block.families.0..block.families.1)?;
        self.index.families.extend(families.iter().map(|family| family.moved(distance)));
        Some(block)
    }

    /// Takes a line with more than a plain number behind its labels.
    #[cold]
    fn take_unusual(&mut self, alike: Alike<'a>) -> Result<Option<usize>, ErrorKind> {
        let line = index::line(alike.rest, 0);
        if !line.is_clean || self.checker.encoding(line.text).is_err() {
            return Ok(None);
        }
        match tail::parse(line.text, self.task.source) {
            Ok(tail) => self.take_alike(alike, line.text.len(), Some(&tail)),
            Err(_) => Ok(None),
        }
    }

    /// Sees to it that `previous` is where the line belongs, and that the family knows of such
    /// lines; false if it belongs elsewhere than the model's.
    #[inline(always)]
    fn is_placed(&mut self, fact: &Fact, offset: usize) -> Result<bool, ErrorKind> {
        if self.alike_to == Some(fact.place) {
            return Ok(true);
        }
        self.go_to(fact, offset)
    }

    #[inline(never)]
    fn go_to(&mut self, fact: &Fact, offset: usize) -> Result<bool, ErrorKind> {
        self.alike_to = None;
        let model = self.likeness.as_ref().map(|likeness| likeness.model);
        let Some(place) = model.and_then(|model| model.place(fact)) else { return Ok(false) };
        self.place_alike(fact, place, offset)?;
        let Previous { family, role, .. } = self.previous;
        if role != place.role || self.will_have_bounds(family) != place.has_bounds {
            return Ok(false);
        }
        self.alike_to = Some(fact.place);
        if let Some(family) = self.family_mut(family) {
            family.shape.add(role, place.le.into(), place.quantile.into());
            family.shape.labels.join(place.labels);
        }
        Ok(true)
    }

    /// Finds out where the samples belong whose line starts as this one.
    fn place_alike(
        &mut self,
        fact: &Fact,
        &Place { family, role, name, .. }: &Place,
        offset: usize,
    ) -> Result<(), ErrorKind> {
        let (last, places) = &mut self.alike_places;
        if *last != family {
            (*last, *places) = (family, Default::default());
        }
        if let Some(Some(place)) = places.get(role as usize) {
            self.previous = *place;
            return Ok(());
        }
        let line = self.task.body.get(offset..).unwrap_or_default();
        let line = line.get(..usize::from(fact.end)).unwrap_or_default();
        let name = match line.get(..name as usize) {
            Some(text) if !text.is_empty() => Name { text, is_quoted: false },
            _ => sample::name_of(line),
        };
        let is_in_step = self.is_in_step;
        self.previous = if is_in_step && self.index.families.len() == fact.families as usize {
            self.placed(name, family, role)
        } else {
            self.place(name)?
        };
        // It may have named the family that the model's line names.
        self.is_in_step |= is_in_step
            && self.index.families.len() == fact.families as usize
            && (self.previous.family, self.previous.role) == (family, role);
        if let Some(known) = self.alike_places.1.get_mut(role as usize) {
            *known = Some(self.previous);
        }
        Ok(())
    }

    /// Takes a line with so many bytes behind its labels; they are a plain number if there is
    /// no `tail`. Returns how long the line is, or nothing if it is to go the long way.
    #[inline(always)]
    fn take_alike(
        &mut self,
        alike: Alike<'a>,
        tail_length: usize,
        tail: Option<&Tail<'a>>,
    ) -> Result<Option<usize>, ErrorKind> {
        let Alike { i, fact, rest, .. } = alike;
        let (samples, limits) = (self.index.lines.len(), self.task.limits);
        let text = usize::from(fact.end) + tail_length;
        let is_allowed =
            text <= limits.max_line && (limits.max_samples == 0 || samples < limits.max_samples);
        if !is_allowed || !self.is_placed(fact, alike.offset)? {
            return Ok(None);
        }
        let (line, offset) = (samples as u32, alike.offset as u32);
        let family = self.previous.family;
        match &mut self.run {
            Some(Run { family: same, count, .. }) if *same == family => *count += 1,
            _ => _ = self.follow_run(family, offset, line),
        }
        let added = self.task.labels.inserted(fact.has_braces).len();
        let end = usize::from(fact.end);
        let series = (end as i32 + fact.growth) as usize + added;
        let is_same = |tail: &Tail<'_>| {
            tail.is_canonical
                && tail.exemplar.is_none()
                && (tail.timestamp.is_none() || self.task.source == self.task.dialect.naming)
        };
        let (form, length) = match tail {
            Some(tail) if !is_same(tail) => (Line::REWRITE, series + self.tail_length(tail)?),
            _ => (self.form(i, fact, text + 1), series + tail_length + 1),
        };
        self.index.lines.push(form);
        self.index.sample_bytes += length as u64;
        self.index.renamed_labels += usize::from(fact.renamed);
        if let Some(exemplar) = tail.and_then(|tail| tail.exemplar.as_ref()) {
            self.exemplar(exemplar);
        }
        let timestamp = tail.and_then(|tail| tail.timestamp);
        let timestamp = timestamp.map(|text| self.timestamp_key(text));
        match (timestamp, &mut self.likeness) {
            (None, Some(likeness)) => {
                likeness.next = i + 1;
                let earlier = likeness.note(i, offset);
                self.suspects.extend(earlier.map(|earlier| Suspect { line, offset, earlier }));
            }
            _ => self.note(fact.series, timestamp, offset, line),
        }
        if self.task.dialect.is_openmetrics() {
            let value = tail.map_or_else(|| rest.get(..tail_length), |tail| Some(tail.value));
            self.watch.add(&Point {
                role: self.previous.target_role,
                metric: fact.metric,
                bound: fact.bound,
                value: value.and_then(number::parse).unwrap_or(f64::NAN),
                timestamp,
            });
        }
        Ok(Some(text))
    }

    /// How a line is written that has `length` bytes and is as sample `i` of the model but for
    /// its value.
    #[inline(always)]
    fn form(&self, i: usize, fact: &Fact, length: usize) -> Line {
        let is_expected = |run: &Run| run.alike.wrapping_add(run.count - 1) as usize == i;
        if !fact.is_rewritten {
            return Line::copy(length, fact.insert.into());
        }
        match Line::alike(length - usize::from(fact.rest)) {
            Some(form) if fact.rest > 0 && self.run.as_ref().is_some_and(is_expected) => form,
            _ => Line::REWRITE,
        }
    }

    /// Whether bounds matter in the run to which the next sample of the family belongs.
    fn will_have_bounds(&self, family: u32) -> bool {
        match &self.run {
            Some(run) if run.family == family => run.has_bounds,
            _ => self.has_bounds(family),
        }
    }

    /// Whether the family's type, as far as it is known by now, has bounds.
    fn has_bounds(&self, family: u32) -> bool {
        let naming = self.task.dialect.naming;
        let source = self.source(family);
        let metric_type = source.destination(source.main_role(), naming).metric_type;
        self.task.dialect.is_openmetrics()
            && metric_type.is_some_and(MetricType::is_compound)
            && !source.has_equal_bounds()
    }
}

impl Previous<'_> {
    /// Where such a line belongs.
    pub(super) fn place(&self, checked: &Checked<'_>, has_bounds: bool) -> Place {
        let starts_with_name = checked.is_canonical && !checked.name.is_quoted;
        Place {
            family: self.family,
            name: if starts_with_name { checked.name.text.len() as u32 } else { 0 },
            role: self.role,
            le: Kind::from(checked.facts.le),
            quantile: Kind::from(checked.facts.quantile),
            labels: checked.labels,
            has_bounds,
        }
    }

    /// What a line teaches about those of other bodies that are the same up to their value.
    pub(super) fn fact(
        &self,
        offset: u32,
        checked: &Checked<'_>,
        written: &Written,
        place: u32,
        is_clear: bool,
    ) -> Fact {
        let facts = &written.facts;
        // Long lines are few, and so are those with very many labels.
        let end = u16::try_from(checked.end).unwrap_or_default();
        let is_clear = is_clear && written.renamed <= usize::from(u8::MAX);
        Fact {
            series: facts.series.wrapping_add(written.name_hash),
            metric: facts.metric(self.target_role),
            bound: facts.bound(self.target_role),
            offset,
            growth: written.series as i32 - checked.end as i32,
            families: u32::MAX,
            place,
            end: if is_clear { end } else { 0 },
            insert: checked.insert as u16,
            rest: 0,
            renamed: written.renamed as u8,
            is_rewritten: written.is_rewritten,
            has_braces: written.has_braces,
        }
    }
}
