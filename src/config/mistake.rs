//! What is wrong with a configuration: every mistake, not the first one only.

use std::{fmt, io, path::PathBuf};

/// Why there is no [`Config`](super::Config). Never shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is missing, or may not be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// As given on the command line.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no YAML, so its keys are not known.
    #[error("{}: {problem}", path.display())]
    NotYaml {
        /// As given on the command line.
        path: PathBuf,
        /// Line and column, when they are known, and what was found there.
        problem: String,
    },
    /// The sources were read, and what they say makes no sense.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

/// One setting that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Key path, as in `routes.gorouters[0].url`, or the name of a platform's variable.
    pub key: String,
    /// What to change. Never shows a secret.
    pub problem: String,
}

/// Everything that is wrong, in the order in which it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// Notes that `key` is wrong.
    pub fn add(&mut self, key: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Mistake { key: key.into(), problem: problem.into() });
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("a mistake in the configuration:")?,
            count => write!(f, "{count} mistakes in the configuration:")?,
        }
        for Mistake { key, problem } in &self.0 {
            write!(f, "\n  {key}: {problem}")?;
        }
        Ok(())
    }
}
