//! Reuses the properties of the first body of a merge for the following ones.
//!
//! Instances of one app expose the same series in the same order, and only the values differ. If a
//! line starts with the same bytes as the corresponding line of the template, only its value is
//! parsed. The same holds for metadata lines: as long as a body names the families of the template
//! in the same order, they are copied from the template's index. A series that had to be rewritten
//! is stored in its rewritten form. A body that differs from the template is parsed as if there
//! were none.

mod metadata_blocks;
mod rewritten_prefixes;

use std::sync::{Arc, OnceLock};

use foldhash::quality::RandomState;

use super::{
    duplicates::{FingerprintTable, SeriesFingerprint},
    families::{Bound, FamilyNaming, Role},
    index::IndexedFamily,
    index::ParseContext,
    labels::{AddedLabels, LabelTraits},
    limits::Limits,
};

pub(super) use metadata_blocks::MetadataBlock;
pub(super) use rewritten_prefixes::RewrittenPrefixes;

/// The template of each grammar.
#[derive(Debug, Default)]
pub(in super::super) struct Templates([OnceLock<TemplateBody>; 2]);

impl Templates {
    pub(super) fn get(&self, naming: FamilyNaming) -> Option<&TemplateBody> {
        self.0.get(naming as usize)?.get()
    }

    /// Makes a body the template, unless there is one already. Returns the additional memory.
    pub(super) fn set(
        &self,
        context: ParseContext<'_>,
        body: Arc<Vec<u8>>,
        template_builder: TemplateBuilder,
    ) -> usize {
        let mut memory = 0;
        if let Some(template) = self.0.get(context.source as usize) {
            template.get_or_init(|| {
                let template = TemplateBody::new(context, body, template_builder);
                memory = template.memory();
                template
            });
        }
        memory
    }
}

/// The first body and the properties of its samples.
#[derive(Debug)]
pub(super) struct TemplateBody {
    pub(super) body: Arc<Vec<u8>>,
    /// The added labels. Other bodies must have the same names and can have other values.
    labels: AddedLabels,
    /// The limits that the body does not exceed.
    limits: Limits,
    /// The seed of the hashes.
    pub(super) state: RandomState,
    /// The samples in the order of the body.
    pub(super) samples: Vec<TemplateSample>,
    /// The placements of the samples. There can be equal ones.
    placements: Vec<TemplatePlacement>,
    /// The families of the whole body, without samples.
    pub(super) families: Vec<IndexedFamily>,
    /// The metadata blocks in the order of the body. Empty if a family is named in several blocks.
    pub(super) blocks: Vec<MetadataBlock>,
    /// The prefixes of rewritten samples.
    pub(super) prefixes: Arc<RewrittenPrefixes>,
    /// The index of each series.
    slots: FingerprintTable,
}

/// A sample line of the template before its value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TemplateSample {
    /// Equal for equal series.
    pub(super) series: u64,
    /// Equal for the samples of one metric.
    pub(super) metric: u64,
    pub(super) bound: Bound,
    /// The start of the line in the body.
    pub(super) offset: u32,
    /// The length of the series in the output minus that in the body, without the added labels.
    pub(super) growth: i32,
    /// The number of families named before this line. `u32::MAX` if this number does not determine
    /// the family of the sample.
    pub(super) families: u32,
    /// The index of its placement.
    pub(super) placement: u32,
    /// The position of the value in the line; 0 if the line cannot be used.
    pub(super) end: u16,
    /// The position of the added labels, if the line is copied.
    pub(super) insert: u16,
    /// The position in the line from which it is copied after a rewritten prefix; 0 if there is
    /// none.
    pub(super) rest: u16,
    pub(super) renamed: u8,
    pub(super) is_rewritten: bool,
    /// Whether the output line has labels before the added ones.
    pub(super) has_braces: bool,
}

/// The placement of samples in a family, and their properties that the family records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TemplatePlacement {
    /// The index of the family.
    pub(super) family: u32,
    /// The length of the name at the start of the line; 0 if the line does not start with its name.
    pub(super) name: u32,
    pub(super) role: Role,
    pub(super) le: BoundKind,
    pub(super) quantile: BoundKind,
    pub(super) labels: LabelTraits,
    pub(super) has_canonical_bounds: bool,
}

/// Collects the properties of a body for a template.
#[derive(Default)]
pub(super) struct TemplateBuilder {
    pub(super) samples: Vec<TemplateSample>,
    pub(super) placements: Vec<TemplatePlacement>,
    pub(super) prefixes: RewrittenPrefixes,
    pub(super) state: RandomState,
    pub(super) families: Vec<IndexedFamily>,
}

impl TemplateBuilder {
    /// Returns the index of a placement, and adds it if it is new.
    pub(super) fn placement(&mut self, placement: TemplatePlacement) -> u32 {
        // Equal placements are near: the samples of a histogram alternate between few roles.
        let last = self.placements.len().saturating_sub(Role::ALL.len());
        let known = self.placements.iter().skip(last).rposition(|known| *known == placement);
        let index = known.map_or(self.placements.len(), |known| last + known);
        if known.is_none() {
            self.placements.push(placement);
        }
        index as u32
    }
}

/// A [`Bound`] without its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BoundKind {
    #[default]
    Absent,
    Number,
    Other,
}

impl From<Bound> for BoundKind {
    fn from(bound: Bound) -> Self {
        match bound {
            Bound::Absent => Self::Absent,
            Bound::Number(_) => Self::Number,
            Bound::Other => Self::Other,
        }
    }
}

impl From<BoundKind> for Bound {
    fn from(kind: BoundKind) -> Self {
        match kind {
            BoundKind::Absent => Self::Absent,
            BoundKind::Number => Self::Number(0.0),
            BoundKind::Other => Self::Other,
        }
    }
}

impl TemplateBody {
    fn new(
        context: ParseContext<'_>,
        body: Arc<Vec<u8>>,
        template_builder: TemplateBuilder,
    ) -> Self {
        let TemplateBuilder { mut samples, placements, mut prefixes, state, families } =
            template_builder;
        let blocks = metadata_blocks::find(&context, &mut samples, &families);
        prefixes.join(&mut samples, &body);
        let fingerprints: Vec<_> = samples
            .iter()
            .map(|sample| SeriesFingerprint { hash: sample.series, offset: sample.offset, line: 0 })
            .collect();
        let mut slots = FingerprintTable::new(fingerprints.len());
        for i in 0..fingerprints.len() {
            if samples.get(i).is_some_and(|sample| sample.end > 0) {
                slots.find_or_insert(&fingerprints, i, |_| true);
            }
        }
        let (labels, limits, prefixes) =
            (context.labels.clone(), *context.limits, Arc::new(prefixes));
        Self { body, labels, limits, state, samples, placements, families, blocks, prefixes, slots }
    }

    /// The memory of the template in addition to its body.
    fn memory(&self) -> usize {
        self.samples.capacity() * size_of::<TemplateSample>()
            + self.placements.capacity() * size_of::<TemplatePlacement>()
            + self.families.capacity() * size_of::<IndexedFamily>()
            + self.blocks.capacity() * size_of::<MetadataBlock>()
            + self.prefixes.memory()
            + self.slots.memory()
    }

    /// Whether a line of the template has the same properties in the body of `context`.
    pub(super) fn is_for(&self, context: &ParseContext<'_>) -> bool {
        self.labels.have_names_of(context.labels) && self.limits.are_within(context.limits)
    }

    /// The lines of a block.
    pub(super) fn text(&self, block: &MetadataBlock) -> &[u8] {
        self.body.get(block.start..block.start + block.length).unwrap_or_default()
    }

    /// Sample `i` and the text before its value. `None` if the sample cannot be used.
    #[inline(always)]
    pub(super) fn before_value(&self, i: usize) -> Option<(&TemplateSample, &[u8])> {
        let sample = self.samples.get(i)?;
        let start = sample.offset as usize;
        let text = self.body.get(start..start + usize::from(sample.end))?;
        (!text.is_empty()).then_some((sample, text))
    }

    pub(super) fn placement(&self, sample: &TemplateSample) -> Option<&TemplatePlacement> {
        self.placements.get(sample.placement as usize)
    }

    /// The index of a series.
    pub(super) fn find(&self, series: u64) -> Option<usize> {
        self.slots.find(series, |i| {
            self.samples.get(i).is_some_and(|sample| sample.end > 0 && sample.series == series)
        })
    }
}

/// The position in the template while a body is indexed.
#[derive(Debug)]
pub(super) struct TemplateCursor<'a> {
    pub(super) template: &'a TemplateBody,
    /// The expected next sample.
    pub(super) next: usize,
    /// The expected next metadata block.
    pub(super) block: usize,
    /// For each template sample, the offset of its series in the body, plus 1; 0 if it was not
    /// found.
    found: Vec<u32>,
}

impl<'a> TemplateCursor<'a> {
    pub(super) fn new(template: &'a TemplateBody) -> Self {
        Self { template, next: 0, block: 0, found: vec![0; template.samples.len()] }
    }

    /// Moves to the sample after this series, and returns the index of the series.
    pub(super) fn seek(&mut self, series: u64) -> Option<usize> {
        let found = self.template.find(series);
        if let Some(i) = found {
            self.next = i + 1;
        } else if self.template.before_value(self.next).is_none() {
            self.next += 1;
        }
        found
    }

    /// Records that the body has the series of sample `i` at `offset`. Returns the previous offset
    /// of the series.
    #[inline(always)]
    pub(super) fn mark_found(&mut self, i: usize, offset: u32) -> Option<u32> {
        let found = self.found.get_mut(i)?;
        if let Some(before) = found.checked_sub(1) {
            return Some(before);
        }
        *found = offset + 1;
        None
    }
}
