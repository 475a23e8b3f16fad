//! Lines that start with `#`.

use memchr::memchr;

use super::{
    error::ErrorKind,
    sample::{is_blank, metric_name, skip_blanks},
};

/// The types of text format 0.0.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricType {
    Counter,
    Gauge,
    Histogram,
    Summary,
    Untyped,
}

impl MetricType {
    pub(super) const ALL: [Self; 5] =
        [Self::Counter, Self::Gauge, Self::Histogram, Self::Summary, Self::Untyped];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|known| text.eq_ignore_ascii_case(known.as_str().as_bytes()))
    }
}

/// What a line that starts with `#` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Metadata<'a> {
    /// The text is still escaped, and can be empty.
    Help {
        name: &'a [u8],
        text: &'a [u8],
    },
    Type {
        name: &'a [u8],
        metric_type: MetricType,
    },
    Comment,
}

/// Reads a line from its `#` on.
pub(super) fn parse(line: &[u8]) -> Result<Metadata<'_>, ErrorKind> {
    let after_hash = line.get(1..).unwrap_or_default();
    let text = skip_blanks(after_hash);
    // Prometheus takes `#HELP` for a comment.
    if text.len() == after_hash.len() {
        return Ok(Metadata::Comment);
    }
    let (keyword, rest) = word(text);
    let is_help = match keyword {
        b"HELP" => true,
        b"TYPE" => false,
        _ => return Ok(Metadata::Comment),
    };
    let rest = skip_blanks(rest);
    if rest.is_empty() {
        return Ok(Metadata::Comment);
    }
    let (name, rest) = word(rest);
    if metric_name(name).len() != name.len() {
        return Err(ErrorKind::MetricName);
    }
    let text = skip_blanks(rest);
    if is_help {
        return Ok(Metadata::Help { name, text: without_returns(text) });
    }
    let metric_type = MetricType::parse(text.trim_ascii_end()).ok_or(ErrorKind::MetricType)?;
    Ok(Metadata::Type { name, metric_type })
}

/// A carriage return at the end of a text would be taken for half of a line
/// break by whoever reads the output.
fn without_returns(mut text: &[u8]) -> &[u8] {
    while let [shorter @ .., b'\r'] = text {
        text = shorter;
    }
    text
}

/// Up to the first blank, and the rest.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&byte| is_blank(byte)).unwrap_or(text.len());
    text.split_at(end)
}

/// Writes a `HELP` line; an escape that the format does not have keeps its
/// backslash, which is what Prometheus reads in it.
pub(super) fn write_help(name: [&[u8]; 2], text: &[u8], out: &mut Vec<u8>) {
    write_start("# HELP ", name, out);
    write_escaped(text, b"n\\", out);
    out.push(b'\n');
}

/// Writes a `TYPE` line.
pub(super) fn write_type(name: [&[u8]; 2], metric_type: MetricType, out: &mut Vec<u8>) {
    write_start("# TYPE ", name, out);
    out.extend_from_slice(metric_type.as_str().as_bytes());
    out.push(b'\n');
}

fn write_start(keyword: &str, name: [&[u8]; 2], out: &mut Vec<u8>) {
    out.extend_from_slice(keyword.as_bytes());
    for part in name {
        out.extend_from_slice(part);
    }
    out.push(b' ');
}

/// Copies escaped text and doubles each backslash that does not start one of
/// the escapes in `known`.
pub(super) fn write_escaped(text: &[u8], known: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((before, from)) = memchr(b'\\', rest).and_then(|at| rest.split_at_checked(at)) {
        out.extend_from_slice(before);
        rest = match from {
            [backslash, escaped, after @ ..] if known.contains(escaped) => {
                out.extend_from_slice(&[*backslash, *escaped]);
                after
            }
            [_, after @ ..] => {
                out.extend_from_slice(b"\\\\");
                after
            }
            [] => from,
        };
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_help_text_does_not_end_in_carriage_returns() {
        for line in ["# HELP x text", "# HELP x text\r", "# HELP x text\r\r\r"] {
            let expected = Metadata::Help { name: b"x", text: b"text" };
            assert_eq!(parse(line.as_bytes()), Ok(expected), "{line:?}");
        }
    }

    #[test]
    fn help_and_type_are_told_from_comments() {
        use Metadata::{Comment, Help, Type};
        let cases: [(&str, Result<Metadata<'_>, ErrorKind>); 20] = [
            ("# HELP x some text ", Ok(Help { name: b"x", text: b"some text " })),
            ("#\t HELP\tx \t text", Ok(Help { name: b"x", text: b"text" })),
            ("# HELP x", Ok(Help { name: b"x", text: b"" })),
            ("# HELP x ", Ok(Help { name: b"x", text: b"" })),
            ("# TYPE a:b_1 counter", Ok(Type { name: b"a:b_1", metric_type: MetricType::Counter })),
            ("# TYPE x GAUGE \t", Ok(Type { name: b"x", metric_type: MetricType::Gauge })),
            ("# TYPE x untyped", Ok(Type { name: b"x", metric_type: MetricType::Untyped })),
            ("#", Ok(Comment)),
            ("# ", Ok(Comment)),
            ("# EOF", Ok(Comment)),
            ("# HELP", Ok(Comment)),
            ("# TYPE ", Ok(Comment)),
            ("#TYPE x foo", Ok(Comment)),
            ("# HELP: see the manual", Ok(Comment)),
            ("# UNIT x seconds", Ok(Comment)),
            ("# TYPE x", Err(ErrorKind::MetricType)),
            ("# TYPE x unknown", Err(ErrorKind::MetricType)),
            ("# TYPE x gauge gauge", Err(ErrorKind::MetricType)),
            ("# TYPE \"a.b\" gauge", Err(ErrorKind::MetricName)),
            ("# HELP 1x text", Err(ErrorKind::MetricName)),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn an_unknown_escape_keeps_its_backslash() {
        let cases = [
            (r"plain", r"plain"),
            (r"a\\b\nc", r"a\\b\nc"),
            (r"C:\data", r"C:\\data"),
            (r#"a \"quote\""#, r#"a \\"quote\\""#),
            (r"end\", r"end\\"),
            (r"\\\", r"\\\\"),
            (r"\\n\\\\n", r"\\n\\\\n"),
            (r"\é", r"\\é"),
        ];
        for (text, expected) in cases {
            let mut out = Vec::new();
            write_escaped(text.as_bytes(), b"n\\", &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text:?}");
        }
    }
}
