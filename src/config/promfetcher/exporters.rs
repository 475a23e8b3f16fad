//! Converts external exporters. Names, defaults and templates stay the same.

use super::fields::text;
use crate::{
    config::{
        document::Document,
        section::{Read, Section},
        values,
    },
    domain::MetricsPath,
};
use ::config::{Value, ValueKind};
use yaml_rust2::{Yaml, yaml::Hash};

const WRONG_PARAMS: &str = "must be keys with lists of texts";

pub(super) fn convert(s: &mut Section<'_>, to: &mut Document) {
    let exporters = s.list("external_exporters", |s| Ok(exporter(s))).unwrap_or_default();
    let exporters: Vec<Yaml> = exporters.into_iter().flatten().collect();
    if !exporters.is_empty() {
        to.set_yaml(&["external_exporters"], Yaml::Array(exporters));
    }
}

fn exporter(s: &mut Section<'_>) -> Read<Yaml> {
    let name = s.optional("name", text);
    let host = s.required("host", text);
    let schemes = [("http", "http"), ("https", "https")];
    let scheme = s.optional("scheme", values::choice(&schemes));
    let path = s.optional("metrics_path", |path| match path.parse::<MetricsPath>() {
        Ok(_) => text(path),
        Err(problem) => Err(problem.to_string()),
    });
    let params = params(s);
    let mut exporter = Hash::new();
    let mut set = |key: &str, value: Yaml| exporter.insert(Yaml::String(key.to_owned()), value);
    if let Some(name) = name? {
        set("name", Yaml::String(name));
    }
    set("host", Yaml::String(host?));
    if let Some(scheme) = scheme? {
        set("scheme", Yaml::String(scheme.to_owned()));
    }
    if let Some(path) = path? {
        set("metrics_path", Yaml::String(path));
    }
    let params = params?;
    if !params.is_empty() {
        set("params", Yaml::Hash(params));
    }
    Ok(Yaml::Hash(exporter))
}

/// Reads names with lists of texts. Sorted by name, because the order in the file is lost when it
/// is parsed.
fn params(s: &mut Section<'_>) -> Read<Hash> {
    let mut params: Vec<_> = match s.take("params").map(|value| value.kind) {
        None => return Ok(Hash::new()),
        Some(ValueKind::Table(table)) => table.into_iter().collect(),
        Some(_) => {
            return Err(s.mistake("params", WRONG_PARAMS));
        }
    };
    params.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut converted = Vec::new();
    for (name, value) in params {
        let values = list(value).ok_or_else(|| s.mistake("params", WRONG_PARAMS));
        converted.push(values.map(|values| (Yaml::String(name), Yaml::Array(values))));
    }
    converted.into_iter().collect()
}

fn list(value: Value) -> Option<Vec<Yaml>> {
    let ValueKind::Array(values) = value.kind else { return None };
    values
        .into_iter()
        .map(|value| match value.kind {
            ValueKind::String(text) => Some(Yaml::String(text)),
            ValueKind::Nil => Some(Yaml::String(String::new())),
            _ => None,
        })
        .collect()
}
