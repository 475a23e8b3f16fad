//! What the first body of a merge teaches about the others.
//!
//! Instances of one app expose the same series in the same order, and only values
//! differ. So what was found out about the series of the first body holds wherever
//! another body has the same bytes, and only the value is left to look at. It is the same
//! with the lines that name families: while a body names those that the first one names, in
//! its order, what they say is known, and so is which family a sample belongs to. And a series
//! that had to be brought into form is there in that form for all of them. A body
//! that is different costs what it would have cost without.

mod blocks;
mod heads;

use std::sync::{Arc, OnceLock};

use foldhash::quality::RandomState;

use super::{
    duplicates::{Print, Slots},
    families::{Bound, Naming, Role},
    index::Family,
    labels::Labels,
    limits::Limits,
    renames::LabelUse,
    task::Task,
};

pub(super) use blocks::Block;
pub(super) use heads::Heads;

/// The first body of each grammar.
#[derive(Debug, Default)]
pub(in super::super) struct Models([OnceLock<Model>; 2]);

impl Models {
    pub(super) fn get(&self, naming: Naming) -> Option<&Model> {
        self.0.get(naming as usize)?.get()
    }

    /// Keeps a body as the first one, unless another was faster.
    pub(super) fn learn(&self, task: Task<'_>, body: Arc<Vec<u8>>, lessons: Lessons) {
        if let Some(model) = self.0.get(task.source as usize) {
            model.get_or_init(|| Model::new(task, body, lessons));
        }
    }
}

/// The first body, and what there is to know of its samples.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) body: Arc<Vec<u8>>,
    /// Those that its samples get; others may have other values, but not other names.
    labels: Labels,
    /// What it was found to be within.
    limits: Limits,
    /// Seeds its hashes.
    pub(super) state: RandomState,
    /// One for each of its samples, in their order.
    pub(super) facts: Vec<Fact>,
    /// Where they belong; some may be here twice.
    places: Vec<Place>,
    /// As they are when all of it is read, without their samples.
    pub(super) families: Vec<Family>,
    /// In their order; none, if a family is named in several places.
    pub(super) blocks: Vec<Block>,
    /// What its samples start with that are rewritten.
    pub(super) heads: Arc<Heads>,
    /// Where a series is, by its hash.
    slots: Slots,
}

/// What a sample line says before its value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fact {
    /// Equal for equal series.
    pub(super) series: u64,
    /// Equal for the samples of one metric.
    pub(super) metric: u64,
    pub(super) bound: Bound,
    /// Where the line starts.
    pub(super) offset: u32,
    /// How much longer it is when written, without the added labels.
    pub(super) growth: i32,
    /// How many families are named up to this line; so many that none has them if that does
    /// not tell which family it belongs to.
    pub(super) families: u32,
    /// Where it belongs, among the places of the model.
    pub(super) place: u32,
    /// Where in the line the value starts; 0 if nothing can be learnt from this line.
    pub(super) end: u16,
    /// Where the added labels go, if it is copied.
    pub(super) insert: u16,
    /// Where in the line starts what follows on the added labels; 0 if it is written otherwise.
    pub(super) rest: u16,
    pub(super) renamed: u8,
    pub(super) is_rewritten: bool,
    /// Whether it has labels of its own when written.
    pub(super) has_braces: bool,
}

/// Where samples belong, and what their family learns from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The family in their body.
    pub(super) family: u32,
    /// How long the name is with which their lines start; 0 if it is elsewhere.
    pub(super) name: u32,
    pub(super) role: Role,
    pub(super) le: Kind,
    pub(super) quantile: Kind,
    pub(super) labels: LabelUse,
    pub(super) has_bounds: bool,
}

/// What a body teaches about others.
#[derive(Default)]
pub(super) struct Lessons {
    pub(super) facts: Vec<Fact>,
    pub(super) places: Vec<Place>,
    pub(super) heads: Heads,
    pub(super) state: RandomState,
    pub(super) families: Vec<Family>,
}

impl Lessons {
    /// The index of a place.
    pub(super) fn place(&mut self, place: Place) -> u32 {
        // The samples of a histogram take turns, and so do their places.
        let last = self.places.len().saturating_sub(Role::ALL.len());
        let known = self.places.iter().skip(last).rposition(|known| *known == place);
        let index = known.map_or(self.places.len(), |known| last + known);
        if known.is_none() {
            self.places.push(place);
        }
        index as u32
    }
}

/// A [`Bound`] without its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Absent,
    Number,
    Other,
}

impl From<Bound> for Kind {
    fn from(bound: Bound) -> Self {
        match bound {
            Bound::Absent => Self::Absent,
            Bound::Number(_) => Self::Number,
            Bound::Other => Self::Other,
        }
    }
}

impl From<Kind> for Bound {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Absent => Self::Absent,
            Kind::Number => Self::Number(0.0),
            Kind::Other => Self::Other,
        }
    }
}

impl Model {
    fn new(task: Task<'_>, body: Arc<Vec<u8>>, lessons: Lessons) -> Self {
        let Lessons { mut facts, places, mut heads, state, families } = lessons;
        let blocks = blocks::find(&task, &mut facts, &families);
        heads.join(&mut facts, &body);
        let prints: Vec<_> = facts
            .iter()
            .map(|fact| Print { hash: fact.series, offset: fact.offset, line: 0 })
            .collect();
        let mut slots = Slots::new(prints.len());
        for i in 0..prints.len() {
            if facts.get(i).is_some_and(|fact| fact.end > 0) {
                slots.find_or_insert(&prints, i, |_| true);
            }
        }
        let (labels, limits, heads) = (task.labels.clone(), *task.limits, Arc::new(heads));
        Self { body, labels, limits, state, facts, places, families, blocks, heads, slots }
    }

    /// Whether a line that is as this body has it would be found to be the same again.
    pub(super) fn is_for(&self, task: &Task<'_>) -> bool {
        self.labels.have_the_names_of(task.labels) && self.limits.are_within(task.limits)
    }

    /// The lines of a block.
    pub(super) fn text(&self, block: &Block) -> &[u8] {
        self.body.get(block.start..block.start + block.length).unwrap_or_default()
    }

    /// Up to the value of sample `i`, if that is worth a comparison.
    #[inline(always)]
    pub(super) fn before_value(&self, i: usize) -> Option<(&Fact, &[u8])> {
        let fact = self.facts.get(i)?;
        let start = fact.offset as usize;
        let text = self.body.get(start..start + usize::from(fact.end))?;
        (!text.is_empty()).then_some((fact, text))
    }

    pub(super) fn place(&self, fact: &Fact) -> Option<&Place> {
        self.places.get(fact.place as usize)
    }

    /// The sample of a series.
    pub(super) fn find(&self, series: u64) -> Option<usize> {
        self.slots.find(series, |i| {
            self.facts.get(i).is_some_and(|fact| fact.end > 0 && fact.series == series)
        })
    }
}

/// What a body has in common with a [`Model`].
#[derive(Debug)]
pub(super) struct Likeness<'a> {
    pub(super) model: &'a Model,
    /// The sample of the model that is likely next.
    pub(super) next: usize,
    /// The block of the model that is next, if the body is like it so far.
    pub(super) block: usize,
    /// For each sample of the model, where the body has its series: the offset, plus one.
    found: Vec<u32>,
}

impl<'a> Likeness<'a> {
    pub(super) fn new(model: &'a Model) -> Self {
        Self { model, next: 0, block: 0, found: vec![0; model.facts.len()] }
    }

    /// The sample of the model that has this series, after which the body is likely to
    /// go on as the model does.
    pub(super) fn follow(&mut self, series: u64) -> Option<usize> {
        let found = self.model.find(series);
        if let Some(i) = found {
            self.next = i + 1;
        } else if self.model.before_value(self.next).is_none() {
            self.next += 1;
        }
        found
    }

    /// Takes note that the body has the series of sample `i` at `offset`, and returns where
    /// it had it before.
    #[inline(always)]
    pub(super) fn note(&mut self, i: usize, offset: u32) -> Option<u32> {
        let found = self.found.get_mut(i)?;
        if let Some(before) = found.checked_sub(1) {
            return Some(before);
        }
        *found = offset + 1;
        None
    }
}
