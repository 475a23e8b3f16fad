//! Mistakes in a configuration.

use std::{fmt, io, path::PathBuf};

/// Why the configuration cannot be used. Never shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// The file is not valid YAML.
    #[error("{}: {problem}", path.display())]
    NotYaml {
        /// As given on the command line.
        path: PathBuf,
        /// Line and column if known, and what is wrong.
        problem: String,
    },
    /// All sources could be read, and some settings are wrong.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

/// A wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Key path, for example `routes.gorouters[0].url`, or the name of a platform's variable.
    pub key: String,
    /// Tells the user what to change. Never shows a secret.
    pub problem: String,
}

/// All mistakes in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
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
