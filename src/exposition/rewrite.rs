//! Brings a sample line into the one form that we write, and its labels out of
//! the way of the added ones.

use std::io::Write;

use super::{
    error::ErrorKind,
    labels::Labels,
    metadata::write_escaped,
    sample::{self, Label},
};

const EXPORTED: &[u8] = b"exported_";

/// Rewrites lines; kept for several, it allocates for the first ones only.
#[derive(Debug, Default)]
pub(super) struct Rewriter<'a> {
    own: Vec<Own<'a>>,
    /// The labels in `own` that must be renamed.
    clashing: Vec<usize>,
    candidate: Vec<u8>,
}

#[derive(Debug)]
struct Own<'a> {
    label: Label<'a>,
    /// How many times `exported_` goes before the name.
    exported: usize,
}

impl<'a> Rewriter<'a> {
    /// Appends `line` in canonical form, with its line break and still without the
    /// added labels; returns where in it these go.
    pub(super) fn write(
        &mut self,
        line: &'a [u8],
        added: &Labels,
        out: &mut Vec<u8>,
    ) -> Result<usize, ErrorKind> {
        self.own.clear();
        let sample = sample::parse(line, &[], &mut |label: Label<'a>| {
            self.own.push(Own { label, exported: 0 });
            Ok(())
        })?;
        self.rename(added);

        let start = out.len();
        out.extend_from_slice(sample.name);
        let mut insert = out.len();
        for (i, own) in self.own.iter().enumerate() {
            out.push(if i == 0 { b'{' } else { b',' });
            for _ in 0..own.exported {
                out.extend_from_slice(EXPORTED);
            }
            out.extend_from_slice(own.label.name);
            out.extend_from_slice(b"=\"");
            write_escaped(own.label.value, b"n\\\"", out);
            out.push(b'"');
        }
        if !self.own.is_empty() {
            insert = out.len();
            out.push(b'}');
        }
        out.push(b' ');
        out.extend_from_slice(sample.value);
        if let Some(timestamp_ms) = sample.timestamp_ms {
            // A `Vec` takes all that is written to it.
            let _ = write!(out, " {timestamp_ms}");
        }
        out.push(b'\n');
        Ok(insert - start)
    }

    /// Finds free names for the labels that have one of the `added` names.
    ///
    /// The shortest goes first, so that the names do not depend on the order of
    /// the labels, only on which there are.
    fn rename(&mut self, added: &Labels) {
        self.clashing.clear();
        let clashes = |(i, own): (usize, &Own<'_>)| added.has(own.label.name).then_some(i);
        self.clashing.extend(self.own.iter().enumerate().filter_map(clashes));
        self.clashing.sort_by_key(|&i| self.own.get(i).map(|own| own.label.name.len()));
        for &clashing in &self.clashing {
            let Some(name) = self.own.get(clashing).map(|own| own.label.name) else { continue };
            self.candidate.clear();
            self.candidate.extend_from_slice(name);
            let mut exported = 0;
            while added.has(&self.candidate)
                || self.own.iter().any(|own| own.is_called(&self.candidate))
            {
                self.candidate.splice(..0, EXPORTED.iter().copied());
                exported += 1;
            }
            if let Some(own) = self.own.get_mut(clashing) {
                own.exported = exported;
            }
        }
    }
}

impl Own<'_> {
    /// Whether this label has, had or gets this name.
    fn is_called(&self, name: &[u8]) -> bool {
        let Some(prefix) = name.strip_suffix(self.label.name) else { return false };
        prefix.is_empty()
            || prefix.len() == self.exported * EXPORTED.len()
                && prefix.chunks(EXPORTED.len()).all(|part| part == EXPORTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(line: &str, added: &[&str]) -> String {
        let added = Labels::new(added.iter().map(|&name| (name, "added")));
        let mut out = Vec::new();
        let insert = Rewriter::default().write(line.as_bytes(), &added, &mut out).unwrap();
        assert!(matches!(out[insert], b'}' | b' '), "{line}: {insert}");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_becomes_canonical() {
        let cases = [
            ("x 1", "x 1\n"),
            ("x{} 1", "x 1\n"),
            ("x { } 1", "x 1\n"),
            (" \tx\t1\t0005 ", "x 1 5\n"),
            ("x{a=\"b\",}1", "x{a=\"b\"} 1\n"),
            ("x { a\t= \"b\" , c =\"d\"\t, }  1  2 ", "x{a=\"b\",c=\"d\"} 1 2\n"),
            ("x{a=\"b\" c=\"d\"} 1", "x{a=\"b\",c=\"d\"} 1\n"),
            (r#"x{a="C:\data\\\n\""} 1"#, "x{a=\"C:\\\\data\\\\\\n\\\"\"} 1\n"),
            ("x{a=\" }{,= \"} +Inf", "x{a=\" }{,= \"} +Inf\n"),
        ];
        for (line, expected) in cases {
            assert_eq!(rewritten(line, &[]), expected, "{line:?}");
        }
    }

    #[test]
    fn a_clashing_label_is_renamed_until_its_name_is_free() {
        let cases: [(&str, &[&str], &str); 6] = [
            (r#"x{i="1",b="2"} 1"#, &["i"], r#"x{exported_i="1",b="2"} 1"#),
            (
                r#"x{i="1",exported_i="2"} 1"#,
                &["i"],
                r#"x{exported_exported_i="1",exported_i="2"} 1"#,
            ),
            (r#"x{i="1"} 1"#, &["i", "exported_i"], r#"x{exported_exported_i="1"} 1"#),
            (
                r#"x{i="1",exported_i="2"} 1"#,
                &["i", "exported_i"],
                r#"x{exported_exported_i="1",exported_exported_exported_i="2"} 1"#,
            ),
            // The same label set in the other order gets the same names.
            (
                r#"x{exported_i="2",i="1"} 1"#,
                &["i", "exported_i"],
                r#"x{exported_exported_exported_i="2",exported_exported_i="1"} 1"#,
            ),
            (r#"x{ii="1",i="2"} 1"#, &["i"], r#"x{ii="1",exported_i="2"} 1"#),
        ];
        for (line, added, expected) in cases {
            assert_eq!(rewritten(line, added).trim_end(), expected, "{line} + {added:?}");
        }
    }
}
