//! Lines that start with `#`.

use memchr::memchr;

use super::{
    error::ErrorKind,
    families::{FamilyNaming, MetricType},
    output_dialect::OutputDialect,
    sample::{self, SourceName, is_blank, metric_name, skip_blanks},
};

/// A parsed line that starts with `#`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MetadataLine<'a> {
    /// The text is still escaped and can be empty.
    Help {
        name: SourceName<'a>,
        text: &'a [u8],
    },
    Type {
        name: SourceName<'a>,
        metric_type: MetricType,
    },
    Unit {
        name: SourceName<'a>,
        unit: &'a [u8],
    },
    /// The last line of OpenMetrics.
    Eof,
    Comment,
}

/// Parses a line from its `#` on.
pub(super) fn parse(line: &[u8], naming: FamilyNaming) -> Result<MetadataLine<'_>, ErrorKind> {
    let after_hash = line.get(1..).unwrap_or_default();
    let text = skip_blanks(after_hash);
    // `#HELP` is a comment, as in Prometheus.
    if text.len() == after_hash.len() {
        return Ok(MetadataLine::Comment);
    }
    let (keyword, rest) = word(text);
    let rest = skip_blanks(rest);
    match keyword {
        b"EOF" if naming == FamilyNaming::OpenMetrics && rest.is_empty() => {
            return Ok(MetadataLine::Eof);
        }
        b"UNIT" if naming == FamilyNaming::OpenMetrics => {}
        b"HELP" | b"TYPE" => {}
        _ => return Ok(MetadataLine::Comment),
    }
    if rest.is_empty() {
        return Ok(MetadataLine::Comment);
    }
    let (name, rest) = match family_name(rest) {
        Ok(named) => named,
        // A comment, as in Prometheus, which validates only the names in `TYPE` lines.
        Err(_) if keyword == b"HELP" => return Ok(MetadataLine::Comment),
        Err(kind) => return Err(kind),
    };
    let text = skip_blanks(rest);
    Ok(match keyword {
        b"HELP" => MetadataLine::Help { name, text: without_returns(text) },
        b"UNIT" => MetadataLine::Unit { name, unit: unit(text)? },
        _ => {
            let metric_type = MetricType::parse(text.trim_ascii_end(), naming);
            MetadataLine::Type { name, metric_type: metric_type.ok_or(ErrorKind::MetricType)? }
        }
    })
}

/// The name of a family, and the rest of the line.
fn family_name(text: &[u8]) -> Result<(SourceName<'_>, &[u8]), ErrorKind> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let (name, rest) = text.split_at_checked(metric_name(text).len()).unwrap_or_default();
        if rest.first().is_some_and(|&byte| !is_blank(byte)) {
            return Err(ErrorKind::MetricName);
        }
        return Ok((SourceName { text: name, is_quoted: false }, rest));
    };
    let mut is_escaped = false;
    let end = quoted.iter().position(|&byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    let (name, rest) = end.and_then(|end| quoted.split_at_checked(end)).unwrap_or_default();
    let rest = rest.get(1..).unwrap_or_default();
    if name.is_empty() || rest.first().is_some_and(|&byte| !is_blank(byte)) {
        return Err(ErrorKind::MetricName);
    }
    Ok((SourceName { text: name, is_quoted: true }, rest))
}

/// A unit has the characters of a metric name, or is empty.
fn unit(text: &[u8]) -> Result<&[u8], ErrorKind> {
    let unit = text.trim_ascii_end();
    let is_valid = unit.iter().all(|byte| sample::is_in_metric_name(*byte));
    if is_valid { Ok(unit) } else { Err(ErrorKind::Unit) }
}

/// Removes carriage returns at the end of a text. Parsers would read them as part of the line
/// break.
fn without_returns(mut text: &[u8]) -> &[u8] {
    while let [shorter @ .., b'\r'] = text {
        text = shorter;
    }
    text
}

/// The text up to the first blank, and the rest.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&byte| is_blank(byte)).unwrap_or(text.len());
    text.split_at(end)
}

/// Writes a `HELP` line. The backslash of an unknown escape is kept and doubled, as Prometheus
/// reads it.
pub(super) fn write_help(
    name: &[u8],
    (text, source): (&[u8], FamilyNaming),
    dialect: &OutputDialect,
    out: &mut Vec<u8>,
) {
    write_start("# HELP ", name, dialect, out);
    match (source, dialect.naming) {
        (FamilyNaming::Classic, FamilyNaming::Classic) => write_escaped(text, b"n\\", out),
        (source, target) => convert_help(text, source, target, out),
    }
    out.push(b'\n');
}

/// Converts the escapes of a `HELP` text.
fn convert_help(text: &[u8], source: FamilyNaming, target: FamilyNaming, out: &mut Vec<u8>) {
    unescaped_help(text, source).for_each(|plain| push_help(plain, target, out));
}

/// A `HELP` text without escapes. The backslash of an unknown escape is kept. Quotes are escaped in
/// OpenMetrics only.
pub(super) fn unescaped_help(text: &[u8], source: FamilyNaming) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (byte, after) = rest.split_first()?;
        let plain = match (byte, after.first()) {
            (b'\\', Some(b'n')) => Some(b'\n'),
            (b'\\', Some(b'\\')) => Some(b'\\'),
            (b'\\', Some(b'"')) if source == FamilyNaming::OpenMetrics => Some(b'"'),
            _ => None,
        };
        rest = if plain.is_some() { after.get(1..).unwrap_or_default() } else { after };
        Some(plain.unwrap_or(*byte))
    })
}

fn push_help(plain: u8, target: FamilyNaming, out: &mut Vec<u8>) {
    match plain {
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'"' if target == FamilyNaming::OpenMetrics => out.extend_from_slice(b"\\\""),
        _ => out.push(plain),
    }
}

/// Writes a `TYPE` line.
pub(super) fn write_type(
    name: &[u8],
    metric_type: MetricType,
    dialect: &OutputDialect,
    out: &mut Vec<u8>,
) {
    write_start("# TYPE ", name, dialect, out);
    out.extend_from_slice(metric_type.as_str(dialect.naming).as_bytes());
    out.push(b'\n');
}

/// Writes a `UNIT` line.
pub(super) fn write_unit(name: &[u8], unit: &[u8], dialect: &OutputDialect, out: &mut Vec<u8>) {
    write_start("# UNIT ", name, dialect, out);
    out.extend_from_slice(unit);
    out.push(b'\n');
}

fn write_start(keyword: &str, name: &[u8], dialect: &OutputDialect, out: &mut Vec<u8>) {
    out.extend_from_slice(keyword.as_bytes());
    dialect.write_family_name(name, out);
    out.push(b' ');
}

/// Copies escaped text. A backslash is doubled if it does not start an escape of a character in
/// `known`.
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

    const X: SourceName<'_> = name(b"x");

    const fn name(text: &[u8]) -> SourceName<'_> {
        SourceName { text, is_quoted: false }
    }

    #[test]
    fn a_help_text_does_not_end_in_carriage_returns() {
        for line in ["# HELP x text", "# HELP x text\r", "# HELP x text\r\r\r"] {
            let expected = MetadataLine::Help { name: X, text: b"text" };
            assert_eq!(parse(line.as_bytes(), FamilyNaming::Classic), Ok(expected), "{line:?}");
        }
    }

    #[test]
    fn metadata_lines_and_comments_are_distinguished() {
        use MetadataLine::{Comment, Help, Type};
        let cases: [(&str, Result<MetadataLine<'_>, ErrorKind>); 25] = [
            ("# HELP x some text ", Ok(Help { name: X, text: b"some text " })),
            ("#\t HELP\tx \t text", Ok(Help { name: X, text: b"text" })),
            ("# HELP x", Ok(Help { name: X, text: b"" })),
            ("# HELP x ", Ok(Help { name: X, text: b"" })),
            (
                "# TYPE a:b_1 counter",
                Ok(Type { name: name(b"a:b_1"), metric_type: MetricType::Counter }),
            ),
            ("# TYPE x GAUGE \t", Ok(Type { name: X, metric_type: MetricType::Gauge })),
            ("# TYPE x untyped", Ok(Type { name: X, metric_type: MetricType::Unknown })),
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
            (
                "# TYPE \"a.b\" gauge",
                Ok(Type {
                    name: SourceName { text: b"a.b", is_quoted: true },
                    metric_type: MetricType::Gauge,
                }),
            ),
            ("# TYPE \"a.b gauge", Err(ErrorKind::MetricName)),
            ("# TYPE \"\" gauge", Err(ErrorKind::MetricName)),
            ("# TYPE \"a\"b gauge", Err(ErrorKind::MetricName)),
            ("# HELP 1x text", Ok(Comment)),
            ("# HELP \"x text", Ok(Comment)),
            ("# TYPE 1x gauge", Err(ErrorKind::MetricName)),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line.as_bytes(), FamilyNaming::Classic), expected, "{line:?}");
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
