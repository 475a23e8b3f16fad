//! What a merge tells of what it did.

use std::ops::AddAssign;

/// What a merge had to do besides adding labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Families that became untyped, because instances (or one instance's own
    /// samples) contradict each other, or two families claim one name.
    pub type_conflicts: usize,
    /// Families that became unknown, because their samples break a rule that OpenMetrics has
    /// for their type.
    pub broken_rules: usize,
    /// Labels that became `exported_…`, because one of their name was added, or that have
    /// another name than the usual escaping gives them, because another label has that.
    pub renamed_labels: usize,
    /// Samples that were left out, because their instance had them before, or another one that
    /// gets the same labels.
    pub duplicates: usize,
    /// Samples that were left out, because an earlier one has a timestamp that differs by less
    /// than the milliseconds that the format has.
    pub lost_timestamps: usize,
    /// Sums and counts of histograms and summaries that the format must have, and the source has not.
    pub invented: usize,
    /// Exemplars that were left out, because the format or the type has none.
    pub lost_exemplars: usize,
    /// Families whose unit was left out, for the same reason.
    pub lost_units: usize,
    /// Native histograms of which only sum and count, or the classic buckets, are left.
    pub lost_native_histograms: usize,
    /// Times since when a metric counts that were left out, because the type has none.
    pub lost_created: usize,
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.type_conflicts += other.type_conflicts;
        self.broken_rules += other.broken_rules;
        self.renamed_labels += other.renamed_labels;
        self.duplicates += other.duplicates;
        self.lost_timestamps += other.lost_timestamps;
        self.invented += other.invented;
        self.lost_exemplars += other.lost_exemplars;
        self.lost_units += other.lost_units;
        self.lost_native_histograms += other.lost_native_histograms;
        self.lost_created += other.lost_created;
    }
}
