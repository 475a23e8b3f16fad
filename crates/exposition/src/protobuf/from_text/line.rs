//! Parses lines of OpenMetrics text.

use std::borrow::Cow;

use memchr::memchr;

/// A metadata line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MetadataLine<'a> {
    pub(super) keyword: &'a [u8],
    pub(super) name: Cow<'a, [u8]>,
    /// The escaped text.
    pub(super) text: &'a [u8],
}

/// An unescaped label name and value.
pub(super) type UnescapedLabel<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// A sample line.
#[derive(Debug, PartialEq)]
pub(super) struct OpenMetricsSample<'a> {
    pub(super) name: Cow<'a, [u8]>,
    pub(super) labels: Vec<UnescapedLabel<'a>>,
    pub(super) value: &'a str,
    pub(super) timestamp: Option<&'a str>,
    pub(super) exemplar: Option<OpenMetricsExemplar<'a>>,
}

#[derive(Debug, PartialEq)]
pub(super) struct OpenMetricsExemplar<'a> {
    pub(super) labels: Vec<UnescapedLabel<'a>>,
    pub(super) value: &'a str,
    pub(super) timestamp: Option<&'a str>,
}

/// Parses a metadata line from after its `# `.
pub(super) fn comment(text: &[u8]) -> Option<MetadataLine<'_>> {
    let (keyword, rest) = word(text);
    let mut rest = rest.strip_prefix(b" ")?;
    let name = if rest.starts_with(b"\"") {
        quoted(&mut rest)?
    } else {
        let (name, after) = word(rest);
        rest = after;
        Cow::Borrowed(name)
    };
    Some(MetadataLine { keyword, name, text: rest.strip_prefix(b" ").unwrap_or(rest) })
}

pub(super) fn sample(line: &[u8]) -> Option<OpenMetricsSample<'_>> {
    let end = line.iter().position(|byte| matches!(byte, b'{' | b' '))?;
    let (name, mut rest) = line.split_at_checked(end)?;
    let mut name = Cow::Borrowed(name);
    let mut labels = Vec::new();
    if rest.starts_with(b"{") {
        let in_braces;
        (in_braces, labels) = braces(&mut rest)?;
        if name.is_empty() {
            name = in_braces?;
        }
    }
    rest = rest.strip_prefix(b" ")?;
    let (value, after) = word(rest);
    let mut sample =
        OpenMetricsSample { name, labels, value: str(value)?, timestamp: None, exemplar: None };
    rest = after;
    if !rest.is_empty() && !rest.starts_with(b" # ") {
        let (timestamp, after) = word(rest.strip_prefix(b" ")?);
        sample.timestamp = Some(str(timestamp)?);
        rest = after;
    }
    if let Some(mut rest) = rest.strip_prefix(b" # ") {
        let (_, labels) = braces(&mut rest)?;
        let (value, rest) = word(rest.strip_prefix(b" ")?);
        let timestamp = rest.strip_prefix(b" ").map(str).unwrap_or_default();
        sample.exemplar = Some(OpenMetricsExemplar { labels, value: str(value)?, timestamp });
    }
    (!sample.name.is_empty()).then_some(sample)
}

/// The metric name, if it is in the braces, and the labels.
type Braces<'a> = (Option<Cow<'a, [u8]>>, Vec<UnescapedLabel<'a>>);

/// Parses `{"name",label="value"}`. Each part is optional.
fn braces<'a>(rest: &mut &'a [u8]) -> Option<Braces<'a>> {
    let (mut name, mut labels) = (None, Vec::new());
    *rest = rest.strip_prefix(b"{")?;
    loop {
        if let Some(after) = rest.strip_prefix(b"}") {
            *rest = after;
            return Some((name, labels));
        }
        let label = if rest.starts_with(b"\"") {
            quoted(rest)?
        } else {
            let (label, after) = rest.split_at_checked(memchr(b'=', rest)?)?;
            *rest = after;
            Cow::Borrowed(label)
        };
        match rest.strip_prefix(b"=") {
            Some(after) => {
                *rest = after;
                labels.push((label, quoted(rest)?));
            }
            None => name = Some(label),
        }
        *rest = rest.strip_prefix(b",").unwrap_or(rest);
    }
}

/// Parses from the opening quote to after the closing quote.
fn quoted<'a>(rest: &mut &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let text = rest.strip_prefix(b"\"")?;
    let mut end = 0;
    loop {
        match text.get(end)? {
            b'"' => break,
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
    *rest = text.get(end + 1..)?;
    Some(unescape(text.get(..end)?))
}

/// Unescapes text. The backslash of an unknown escape is kept.
pub(super) fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\\', text).is_none() {
        return Cow::Borrowed(text);
    }
    let (mut plain, mut rest) = (Vec::with_capacity(text.len()), text);
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'\\', [b'n', after @ ..]) => {
                plain.push(b'\n');
                rest = after;
            }
            (b'\\', [escaped @ (b'\\' | b'"'), after @ ..]) => {
                plain.push(*escaped);
                rest = after;
            }
            _ => plain.push(*byte),
        }
    }
    Cow::Owned(plain)
}

/// The text up to the first space, and the rest.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(memchr(b' ', text).unwrap_or(text.len()))
}

fn str(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_lines_are_parsed_with_and_without_quotes() {
        let cases: [(&str, &str, &str, &str); 4] = [
            ("HELP x some \\n text", "HELP", "x", "some \\n text"),
            ("TYPE \"a \\\"b\" gauge", "TYPE", "a \"b", "gauge"),
            ("UNIT x ", "UNIT", "x", ""),
            ("HELP x", "HELP", "x", ""),
        ];
        for (line, keyword, name, text) in cases {
            let read = comment(line.as_bytes()).unwrap();
            let (keyword, text) = (keyword.as_bytes(), text.as_bytes());
            assert_eq!(
                read,
                MetadataLine { keyword, name: name.as_bytes().into(), text },
                "{line}"
            );
        }
        assert_eq!(comment(b"EOF"), None);
        assert_eq!(comment(b"TYPE \"a"), None);
    }

    #[test]
    fn all_parts_of_samples_are_parsed() {
        fn label<'a>(name: &'a str, value: &'a str) -> UnescapedLabel<'a> {
            (name.as_bytes().into(), value.as_bytes().into())
        }
        let read = |line: &'static str| sample(line.as_bytes());
        let plain = OpenMetricsSample {
            name: b"x"[..].into(),
            labels: vec![],
            value: "1",
            timestamp: None,
            exemplar: None,
        };
        assert_eq!(read("x 1").as_ref(), Some(&plain));
        let full = read(r#"{"a.b","c d"="}\" ",e="\n"} 1.5 2.5 # {t="1"} 3 4"#).unwrap();
        let exemplar =
            OpenMetricsExemplar { labels: vec![label("t", "1")], value: "3", timestamp: Some("4") };
        assert_eq!(
            full,
            OpenMetricsSample {
                name: b"a.b"[..].into(),
                labels: vec![label("c d", "}\" "), label("e", "\n")],
                value: "1.5",
                timestamp: Some("2.5"),
                exemplar: Some(exemplar),
            }
        );
        let bare = read("x_total{a=\"1\"} 1 # {} 3").unwrap();
        assert_eq!(
            bare.exemplar,
            Some(OpenMetricsExemplar { labels: vec![], value: "3", timestamp: None })
        );
        for wrong in ["", "x", "x{ 1", "x{a=\"1\"", "{} 1", "{a=\"1\"} 1", "x{a} 1", "x 1 # 1"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
