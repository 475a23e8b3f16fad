//! Mappings with user-defined names.

use super::{MASK, Section, Value, ValueKind, sources};
use secrecy::SecretString;
use std::collections::BTreeMap;
use yaml_rust2::{Yaml, yaml::Hash};

impl Section<'_> {
    /// Reads lists of texts below `key`. A single text is a list with one item.
    pub(in crate::config) fn lists<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<BTreeMap<String, Vec<T>>> {
        let value = self.take(key).unwrap_or_else(|| Value::new(None, super::Table::new()));
        let table: BTreeMap<_, _> = self.table_of(key, value)?.into_iter().collect();
        let (mut lists, mut effective) = (Some(BTreeMap::new()), Hash::new());
        for (name, value) in table {
            let values = match sources::json(&value).unwrap_or_else(|| value.kind.clone()) {
                ValueKind::Array(values) => values,
                _ => vec![value],
            };
            let mut shown = Vec::new();
            let mut parsed = Some(Vec::new());
            for (index, value) in values.iter().enumerate() {
                let one = self.text_of(&format!("{key}.{name}[{index}]"), value, &parse);
                match (one, &mut parsed) {
                    (Some((text, one)), Some(all)) => {
                        shown.push(Yaml::String(text));
                        all.push(one);
                    }
                    _ => parsed = None,
                }
            }
            effective.insert(Yaml::String(name.clone()), Yaml::Array(shown));
            match (parsed, &mut lists) {
                (Some(parsed), Some(lists)) => {
                    lists.insert(name, parsed);
                }
                _ => lists = None,
            }
        }
        self.show_yaml(key, Yaml::Hash(effective));
        lists
    }

    /// Reads secrets below `key`, by name.
    pub(in crate::config) fn secrets(
        &mut self,
        key: &str,
    ) -> Option<BTreeMap<String, SecretString>> {
        let value = self.take(key).unwrap_or_else(|| Value::new(None, super::Table::new()));
        let table: BTreeMap<_, _> = self.table_of(key, value)?.into_iter().collect();
        let (mut secrets, mut effective) = (Some(BTreeMap::new()), Hash::new());
        for (name, value) in table {
            let parse = |text: &str| match text.chars().any(char::is_control) {
                true => Err("contains a control character".to_owned()),
                false => Ok(SecretString::from(text)),
            };
            effective.insert(Yaml::String(name.clone()), Yaml::String(MASK.to_owned()));
            match (self.text_of(&format!("{key}.{name}"), &value, parse), &mut secrets) {
                (Some((_, secret)), Some(secrets)) => drop(secrets.insert(name, secret)),
                _ => secrets = None,
            }
        }
        self.show_yaml(key, Yaml::Hash(effective));
        secrets
    }

    /// Reads mappings below `key`, by name.
    pub(in crate::config) fn named<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Section<'_>) -> Option<T>,
    ) -> Option<BTreeMap<String, T>> {
        let value = self.take(key).unwrap_or_else(|| Value::new(None, super::Table::new()));
        let table: BTreeMap<_, _> = self.table_of(key, value)?.into_iter().collect();
        let (mut levels, mut effective) = (Some(BTreeMap::new()), Hash::new());
        for (name, value) in table {
            let item = format!("{key}.{name}");
            let level = self.table_of(&item, value).map(|table| {
                let path = self.path_of(&item);
                self.level(path, table, &mut read)
            });
            let (read, yaml) = level.unwrap_or((None, Yaml::Null));
            effective.insert(Yaml::String(name.clone()), yaml);
            match (read, &mut levels) {
                (Some(read), Some(levels)) => drop(levels.insert(name, read)),
                _ => levels = None,
            }
        }
        self.show_yaml(key, Yaml::Hash(effective));
        levels
    }

    fn text_of<T>(
        &mut self,
        key: &str,
        value: &Value,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<(String, T)> {
        let text = match &value.kind {
            ValueKind::String(text) => text.clone(),
            ValueKind::Boolean(flag) => flag.to_string(),
            ValueKind::I64(number) => number.to_string(),
            _ => {
                self.mistake_at(key, value.origin(), "must be a text; put it into quotes");
                return None;
            }
        };
        match parse(&text) {
            Ok(parsed) => Some((text, parsed)),
            Err(problem) => {
                self.mistake_at(key, value.origin(), &problem);
                None
            }
        }
    }
}
