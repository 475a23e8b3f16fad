use std::io;

use exposition::{self, Format};

#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    #[error("no file to merge; `-` is standard input")]
    NoFiles,
    #[error("`-` is given more than once")]
    SecondStdin,
    #[error(
        "`{0}` is not a valid label: write K=V, where K is a label name, and not `le`, `quantile` or `__name__`"
    )]
    Label(String),
    #[error("`{0}` has no UTF-8 names to allow: escape them, or write another format")]
    Escaping(Format),
    #[error("cannot read {file}")]
    Read { file: String, source: io::Error },
    #[error("{file}, {problem}")]
    Exposition {
        file: String,
        /// The location and the reason. It is part of the message, so it is not the `source` of the
        /// error.
        problem: exposition::Error,
    },
    /// Files with problems, which were already listed.
    #[error("{broken} of {files} files cannot be merged")]
    Broken {
        /// Number of files that are invalid or unreadable.
        broken: usize,
        /// Number of all files.
        files: usize,
    },
    /// Files that can be merged, with mistakes, which were already listed.
    #[error("the files can be merged, but mistakes were found: {0}")]
    Mistakes(usize),
    /// Two files contain the same series.
    #[error("two files have the same series: give each file a label of its own")]
    Repeated,
    #[error("cannot write to the output")]
    Write(#[source] io::Error),
}

impl MergeError {
    /// Whether the arguments are invalid, independently of the files.
    pub(super) fn is_usage(&self) -> bool {
        matches!(self, Self::NoFiles | Self::SecondStdin | Self::Label(_) | Self::Escaping(_))
    }
}
