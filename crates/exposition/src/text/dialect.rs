//! What the grammar of an output allows, in the terms in which lines are written.

use std::borrow::Cow;

use super::{
    families::Naming,
    format::{Escaping, Format, Target},
    names::{escape_label_name, escape_metric_name, is_legacy_label_name, is_legacy_metric_name},
};

/// How the lines of one output are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) naming: Naming,
    escaping: Escaping,
}

impl Dialect {
    pub(super) fn new(target: Target) -> Self {
        let escaping = match target.format() {
            // On its way there text keeps its names.
            Format::Protobuf => Escaping::AllowUtf8,
            _ => target.escaping(),
        };
        Self { naming: target.format().naming(), escaping }
    }

    pub(super) fn is_openmetrics(&self) -> bool {
        self.naming == Naming::OpenMetrics
    }

    pub(super) fn escaping(&self) -> Escaping {
        self.escaping
    }

    /// Whether names may be quoted.
    pub(super) fn has_quotes(&self) -> bool {
        self.escaping == Escaping::AllowUtf8
    }

    /// Whether the parts of a name are written as the parts alone would be.
    pub(super) fn keeps_suffixes(&self) -> bool {
        matches!(self.escaping, Escaping::AllowUtf8 | Escaping::Underscores)
    }

    /// The name that a metric has in the output.
    pub(super) fn metric_name<'a>(&self, name: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        if self.has_quotes() || is_legacy_metric_name(&name) {
            return name;
        }
        let mut escaped = Vec::with_capacity(name.len() + 8);
        escape_metric_name(&name, self.escaping, &mut escaped);
        Cow::Owned(escaped)
    }

    /// The name that a label has in the output.
    pub(super) fn label_name<'a>(&self, name: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        if self.has_quotes() || is_legacy_label_name(&name) {
            return name;
        }
        let mut escaped = Vec::with_capacity(name.len() + 8);
        escape_label_name(&name, self.escaping, &mut escaped);
        Cow::Owned(escaped)
    }

    /// Writes a name as it stands in a `HELP` or `TYPE` line.
    pub(super) fn write_family_name(&self, name: &[u8], out: &mut Vec<u8>) {
        if is_legacy_metric_name(name) { out.extend_from_slice(name) } else { quote(name, out) }
    }

    /// Writes a label's name as it stands in braces.
    pub(super) fn write_label_name(&self, name: &[u8], out: &mut Vec<u8>) {
        if is_legacy_label_name(name) { out.extend_from_slice(name) } else { quote(name, out) }
    }
}

/// Writes a name in quotes.
pub(super) fn quote(name: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in name {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}
