//! Output names and added labels.

use std::borrow::Cow;

use super::{
    super::{
        labels::AddedLabels,
        names::{
            Escaping, escape_label_name, escape_metric_name, is_legacy_label_name,
            is_legacy_metric_name,
        },
        renames::{LabelNames, Renames, exported},
    },
    index::IndexedMetric,
    message::{LabelPair, number},
    openmetrics_text,
    wire::{put_bytes, put_message},
};

/// Maps the names of a body to output names.
#[derive(Clone, Copy)]
pub(super) struct OutputNames<'a> {
    pub(super) added: &'a AddedLabels,
    pub(super) escaping: Escaping,
    /// Output names that differ from the usual ones.
    pub(super) renames: &'a Renames,
}

/// A label of the output.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutputLabel<'a> {
    pub(super) name: Cow<'a, [u8]>,
    is_renamed: bool,
    pub(super) value: &'a [u8],
}

impl OutputLabel<'_> {
    pub(super) fn label(&self) -> LabelPair<'_> {
        LabelPair { name: &self.name, value: self.value }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_message(number::LABEL, out, |out| {
            put_bytes(number::LABEL_NAME, &self.name, out);
            put_bytes(number::LABEL_VALUE, self.value, out);
        });
    }
}

impl<'a> OutputNames<'a> {
    /// Whether a label of the metric can have another name in the output.
    pub(super) fn must_rename(&self, metric: IndexedMetric) -> bool {
        let has_escaped_label =
            self.escaping != Escaping::AllowUtf8 && metric.is(IndexedMetric::UTF8_LABEL);
        metric.is(IndexedMetric::CLASH) || has_escaped_label
    }

    /// The output name of a family.
    pub(super) fn family<'n>(&self, name: &'n [u8]) -> Cow<'n, [u8]> {
        if let Some(renamed) = self.renames.metric(name) {
            return Cow::Owned(renamed.to_vec());
        }
        if self.escaping == Escaping::AllowUtf8 || is_legacy_metric_name(name) {
            return Cow::Borrowed(name);
        }
        let mut escaped = Vec::new();
        escape_metric_name(name, self.escaping, &mut escaped);
        Cow::Owned(escaped)
    }

    /// The labels of a metric under their output names, and the number of those that are not the
    /// usual ones.
    pub(super) fn labels(&self, family: &[u8], metric: &'a [u8]) -> (Vec<OutputLabel<'a>>, usize) {
        let chosen = self.renames.labels(family);
        let labels: Vec<_> =
            LabelPair::all(metric).map(|label| self.label(label, chosen)).collect();
        let renamed = labels.iter().filter(|label| label.is_renamed).count();
        (labels, renamed)
    }

    /// The series of a metric in text syntax, with the added labels.
    pub(super) fn series(&self, family: &[u8], metric: &'a [u8]) -> String {
        let (labels, added) = (self.labels(family, metric).0, added_pairs(self.added));
        let added = added.iter().map(|(name, value)| LabelPair { name, value });
        openmetrics_text::series(
            &self.family(family),
            labels.iter().map(OutputLabel::label).chain(added),
            None,
        )
    }

    fn label(&self, label: LabelPair<'a>, chosen: Option<&'a LabelNames>) -> OutputLabel<'a> {
        let LabelPair { name, value } = label;
        let is_escaped = self.escaping != Escaping::AllowUtf8 && !is_legacy_label_name(name);
        let usual = || {
            let mut escaped = Vec::new();
            escape_label_name(name, self.escaping, &mut escaped);
            escaped
        };
        if !is_escaped && !self.added.has(name) {
            return OutputLabel { name: Cow::Borrowed(name), is_renamed: false, value };
        }
        match chosen.and_then(|chosen| chosen.get(name)) {
            Some(chosen) => {
                let is_renamed = !is_escaped || *usual() != **chosen;
                OutputLabel { name: Cow::Borrowed(chosen), is_renamed, value }
            }
            None if is_escaped => {
                OutputLabel { name: Cow::Owned(usual()), is_renamed: false, value }
            }
            None => {
                let name = Cow::Owned(exported(name, self.added));
                OutputLabel { name, is_renamed: true, value }
            }
        }
    }
}

/// The added labels as fields of a metric.
pub(super) fn added_fields(added: &AddedLabels) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in added_pairs(added) {
        put_message(number::LABEL, &mut out, |out| {
            put_bytes(number::LABEL_NAME, &name, out);
            put_bytes(number::LABEL_VALUE, &value, out);
        });
    }
    out
}

/// The added labels, parsed from the text `,a="1",b="2"`.
pub(super) fn added_pairs(added: &AddedLabels) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut text = added.inserted_at(b"}", 0).iter().copied();
    let mut pairs = Vec::new();
    while text.next() == Some(b',') {
        let name: Vec<u8> = text.by_ref().take_while(|byte| *byte != b'=').collect();
        text.next();
        let mut value = Vec::new();
        while let Some(byte) = text.next().filter(|byte| *byte != b'"') {
            value.push(match byte {
                b'\\' if text.clone().next() == Some(b'n') => {
                    text.next();
                    b'\n'
                }
                b'\\' => text.next().unwrap_or(byte),
                _ => byte,
            });
        }
        pairs.push((name, value));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_labels_are_parsed_as_they_were_given() {
        let given = [("a", "q\"b\\\nl,=\\n"), ("b", ""), ("c", "é")];
        let bytes = |text: &str| text.as_bytes().to_vec();
        let expected: Vec<_> = given.iter().map(|(n, v)| (bytes(n), bytes(v))).collect();
        assert_eq!(added_pairs(&AddedLabels::new(given)), expected);
        assert_eq!(added_pairs(&AddedLabels::new([])), []);
    }
}
