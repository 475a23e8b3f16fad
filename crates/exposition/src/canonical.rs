//! Canonical numbers of OpenMetrics, and conversion of its timestamps.
//!
//! `le` and `quantile` are labels, so `le="1"` and `le="1.0"` are two series. OpenMetrics 1.0.0
//! therefore defines one canonical form (section "Considerations: Canonical Numbers"). It is the
//! shortest text that gives the same number again. It has an exponent below 0.0001 and from a
//! million on. It has `.0` if there is neither a point nor an exponent.

use std::io::Write;

/// The space for any number: a sign, 17 digits, a point and `e-308`.
const MAX_LENGTH: usize = 32;

/// Appends `value` in the canonical form.
pub(super) fn write_canonical(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(CanonicalNumber::canonical(value).as_bytes());
}

/// Whether `text` is in the form that [`write_canonical`] writes.
pub(super) fn is_canonical(text: &[u8]) -> bool {
    if is_plainly_canonical(text) {
        return true;
    }
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.is_some_and(|number| CanonicalNumber::canonical(number).as_bytes() == text)
}

/// Fast check of short texts without an exponent. A decimal text of up to 15 digits is the shortest
/// text of its number, unless it has surplus zeros.
fn is_plainly_canonical(text: &[u8]) -> bool {
    let (unsigned, is_negative) = match text {
        b"+Inf" => return true,
        [b'-', unsigned @ ..] => (unsigned, true),
        _ => (text, false),
    };
    let Some(point) = unsigned.iter().position(|&byte| byte == b'.') else { return false };
    let (whole, fraction) = unsigned.split_at(point);
    let fraction = fraction.get(1..).unwrap_or_default();
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if !digits(whole) || !digits(fraction) || whole.len() > 6 || unsigned.len() > 16 {
        return false;
    }
    match (whole, fraction) {
        (b"0", b"0") => !is_negative,
        (b"0", _) => !fraction.starts_with(b"0000") && !fraction.ends_with(b"0"),
        _ => !whole.starts_with(b"0") && (fraction == b"0" || !fraction.ends_with(b"0")),
    }
}

/// The text of a number, on the stack.
#[derive(Clone, Copy)]
struct CanonicalNumber {
    bytes: [u8; MAX_LENGTH],
    length: usize,
}

impl CanonicalNumber {
    fn canonical(value: f64) -> Self {
        let mut number = Self::shortest(value);
        if value.is_finite() && !number.as_bytes().iter().any(|byte| matches!(byte, b'.' | b'e')) {
            number.push(b".0");
        }
        number
    }

    fn shortest(value: f64) -> Self {
        let mut number = Self { bytes: [0; MAX_LENGTH], length: 0 };
        let size = value.abs();
        if value.is_nan() {
            number.push(b"NaN");
        } else if size.is_infinite() {
            number.push(if value > 0.0 { b"+Inf" } else { b"-Inf" });
        } else if size == 0.0 {
            // The canonical zero has no sign.
            number.push(b"0");
        } else if (1e-4..1e6).contains(&size) {
            number.print(format_args!("{value}"));
        } else {
            number.print(format_args!("{value:e}"));
            number.widen_exponent();
        }
        number
    }

    /// Replaces `e5` by `e+05` and `e-7` by `e-07`.
    fn widen_exponent(&mut self) {
        let printed = *self;
        let Some(at) = printed.as_bytes().iter().position(|&byte| byte == b'e') else { return };
        let (mantissa, exponent) = printed.as_bytes().split_at(at);
        let (sign, digits): (&[u8], _) = match exponent {
            [_, b'-', digits @ ..] => (b"e-", digits),
            [_, digits @ ..] => (b"e+", digits),
            [] => return,
        };
        self.length = mantissa.len();
        self.push(sign);
        if digits.len() == 1 {
            self.push(b"0");
        }
        self.push(digits);
    }

    fn print(&mut self, text: std::fmt::Arguments<'_>) {
        let mut room = self.bytes.as_mut_slice();
        // `MAX_LENGTH` is enough for any number.
        let _ = room.write_fmt(text);
        self.length = MAX_LENGTH - room.len();
    }

    fn push(&mut self, text: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + text.len()) {
            room.copy_from_slice(text);
            self.length += text.len();
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Converts a timestamp in seconds to milliseconds.
///
/// The conversion is decimal, so that `1.001` becomes 1001. Digits below a millisecond are cut off,
/// as Prometheus does. `None` if `text` is no decimal number or the result does not fit.
pub(super) fn seconds_to_millis(text: &[u8]) -> Option<i64> {
    let (unsigned, is_negative) = match text {
        [b'-', rest @ ..] => (rest, true),
        [b'+', rest @ ..] => (rest, false),
        _ => (text, false),
    };
    let (whole, rest) = digits(unsigned);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => digits(rest),
        _ => (Default::default(), rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent = match rest {
        [] => 0,
        [b'e' | b'E', rest @ ..] => exponent(rest)?,
        _ => return None,
    };
    // The number of digits before the point of the value in milliseconds.
    let length = i64::try_from(whole.len()).ok()?.checked_add(exponent)?.checked_add(3)?;
    let length = usize::try_from(length).unwrap_or(0);
    let mut millis = 0i64;
    for digit in whole.iter().chain(fraction).take(length) {
        // Counts downwards, because `i64` has one more negative number.
        millis = millis.checked_mul(10)?.checked_sub(i64::from(digit.saturating_sub(b'0')))?;
    }
    let mut missing = length.saturating_sub(whole.len().saturating_add(fraction.len()));
    while missing > 0 && millis != 0 {
        millis = millis.checked_mul(10)?;
        missing -= 1;
    }
    if is_negative { Some(millis) } else { millis.checked_neg() }
}

/// Reads an exponent. The result is bounded, so that lengths can be added to it without overflow.
fn exponent(text: &[u8]) -> Option<i64> {
    let (unsigned, is_negative) = match text {
        [b'-', rest @ ..] => (rest, true),
        [b'+', rest @ ..] => (rest, false),
        _ => (text, false),
    };
    let (digits, rest) = digits(unsigned);
    if digits.is_empty() || !rest.is_empty() {
        return None;
    }
    let exponent = digits.iter().fold(0i64, |exponent, digit| {
        exponent.saturating_mul(10).saturating_add(i64::from(digit.saturating_sub(b'0')))
    });
    let exponent = exponent.min(i64::MAX / 2);
    Some(if is_negative { -exponent } else { exponent })
}

/// The digits at the start of `text`, and the rest.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// The number that a reader parses from the text of [`write_seconds`].
pub(super) fn seconds(millis: i64) -> f64 {
    /// Up to this value all integers are exact, so that the quotient is the nearest number.
    const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
    if millis.unsigned_abs() <= EXACT {
        return millis as f64 / 1000.0;
    }
    let mut text = Vec::new();
    write_seconds(millis, &mut text);
    let text = std::str::from_utf8(&text).unwrap_or_default();
    text.parse().unwrap_or_default()
}

/// Appends milliseconds as seconds without trailing zeros: `1520879607.789`.
pub(super) fn write_seconds(millis: i64, out: &mut Vec<u8>) {
    let sign = if millis < 0 { "-" } else { "" };
    let millis = millis.unsigned_abs();
    // Writing to a `Vec` does not fail.
    let _ = write!(out, "{sign}{}", millis / 1000);
    if millis.is_multiple_of(1000) {
        return;
    }
    let _ = write!(out, ".{:03}", millis % 1000);
    while out.last() == Some(&b'0') {
        out.pop();
    }
}

#[cfg(test)]
mod tests;
