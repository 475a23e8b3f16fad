/// A sample that is left out because an earlier instance of the merge has the same series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateSample {
    /// The series as the output has it, with its labels: `jobs_total{zone="a",index="0"}`.
    pub series: String,
    /// The sample that is written.
    pub kept: SampleLocation,
    /// The sample that is left out.
    pub dropped: SampleLocation,
}

/// The position of a sample in the input of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleLocation {
    /// The index of the body in the list that [`Merge::new`](super::Merge::new) gets.
    pub instance: usize,
    /// The line in the body, counted from 1. `None` if the body or the output is protobuf.
    pub line: Option<usize>,
}

/// The number of duplicate samples that a merge lists. All of them are counted.
pub(super) const MAX_REPORTED: usize = 100;
