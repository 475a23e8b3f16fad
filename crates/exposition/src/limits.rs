//! Limits of one body.

/// Limits of one body. They protect the resources that all instances share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The length of a line in bytes, without its line break. It also limits the fields of a
    /// protobuf body.
    pub max_line: usize,
    /// The number of samples with duplicates; 0 for no limit.
    pub max_samples: usize,
    /// The number of metric families. A sample without `HELP` and `TYPE` has a family too.
    pub max_families: usize,
    /// The number of labels of one sample, without added labels.
    pub max_labels: usize,
}

impl Limits {
    /// For text that was within the limits before it was converted.
    pub(super) const NONE: Self = Self {
        max_line: usize::MAX,
        max_samples: 0,
        max_families: usize::MAX,
        max_labels: usize::MAX,
    };

    /// Whether a line within these limits is also within the `others`.
    pub(super) fn are_within(&self, others: &Self) -> bool {
        self.max_line <= others.max_line
            && self.max_families <= others.max_families
            && self.max_labels <= others.max_labels
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_line: 1 << 20, max_samples: 0, max_families: 100_000, max_labels: 64 }
    }
}
