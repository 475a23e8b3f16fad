//! The names that go out, and the labels that are added.

use std::borrow::Cow;

use super::{
    super::{
        format::Escaping,
        labels::Labels,
        names::RESERVED_LABEL,
        names::{
            escape_label_name, escape_metric_name, is_legacy_label_name, is_legacy_metric_name,
        },
    },
    message::{Label, number},
    wire::{put_bytes, put_message},
};

const EXPORTED: &[u8] = b"exported_";

/// How an instance's names become those of the output.
#[derive(Clone, Copy)]
pub(super) struct Naming<'a> {
    pub(super) added: &'a Labels,
    pub(super) escaping: Escaping,
}

/// A label as it goes out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    /// As the instance has it.
    own: &'a [u8],
    name: Cow<'a, [u8]>,
    /// How many times `exported_` goes before the name.
    exported: usize,
    pub(super) value: &'a [u8],
}

impl Named<'_> {
    pub(super) fn full_name(&self) -> Vec<u8> {
        let exported = std::iter::repeat_n(EXPORTED, self.exported);
        exported.chain([&*self.name]).flatten().copied().collect()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_message(number::LABEL, out, |out| {
            let name = self.full_name();
            put_bytes(number::LABEL_NAME, &name, out);
            put_bytes(number::LABEL_VALUE, self.value, out);
        });
    }
}

impl<'a> Naming<'a> {
    /// What a family is called.
    pub(super) fn family<'n>(&self, name: &'n [u8]) -> Cow<'n, [u8]> {
        if self.escaping == Escaping::AllowUtf8 || is_legacy_metric_name(name) {
            return Cow::Borrowed(name);
        }
        let mut escaped = Vec::new();
        escape_metric_name(name, self.escaping, &mut escaped);
        Cow::Owned(escaped)
    }

    /// The labels of a metric under free names, and how many had to make way.
    ///
    /// One makes way for an added label, and a name that was escaped for one
    /// that was not. The shortest goes first, so that the names do not depend on
    /// the order of the labels, only on which there are.
    pub(super) fn labels(&self, metric: &'a [u8]) -> (Vec<Named<'a>>, usize) {
        let mut labels: Vec<_> = Label::all(metric).map(|label| self.label(label)).collect();
        let mut clashing: Vec<_> =
            (0..labels.len()).filter(|&i| self.must_make_way(&labels, i)).collect();
        clashing.sort_by_key(|&i| labels.get(i).map(|label| (label.name.len(), label.own)));
        for &i in &clashing {
            let Some(mut candidate) = labels.get(i).map(|label| label.name.to_vec()) else {
                continue;
            };
            let mut exported = 0;
            while self.is_taken(&labels, i, &candidate) {
                candidate.splice(..0, EXPORTED.iter().copied());
                exported += 1;
            }
            if let Some(label) = labels.get_mut(i) {
                label.exported = exported;
            }
        }
        (labels, clashing.len())
    }

    fn label(&self, label: Label<'a>) -> Named<'a> {
        let name = if self.escaping == Escaping::AllowUtf8 || is_legacy_label_name(label.name) {
            Cow::Borrowed(label.name)
        } else {
            let mut escaped = Vec::new();
            escape_label_name(label.name, self.escaping, &mut escaped);
            Cow::Owned(escaped)
        };
        Named { own: label.name, name, exported: 0, value: label.value }
    }

    fn must_make_way(&self, labels: &[Named<'_>], i: usize) -> bool {
        let Some(label) = labels.get(i) else { return false };
        if self.added.has(&label.name) {
            return true;
        }
        matches!(label.name, Cow::Owned(_)) && self.is_taken(labels, i, &label.name)
    }

    /// Whether the label at `i` cannot be called this.
    fn is_taken(&self, labels: &[Named<'_>], i: usize, name: &[u8]) -> bool {
        let is_other = |(other, label): (usize, &Named<'_>)| {
            other != i && (*label.name == *name || label.exported > 0 && label.full_name() == name)
        };
        name == RESERVED_LABEL || self.added.has(name) || labels.iter().enumerate().any(is_other)
    }
}

/// The fields that add the labels to a metric.
pub(super) fn added_fields(added: &Labels) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in added_pairs(added) {
        put_message(number::LABEL, &mut out, |out| {
            put_bytes(number::LABEL_NAME, &name, out);
            put_bytes(number::LABEL_VALUE, &value, out);
        });
    }
    out
}

/// The added labels, read off the text in which they are kept: `,a="1",b="2"`.
fn added_pairs(added: &Labels) -> Vec<(Vec<u8>, Vec<u8>)> {
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

    fn renamed(own: &[&str], added: &[&str], escaping: Escaping) -> Vec<String> {
        let mut metric = Vec::new();
        for name in own {
            put_message(number::LABEL, &mut metric, |out| {
                put_bytes(number::LABEL_NAME, name.as_bytes(), out);
            });
        }
        let added = Labels::new(added.iter().map(|&name| (name, "")));
        let (labels, _) = Naming { added: &added, escaping }.labels(&metric);
        labels.iter().map(|label| String::from_utf8(label.full_name()).unwrap()).collect()
    }

    #[test]
    fn a_clashing_label_is_renamed_until_its_name_is_free() {
        let cases: [(&[&str], &[&str], &[&str]); 6] = [
            (&["i", "b"], &["i"], &["exported_i", "b"]),
            (&["i", "exported_i"], &["i"], &["exported_exported_i", "exported_i"]),
            (&["i"], &["i", "exported_i"], &["exported_exported_i"]),
            (
                &["i", "exported_i"],
                &["i", "exported_i"],
                &["exported_exported_i", "exported_exported_exported_i"],
            ),
            (
                &["exported_i", "i"],
                &["i", "exported_i"],
                &["exported_exported_exported_i", "exported_exported_i"],
            ),
            (&["ii", "i"], &["i"], &["ii", "exported_i"]),
        ];
        for (own, added, expected) in cases {
            assert_eq!(renamed(own, added, Escaping::AllowUtf8), expected, "{own:?} + {added:?}");
        }
    }

    #[test]
    fn an_escaped_name_makes_way_for_one_that_is_taken() {
        let cases: [(&[&str], &[&str], &[&str]); 5] = [
            (&["a.b"], &[], &["a_b"]),
            (&["a.b", "a_b"], &[], &["exported_a_b", "a_b"]),
            (&["a.b"], &["a_b"], &["exported_a_b"]),
            (&["a.b", "a-b"], &[], &["exported_exported_a_b", "exported_a_b"]),
            (&["..name.."], &[], &["exported___name__"]),
        ];
        for (own, added, expected) in cases {
            assert_eq!(renamed(own, added, Escaping::Underscores), expected, "{own:?} + {added:?}");
        }
        assert_eq!(renamed(&["a.b", "a:b"], &[], Escaping::AllowUtf8), ["a.b", "a:b"]);
    }

    #[test]
    fn added_labels_are_read_as_they_were_given() {
        let given = [("a", "q\"b\\\nl,=\\n"), ("b", ""), ("c", "é")];
        let bytes = |text: &str| text.as_bytes().to_vec();
        let expected: Vec<_> = given.iter().map(|(n, v)| (bytes(n), bytes(v))).collect();
        assert_eq!(added_pairs(&Labels::new(given)), expected);
        assert_eq!(added_pairs(&Labels::new([])), []);
    }
}
