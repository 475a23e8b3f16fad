use std::sync::Arc;

use super::names::{RESERVED_LABEL, is_legacy_label_name};

/// The labels that an instance's samples get, after their own ones.
///
/// A sample that already has a label of one of these names keeps its value under
/// `exported_<name>`. Cloning shares the labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(Arc<Inner>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Inner {
    names: Vec<Box<[u8]>>,
    /// The [`look`]s of all names.
    looks: u64,
    /// `,a="1",b="2"`, to follow a sample's own labels.
    following: Vec<u8>,
    /// `{a="1",b="2"}`, for a sample without labels.
    alone: Vec<u8>,
}

impl Labels {
    /// Labels in this order; the values are escaped here.
    ///
    /// A pair that would break the output is left out: a name for which
    /// [`can_add`](Self::can_add) says no, or one that was there before.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut inner = Inner::default();
        for (name, value) in pairs {
            if !Self::can_add(name) || inner.has(name.as_bytes()) {
                continue;
            }
            inner.names.push(name.as_bytes().into());
            inner.looks |= look(name.as_bytes());
            inner.following.push(b',');
            inner.following.extend_from_slice(name.as_bytes());
            inner.following.extend_from_slice(b"=\"");
            escape(value, &mut inner.following);
            inner.following.push(b'"');
        }
        if let Some(listed) = inner.following.get(1..) {
            inner.alone = [b"{", listed, b"}"].concat();
        }
        Self(Arc::new(inner))
    }

    /// Whether `name` can be added to samples: it is a label name, not
    /// `__name__`, and neither `le` nor `quantile`, which are part of what a
    /// histogram or summary is.
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

    /// Whether others have the same names in the same order.
    pub(super) fn have_the_names_of(&self, others: &Self) -> bool {
        self.0.names == others.0.names
    }

    /// What goes into a canonical line at `insert`.
    #[inline(always)]
    pub(super) fn inserted_at(&self, line: &[u8], insert: usize) -> &[u8] {
        self.inserted(line.get(insert) == Some(&b'}'))
    }

    /// What goes into braces, or with braces of its own into a line that has none.
    #[inline(always)]
    pub(super) fn inserted(&self, has_braces: bool) -> &[u8] {
        if has_braces { &self.0.following } else { &self.0.alone }
    }

    /// Writes a canonical line with the labels between its two parts.
    #[inline(always)]
    pub(super) fn join(&self, line: &Split<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(line.before);
        out.extend_from_slice(self.inserted(line.has_braces));
        out.extend_from_slice(line.after);
    }
}

/// A canonical line in the two parts between which labels go.
#[derive(Clone, Copy)]
pub(super) struct Split<'a> {
    pub(super) before: &'a [u8],
    pub(super) after: &'a [u8],
    /// Whether it has labels of its own.
    pub(super) has_braces: bool,
}

impl<'a> Split<'a> {
    #[inline(always)]
    pub(super) fn new(line: &'a [u8], insert: usize) -> Option<Self> {
        let (before, after) = line.split_at_checked(insert)?;
        Some(Self { before, after, has_braces: after.first() == Some(&b'}') })
    }
}

impl Inner {
    #[inline(always)]
    fn has(&self, name: &[u8]) -> bool {
        self.looks & look(name) != 0 && self.names.iter().any(|own| **own == *name)
    }
}

/// One bit of 64, equal for equal names and mostly different for others.
#[inline(always)]
pub(super) fn look(name: &[u8]) -> u64 {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 1 };
    let sum = usize::from(*first) * 7 + usize::from(*last) * 3 + name.len();
    1 << (sum % 64)
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

    fn joined(labels: &Labels, line: &str, insert: usize) -> String {
        let mut out = Vec::new();
        labels.join(&Split::new(line.as_bytes(), insert).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn labels_keep_their_order_and_are_escaped() {
        let labels = Labels::new([("b", "1"), ("a", "q\"b\\\nl"), ("c", "é")]);
        let added = r#"b="1",a="q\"b\\\nl",c="é""#;
        assert_eq!(joined(&labels, "x 1", 1), format!("x{{{added}}} 1"));
        assert_eq!(joined(&labels, "x{d=\"1\"} 1", 7), format!("x{{d=\"1\",{added}}} 1"));
        assert!(labels.has(b"a") && !labels.has(b"d") && !labels.has(b"aa"));
    }

    #[test]
    fn no_labels_add_nothing() {
        let labels = Labels::new([]);
        assert_eq!(joined(&labels, "x 1", 1), "x 1");
        assert_eq!(joined(&labels, "x{d=\"1\"} 1", 7), "x{d=\"1\"} 1");
    }

    #[test]
    fn labels_that_would_break_the_output_are_left_out() {
        let long = "n".repeat(100);
        let labels = Labels::new([
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
