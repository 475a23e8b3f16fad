//! Builds Scrapebroker's configuration file key by key.

use std::fmt;
use yaml_rust2::{Yaml, YamlEmitter, yaml::Hash};

/// The settings and comments for the operator.
#[derive(Default)]
pub(super) struct Document {
    settings: Hash,
    unsupported: Vec<String>,
    remarks: Vec<String>,
}

impl Document {
    /// Sets a key. `path` has one name per level.
    pub(super) fn set(&mut self, path: &[&str], value: impl Into<Text>) {
        self.set_yaml(path, value.into().0);
    }

    pub(super) fn set_yaml(&mut self, path: &[&str], value: Yaml) {
        set(&mut self.settings, path, value);
    }

    /// Notes that promfetcher's `key` has no counterpart, and why.
    pub(super) fn unsupported(&mut self, key: &str, why: &str) {
        self.unsupported.push(format!("{key}: {why}"));
    }

    /// Adds a comment about `key` that the operator should read.
    pub(super) fn remark(&mut self, key: &str, what: &str) {
        self.remarks.push(format!("{key}: {what}"));
    }
}

/// A scalar. Strings are written so that YAML reads them as strings.
pub(super) struct Text(Yaml);

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Yaml::String(text.to_owned()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Yaml::String(text))
    }
}

impl From<bool> for Text {
    fn from(flag: bool) -> Self {
        Self(Yaml::Boolean(flag))
    }
}

impl From<u32> for Text {
    fn from(number: u32) -> Self {
        Self(Yaml::Integer(number.into()))
    }
}

fn set(level: &mut Hash, path: &[&str], value: Yaml) {
    let Some((key, deeper)) = path.split_first() else { return };
    let key = Yaml::String((*key).to_owned());
    if deeper.is_empty() {
        level.insert(key, value);
        return;
    }
    let next = level.entry(key).or_insert_with(|| Yaml::Hash(Hash::new()));
    if let Yaml::Hash(next) = next {
        set(next, deeper, value);
    }
}

const HEAD: &str = "\
# Settings of Scrapebroker, converted from promfetcher's. Contains secrets in plain text.
";
const UNSUPPORTED: &str = "\
#
# These keys of promfetcher have no counterpart:
";
const REMARKS: &str = "\
#
# Please check:
";

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        for (title, lines) in [(UNSUPPORTED, &self.unsupported), (REMARKS, &self.remarks)] {
            if !lines.is_empty() {
                f.write_str(title)?;
            }
            for line in lines {
                writeln!(f, "#   {line}")?;
            }
        }
        let mut text = String::new();
        let mut emitter = YamlEmitter::new(&mut text);
        emitter.multiline_strings(true);
        emitter.dump(&Yaml::Hash(self.settings.clone())).map_err(|_| fmt::Error)?;
        f.write_str(text.trim_start_matches("---\n"))
    }
}
