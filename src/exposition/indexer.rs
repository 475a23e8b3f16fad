//! The walk through a body that checks and indexes it.

use std::collections::{HashMap, hash_map::Entry};

use foldhash::quality::RandomState;

use super::{
    check::Checker,
    duplicates::{self, Print},
    error::{Error, ErrorKind},
    families::{Role, Shape},
    index::{self, Family, Index, Line, Run, Span, TextLine},
    labels::Labels,
    limits::Limits,
    metadata::{self, Metadata},
    rewrite::Rewriter,
    sample::skip_blanks,
};

/// Files written on Windows start with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) struct Indexer<'a> {
    body: &'a [u8],
    labels: &'a Labels,
    limits: &'a Limits,
    checker: Checker<'a>,
    rewriter: Rewriter<'a>,
    rewritten: Vec<u8>,
    names: HashMap<&'a [u8], u32, RandomState>,
    index: Index,
    prints: Vec<Print>,
    previous: Previous<'a>,
    run: Option<Run>,
}

/// Where the sample before belonged: mostly the next one belongs there too.
#[derive(Clone, Copy)]
struct Previous<'a> {
    name: &'a [u8],
    family: u32,
    role: Role,
}

impl<'a> Indexer<'a> {
    pub(super) fn new(body: &'a [u8], labels: &'a Labels, limits: &'a Limits) -> Self {
        Self {
            body,
            labels,
            limits,
            checker: Checker::new(body, labels, limits),
            rewriter: Rewriter::default(),
            rewritten: Vec::new(),
            names: HashMap::default(),
            index: Index::default(),
            prints: Vec::new(),
            previous: Previous { name: b"", family: 0, role: Role::Plain },
            run: None,
        }
    }

    pub(super) fn index(mut self) -> Result<Index, Error> {
        let mut offset =
            if self.body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let mut number = 0;
        while offset < self.body.len() {
            number += 1;
            let line = index::line(self.body, offset);
            self.line(&line, offset).map_err(|kind| Error::new(kind, number))?;
            offset = line.next;
        }
        self.end_run();
        self.drop_duplicates();
        self.index.lines.shrink_to_fit();
        self.index.runs.shrink_to_fit();
        self.index.families.shrink_to_fit();
        Ok(self.index)
    }

    #[inline]
    fn line(&mut self, line: &TextLine<'a>, offset: usize) -> Result<(), ErrorKind> {
        if line.text.len() > self.limits.max_line {
            return Err(ErrorKind::LineTooLong);
        }
        let text = skip_blanks(line.text);
        match text.first() {
            None => self.end_run(),
            Some(b'#') => {
                self.end_run();
                self.metadata(text)?;
            }
            Some(_) => self.sample(line, offset)?,
        }
        Ok(())
    }

    fn metadata(&mut self, text: &'a [u8]) -> Result<(), ErrorKind> {
        match metadata::parse(text)? {
            Metadata::Comment => {}
            Metadata::Help { name, text } => {
                self.checker.encoding(text)?;
                let help = Span::within(self.body, text);
                let family = self.family(name)?;
                if let Some(family) = self.family_mut(family)
                    && family.help.is_empty()
                {
                    family.help = help;
                }
            }
            Metadata::Type { name, metric_type } => {
                let family = self.family(name)?;
                if let Some(family) = self.family_mut(family) {
                    family.metric_type.get_or_insert(metric_type);
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn sample(&mut self, line: &TextLine<'a>, offset: usize) -> Result<(), ErrorKind> {
        let checked = self.checker.sample(line.text)?;
        let count = self.index.lines.len();
        if self.limits.max_samples != 0 && count == self.limits.max_samples {
            return Err(ErrorKind::TooManySamples);
        }
        if checked.name != self.previous.name {
            let (family, role) = self.family_of_sample(checked.name)?;
            self.previous = Previous { name: checked.name, family, role };
        }
        let Previous { family, role, .. } = self.previous;
        if let Some(family) = self.family_mut(family) {
            family.shape.add(role, checked.le, checked.quantile);
        }

        let offset = offset as u32;
        let (form, hash, length) = if checked.is_canonical && line.is_clean {
            let length = line.text.len() + 1;
            let added = self.labels.inserted_at(line.text, checked.insert).len();
            (Line::copy(length, checked.insert), checked.hash, length + added)
        } else {
            self.index.renamed_labels += checked.clashes;
            let length = self.rewrite(line.text)?;
            (Line::REWRITE, self.checker.hash(self.rewritten.trim_ascii_end())?, length)
        };
        self.index.lines.push(form);
        self.index.sample_bytes += length as u64;
        self.prints.push(Print { hash, offset });
        match &mut self.run {
            Some(run) if run.family == family => run.count += 1,
            _ => {
                self.end_run();
                self.run = Some(Run { family, offset, line: count as u32, count: 1 });
            }
        }
        Ok(())
    }

    /// Brings a line into form, and says how long it will be.
    fn rewrite(&mut self, line: &'a [u8]) -> Result<usize, ErrorKind> {
        self.rewritten.clear();
        let insert = self.rewriter.write(line, self.labels, &mut self.rewritten)?;
        Ok(self.rewritten.len() + self.labels.inserted_at(&self.rewritten, insert).len())
    }

    fn end_run(&mut self) {
        self.index.runs.extend(self.run.take());
    }

    /// The family of this name.
    fn family(&mut self, name: &'a [u8]) -> Result<u32, ErrorKind> {
        let count = self.index.families.len();
        match self.names.entry(name) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(_) if count >= self.limits.max_families => {
                Err(ErrorKind::TooManyFamilies)
            }
            Entry::Vacant(new) => {
                self.index.families.push(Family {
                    name: Span::within(self.body, name),
                    help: Span::default(),
                    metric_type: None,
                    shape: Shape::default(),
                });
                Ok(*new.insert(count as u32))
            }
        }
    }

    /// The family that a sample of this name belongs to, as far as this is known
    /// by now: what comes later, here or in another instance, is for the merge.
    fn family_of_sample(&mut self, name: &'a [u8]) -> Result<(u32, Role), ErrorKind> {
        if let Some(&family) = self.names.get(name) {
            return Ok((family, Role::Plain));
        }
        if let Some((base, role)) = Role::of(name)
            && let Some(&family) = self.names.get(base)
            && let Some(Family { metric_type: Some(metric_type), .. }) = self.family_mut(family)
            && metric_type.has(role)
        {
            return Ok((family, role));
        }
        Ok((self.family(name)?, Role::Plain))
    }

    fn family_mut(&mut self, family: u32) -> Option<&mut Family> {
        self.index.families.get_mut(family as usize)
    }

    fn drop_duplicates(&mut self) {
        let Self { body, labels, prints, index, .. } = self;
        let text = |print: Print| index::line(body, print.offset as usize).text;
        let is_same = |one, other| duplicates::are_same([text(one), text(other)], labels);
        let mut dropped = Vec::new();
        duplicates::find(prints, is_same, |i| dropped.push(i));
        index.duplicates = dropped.len();
        for i in dropped {
            let (Some(line), Some(&print)) = (index.lines.get_mut(i), self.prints.get(i)) else {
                continue;
            };
            *line = Line::DROPPED;
            self.rewritten.clear();
            // It was read before, so it is read again.
            let text = index::line(body, print.offset as usize).text;
            if let Ok(insert) = self.rewriter.write(text, labels, &mut self.rewritten) {
                let length =
                    self.rewritten.len() + labels.inserted_at(&self.rewritten, insert).len();
                index.sample_bytes -= length as u64;
            }
        }
    }
}
