//! Reads typed values from a [`Table`] key by key.
//!
//! A wrong value is recorded and reading continues, so that one run reports all mistakes. Keys that
//! were never read are unknown keys. A check of two keys with `if let (Ok(a), Ok(b))` reports no
//! value twice.

mod lists;

use super::{
    Mistakes,
    effective::{DEFAULT, Effective, Origins, with_origin},
    sources::{self, Table},
    values::{path, without_query_values},
};
use crate::{
    domain::{BasicAuth, MASK},
    tls::{Pem, PemSource},
};
use ::config::{Value, ValueKind};
use secrecy::SecretString;
use yaml_rust2::{Yaml, yaml::Hash};

/// The mistake was recorded in [`Mistakes`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded;

/// A value, or nothing because it is wrong.
pub(super) type Read<T> = Result<T, Recorded>;

/// The keys of one level of the configuration.
pub(super) struct Section<'r> {
    path: String,
    table: Table,
    known: Vec<String>,
    effective: Hash,
    origins: Origins,
    mistakes: &'r mut Mistakes,
}

/// A text that is set directly or in a file.
struct Text {
    text: String,
    from_file: bool,
}

impl<'r> Section<'r> {
    /// The top level.
    pub(super) fn root(table: Table, mistakes: &'r mut Mistakes) -> Self {
        Self::new(String::new(), table, mistakes)
    }

    fn new(path: String, table: Table, mistakes: &'r mut Mistakes) -> Self {
        let (known, effective, origins) = (Vec::new(), Hash::new(), Origins::default());
        Self { path, table, known, effective, origins, mistakes }
    }

    fn path_of(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// Records a mistake in `key`, and names the variable or flag that set its value.
    pub(super) fn mistake(&mut self, key: &str, problem: impl Into<String>) -> Recorded {
        let origin = self.origins.named(&self.path_of(key)).map(str::to_owned);
        self.mistake_at(key, origin.as_deref(), &problem.into())
    }

    /// Like [`mistake`](Self::mistake), with the variable or flag.
    fn mistake_at(&mut self, key: &str, origin: Option<&str>, problem: &str) -> Recorded {
        let key = self.path_of(key);
        self.mistakes.add(key, with_origin(problem.to_owned(), origin));
        Recorded
    }

    /// Sets the effective value of `key`.
    pub(super) fn show(&mut self, key: &str, text: impl Into<String>) {
        self.effective.insert(Yaml::String(key.to_owned()), Yaml::String(text.into()));
    }

    /// Sets the effective value of a key of [`one_or_more`](Self::one_or_more).
    pub(super) fn show_one_or_more(&mut self, key: &str, items: &[impl ToString]) {
        let texts = items.iter().map(|item| Yaml::String(item.to_string()));
        let yaml = match items {
            [one] => Yaml::String(one.to_string()),
            _ => Yaml::Array(texts.collect()),
        };
        self.show_yaml(key, yaml);
    }

    fn show_yaml(&mut self, key: &str, yaml: Yaml) {
        self.effective.insert(Yaml::String(key.to_owned()), yaml);
    }

    /// Notes that `source` provides the default of `key`.
    pub(super) fn default_is_of(&mut self, key: &str, source: &str) {
        self.origins.note_default(self.path_of(key), source);
    }

    /// Notes that `source` changed a part of the value of `key`.
    pub(super) fn changed_by(&mut self, key: &str, source: &str) {
        self.origins.add(self.path_of(key), source);
    }

    /// Returns the value of `key`, and notes its origin. An empty text counts as not set.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        let value = self.take_from_table(key)?;
        self.origins.note(self.path_of(key), &value);
        Some(value)
    }

    /// Like [`take`](Self::take), for a mapping or list whose items have their own origins.
    fn take_container(&mut self, key: &str) -> Option<Value> {
        let value = self.take_from_table(key)?;
        self.origins.note_container(self.path_of(key), &value);
        Some(value)
    }

    fn take_from_table(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        self.table.remove(key).filter(|value| match &value.kind {
            ValueKind::Nil => false,
            ValueKind::String(text) => !text.trim().is_empty(),
            _ => true,
        })
    }

    /// Reads a value with a default, which is written as in a file.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Read<T> {
        let value = self.take(key).unwrap_or_else(|| default.into());
        self.parsed(key, &value, parse)
    }

    /// Reads an optional value.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Read<Option<T>> {
        match self.take(key) {
            Some(value) => self.parsed(key, &value, parse).map(Some),
            None => {
                self.show_yaml(key, Yaml::Null);
                Ok(None)
            }
        }
    }

    /// Reads a required value.
    pub(super) fn required<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Read<T> {
        self.optional(key, parse)?.ok_or_else(|| self.mistake(key, "is missing"))
    }

    fn parsed<T>(
        &mut self,
        key: &str,
        value: &Value,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Read<T> {
        let text = match &value.kind {
            ValueKind::String(text) => text.trim().to_owned(),
            ValueKind::Boolean(flag) => flag.to_string(),
            ValueKind::I64(number) => number.to_string(),
            ValueKind::Float(number) => number.to_string(),
            _ => {
                return Err(self.mistake_at(key, value.origin(), "must be one value"));
            }
        };
        match parse(&text) {
            Ok(parsed) => {
                self.show_yaml(key, plain(&without_query_values(&text)));
                Ok(parsed)
            }
            Err(problem) => Err(self.mistake_at(key, value.origin(), &problem)),
        }
    }

    /// Reads a text exactly as written, or the path in `<key>_file`, and which of the two it is.
    fn given(&mut self, key: &str) -> Read<Option<(Value, String, bool)>> {
        let file_key = format!("{key}_file");
        let (inline, file) = (self.take(key), self.take(&file_key));
        let (value, from_file) = match (inline, file) {
            (None, None) => return Ok(None),
            (Some(value), None) => (value, false),
            (None, Some(value)) => (value, true),
            (Some(_), Some(_)) => {
                return Err(self.mistake(key, format!("is given twice: here and as {file_key}")));
            }
        };
        let key = if from_file { &file_key } else { key };
        // YAML reads 007 as the number 7.
        let ValueKind::String(text) = value.kind.clone() else {
            return Err(self.mistake_at(key, value.origin(), "must be a text; put it into quotes"));
        };
        Ok(Some((value, text, from_file)))
    }

    fn text(&mut self, key: &str) -> Read<Option<Text>> {
        let Some((value, text, from_file)) = self.given(key)? else { return Ok(None) };
        if !from_file {
            return Ok(Some(Text { text, from_file }));
        }
        let key = &format!("{key}_file");
        match read_secret(&text) {
            Ok(secret) => {
                self.show(key, text);
                Ok(Some(Text { text: secret, from_file }))
            }
            Err(problem) => Err(self.mistake_at(key, value.origin(), &problem)),
        }
    }

    /// Reads certificates or a key from `key`, or the path of their file from `<key>_file`. The
    /// file is not read yet, because it may change.
    pub(super) fn pem(&mut self, key: &str) -> Read<Option<Pem>> {
        let Some((value, text, from_file)) = self.given(key)? else {
            self.show_yaml(key, Yaml::Null);
            return Ok(None);
        };
        let source = match from_file {
            true => {
                let file_key = &format!("{key}_file");
                let path = path(&text).map_err(|it| self.mistake_at(file_key, value.origin(), &it));
                self.show(file_key, text);
                PemSource::File(path?)
            }
            false => {
                if !text.contains("-----BEGIN ") {
                    let problem = format!("is not PEM; a file is named by {key}_file");
                    return Err(self.mistake_at(key, value.origin(), &problem));
                }
                let is_secret = text.contains("PRIVATE KEY");
                self.show(key, if is_secret { MASK } else { &*text });
                PemSource::Inline(text.into())
            }
        };
        Ok(Some(Pem { key: self.path_of(key), source }))
    }

    /// Reads a text from `key`, or from the file that `<key>_file` names.
    pub(super) fn text_or_file<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Read<Option<T>> {
        self.shown(key, |text, _| text.to_owned(), parse)
    }

    /// Like [`text_or_file`](Self::text_or_file), but masked in the effective settings.
    pub(super) fn secret(&mut self, key: &str) -> Read<Option<SecretString>> {
        self.secret_of(key, |text| Ok(text.into()))
    }

    /// Like [`secret`](Self::secret), and parses the value.
    pub(super) fn secret_of<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Read<Option<T>> {
        self.shown(key, |_, _| MASK.to_owned(), parse)
    }

    /// Like [`text_or_file`](Self::text_or_file), with another text in the effective settings.
    pub(super) fn shown_as<T>(
        &mut self,
        key: &str,
        shown: impl FnOnce(&T) -> String,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Read<Option<T>> {
        self.shown(key, |_, parsed| shown(parsed), parse)
    }

    fn shown<T>(
        &mut self,
        key: &str,
        shown: impl FnOnce(&str, &T) -> String,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Read<Option<T>> {
        let Some(Text { text, from_file }) = self.text(key)? else {
            self.show_yaml(key, Yaml::Null);
            return Ok(None);
        };
        match parse(&text) {
            Ok(parsed) => {
                if !from_file {
                    self.show(key, shown(&text, &parsed));
                }
                Ok(Some(parsed))
            }
            Err(problem) => Err(self.mistake(key, problem)),
        }
    }

    /// Both of a user name and a password, or none of them.
    pub(super) fn basic_auth(
        &mut self,
        username: Read<Option<String>>,
        password: Read<Option<SecretString>>,
    ) -> Read<Option<BasicAuth>> {
        match (username?, password?) {
            (Some(username), Some(password)) => Ok(Some(BasicAuth { username, password })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(self.mistake("password", "is missing, and username is set")),
            (None, Some(_)) => Err(self.mistake("username", "is missing, and password is set")),
        }
    }

    /// Reads the keys below `key`.
    pub(super) fn section<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&mut Section<'_>) -> Read<T>,
    ) -> Read<T> {
        let value = self.take_container(key).unwrap_or_else(|| Value::new(None, Table::new()));
        let table = self.table_of(key, value)?;
        let (read, effective) = self.level(self.path_of(key), table, read);
        self.show_yaml(key, effective);
        read
    }

    /// Like [`section`](Self::section), if `key` is set.
    pub(super) fn optional_section<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&mut Section<'_>) -> Read<T>,
    ) -> Read<Option<T>> {
        if self.table.get(key).is_some_and(|value| value.kind != ValueKind::Nil) {
            return self.section(key, read).map(Some);
        }
        self.take(key);
        self.show_yaml(key, Yaml::Null);
        Ok(None)
    }

    fn items(&mut self, key: &str, value: Option<Value>) -> Read<Vec<Value>> {
        let Some(value) = value else { return Ok(Vec::new()) };
        match sources::json(&value).unwrap_or_else(|| value.kind.clone()) {
            ValueKind::Array(values) => Ok(values),
            _ => Err(self.mistake_at(
                key,
                value.origin(),
                "must be a list; write a variable as JSON",
            )),
        }
    }

    /// Reads a list of mappings below `key`.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Section<'_>) -> Read<T>,
    ) -> Read<Vec<T>> {
        let value = self.take_container(key);
        let values = self.items(key, value)?;
        let (mut items, mut effective) = (Vec::new(), Vec::new());
        for (index, value) in values.into_iter().enumerate() {
            let item = format!("{key}[{index}]");
            let level = self.table_of(&item, value).map(|table| {
                let path = self.path_of(&item);
                self.level(path, table, &mut read)
            });
            let (read, yaml) = level.unwrap_or_else(|mistake| (Err(mistake), Yaml::Null));
            items.push(read);
            effective.push(yaml);
        }
        self.show_yaml(key, Yaml::Array(effective));
        items.into_iter().collect()
    }

    /// Reads a list of texts below `key`.
    pub(super) fn texts<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Vec<T>> {
        let value = self.take(key);
        let values = self.items(key, value)?;
        let (mut items, mut effective) = (Vec::new(), Vec::new());
        for (index, item) in values.into_iter().enumerate() {
            let item_key = format!("{key}[{index}]");
            let parsed = match &item.kind {
                ValueKind::String(text) => {
                    effective.push(Yaml::String(without_query_values(text.trim())));
                    parse(text.trim())
                }
                _ => Err("must be a text".to_owned()),
            };
            items.push(
                parsed.map_err(|problem| self.mistake_at(&item_key, item.origin(), &problem)),
            );
        }
        self.show_yaml(key, Yaml::Array(effective));
        items.into_iter().collect()
    }

    /// Like [`texts`](Self::texts), with a default. An empty list is not the default.
    pub(super) fn texts_or<T>(
        &mut self,
        key: &str,
        default: &[&str],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Read<Vec<T>> {
        let is_set = self.table.get(key).is_some_and(|value| value.kind != ValueKind::Nil);
        if !is_set {
            let default: Vec<Value> = default.iter().map(|text| (*text).into()).collect();
            let origin = DEFAULT.to_owned();
            self.table.insert(key.to_owned(), Value::new(Some(&origin), default));
        }
        self.texts(key, parse)
    }

    fn table_of(&mut self, key: &str, value: Value) -> Read<Table> {
        match sources::json(&value).unwrap_or_else(|| value.kind.clone()) {
            ValueKind::Table(table) => Ok(table),
            _ => Err(self.mistake_at(key, value.origin(), "must be keys with values")),
        }
    }

    fn level<T>(
        &mut self,
        path: String,
        table: Table,
        read: impl FnOnce(&mut Section<'_>) -> Read<T>,
    ) -> (Read<T>, Yaml) {
        let mut level = Section::new(path, table, self.mistakes);
        let read = read(&mut level);
        let Effective { settings, origins } = level.finish();
        self.origins.extend(origins);
        (read, settings)
    }

    /// Returns the effective settings. A key that was never read is a mistake.
    pub(super) fn finish(mut self) -> Effective {
        let mut unknown: Vec<_> = std::mem::take(&mut self.table).into_iter().collect();
        unknown.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (key, value) in unknown {
            let problem = match self.nearest(&key) {
                Some(known) => format!("is unknown; did you mean {known}?"),
                None => format!("is unknown; known here are: {}", self.known.join(", ")),
            };
            self.mistake_at(&printable(&key), value.origin(), &problem);
        }
        Effective { settings: Yaml::Hash(self.effective), origins: self.origins }
    }

    fn nearest(&self, key: &str) -> Option<&String> {
        let plain = |key: &str| key.to_lowercase().replace('-', "_");
        let key = plain(key);
        let distance = |known: &&String| strsim::damerau_levenshtein(&plain(known), &key);
        let nearest = self.known.iter().min_by_key(distance)?;
        (distance(&nearest) <= key.len().div_ceil(4)).then_some(nearest)
    }
}

/// Writes numbers and flags without quotes.
fn plain(text: &str) -> Yaml {
    match Yaml::from_str(text) {
        Yaml::Integer(number) if number.to_string() == text => Yaml::Integer(number),
        Yaml::Boolean(flag) if flag.to_string() == text => Yaml::Boolean(flag),
        _ => Yaml::String(text.to_owned()),
    }
}

/// Hides keys such as `password:secret`, in which a missing blank after the colon made the secret
/// part of the key.
fn printable(key: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let plain: String = key.chars().take(60).take_while(|c| is_plain(*c)).collect();
    if plain.len() < key.len() { format!("{plain}…") } else { plain }
}

/// Reads the file of a secret without its final line break.
fn read_secret(path: &str) -> Result<String, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    match text.strip_suffix('\r').unwrap_or(text) {
        "" => Err(format!("{path} is empty")),
        text => Ok(text.to_owned()),
    }
}
