//! The common grammar of the strict parsers. It shares no code with the crate's parsers, and panics
//! with a reason on each deviation.

use std::collections::BTreeMap;

pub(super) type Labels = BTreeMap<String, String>;

/// The rest of a line.
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a str,
    /// Whether names may be quoted.
    pub(super) has_quotes: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn eat(&mut self, text: &str) -> bool {
        let after = self.rest.strip_prefix(text);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    pub(super) fn expect(&mut self, text: &str) {
        assert!(self.eat(text), "{text:?} is missing before {:?}", self.rest);
    }

    /// The text up to the next space or the end.
    pub(super) fn word(&mut self) -> &'a str {
        let (word, rest) = self.rest.split_at(self.rest.find(' ').unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// A name that may contain the characters in `more`. It must be quoted if it is not a legacy
    /// name.
    pub(super) fn name(&mut self, more: &str) -> String {
        if self.rest.starts_with('"') {
            return self.quoted_name(more);
        }
        let (name, rest) =
            self.rest.split_at(self.rest.find(['{', ' ', '=']).unwrap_or(self.rest.len()));
        assert!(is_plain(name, more), "not a name: {name:?}");
        self.rest = rest;
        name.to_owned()
    }

    fn quoted_name(&mut self, more: &str) -> String {
        assert!(self.has_quotes, "a quoted name in a format without quoted names: {}", self.rest);
        let name = self.quoted();
        assert!(!name.is_empty() && !is_plain(&name, more), "unnecessary quotes: {name:?}");
        name
    }

    fn quoted(&mut self) -> String {
        self.expect("\"");
        let mut is_escaped = false;
        let end = self.rest.bytes().position(|byte| {
            let closes = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            closes
        });
        let (text, rest) =
            self.rest.split_at(end.unwrap_or_else(|| panic!("unclosed quote: {}", self.rest)));
        self.rest = &rest[1..];
        unescape(text, "\\n\"")
    }

    /// The metric name, if it is in the braces, and the labels.
    pub(super) fn braces(&mut self, may_have_name: bool) -> (Option<String>, Labels) {
        let mut labels = Labels::new();
        let mut metric = None;
        self.expect("{");
        while !self.eat("}") {
            if !labels.is_empty() || metric.is_some() {
                self.expect(",");
            }
            if may_have_name && labels.is_empty() && metric.is_none() && self.rest.starts_with('"')
            {
                metric = Some(self.quoted_name(":"));
                continue;
            }
            let label = self.name("");
            self.expect("=");
            let value = self.quoted();
            assert!(labels.insert(label.clone(), value).is_none(), "duplicate label {label}");
        }
        (metric, labels)
    }

    /// The name and the labels of a sample line.
    pub(super) fn series(&mut self) -> (String, Labels) {
        if self.rest.starts_with('{') {
            let (name, labels) = self.braces(true);
            return (name.expect("no metric name"), labels);
        }
        assert!(!self.rest.starts_with('"'), "a quoted name outside braces: {}", self.rest);
        let name = self.name(":");
        let labels = if self.rest.starts_with('{') { self.braces(false).1 } else { Labels::new() };
        assert!(!labels.is_empty() || !self.rest.starts_with('}'), "empty braces");
        (name, labels)
    }
}

fn is_plain(name: &str, more: &str) -> bool {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || more.contains(c);
    name.starts_with(|c: char| !c.is_ascii_digit()) && name.chars().all(is_valid)
}

/// Unescapes text. All escapes must be in `known`.
pub(super) fn unescape(text: &str, known: &str) -> String {
    let mut unescaped = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            unescaped.push(c);
            continue;
        }
        let escaped = chars.next().unwrap_or_else(|| panic!("ends in a backslash: {text}"));
        assert!(known.contains(escaped), "unknown escape: {text}");
        unescaped.push(if escaped == 'n' { '\n' } else { escaped });
    }
    unescaped
}
