//! The part of a sample line after the labels: value, timestamp, exemplar.

use super::{
    canonical,
    error::ErrorKind,
    families::FamilyNaming,
    number,
    sample::{self, TextLabel, is_blank, skip_blanks},
};

/// A parsed value, timestamp and exemplar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SampleTail<'a> {
    pub(super) value: &'a [u8],
    /// Milliseconds in the text format, seconds in OpenMetrics.
    pub(super) timestamp: Option<&'a [u8]>,
    pub(super) exemplar: Option<TextExemplar<'a>>,
    /// Whether there are single spaces between the parts and none at the end.
    pub(super) is_canonical: bool,
}

/// An exemplar of a bucket or counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextExemplar<'a> {
    /// The text from the `{` on.
    text: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) timestamp: Option<&'a [u8]>,
    /// Whether the labels are longer than [`MAX_EXEMPLAR`].
    pub(super) is_too_long: bool,
}

/// The limit of characters in the label names and values of an exemplar (OpenMetrics 1.0.0, section
/// "Exemplars").
const MAX_EXEMPLAR: usize = 128;

impl<'a> TextExemplar<'a> {
    /// Calls `each` with the labels.
    pub(super) fn labels(&self, mut each: impl FnMut(TextLabel<'a>)) {
        // The labels were parsed before, so there is no error.
        let _ = sample::parse_labels(self.text, &mut |label: TextLabel<'a>| {
            each(label);
            Ok(())
        });
    }
}

/// Parses `rest`, which starts with the value.
#[inline]
pub(super) fn parse(rest: &[u8], naming: FamilyNaming) -> Result<SampleTail<'_>, ErrorKind> {
    let (value, rest) = word(rest);
    if !number::is_float(value) {
        return Err(ErrorKind::Value);
    }
    let mut tail = SampleTail { value, is_canonical: true, ..SampleTail::default() };
    if rest.is_empty() {
        return Ok(tail);
    }
    let mut next = after_gap(rest, &mut tail.is_canonical);
    if next.first().is_some_and(|&byte| byte != b'#') {
        let (timestamp, rest) = word(next);
        if !is_timestamp(timestamp, naming) {
            return Err(ErrorKind::Timestamp);
        }
        tail.timestamp = Some(timestamp);
        if rest.is_empty() {
            return Ok(tail);
        }
        next = after_gap(rest, &mut tail.is_canonical);
    }
    match (next, naming) {
        ([], _) => tail.is_canonical = false,
        ([b'#', exemplar @ ..], FamilyNaming::OpenMetrics) => {
            tail.exemplar = Some(parse_exemplar(exemplar)?)
        }
        ([b'#', ..], FamilyNaming::Classic) => return Err(ErrorKind::Exemplar),
        _ => return Err(ErrorKind::Trailing),
    }
    Ok(tail)
}

fn parse_exemplar<'a>(text: &'a [u8]) -> Result<TextExemplar<'a>, ErrorKind> {
    let text: &'a [u8] = skip_blanks(text);
    let mut length = 0;
    let mut names: Vec<&'a [u8]> = Vec::new();
    let end = sample::parse_labels(text, &mut |label: TextLabel<'a>| {
        if names.contains(&label.name.text) || names.len() > MAX_EXEMPLAR {
            return Err(ErrorKind::DuplicateLabel);
        }
        names.push(label.name.text);
        length += characters(label.name.text) + characters(label.value);
        Ok(())
    })
    .map_err(|_| ErrorKind::Exemplar)?;
    let (value, rest) = word(skip_blanks(text.get(end..).unwrap_or_default()));
    if !number::is_float(value) {
        return Err(ErrorKind::Exemplar);
    }
    let (timestamp, rest) = word(skip_blanks(rest));
    let timestamp = (!timestamp.is_empty()).then_some(timestamp);
    let is_valid = timestamp.is_none_or(|text| is_timestamp(text, FamilyNaming::OpenMetrics));
    if !is_valid || !skip_blanks(rest).is_empty() {
        return Err(ErrorKind::Exemplar);
    }
    Ok(TextExemplar { text, value, timestamp, is_too_long: length > MAX_EXEMPLAR })
}

/// The number of characters. An escape counts as one.
fn characters(escaped: &[u8]) -> usize {
    let mut text = Vec::new();
    sample::unescape(escaped, &mut text);
    text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

fn is_timestamp(text: &[u8], naming: FamilyNaming) -> bool {
    match naming {
        FamilyNaming::Classic => number::timestamp_ms(text).is_some(),
        FamilyNaming::OpenMetrics => {
            let digits = text.strip_prefix(b"-").unwrap_or(text);
            digits.first().is_some_and(u8::is_ascii_digit) && number::is_float(text)
        }
    }
}

/// The text up to the first blank, and the rest.
#[inline(always)]
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&byte| is_blank(byte)).unwrap_or(text.len());
    text.split_at(end)
}

fn after_gap<'a>(rest: &'a [u8], is_canonical: &mut bool) -> &'a [u8] {
    let next = skip_blanks(rest);
    *is_canonical &= rest.first() == Some(&b' ') && rest.len() - next.len() == 1;
    next
}

/// A sort key of timestamps. It is equal for timestamps that are equal in the output.
pub(super) fn timestamp_key(text: &[u8], source: FamilyNaming, target: FamilyNaming) -> u64 {
    let to_u64 = |timestamp_ms: Option<i64>| timestamp_ms.unwrap_or_default() as u64;
    match (source, target) {
        (FamilyNaming::Classic, FamilyNaming::Classic) => to_u64(number::timestamp_ms(text)),
        (_, FamilyNaming::Classic) => to_u64(canonical::seconds_to_millis(text)),
        (FamilyNaming::Classic, _) => {
            seconds_key(canonical::seconds(number::timestamp_ms(text).unwrap_or_default()))
        }
        _ => seconds_key(number::parse(text).unwrap_or_default()),
    }
}

/// A sort key of seconds as floats, as parsers of OpenMetrics compare them.
fn seconds_key(seconds: f64) -> u64 {
    // The addition removes the sign of zero.
    let bits = (seconds + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn values_timestamps_and_exemplars_are_parsed() {
        use FamilyNaming::{Classic, OpenMetrics};
        let cases = [
            ("1", Classic, "1", None, true),
            ("1 5", Classic, "1", Some("5"), true),
            ("1 ", Classic, "1", None, false),
            ("1 5 ", Classic, "1", Some("5"), false),
            ("1\t5", Classic, "1", Some("5"), false),
            ("1 1520879607.789", OpenMetrics, "1", Some("1520879607.789"), true),
            ("1 -1.5e3", OpenMetrics, "1", Some("-1.5e3"), true),
        ];
        for (line, naming, value, timestamp, is_canonical) in cases {
            let tail = parse(line.as_bytes(), naming).unwrap();
            assert_eq!(text(tail.value), value, "{line:?}");
            assert_eq!(tail.timestamp.map(text), timestamp, "{line:?}");
            assert_eq!((tail.is_canonical, tail.exemplar), (is_canonical, None), "{line:?}");
        }
        let long = "é".repeat(126);
        let exemplars = [
            ("1 # {a=\"b\"} 0.5".to_owned(), "0.5", None, false),
            ("1 2 # {} 0.5 1.5".to_owned(), "0.5", Some("1.5"), false),
            ("1 #{ a = \"b\", }0.5  1 ".to_owned(), "0.5", Some("1"), false),
            (format!("1 # {{a=\"{long}\\n\"}} 1"), "1", None, false),
            (format!("1 # {{a=\"{long}ab\"}} 1"), "1", None, true),
        ];
        for (line, value, timestamp, is_too_long) in exemplars {
            let exemplar = parse(line.as_bytes(), OpenMetrics).unwrap().exemplar.unwrap();
            assert_eq!((text(exemplar.value), exemplar.is_too_long), (value, is_too_long));
            assert_eq!(exemplar.timestamp.map(text), timestamp, "{line:?}");
        }
    }

    #[test]
    fn invalid_tails_are_refused_with_their_kind() {
        use FamilyNaming::{Classic, OpenMetrics};
        let cases = [
            ("", Classic, ErrorKind::Value),
            ("one", Classic, ErrorKind::Value),
            ("1{}", Classic, ErrorKind::Value),
            ("1 -5", Classic, ErrorKind::Timestamp),
            ("1 1.5", Classic, ErrorKind::Timestamp),
            ("1 {", Classic, ErrorKind::Timestamp),
            ("1 5 6", Classic, ErrorKind::Trailing),
            ("1 # {a=\"b\"} 1", Classic, ErrorKind::Exemplar),
            ("1 5 # {a=\"b\"} 1", Classic, ErrorKind::Exemplar),
            ("1 NaN", OpenMetrics, ErrorKind::Timestamp),
            ("1 Inf", OpenMetrics, ErrorKind::Timestamp),
            ("1 1e999", OpenMetrics, ErrorKind::Timestamp),
            ("1 5 6", OpenMetrics, ErrorKind::Trailing),
            ("1 #", OpenMetrics, ErrorKind::Exemplar),
            ("1 # {}", OpenMetrics, ErrorKind::Exemplar),
            ("1 # {a=\"b\"} x", OpenMetrics, ErrorKind::Exemplar),
            ("1 # {a=\"b\",a=\"c\"} 1", OpenMetrics, ErrorKind::Exemplar),
            ("1 # {a=\"b\"} 1 x", OpenMetrics, ErrorKind::Exemplar),
            ("1 # {a=\"b\"} 1 2 3", OpenMetrics, ErrorKind::Exemplar),
            ("1 # {a=\"b\" 1", OpenMetrics, ErrorKind::Exemplar),
        ];
        for (line, naming, expected) in cases {
            assert_eq!(parse(line.as_bytes(), naming), Err(expected), "{line:?}");
        }
    }
}
