//! What follows the labels on a sample line: value, timestamp, exemplar.

use super::{
    canonical,
    error::ErrorKind,
    families::Naming,
    number,
    sample::{self, Label, is_blank, skip_blanks},
};

/// A value and what comes after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail<'a> {
    pub(super) value: &'a [u8],
    /// Milliseconds in the text format, seconds in OpenMetrics.
    pub(super) timestamp: Option<&'a [u8]>,
    pub(super) exemplar: Option<Exemplar<'a>>,
    /// Single spaces between the parts, and none behind them.
    pub(super) is_canonical: bool,
}

/// A request that a bucket or counter counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exemplar<'a> {
    /// From its `{` on.
    text: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) timestamp: Option<&'a [u8]>,
    /// Whether its labels are longer than [`MAX_EXEMPLAR`].
    pub(super) is_too_long: bool,
}

/// The most characters that names and values of an exemplar's labels may have together
/// (OpenMetrics 1.0.0, "Exemplars").
const MAX_EXEMPLAR: usize = 128;

impl<'a> Exemplar<'a> {
    /// Hands out its labels.
    pub(super) fn labels(&self, mut each: impl FnMut(Label<'a>)) {
        // It was read before, so there is no error to see here.
        let _ = sample::parse_labels(self.text, &mut |label: Label<'a>| {
            each(label);
            Ok(())
        });
    }
}

/// Reads `rest`, which starts with the value.
#[inline]
pub(super) fn parse(rest: &[u8], naming: Naming) -> Result<Tail<'_>, ErrorKind> {
    let (value, rest) = word(rest);
    if !number::is_float(value) {
        return Err(ErrorKind::Value);
    }
    let mut tail = Tail { value, is_canonical: true, ..Tail::default() };
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
        ([b'#', exemplar @ ..], Naming::OpenMetrics) => {
            tail.exemplar = Some(parse_exemplar(exemplar)?)
        }
        ([b'#', ..], Naming::Classic) => return Err(ErrorKind::Exemplar),
        _ => return Err(ErrorKind::Trailing),
    }
    Ok(tail)
}

fn parse_exemplar<'a>(text: &'a [u8]) -> Result<Exemplar<'a>, ErrorKind> {
    let text: &'a [u8] = skip_blanks(text);
    let mut length = 0;
    let mut names: Vec<&'a [u8]> = Vec::new();
    let end = sample::parse_labels(text, &mut |label: Label<'a>| {
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
    let is_fine = timestamp.is_none_or(|text| is_timestamp(text, Naming::OpenMetrics));
    if !is_fine || !skip_blanks(rest).is_empty() {
        return Err(ErrorKind::Exemplar);
    }
    Ok(Exemplar { text, value, timestamp, is_too_long: length > MAX_EXEMPLAR })
}

/// Escapes count as what they stand for.
fn characters(escaped: &[u8]) -> usize {
    let mut text = Vec::new();
    sample::unescape(escaped, &mut text);
    text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

fn is_timestamp(text: &[u8], naming: Naming) -> bool {
    match naming {
        Naming::Classic => number::timestamp_ms(text).is_some(),
        Naming::OpenMetrics => {
            let digits = text.strip_prefix(b"-").unwrap_or(text);
            digits.first().is_some_and(u8::is_ascii_digit) && number::is_float(text)
        }
    }
}

/// Up to the first blank, and the rest.
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

/// In the order of timestamps, and equal for those that are the same in the output.
pub(super) fn timestamp_key(text: &[u8], source: Naming, target: Naming) -> u64 {
    let to_u64 = |timestamp_ms: Option<i64>| timestamp_ms.unwrap_or_default() as u64;
    match (source, target) {
        (Naming::Classic, Naming::Classic) => to_u64(number::timestamp_ms(text)),
        (_, Naming::Classic) => to_u64(canonical::seconds_to_millis(text)),
        (Naming::Classic, _) => {
            seconds_key(canonical::seconds(number::timestamp_ms(text).unwrap_or_default()))
        }
        _ => seconds_key(number::parse(text).unwrap_or_default()),
    }
}

/// In the order of numbers, and equal for equal ones, which is what a reader of seconds sees.
fn seconds_key(seconds: f64) -> u64 {
    // Zero has no sign.
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
    fn values_timestamps_and_exemplars_are_read() {
        use Naming::{Classic, OpenMetrics};
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
    fn what_is_no_tail_is_refused_with_its_reason() {
        use Naming::{Classic, OpenMetrics};
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
