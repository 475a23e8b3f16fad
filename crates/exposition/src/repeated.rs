//! Series that several sources of a merge have.

/// A sample that is left out, since an earlier source has its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// The series as it is written, with its labels.
    pub series: String,
    /// Where it is kept and where it is left out.
    pub places: [RepeatedPlace; 2],
}

/// Where a sample stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatedPlace {
    /// The place of its source among those of the merge.
    pub instance: usize,
    /// The line, counted from 1; none where the source or the output is protobuf.
    pub line: Option<usize>,
}

/// The number of samples that are named; all others are only counted.
pub(super) const MAX_NAMED: usize = 100;
