//! Mappings with user-defined names.

use super::{Read, Section, Value, ValueKind, sources};
use crate::domain::MASK;
use secrecy::SecretString;
use std::collections::BTreeMap;
use yaml_rust2::{Yaml, yaml::Hash};

impl Section<'_> {
    /// Reads lists of texts below `key`. A single text is a list with one item.
    pub(in crate::config) fn lists<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<BTreeMap<String, Vec<T>>> {
        let value = self.take(key).unwrap_or_else(|| Value::new(None, super::Table::new()));
        let table: BTreeMap<_, _> = self.table_of(key, value)?.into_iter().collect();
        let (mut lists, mut effective) = (Vec::new(), Hash::new());
        for (name, value) in table {
            let values = match sources::json(&value).unwrap_or_else(|| value.kind.clone()) {
                ValueKind::Array(values) => values,
                _ => vec![value],
            };
            let (mut items, mut shown) = (Vec::new(), Vec::new());
            for (index, value) in values.iter().enumerate() {
                let item = self.text_of(&format!("{key}.{name}[{index}]"), value, &parse);
                items.push(item.map(|(text, item)| {
                    shown.push(Yaml::String(text));
                    item
                }));
            }
            effective.insert(Yaml::String(name.clone()), Yaml::Array(shown));
            let items: Read<Vec<T>> = items.into_iter().collect();
            lists.push(items.map(|items| (name, items)));
        }
        self.show_yaml(key, Yaml::Hash(effective));
        lists.into_iter().collect()
    }

    /// Reads a list of texts below `key`, or one text with commas between the items.
    pub(in crate::config) fn separated<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Vec<T>> {
        if let Some(value) = self.table.get_mut(key)
            && let ValueKind::String(text) = &value.kind
            && !text.trim().is_empty()
            && !matches!(sources::json(value), Some(ValueKind::Array(_)))
        {
            let origin = value.origin().map(str::to_owned);
            let item = |text: &str| Value::new(origin.as_ref(), text);
            let items = text.split(',').map(item).collect();
            value.kind = ValueKind::Array(items);
        }
        self.texts(key, parse)
    }

    /// Like [`separated`](Self::separated), with a default of one item. A single item is shown as a
    /// text, and its key has no index.
    pub(in crate::config) fn one_or_more<T>(
        &mut self,
        key: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Vec<T>> {
        let is_list = self.table.get(key).is_some_and(|value| match &value.kind {
            ValueKind::Array(_) => true,
            ValueKind::String(text) => {
                text.contains(',') || matches!(sources::json(value), Some(ValueKind::Array(_)))
            }
            _ => false,
        });
        if !is_list {
            return self.value(key, default, parse).map(|item| vec![item]);
        }
        match self.separated(key, parse)? {
            none if none.is_empty() => Err(self.mistake(key, "is an empty list")),
            items => Ok(items),
        }
    }

    /// Reads secrets below `key`, by name.
    pub(in crate::config) fn secrets(&mut self, key: &str) -> Read<BTreeMap<String, SecretString>> {
        let value = self.take(key).unwrap_or_else(|| Value::new(None, super::Table::new()));
        let table: BTreeMap<_, _> = self.table_of(key, value)?.into_iter().collect();
        let (mut secrets, mut effective) = (Vec::new(), Hash::new());
        for (name, value) in table {
            let parse = |text: &str| match text.chars().any(char::is_control) {
                true => Err("contains a control character".to_owned()),
                false => Ok(SecretString::from(text)),
            };
            effective.insert(Yaml::String(name.clone()), Yaml::String(MASK.to_owned()));
            let secret = self.text_of(&format!("{key}.{name}"), &value, parse);
            secrets.push(secret.map(|(_, secret)| (name, secret)));
        }
        self.show_yaml(key, Yaml::Hash(effective));
        secrets.into_iter().collect()
    }

    /// Reads mappings below `key`, by name.
    pub(in crate::config) fn named<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Section<'_>) -> Read<T>,
    ) -> Read<BTreeMap<String, T>> {
        let value =
            self.take_container(key).unwrap_or_else(|| Value::new(None, super::Table::new()));
        let table: BTreeMap<_, _> = self.table_of(key, value)?.into_iter().collect();
        let (mut levels, mut effective) = (Vec::new(), Hash::new());
        for (name, value) in table {
            let item = format!("{key}.{name}");
            let level = self.table_of(&item, value).map(|table| {
                let path = self.path_of(&item);
                self.level(path, table, &mut read)
            });
            let (read, yaml) = level.unwrap_or_else(|mistake| (Err(mistake), Yaml::Null));
            effective.insert(Yaml::String(name.clone()), yaml);
            levels.push(read.map(|read| (name, read)));
        }
        self.show_yaml(key, Yaml::Hash(effective));
        levels.into_iter().collect()
    }

    fn text_of<T>(
        &mut self,
        key: &str,
        value: &Value,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<(String, T)> {
        let text = match &value.kind {
            ValueKind::String(text) => text.clone(),
            ValueKind::Boolean(flag) => flag.to_string(),
            ValueKind::I64(number) => number.to_string(),
            _ => {
                return Err(self.mistake_at(
                    key,
                    value.origin(),
                    "must be a text; put it into quotes",
                ));
            }
        };
        match parse(&text) {
            Ok(parsed) => Ok((text, parsed)),
            Err(problem) => Err(self.mistake_at(key, value.origin(), &problem)),
        }
    }
}
