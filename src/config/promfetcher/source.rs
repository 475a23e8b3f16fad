//! Reads promfetcher's YAML and keeps each value as written.
//!
//! promfetcher's parser reads a string field literally: the password 0123 stays 0123, while a
//! parser without types reads a number. This reader therefore keeps all scalars as text.

use crate::config::{
    ConfigError,
    sources::{self, Table},
};
use ::config::{Value, ValueKind};
use std::{collections::HashMap, path::Path};
use yaml_rust2::{
    ScanError,
    parser::{Event, MarkedEventReceiver, Parser},
    scanner::{Marker, TScalarStyle},
};

/// Limit on expanded aliases. A file written by hand is smaller.
const MAX_VALUES: usize = 100_000;

/// Reads the keys of the file, all scalars as text.
pub(super) fn file(path: &Path) -> Result<Table, ConfigError> {
    let text = sources::text(path)?;
    let not_yaml = |problem| ConfigError::NotYaml { path: path.to_owned(), problem };
    let mut tree = Tree::default();
    let parsed = Parser::new_from_str(&text).load(&mut tree, true);
    parsed.map_err(|error: ScanError| not_yaml(sources::syntax(&error)))?;
    match (tree.problem, tree.documents.as_mut_slice()) {
        (Some(problem), _) => Err(not_yaml(problem)),
        (None, [ValueKind::Table(table)]) => Ok(std::mem::take(table)),
        (None, [] | [ValueKind::Nil]) => Ok(Table::new()),
        (None, _) => Err(not_yaml("is not one YAML document of keys with values".to_owned())),
    }
}

#[derive(Default)]
struct Tree {
    documents: Vec<ValueKind>,
    open: Vec<Open>,
    anchors: HashMap<usize, (ValueKind, usize)>,
    values: usize,
    problem: Option<String>,
}

/// A list or mapping whose end has not been read.
struct Open {
    kind: OpenKind,
    anchor: usize,
    /// Number of values before it.
    since: usize,
}

enum OpenKind {
    List(Vec<Value>),
    Keys { table: Table, key: Option<String> },
}

impl Tree {
    fn wrong(&mut self, mark: Marker, problem: &str) {
        let (line, column) = (mark.line(), mark.col() + 1);
        self.problem.get_or_insert_with(|| format!("line {line}, column {column}: {problem}"));
    }

    fn open(&mut self, kind: OpenKind, anchor: usize) {
        self.open.push(Open { kind, anchor, since: self.values });
    }

    fn close(&mut self, mark: Marker) {
        let Some(Open { kind, anchor, since }) = self.open.pop() else { return };
        let value = match kind {
            OpenKind::List(values) => ValueKind::Array(values),
            OpenKind::Keys { table, .. } => ValueKind::Table(table),
        };
        self.add(value, self.values - since, anchor, mark);
    }

    fn add(&mut self, value: ValueKind, size: usize, anchor: usize, mark: Marker) {
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), size + 1));
        }
        self.values += 1;
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.documents.push(value),
            Some(OpenKind::List(values)) => values.push(Value::new(None, value)),
            Some(OpenKind::Keys { table, key }) => match (key.take(), value) {
                (None, ValueKind::String(text)) => *key = Some(text),
                (None, _) => self.wrong(mark, "a key must be a text"),
                (Some(key), value) => {
                    if table.insert(key, Value::new(None, value)).is_some() {
                        self.wrong(mark, "the same key is given twice");
                    }
                }
            },
        }
    }

    fn repeat(&mut self, anchor: usize, mark: Marker) {
        let Some((value, size)) = self.anchors.get(&anchor).cloned() else {
            return self.wrong(mark, "an alias refers to a value that contains it");
        };
        if self.values + size > MAX_VALUES {
            return self.wrong(mark, "there are too many values");
        }
        self.values += size;
        self.add(value, size, 0, mark);
    }
}

impl MarkedEventReceiver for Tree {
    fn on_event(&mut self, event: Event, mark: Marker) {
        // Drops what follows the first problem, so that memory use stays bounded.
        if self.problem.is_some() {
            return;
        }
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_null = style == TScalarStyle::Plain
                    && ["", "~", "null", "Null", "NULL"].contains(&text.as_str());
                let value = if is_null { ValueKind::Nil } else { ValueKind::String(text) };
                self.add(value, 0, anchor, mark);
            }
            Event::SequenceStart(anchor, _) => self.open(OpenKind::List(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => {
                self.open(OpenKind::Keys { table: Table::new(), key: None }, anchor);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(mark),
            Event::Alias(anchor) => self.repeat(anchor, mark),
            _ => {}
        }
    }
}
