//! The grammar of an output format.

use std::borrow::Cow;

use super::{
    families::FamilyNaming,
    format::{Format, OutputFormat},
    names::{
        Escaping, escape_label_name, escape_metric_name, is_legacy_label_name,
        is_legacy_metric_name,
    },
};

/// How names and lines of an output are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutputDialect {
    pub(super) naming: FamilyNaming,
    escaping: Escaping,
}

impl OutputDialect {
    pub(super) fn new(output: OutputFormat) -> Self {
        let escaping = match output.format() {
            // Text that is converted to protobuf keeps its names.
            Format::Protobuf => Escaping::AllowUtf8,
            _ => output.escaping(),
        };
        Self { naming: output.format().naming(), escaping }
    }

    pub(super) fn is_openmetrics(&self) -> bool {
        self.naming == FamilyNaming::OpenMetrics
    }

    pub(super) fn escaping(&self) -> Escaping {
        self.escaping
    }

    /// Whether names can be quoted.
    pub(super) fn allows_quotes(&self) -> bool {
        self.escaping == Escaping::AllowUtf8
    }

    /// Whether an escaped name starts with its escaped family name.
    pub(super) fn keeps_suffixes(&self) -> bool {
        matches!(self.escaping, Escaping::AllowUtf8 | Escaping::Underscores)
    }

    /// The output name of a metric.
    pub(super) fn metric_name<'a>(&self, name: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        if self.allows_quotes() || is_legacy_metric_name(&name) {
            return name;
        }
        let mut escaped = Vec::with_capacity(name.len() + 8);
        escape_metric_name(&name, self.escaping, &mut escaped);
        Cow::Owned(escaped)
    }

    /// The output name of a label.
    pub(super) fn label_name<'a>(&self, name: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        if self.allows_quotes() || is_legacy_label_name(&name) {
            return name;
        }
        let mut escaped = Vec::with_capacity(name.len() + 8);
        escape_label_name(&name, self.escaping, &mut escaped);
        Cow::Owned(escaped)
    }

    /// Writes a name for a `HELP`, `TYPE` or `UNIT` line.
    pub(super) fn write_family_name(&self, name: &[u8], out: &mut Vec<u8>) {
        if is_legacy_metric_name(name) { out.extend_from_slice(name) } else { quote(name, out) }
    }

    /// Writes the name of a label.
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
