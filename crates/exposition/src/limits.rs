//! Bounds on the content of one body, so that one instance cannot take what
//! all share.

/// How much one body may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in a line, without its line break.
    pub max_line: usize,
    /// Samples, duplicates among them; 0 for no limit.
    pub max_samples: usize,
    /// Metric families; a sample whose family has neither `HELP` nor `TYPE` makes one too.
    pub max_families: usize,
    /// Labels of one sample, before labels are added.
    pub max_labels: usize,
}

impl Limits {
    /// For what was within the limits before it was brought into another form.
    pub(super) const NONE: Self = Self {
        max_line: usize::MAX,
        max_samples: 0,
        max_families: usize::MAX,
        max_labels: usize::MAX,
    };

    /// Whether each line that these allow is also allowed by `others`.
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
