//! The walk through a body that checks and indexes it.

mod alike;
mod families;
mod removal;

use std::{borrow::Cow, collections::HashMap};

use foldhash::quality::RandomState;

use super::{
    check::{self, Checker, Facts},
    duplicates::Print,
    error::{Error, ErrorKind},
    families::{MetricType, Naming, Role},
    index::{self, Index, Line, Run, TextLine},
    metadata::{self, Metadata},
    number,
    rewrite::{self, Form, Rewriter},
    sample::{Name, skip_blanks},
    siblings::{Lessons, Likeness, Model},
    span::Span,
    strict::{Point, Watch},
    tail::{self, Tail},
    task::Task,
};

pub(super) struct Indexer<'a> {
    task: Task<'a>,
    checker: Checker<'a>,
    /// Seeds all hashes.
    state: RandomState,
    rewriter: Rewriter<'a>,
    rewritten: Vec<u8>,
    names: HashMap<Cow<'a, [u8]>, u32, RandomState>,
    index: Index,
    /// Samples that could be duplicates of each other.
    prints: Vec<Print>,
    /// Lines that are likely duplicates of an earlier one.
    suspects: Vec<Suspect>,
    previous: Previous<'a>,
    run: Option<Run>,
    watch: Watch,
    has_ended: bool,
    likeness: Option<Likeness<'a>>,
    /// The place in the model that `previous` stands for, if its family knows of it.
    alike_to: Option<u32>,
    /// Where the samples of one family of the model belong, by their role.
    alike_places: (u32, [Option<Previous<'a>>; Role::ALL.len()]),
    /// The family that was named last.
    last_family: (Name<'a>, u32),
    /// Whether the families so far are the model's first ones, of the same types.
    is_in_step: bool,
    /// What this body teaches about others.
    lessons: Option<Lessons>,
}

/// Where the sample before belonged: mostly the next one belongs there too.
#[derive(Clone, Copy)]
struct Previous<'a> {
    name: Name<'a>,
    /// Of the name in the output.
    hash: u64,
    family: u32,
    role: Role,
    /// The role that it has by the names of the output's format.
    target_role: Role,
    /// Whether its samples may have exemplars.
    takes_exemplars: bool,
}

/// A line whose series was seen before.
struct Suspect {
    line: u32,
    offset: u32,
    /// Where it was seen.
    earlier: u32,
}

/// How a line is written, and how long it is then.
struct Written {
    form: Line,
    length: usize,
    facts: Facts,
    name_hash: u64,
    /// How long the series is, without the added labels.
    series: usize,
    has_braces: bool,
    renamed: usize,
    is_rewritten: bool,
}

impl<'a> Indexer<'a> {
    /// With a `model`, the body is compared with it first; without, it becomes one if it
    /// `teaches`.
    pub(super) fn new(task: Task<'a>, model: Option<&'a Model>, teaches: bool) -> Self {
        let model = model.filter(|model| {
            // Else the name in the output depends on more than the line.
            task.dialect.keeps_suffixes() && model.is_for(&task)
        });
        let state = model.map_or_else(RandomState::default, |model| model.state.clone());
        let Task { body, labels, limits, dialect, .. } = task;
        let mut names = HashMap::default();
        let mut index = Index::default();
        if let Some(model) = model {
            names.reserve(model.families.len());
            index.families.reserve_exact(model.families.len());
            index.lines.reserve_exact(model.facts.len());
        }
        // With a model, few lines have to be looked at for that.
        let is_utf8 = model.is_none() && std::str::from_utf8(body).is_ok();
        Self {
            task,
            checker: Checker::new(is_utf8, labels, limits, dialect, state.clone()),
            state,
            rewriter: Rewriter::new(dialect),
            rewritten: Vec::new(),
            names,
            index,
            prints: Vec::new(),
            suspects: Vec::new(),
            previous: Previous {
                name: Name::default(),
                hash: 0,
                family: 0,
                role: Role::Plain,
                target_role: Role::Plain,
                takes_exemplars: false,
            },
            run: None,
            watch: Watch::default(),
            has_ended: false,
            likeness: model.map(Likeness::new),
            alike_to: None,
            alike_places: Default::default(),
            last_family: (Name::default(), u32::MAX),
            is_in_step: model.is_some(),
            lessons: (teaches && model.is_none()).then(Lessons::default),
        }
    }

    /// The index, and what there is to learn for other bodies.
    pub(super) fn index(mut self) -> Result<(Index, Option<Lessons>), Error> {
        let body = self.task.body;
        let mut offset = index::start(body);
        let mut number = 0;
        while offset < body.len() {
            number += 1;
            let (count, next) =
                self.alike(offset).map_err(|(count, kind)| Error::new(kind, number + count))?;
            if count > 0 {
                (number, offset) = (number + count - 1, next);
                continue;
            }
            let line = index::line(body, offset);
            self.line(&line, offset).map_err(|kind| Error::new(kind, number))?;
            offset = line.next;
        }
        if self.task.source == Naming::OpenMetrics && !self.has_ended {
            return Err(Error::new(ErrorKind::MissingEof, number.max(1)));
        }
        self.end_run();
        self.drop_duplicates();
        self.index.lines.shrink_to_fit();
        self.index.runs.shrink_to_fit();
        self.index.families.shrink_to_fit();
        let families = self
            .lessons
            .is_some()
            .then(|| self.index.families.iter().map(|family| family.moved(0)).collect());
        let lessons = self.lessons.map(|lessons| Lessons {
            state: self.state,
            families: families.unwrap_or_default(),
            ..lessons
        });
        Ok((self.index, lessons))
    }

    #[inline]
    fn line(&mut self, line: &TextLine<'a>, offset: usize) -> Result<(), ErrorKind> {
        if line.text.len() > self.task.limits.max_line {
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
        let body = self.task.body;
        match metadata::parse(text, self.task.source)? {
            Metadata::Comment => {}
            Metadata::Eof => self.has_ended = true,
            Metadata::Help { name, text } => {
                self.checker.encoding(text)?;
                let family = self.family(name)?;
                if let Some(family) = self.family_mut(family)
                    && family.help.is_empty()
                {
                    family.help = Span::within(body, text);
                }
            }
            Metadata::Unit { name, unit } => {
                let family = self.family(name)?;
                if let Some(family) = self.family_mut(family)
                    && family.unit.is_empty()
                {
                    family.unit = Span::within(body, unit);
                }
            }
            Metadata::Type { name, metric_type } => {
                let family = self.family(name)?;
                if let Some(family) = self.family_mut(family) {
                    family.metric_type.get_or_insert(metric_type);
                }
                self.is_in_step = false;
                self.forget_places();
            }
        }
        Ok(())
    }

    /// The names that follow may now be parts of another family.
    fn forget_places(&mut self) {
        self.previous.name = Name::default();
        self.alike_to = None;
        self.alike_places = Default::default();
    }

    #[inline]
    fn sample(&mut self, line: &TextLine<'a>, offset: usize) -> Result<(), ErrorKind> {
        let checked = self.checker.series(line.text)?;
        let tail = tail::parse(line.text.get(checked.end..).unwrap_or_default(), self.task.source)?;
        let count = self.index.lines.len();
        if self.task.limits.max_samples != 0 && count == self.task.limits.max_samples {
            return Err(ErrorKind::TooManySamples);
        }
        if checked.name != self.previous.name {
            self.previous = self.place(checked.name)?;
            self.alike_to = None;
        }
        let Previous { family, role, .. } = self.previous;
        if let Some(family) = self.family_mut(family) {
            family.shape.add(role, checked.facts.le, checked.facts.quantile);
            family.shape.labels.join(checked.labels);
        }
        let offset = offset as u32;
        let has_bounds = self.follow_run(family, offset, count as u32);

        let must_rewrite = !checked.is_canonical || has_bounds && checked.facts.has_odd_bound;
        let written = if must_rewrite {
            self.rewrite(line.text, &tail, has_bounds)?
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
        self.note(series, timestamp, offset, count as u32);
        if let Some(lessons) = &mut self.lessons {
            let is_clear = timestamp.is_none();
            let place = lessons.place(self.previous.place(&checked, has_bounds));
            let fact = self.previous.fact(offset, &checked, &written, place, is_clear);
            lessons.facts.push(fact);
        }
        if self.task.dialect.is_openmetrics() {
            let role = self.previous.target_role;
            self.watch.add(&Point {
                role,
                metric: written.facts.metric(role),
                bound: written.facts.bound(role),
                value: number::parse(tail.value).unwrap_or(f64::NAN),
                timestamp,
            });
        }
        Ok(())
    }

    /// Takes a canonical series as it is.
    #[inline]
    fn keep(
        &mut self,
        line: &TextLine<'a>,
        insert: usize,
        end: usize,
        facts: Facts,
        tail: &Tail<'_>,
    ) -> Result<Written, ErrorKind> {
        if let Some(lessons) = &mut self.lessons {
            lessons.heads.push(None);
        }
        let has_braces = line.text.get(insert) == Some(&b'}');
        let added = self.task.labels.inserted(has_braces).len();
        let is_same = tail.exemplar.is_none()
            && (tail.timestamp.is_none() || self.task.source == self.task.dialect.naming);
        let (form, length) = if is_same && tail.is_canonical && line.is_clean {
            let length = line.text.len() + 1;
            (Line::copy(length, insert), length + added)
        } else {
            (Line::REWRITE, end + added + self.tail_length(tail)?)
        };
        let name_hash = self.previous.hash;
        let (renamed, is_rewritten) = (0, false);
        Ok(Written {
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

    /// Brings a series into form.
    fn rewrite(
        &mut self,
        line: &'a [u8],
        tail: &Tail<'_>,
        has_bounds: bool,
    ) -> Result<Written, ErrorKind> {
        self.rewritten.clear();
        let Task { labels, .. } = self.task;
        let family = self.source(self.previous.family);
        let form = Form { family, has_bounds, keeps_exemplar: false };
        let written = self.rewriter.series(line, labels, form, &mut self.rewritten)?;
        if let Some(lessons) = &mut self.lessons {
            lessons.heads.push(self.rewritten.get(..written.insert));
        }
        let has_braces = self.rewritten.get(written.insert) == Some(&b'}');
        let series = self.rewritten.len();
        let (name, facts) = self.checker.facts(&self.rewritten)?;
        let name_hash = check::hash(&self.state, name);
        let renamed = written.renamed;
        self.index.renamed_labels += renamed;
        let length = series + labels.inserted(has_braces).len() + self.tail_length(tail)?;
        let (form, is_rewritten) = (Line::REWRITE, true);
        Ok(Written { form, length, facts, name_hash, series, has_braces, renamed, is_rewritten })
    }

    /// How long value and timestamp are when written, with the line break.
    fn tail_length(&mut self, tail: &Tail<'_>) -> Result<usize, ErrorKind> {
        self.rewritten.clear();
        let Task { source, dialect, .. } = self.task;
        rewrite::write_tail(tail, source, dialect.naming, &mut self.rewritten)?;
        Ok(self.rewritten.len() + 1)
    }

    fn exemplar(&mut self, exemplar: &tail::Exemplar<'_>) {
        if !self.task.dialect.is_openmetrics()
            || !self.previous.takes_exemplars
            || exemplar.is_too_long
        {
            self.index.lost_exemplars += 1;
            return;
        }
        self.rewritten.clear();
        rewrite::write_exemplar(exemplar, &self.task.dialect, &mut self.rewritten);
        let length = self.rewritten.len() as u32;
        let Previous { family, role, .. } = self.previous;
        if let Some(family) = self.family_mut(family) {
            let exemplars = family.exemplars.of(role);
            exemplars.count += 1;
            exemplars.bytes += length;
        }
    }

    /// Remembers a sample for the look for duplicates.
    fn note(&mut self, series: u64, timestamp: Option<u64>, offset: u32, line: u32) {
        if let Some(likeness) = &mut self.likeness
            && let Some(i) = likeness.follow(series)
            && timestamp.is_none()
        {
            let earlier = likeness.note(i, offset);
            self.suspects.extend(earlier.map(|earlier| Suspect { line, offset, earlier }));
            return;
        }
        let time = timestamp.map_or(0, |key| check::hash(&self.state, &key.to_le_bytes()));
        self.prints.push(Print { hash: series.wrapping_add(time), offset, line });
    }

    /// Equal for timestamps that are the same in the output.
    fn timestamp_key(&self, text: &[u8]) -> u64 {
        tail::timestamp_key(text, self.task.source, self.task.dialect.naming)
    }

    /// Counts a sample to the run of its family, and says whether bounds matter in it.
    #[inline]
    fn follow_run(&mut self, family: u32, offset: u32, line: u32) -> bool {
        if let Some(run) = &mut self.run
            && run.family == family
        {
            run.count += 1;
            return run.has_bounds;
        }
        self.end_run();
        let has_bounds = self.task.dialect.is_openmetrics() && self.begin_watch(family);
        let alike = self.likeness.as_ref().map_or(0, |likeness| likeness.next as u32);
        self.run = Some(Run { family, offset, line, count: 1, alike, has_bounds });
        has_bounds
    }

    /// Returns whether the family's type, as far as it is known, has bounds.
    fn begin_watch(&mut self, family: u32) -> bool {
        let naming = self.task.dialect.naming;
        let source = self.source(family);
        let metric_type = source.destination(source.main_role(), naming).metric_type;
        self.watch.begin(family, metric_type);
        let is_compound = metric_type.is_some_and(MetricType::is_compound);
        let has_equal_bounds = is_compound && source.has_equal_bounds();
        if let Some(family) = self.family_mut(family).filter(|_| has_equal_bounds) {
            family.strictness.has_equal_bounds = true;
        }
        is_compound && !has_equal_bounds
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        let strictness = self.watch.end();
        if let Some(family) = self.family_mut(run.family) {
            family.strictness.join(strictness);
        }
        self.index.runs.push(run);
    }
}
