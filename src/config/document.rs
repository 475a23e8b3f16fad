//! Builds a configuration file key by key, from the settings of another program.

use std::fmt;
use yaml_rust2::{Yaml, YamlEmitter, yaml::Hash};

/// The settings and comments for the operator.
pub(super) struct Document {
    program: &'static str,
    settings: Hash,
    unsupported: Vec<String>,
    remarks: Vec<String>,
}

impl Document {
    /// `program` is the program whose settings are converted.
    pub(super) fn new(program: &'static str) -> Self {
        Self { program, settings: Hash::new(), unsupported: Vec::new(), remarks: Vec::new() }
    }

    /// Sets a key. `path` has one name per level.
    pub(super) fn set(&mut self, path: &[&str], value: impl Into<Text>) {
        self.set_yaml(path, value.into().0);
    }

    pub(super) fn set_yaml(&mut self, path: &[&str], value: Yaml) {
        set(&mut self.settings, path, value);
    }

    /// Notes that `key` of the program has no counterpart, and why.
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

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, unsupported, remarks, .. } = self;
        writeln!(
            f,
            "# Settings of Scrapebroker, converted from those of {program}. Contains secrets in plain text."
        )?;
        let unsupported_title = format!("These keys of {program} have no counterpart:");
        for (title, lines) in [(&*unsupported_title, unsupported), ("Please check:", remarks)] {
            if !lines.is_empty() {
                writeln!(f, "#\n# {title}")?;
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
