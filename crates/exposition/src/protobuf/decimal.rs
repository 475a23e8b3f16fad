//! Numbers and timestamps of OpenMetrics text.

use std::io::Write;

use super::message::{number, varint};

/// Writes the shortest text of a value, with an exponent for very large and small values.
pub(super) fn write_value(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        let positive: &[u8] = if value.is_nan() { b"NaN" } else { b"+Inf" };
        out.extend_from_slice(if value == f64::NEG_INFINITY { b"-Inf" } else { positive });
        return;
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    // Writing to a `Vec` does not fail.
    let _ = if (-5..21).contains(&exponent) {
        write!(out, "{value}")
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{digits}e{sign}{:02}", exponent.unsigned_abs())
    };
}

/// Writes milliseconds as seconds.
pub(super) fn write_ms(timestamp_ms: i64, out: &mut Vec<u8>) {
    write_scaled(i128::from(timestamp_ms), 3, out);
}

/// Writes a `google.protobuf.Timestamp` as seconds.
pub(super) fn write_time(time: &[u8], out: &mut Vec<u8>) {
    let seconds = i128::from(varint(time, number::SECONDS) as i64);
    let nanos = i128::from(varint(time, number::NANOS) as i32);
    write_scaled(seconds * 1_000_000_000 + nanos, 9, out);
}

/// Writes `number` with its last `places` digits after the point.
fn write_scaled(number: i128, places: u32, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    let (number, unit) = (number.unsigned_abs(), 10_u128.pow(places));
    let _ = write!(out, "{}", number / unit);
    if number % unit != 0 {
        let _ = write!(out, ".{:0width$}", number % unit, width = places as usize);
        while out.pop_if(|last| *last == b'0').is_some() {}
    }
}

/// Reads a decimal number as an integer of 10^-`places` units. Further digits are cut off.
pub(super) fn read_scaled(text: &str, places: u32) -> Option<i64> {
    let unit = 10_i128.pow(places);
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_number(whole) || !is_number(fraction) {
        // A number with an exponent, or no number.
        let scaled = text.parse::<f64>().ok().filter(|value| value.is_finite())? * unit as f64;
        return Some(scaled.round() as i64);
    }
    let mut scaled = whole.bytes().try_fold(0_i128, |sum, digit| {
        sum.checked_mul(10)?.checked_add(i128::from(digit - b'0'))
    })?;
    let fraction_digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(places as usize);
    for digit in fraction_digits {
        scaled = scaled.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    i64::try_from(sign * scaled).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_short_and_parse_to_the_same_number() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (1e-5, "0.00001"),
            (1e-6, "1e-06"),
            (1_700_000_000.123, "1700000000.123"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.25e-300, "1.25e-300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (value, expected) in cases {
            let written = text(|out| write_value(value, out));
            assert_eq!(written, expected);
            let read: f64 = written.parse().unwrap();
            assert!(read.is_nan() && value.is_nan() || read.to_bits() == value.to_bits());
        }
    }

    #[test]
    fn times_are_exact_in_both_directions() {
        for (ms, expected) in [
            (0, "0"),
            (1_520_879_607_789, "1520879607.789"),
            (1_520_879_607_700, "1520879607.7"),
            (1000, "1"),
            (1_000_000, "1000"),
            (-1, "-0.001"),
            (i64::MAX, "9223372036854775.807"),
        ] {
            assert_eq!(text(|out| write_ms(ms, out)), expected);
            assert_eq!(read_scaled(expected, 3), Some(ms));
        }
        assert_eq!(read_scaled("1.5204", 3), Some(1520));
        assert_eq!(read_scaled("1.52e3", 3), Some(1_520_000));
        for wrong in ["", ".", "-", "x", "NaN", "1.2.3", "99999999999999999999"] {
            assert_eq!(read_scaled(wrong, 3), None, "{wrong}");
        }
    }
}
