//! Detects the format of a body from its content.

use exposition::Format;

/// Protobuf tag of the name of a metric family, its first field.
const NAME_TAG: u8 = 0x0a;
/// Protobuf tags of the other fields of a family: help, type, metric, unit.
const OTHER_TAGS: [u8; 4] = [0x12, 0x18, 0x22, 0x2a];

/// Detects the format of a body.
///
/// OpenMetrics ends with `# EOF`. Protobuf begins with a metric family and its name. Everything
/// else is parsed as text. The versions of OpenMetrics and of the text format cannot be
/// distinguished by content, so the newer version is used. It includes the older one.
pub(super) fn format_of(body: &[u8]) -> Format {
    if ends_as_openmetrics(body) {
        Format::OpenMetrics100
    } else if begins_as_protobuf(body).is_some() {
        Format::Protobuf
    } else {
        Format::Text100
    }
}

/// Whether the last non-empty line is `# EOF`.
fn ends_as_openmetrics(body: &[u8]) -> bool {
    let body = body.trim_ascii_end();
    let line = body.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
    line.trim_ascii_start()
        .strip_prefix(b"#")
        .is_some_and(|after| after.starts_with(b" ") || after.starts_with(b"\t"))
        && line.ends_with(b"EOF")
        && line.iter().filter(|byte| !byte.is_ascii_whitespace()).count() == b"#EOF".len()
}

/// Returns `Some` if the body begins with a protobuf message: its length, a name as its first
/// field, and then a known tag or the end of the message.
///
/// The message may be truncated after its name; the parser reports that. Text does not look like
/// this by accident: its first line would have one character, and the length of its second line
/// would have to match a character code.
fn begins_as_protobuf(body: &[u8]) -> Option<()> {
    let (length, body) = varint(body)?;
    let message = body.get(..length).unwrap_or(body);
    let (&tag, field) = message.split_first()?;
    let (name_length, field) = varint(field)?;
    let (name, rest) = field.split_at_checked(name_length)?;
    let name = std::str::from_utf8(name).ok()?;
    let is_name = tag == NAME_TAG && !name.is_empty() && !name.contains(char::is_control);
    let is_family = is_name && rest.first().is_none_or(|next| OTHER_TAGS.contains(next));
    is_family.then_some(())
}

/// Parses a protobuf varint. Also returns the remaining bytes.
fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0_u64;
    // More than six bytes would be a length above 16 TiB.
    for (i, byte) in bytes.iter().enumerate().take(6) {
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(number).ok()?, bytes.get(i + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_detected_from_the_content() {
        use Format::{OpenMetrics100, Protobuf, Text100};
        let cases: [(&[u8], Format); 34] = [
            (b"", Text100),
            (b"\n", Text100),
            (b"x 1\n", Text100),
            (b"# TYPE x counter\nx 1", Text100),
            (b"{\"a.b\"} 1\n", Text100),
            (b"<html></html>\n", Text100),
            (b"# EOF", OpenMetrics100),
            (b"# EOF\n", OpenMetrics100),
            (b"x 1\n# EOF\n", OpenMetrics100),
            (b"x 1\r\n# EOF\r\n", OpenMetrics100),
            (b"x 1\n# EOF\n\n \n\t\r\n", OpenMetrics100),
            (b"x 1\n # \tEOF \n", OpenMetrics100),
            (b"# TYPE x info\n# EOF\nx 1\n", Text100),
            (b"x 1\n#EOF\n", Text100),
            (b"x 1\n# EOFs\n", Text100),
            (b"x 1\n# EO F\n", Text100),
            (b"x 1\n# no EOF\n", Text100),
            (b"x 1 # EOF", Text100),
            (b"x 1\n# eof\n", Text100),
            // A family with a name only; with a type; with a metric.
            (b"\x03\x0a\x01x", Protobuf),
            (b"\x05\x0a\x01x\x18\x01", Protobuf),
            (b"\x05\x0a\x01x\x22\x00\x05\x0a\x01y\x22\x00", Protobuf),
            (b"\x05\x0a\x03a\xc3\xa9", Protobuf),
            (b"\x8a\x01\x0a\x01x\x12\x84\x01help and so on", Protobuf),
            // Truncated after the name.
            (b"\x05\x0a\x01x", Protobuf),
            // Truncated within the name.
            (b"\x05\x0a\x03x", Text100),
            // No name; a name that is not UTF-8; no length; a varint without an end.
            (b"\x02\x0a\x00", Text100),
            (b"\x03\x0a\x01\xff", Text100),
            (b"\x00\x0a\x01x", Text100),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Text100),
            // The name is longer than its message; another field is first; an unknown field
            // follows.
            (b"\x03\x0a\x02xy", Text100),
            (b"\x03\x12\x01x", Text100),
            (b"\x05\x0a\x01x\x7f\x00", Text100),
            // Text whose first bytes could be lengths and a tag.
            (b"#\n a_name_of_32_letters_and_a_few_more{a=\"b\"} 1\n", Text100),
        ];
        for (body, format) in cases {
            assert_eq!(format_of(body), format, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn leading_empty_lines_are_not_protobuf() {
        for start in ["\n\n", "\n\n\n", "#\n\n", "#\n# HELP x y\n", "{\n  \"a\": 1\n", "\r\n\r\n"] {
            let body = start.to_owned() + &"x{a=\"b\"} 1\n".repeat(20);
            assert_eq!(format_of(body.as_bytes()), Format::Text100, "{start:?}");
        }
    }
}
