//! Recognises the format of a body from its content.

use exposition::Format;

/// The tag of a family's name, its first field.
const NAME: u8 = 0x0a;
/// The tags of its other fields: help, type, metric, unit.
const OTHERS: [u8; 4] = [0x12, 0x18, 0x22, 0x2a];

/// What a body is read as, by its content.
///
/// OpenMetrics ends in `# EOF`, protobuf begins with a family and its name, and
/// everything else is tried as text. There is no telling the two versions of
/// OpenMetrics apart, nor those of the text format; the newer one includes the older.
pub(super) fn format_of(body: &[u8]) -> Format {
    if ends_as_openmetrics(body) {
        Format::OpenMetrics100
    } else if begins_as_protobuf(body).is_some() {
        Format::Protobuf
    } else {
        Format::Text100
    }
}

/// Whether `# EOF` is the last line, blank ones aside.
fn ends_as_openmetrics(body: &[u8]) -> bool {
    let body = body.trim_ascii_end();
    let line = body.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
    line.trim_ascii_start()
        .strip_prefix(b"#")
        .is_some_and(|after| after.starts_with(b" ") || after.starts_with(b"\t"))
        && line.ends_with(b"EOF")
        && line.iter().filter(|byte| !byte.is_ascii_whitespace()).count() == b"#EOF".len()
}

/// Says so by `Some`: the length of a message, and in it a name and then a tag or nothing more.
///
/// The message may be cut short after its name: that is for the parser to say.
/// Text cannot look so by chance: its first line would have one character, its
/// second one as many as the code of its first, and then one of few signs.
fn begins_as_protobuf(body: &[u8]) -> Option<()> {
    let (length, body) = varint(body)?;
    let message = body.get(..length).unwrap_or(body);
    let (&tag, field) = message.split_first()?;
    let (name_length, field) = varint(field)?;
    let (name, rest) = field.split_at_checked(name_length)?;
    let name = std::str::from_utf8(name).ok()?;
    let is_name = tag == NAME && !name.is_empty() && !name.contains(char::is_control);
    let is_family = is_name && rest.first().is_none_or(|next| OTHERS.contains(next));
    is_family.then_some(())
}

/// A number as protobuf writes it, and what follows it.
fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0_u64;
    // More than these would be 16 TiB.
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
    fn the_format_is_told_from_the_content() {
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
            // A family that is a name and nothing else; with a type; with a metric.
            (b"\x03\x0a\x01x", Protobuf),
            (b"\x05\x0a\x01x\x18\x01", Protobuf),
            (b"\x05\x0a\x01x\x22\x00\x05\x0a\x01y\x22\x00", Protobuf),
            (b"\x05\x0a\x03a\xc3\xa9", Protobuf),
            (b"\x8a\x01\x0a\x01x\x12\x84\x01help and so on", Protobuf),
            // Cut short after the name.
            (b"\x05\x0a\x01x", Protobuf),
            // Cut short within it.
            (b"\x05\x0a\x03x", Text100),
            // No name; a name that is no text; no length; a length that has no end.
            (b"\x02\x0a\x00", Text100),
            (b"\x03\x0a\x01\xff", Text100),
            (b"\x00\x0a\x01x", Text100),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Text100),
            // The name is longer than its message; another field first; an unknown one after.
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
    fn blank_lines_in_front_are_no_protobuf() {
        for start in ["\n\n", "\n\n\n", "#\n\n", "#\n# HELP x y\n", "{\n  \"a\": 1\n", "\r\n\r\n"] {
            let body = start.to_owned() + &"x{a=\"b\"} 1\n".repeat(20);
            assert_eq!(format_of(body.as_bytes()), Format::Text100, "{start:?}");
        }
    }
}
