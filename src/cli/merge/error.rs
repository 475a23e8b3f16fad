use std::io;

use exposition::{self, Format};

#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    #[error("no file to merge; `-` is standard input")]
    NoFiles,
    #[error("`-` is given more than once")]
    SecondStdin,
    #[error(
        "`{0}` is no label to add: K=V, where K is a label name, and not `le`, `quantile` or `__name__`"
    )]
    Label(String),
    #[error("`{0}` has no UTF-8 names to allow: escape them, or write another format")]
    Escaping(Format),
    #[error("cannot read {file}")]
    Read { file: String, source: io::Error },
    #[error("{file}, {problem}")]
    Exposition {
        file: String,
        /// Where and why; a part of the message, so no source of it.
        problem: exposition::Error,
    },
    /// What a check has listed, in short.
    #[error("{broken} of {files} files cannot be merged")]
    Broken {
        /// How many are no expositions, or cannot be read.
        broken: usize,
        /// How many were looked at.
        files: usize,
    },
    /// Samples that two files have.
    #[error("two files have the same series: give each file a label of its own")]
    Repeated,
    /// The output does not take what is written to it.
    #[error("cannot write to the output")]
    Write(#[source] io::Error),
}

impl MergeError {
    /// Whether the command line itself is wrong, whatever the files hold.
    pub(super) fn is_usage(&self) -> bool {
        matches!(self, Self::NoFiles | Self::SecondStdin | Self::Label(_) | Self::Escaping(_))
    }
}
