//! The effective settings, and where their values come from, for printing.

use super::Mistakes;
use ::config::Value;
use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};
use yaml_rust2::{Yaml, YamlEmitter, yaml::Hash};

/// Origin of a value that no layer sets.
pub(super) const DEFAULT: &str = "default";
/// Origin of a value of the configuration file.
const FILE: &str = "file";

/// The effective settings as YAML that can be loaded again. Secrets are masked.
#[derive(Clone, Debug)]
pub struct Effective {
    pub(super) settings: Yaml,
    pub(super) origins: Origins,
}

/// Like [`Effective`], with a comment after each value that names its origin: the file, a variable
/// or a flag.
#[derive(Clone, Copy, Debug)]
pub struct WithOrigins<'a>(&'a Effective);

impl Effective {
    pub fn with_origins(&self) -> WithOrigins<'_> {
        WithOrigins(self)
    }

    /// Whether no source sets the value at `path`.
    pub fn is_default(&self, path: &str) -> bool {
        self.origins.of(path, false) == DEFAULT
    }

    /// Adds a mistake in `key` that was found later, and names the variable or flag that set its value.
    pub fn add_mistake(&self, mistakes: &mut Mistakes, key: String, problem: String) {
        let problem = with_origin(problem, self.origins.named(&key));
        mistakes.add(key, problem);
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&dump(&self.settings)?)
    }
}

impl fmt::Display for WithOrigins<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Effective { settings, origins } = self.0;
        let Yaml::Hash(settings) = settings else { return Err(fmt::Error) };
        let mut writer = Writer { origins, text: String::new() };
        writer.entries(settings, "", 0)?;
        f.write_str(writer.text.trim_end())
    }
}

/// Names the variable or flag that set a wrong value.
pub(super) fn with_origin(problem: String, origin: Option<&str>) -> String {
    match origin {
        Some(origin) => format!("{problem} (set by {origin})"),
        None => problem,
    }
}

/// Origins of values, by the paths of their keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    values: BTreeMap<String, String>,
    /// Origins of mappings and lists. They apply only to empty ones, because each item has an
    /// origin of its own.
    containers: BTreeMap<String, String>,
}

impl Origins {
    pub(super) fn note(&mut self, path: String, value: &Value) {
        self.values.insert(path, value.origin().unwrap_or(FILE).to_owned());
    }

    pub(super) fn note_container(&mut self, path: String, value: &Value) {
        self.containers.insert(path, value.origin().unwrap_or(FILE).to_owned());
    }

    /// Notes that `source` provides the default of a value.
    pub(super) fn note_default(&mut self, path: String, source: &str) {
        self.values.entry(path).or_insert_with(|| source.to_owned());
    }

    /// Notes that `source` changed a part of a value.
    pub(super) fn add(&mut self, path: String, source: &str) {
        let origin = format!("{} and {source}", self.of(&path, false));
        self.values.insert(path, origin);
    }

    /// The variable or flag that set the value at `path`, or the list that contains it.
    pub(super) fn named(&self, path: &str) -> Option<&str> {
        Some(self.of(path, false)).filter(|origin| ![DEFAULT, FILE].contains(origin))
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.values.extend(other.values);
        self.containers.extend(other.containers);
    }

    /// The origin of the value at `path`. An item of a list of texts has the origin of the list.
    fn of(&self, path: &str, is_container: bool) -> &str {
        let container = self.containers.get(path).filter(|_| is_container);
        let mut path = path;
        let mut found = container.or_else(|| self.values.get(path));
        while let (None, Some(end)) = (found, path.rfind(['.', '['])) {
            path = path.get(..end).unwrap_or_default();
            found = self.values.get(path);
        }
        found.map_or(DEFAULT, String::as_str)
    }
}

/// Writes YAML with comments. A value is always on one line.
struct Writer<'a> {
    origins: &'a Origins,
    text: String,
}

impl Writer<'_> {
    fn entries(&mut self, entries: &Hash, path: &str, indent: usize) -> fmt::Result {
        for (index, (key, value)) in entries.iter().enumerate() {
            // The first key of an item follows its dash.
            if index > 0 || !self.text.ends_with("- ") {
                self.indent(indent);
            }
            write!(self.text, "{}:", dump(key)?)?;
            let dot = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{dot}{}", key.as_str().unwrap_or_default());
            match value {
                Yaml::Hash(entries) if !entries.is_empty() => {
                    self.text.push('\n');
                    self.entries(entries, &path, indent + 2)?;
                }
                Yaml::Array(items) if !items.is_empty() => {
                    self.text.push('\n');
                    self.items(items, &path, indent + 2)?;
                }
                leaf => {
                    self.text.push(' ');
                    self.leaf(leaf, &path)?;
                }
            }
        }
        Ok(())
    }

    fn items(&mut self, items: &[Yaml], path: &str, indent: usize) -> fmt::Result {
        for (index, item) in items.iter().enumerate() {
            self.indent(indent);
            self.text.push_str("- ");
            let path = format!("{path}[{index}]");
            match item {
                Yaml::Hash(entries) if !entries.is_empty() => {
                    self.entries(entries, &path, indent + 2)?;
                }
                leaf => self.leaf(leaf, &path)?,
            }
        }
        Ok(())
    }

    fn leaf(&mut self, leaf: &Yaml, path: &str) -> fmt::Result {
        let is_container = matches!(leaf, Yaml::Hash(_) | Yaml::Array(_));
        let origin = self.origins.of(path, is_container);
        writeln!(self.text, "{} # {origin}", dump(leaf)?)
    }

    fn indent(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
    }
}

fn dump(yaml: &Yaml) -> Result<String, fmt::Error> {
    let mut text = String::new();
    YamlEmitter::new(&mut text).dump(yaml).map_err(|_| fmt::Error)?;
    Ok(text.trim_start_matches("---\n").trim_start_matches("--- ").to_owned())
}
