//! The settings in force, for people and for feeding back.

use std::fmt;
use yaml_rust2::{Yaml, YamlEmitter};

/// All settings in force, as YAML that can be loaded again; secrets are masked.
#[derive(Clone, Debug)]
pub struct Effective(pub(super) Yaml);

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        YamlEmitter::new(&mut text).dump(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(text.trim_start_matches("---\n"))
    }
}
