//! Counts of the changes that a merge made.

use std::ops::AddAssign;

/// Counts of the changes that a merge made besides adding labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Families that became untyped, because instances or samples contradict each other or two
    /// families claim one name.
    pub type_conflicts: usize,
    /// Families that became `unknown`, because their samples violate an OpenMetrics rule for their
    /// type.
    pub spec_violations: usize,
    /// Labels that became `exported_…` because of an added label, and labels that did not get their
    /// usual escaped name because another label has it.
    pub renamed_labels: usize,
    /// Samples that were left out, because the same instance or another instance with the same
    /// added labels has the series.
    pub duplicates: usize,
    /// Samples that were left out, because the output has millisecond timestamps and an earlier
    /// sample has the same one.
    pub lost_timestamps: usize,
    /// Sums and counts of histograms and summaries that the input does not have. A parser of
    /// protobuf reads 0 for them.
    pub synthesized: usize,
    /// Exemplars that were left out, because the format or the type has none, or because their labels
    /// have more than 128 characters.
    pub lost_exemplars: usize,
    /// Families whose unit was left out, because the format or the type has none.
    pub lost_units: usize,
    /// Native histograms that were reduced to the sum, the count and the classic buckets.
    pub lost_native_histograms: usize,
    /// Created timestamps that were left out, because the type or the format has none.
    pub lost_created: usize,
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.type_conflicts += other.type_conflicts;
        self.spec_violations += other.spec_violations;
        self.renamed_labels += other.renamed_labels;
        self.duplicates += other.duplicates;
        self.lost_timestamps += other.lost_timestamps;
        self.synthesized += other.synthesized;
        self.lost_exemplars += other.lost_exemplars;
        self.lost_units += other.lost_units;
        self.lost_native_histograms += other.lost_native_histograms;
        self.lost_created += other.lost_created;
    }
}
