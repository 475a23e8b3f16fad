//! Merges the sources of settings: the file first, then the environment, then flags.
//!
//! The builder of the `config` crate is not used for this: it treats a key as a path, so
//! `log.level` could appear twice in a file, and the order of a hash map would decide which one
//! counts.

use super::ConfigError;
use ::config::{FileFormat, Source, Value, ValueKind};
use std::{collections::BTreeMap, path::Path};
use yaml_rust2::ScanError;

/// The keys of one level and their values.
pub(super) type Table = ::config::Map<String, Value>;

/// Prefix of variables that are settings. The rest of the name is the key path, with two
/// underscores between levels.
pub(super) const PREFIX: &str = "SCRAPEBROKER__";

/// Reads a YAML file.
pub(super) fn file(path: &Path) -> Result<Table, ConfigError> {
    yaml(&text(path)?).map_err(|problem| ConfigError::NotYaml { path: path.to_owned(), problem })
}

pub(super) fn text(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let not_yaml = |problem| ConfigError::NotYaml { path: path.to_owned(), problem };
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let line =
            bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
        not_yaml(format!("line {line}: is not UTF-8"))
    })?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

fn yaml(text: &str) -> Result<Table, String> {
    let file = ::config::File::from_str(text, FileFormat::Yaml);
    // Only syntax errors are reported in detail: other errors quote the value, which may be a
    // secret.
    file.collect().map_err(|error| {
        let cause = match &error {
            ::config::ConfigError::FileParse { cause, .. } => cause.downcast_ref::<ScanError>(),
            _ => None,
        };
        let other = "is not one YAML document of keys with values, as in `listen: 0.0.0.0:8085`";
        cause.map_or_else(|| other.to_owned(), syntax)
    })
}

/// Describes a syntax error and its position.
pub(super) fn syntax(error: &ScanError) -> String {
    let (line, column) = (error.marker().line(), error.marker().col() + 1);
    let what = match error.info() {
        info if info.ends_with("duplicated key in mapping") => "the same key is given twice",
        info => info,
    };
    format!("line {line}, column {column}: {what}")
}

/// Variables that exporters use, and the keys that they set.
const OF_EXPORTERS: [(&str, &[&str]); 2] =
    [("LISTEN_ADDRESS", &["listen"]), ("WEB_TELEMETRY_PATH", &["telemetry", "path"])];

/// Overrides `table` with the settings of `environment`. An empty variable counts as not set. A
/// variable with the name of a key takes precedence over one of exporters, which other programs use
/// too.
pub(super) fn environment(table: &mut Table, environment: &BTreeMap<String, String>) {
    for (name, path) in OF_EXPORTERS {
        if let Some(text) = environment.get(name).filter(|text| !text.trim().is_empty()) {
            let value = ValueKind::String(text.clone());
            set(table, path, Value::new(Some(&name.to_owned()), value));
        }
    }
    // Sorted by name, `X__BROKER` precedes `X__BROKER__PASSWORD`.
    for (name, text) in environment {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        if !text.trim().is_empty() {
            let path = path.to_ascii_lowercase();
            let keys: Vec<&str> = path.split("__").collect();
            set(table, &keys, Value::new(Some(name), ValueKind::String(text.clone())));
        }
    }
}

pub(super) fn set(table: &mut Table, keys: &[&str], value: Value) {
    let Some((key, deeper)) = keys.split_first() else { return };
    let origin = value.origin().map(str::to_owned);
    let place = table
        .entry((*key).to_owned())
        .or_insert_with(|| Value::new(origin.as_ref(), ValueKind::Nil));
    if deeper.is_empty() {
        let object = json_object(&value);
        match (&mut place.kind, object) {
            (ValueKind::Table(table), Some(object)) => merge(table, object),
            _ => *place = value,
        }
    } else {
        if !matches!(place.kind, ValueKind::Table(_)) {
            let object = json_object(place).unwrap_or_default();
            *place = Value::new(origin.as_ref(), ValueKind::Table(object));
        }
        if let ValueKind::Table(table) = &mut place.kind {
            set(table, deeper, value);
        }
    }
}

fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key).map(|old| &mut old.kind), value) {
            (Some(ValueKind::Table(old)), Value { kind: ValueKind::Table(new), .. }) => {
                merge(old, new);
            }
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

fn json_object(value: &Value) -> Option<Table> {
    match json(value)? {
        ValueKind::Table(table) => Some(table),
        _ => None,
    }
}

/// Parses a text as JSON. Variables set lists this way.
pub(super) fn json(value: &Value) -> Option<ValueKind> {
    let ValueKind::String(text) = &value.kind else { return None };
    let parsed = serde_json::from_str(text).ok()?;
    Some(from_json(parsed, value.origin().map(str::to_owned).as_ref()).kind)
}

fn from_json(json: serde_json::Value, origin: Option<&String>) -> Value {
    use serde_json::Value as Json;
    let kind = match json {
        Json::Null => ValueKind::Nil,
        Json::Bool(flag) => ValueKind::Boolean(flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => ValueKind::I64(number),
            None => ValueKind::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => ValueKind::String(text),
        Json::Array(values) => {
            ValueKind::Array(values.into_iter().map(|value| from_json(value, origin)).collect())
        }
        Json::Object(values) => ValueKind::Table(
            values.into_iter().map(|(key, value)| (key, from_json(value, origin))).collect(),
        ),
    };
    Value::new(origin, kind)
}
