use std::sync::Arc;

use super::names::{Escaping, RESERVED_LABEL, is_legacy_label_name};

/// The prefix of labels whose name is that of an added label.
pub(super) const EXPORTED: &[u8] = b"exported_";

/// The labels that are added to the samples of an instance, after the labels of the sample.
///
/// A sample label with the name of an added label is renamed to `exported_<name>`, as Prometheus
/// does without `honor_labels`. A clone shares its memory with the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedLabels(Arc<Inner>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Inner {
    names: Vec<Box<[u8]>>,
    /// The union of [`name_bit`] of all names.
    name_bits: u64,
    /// `,a="1",b="2"`: the labels after the labels of a sample.
    after_labels: Vec<u8>,
    /// `{a="1",b="2"}`: the labels of a sample without labels.
    in_braces: Vec<u8>,
}

impl AddedLabels {
    /// Creates labels in the given order from names and unescaped values.
    ///
    /// Pairs are ignored if [`can_add`](Self::can_add) refuses the name or if the name occurred
    /// before.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut inner = Inner::default();
        for (name, value) in pairs {
            if !Self::can_add(name) || inner.has(name.as_bytes()) {
                continue;
            }
            inner.names.push(name.as_bytes().into());
            inner.name_bits |= name_bit(name.as_bytes());
            inner.after_labels.push(b',');
            inner.after_labels.extend_from_slice(name.as_bytes());
            inner.after_labels.extend_from_slice(b"=\"");
            escape(value, &mut inner.after_labels);
            inner.after_labels.push(b'"');
        }
        if let Some(listed) = inner.after_labels.get(1..) {
            inner.in_braces = [b"{", listed, b"}"].concat();
        }
        Self(Arc::new(inner))
    }

    /// Whether a label of this name can be added: a legacy label name (`[a-zA-Z_][a-zA-Z0-9_]*`)
    /// other than `__name__`, `le` and `quantile`. The last two belong to histograms and summaries.
    pub fn can_add(name: &str) -> bool {
        let name = name.as_bytes();
        is_legacy_label_name(name) && name != RESERVED_LABEL && name != b"le" && name != b"quantile"
    }

    #[inline(always)]
    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.0.has(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.names.iter().map(|name| &**name)
    }

    /// Whether both have the same names in the same order.
    pub(super) fn have_names_of(&self, others: &Self) -> bool {
        self.0.names == others.0.names
    }

    /// The text to insert into a canonical line at `insert`.
    #[inline(always)]
    pub(super) fn inserted_at(&self, line: &[u8], insert: usize) -> &[u8] {
        self.inserted(line.get(insert) == Some(&b'}'))
    }

    /// The text to insert into the braces of a line, or with braces into a line that has none.
    #[inline(always)]
    pub(super) fn inserted(&self, has_braces: bool) -> &[u8] {
        if has_braces { &self.0.after_labels } else { &self.0.in_braces }
    }

    /// Writes a canonical line with the labels inserted.
    #[inline(always)]
    pub(super) fn join(&self, line: &SplitLine<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(line.before);
        out.extend_from_slice(self.inserted(line.has_braces));
        out.extend_from_slice(line.after);
    }
}

/// A canonical line, split at the position where labels are inserted.
#[derive(Clone, Copy)]
pub(super) struct SplitLine<'a> {
    pub(super) before: &'a [u8],
    pub(super) after: &'a [u8],
    /// Whether the line has labels.
    pub(super) has_braces: bool,
}

impl<'a> SplitLine<'a> {
    #[inline(always)]
    pub(super) fn new(line: &'a [u8], insert: usize) -> Option<Self> {
        let (before, after) = line.split_at_checked(insert)?;
        Some(Self { before, after, has_braces: after.first() == Some(&b'}') })
    }
}

impl Inner {
    #[inline(always)]
    fn has(&self, name: &[u8]) -> bool {
        self.name_bits & name_bit(name) != 0 && self.names.iter().any(|known| **known == *name)
    }
}

/// A one-bit hash: equal names give equal bits, so a missing bit rules a name out.
#[inline(always)]
pub(super) fn name_bit(name: &[u8]) -> u64 {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 1 };
    let sum = usize::from(*first) * 7 + usize::from(*last) * 3 + name.len();
    1 << (sum % 64)
}

/// Properties of the label names of a family. They show whether two output names can be equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LabelTraits(u8);

impl LabelTraits {
    /// A label has the name of an added label.
    pub(super) const CLASH: Self = Self(1);
    /// A label name starts with `exported_`.
    pub(super) const EXPORTED: Self = Self(2);
    /// A label name is not a legacy name.
    pub(super) const UTF8: Self = Self(4);

    /// The properties of an unescaped label name.
    pub(super) fn of(name: &[u8], added: &AddedLabels) -> Self {
        let mut used = Self::default();
        for (is_used, this) in [
            (added.has(name), Self::CLASH),
            (name.starts_with(EXPORTED), Self::EXPORTED),
            (!is_legacy_label_name(name), Self::UTF8),
        ] {
            if is_used {
                used.join(this);
            }
        }
        used
    }

    #[inline(always)]
    pub(super) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    #[inline(always)]
    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether two labels can get the same output name.
    pub(super) fn must_be_checked(self, escaping: Escaping) -> bool {
        self.has(Self::CLASH) && self.has(Self::EXPORTED)
            || self.has(Self::UTF8) && escaping != Escaping::AllowUtf8
    }
}

fn escape(value: &str, out: &mut Vec<u8>) {
    for byte in value.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(labels: &AddedLabels, line: &str, insert: usize) -> String {
        let mut out = Vec::new();
        labels.join(&SplitLine::new(line.as_bytes(), insert).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn labels_keep_their_order_and_are_escaped() {
        let labels = AddedLabels::new([("b", "1"), ("a", "q\"b\\\nl"), ("c", "é")]);
        let added = r#"b="1",a="q\"b\\\nl",c="é""#;
        assert_eq!(joined(&labels, "x 1", 1), format!("x{{{added}}} 1"));
        assert_eq!(joined(&labels, "x{d=\"1\"} 1", 7), format!("x{{d=\"1\",{added}}} 1"));
        assert!(labels.has(b"a") && !labels.has(b"d") && !labels.has(b"aa"));
    }

    #[test]
    fn no_labels_add_nothing() {
        let labels = AddedLabels::new([]);
        assert_eq!(joined(&labels, "x 1", 1), "x 1");
        assert_eq!(joined(&labels, "x{d=\"1\"} 1", 7), "x{d=\"1\"} 1");
    }

    #[test]
    fn invalid_and_reserved_labels_are_left_out() {
        let long = "n".repeat(100);
        let labels = AddedLabels::new([
            ("", "1"),
            ("1a", "1"),
            ("a-b", "1"),
            ("a:b", "1"),
            ("é", "1"),
            ("__name__", "1"),
            ("le", "1"),
            ("quantile", "1"),
            ("a", "kept"),
            ("a", "again"),
            (&long, "1"),
        ]);
        assert_eq!(joined(&labels, "x 1", 1), format!("x{{a=\"kept\",{long}=\"1\"}} 1"));
        assert!(labels.has(long.as_bytes()) && !labels.has("m".repeat(100).as_bytes()));
    }
}
