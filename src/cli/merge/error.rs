use std::io;

use exposition::{self, Format};

/// Why nothing, or not all, was merged or found whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    /// Nothing to merge was named.
    #[error("no file to merge; `-` stands for standard input")]
    NoFiles,
    /// Standard input can be read once.
    #[error("`-` is given more than once")]
    SecondStdin,
    /// A `--label` that is none.
    #[error(
        "`{0}` is no label to add: K=V, where K is a label name, and not `le`, `quantile` or `__name__`"
    )]
    Label(String),
    /// UTF-8 names in a format that has none.
    #[error("`{0}` has no UTF-8 names to allow: escape them, or write another format")]
    Escaping(Format),
    /// A file that cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// Its name, or that it is standard input.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// A file that is no exposition in its format.
    #[error("{file}, {problem}")]
    Exposition {
        /// Its name, or that it is standard input.
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
