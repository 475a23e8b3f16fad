//! Numbers that every scraper accepts: the syntax of Go's `strconv.ParseFloat` without hexadecimal
//! numbers, `_`, a signed NaN and values that overflow.

/// Whether `text` is a valid value: decimal, infinite or NaN.
pub(super) fn is_float(text: &[u8]) -> bool {
    let unsigned = match text {
        [b'+' | b'-', rest @ ..] => rest,
        _ => text,
    };
    match unsigned.first() {
        Some(b'0'..=b'9' | b'.') => is_decimal(unsigned),
        Some(b'i' | b'I') => {
            unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity")
        }
        _ => text.eq_ignore_ascii_case(b"nan"),
    }
}

/// The length of the decimal number at the start of `text`, if a line break follows it. `None` for
/// numbers in another notation.
#[inline(always)]
pub(super) fn plain_number_length(text: &[u8]) -> Option<usize> {
    let start = usize::from(text.first() == Some(&b'-'));
    let whole = digits_at(text, start);
    let mut at = start + whole;
    let mut fraction = 0;
    if text.get(at) == Some(&b'.') {
        fraction = digits_at(text, at + 1);
        at += 1 + fraction;
    }
    // At least one digit, and not enough digits to overflow.
    (text.get(at) == Some(&b'\n') && whole + fraction > 0 && whole < 200).then_some(at)
}

/// The number of digits from `at` on. It checks eight bytes at a time.
#[inline(always)]
fn digits_at(text: &[u8], at: usize) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    let mut count = 0;
    while let Some(word) = text.get(at + count..).and_then(<[u8]>::first_chunk) {
        let digits = u64::from_le_bytes(*word) ^ (ONES * u64::from(b'0'));
        // Digits are now 0 to 9. The addition sets the highest bit of all other bytes.
        let others = (((digits & (ONES * 0x7f)) + ONES * 0x76) | digits) & (ONES << 7);
        if others != 0 {
            return count + others.trailing_zeros() as usize / 8;
        }
        count += 8;
    }
    let rest = text.get(at + count..).unwrap_or_default();
    count + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The value of `text`, or `None` if it is not valid.
pub(super) fn parse(text: &[u8]) -> Option<f64> {
    // Fast path for counts.
    if text.len() < 16 && !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
        let count = text.iter().fold(0_u64, |count, digit| count * 10 + u64::from(digit - b'0'));
        return Some(count as f64);
    }
    if !is_float(text) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn is_decimal(text: &[u8]) -> bool {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => digits(rest),
        _ => (0, rest),
    };
    let (exponent, rest) = match rest {
        [b'e' | b'E', b'+' | b'-', rest @ ..] | [b'e' | b'E', rest @ ..] => match digits(rest) {
            (0, _) => return false,
            counted => counted,
        },
        _ => (0, rest),
    };
    if !rest.is_empty() || whole + fraction == 0 {
        return false;
    }
    // The number of digits shows that the value is below 10^300. Otherwise the value is parsed.
    (whole <= 200 && exponent <= 2)
        || std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<f64>().ok())
            .is_some_and(f64::is_finite)
}

/// The number of digits at the start of `text`, and the rest.
fn digits(text: &[u8]) -> (usize, &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count, text.get(count..).unwrap_or_default())
}

/// Parses a timestamp in milliseconds.
///
/// A sign is refused, because Prometheus' text parser refuses the whole response for a timestamp
/// `-1`.
pub(super) fn timestamp_ms(text: &[u8]) -> Option<i64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_values_are_those_of_promtool_and_prometheus() {
        let nines = "9".repeat(308);
        let long = "1".repeat(310);
        let small = format!("0.{}1", "0".repeat(400));
        let good = [
            "0",
            "1",
            "-1",
            "+1",
            "1.",
            ".5",
            "-.5",
            "1.5",
            "1e5",
            "1E+05",
            "1.7e-300",
            "NaN",
            "nan",
            "Inf",
            "+Inf",
            "-inf",
            "infinity",
            "+INFINITY",
            "1e308",
            "1e-999",
            "0e9999",
            &nines,
            &small,
        ];
        for text in good {
            assert!(is_float(text.as_bytes()), "{text}");
        }
        let bad = [
            "", "+", "-", ".", "e5", "1e", "1e+", "1e5x", "--1", "+-1", "1,5", "1_0", "0x10",
            "0x1p4", "-NaN", "+nan", "nanx", "infi", "i", "1e309", "-1e999", "1.5.5", "1 ", "one",
            &long,
        ];
        for text in bad {
            assert!(!is_float(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_decimal_number_is_found_up_to_the_line_break() {
        let numbers = ["0", "-1", "12345678", "123456789.25", ".5", "5.", "1234567.12345678901"];
        for number in numbers {
            for after in ["", "x 1\n"] {
                let line = format!("{number}\n{after}");
                assert_eq!(plain_number_length(line.as_bytes()), Some(number.len()), "{line:?}");
            }
        }
        let long = "1".repeat(200) + "\n";
        let others = [
            "", "1", "\n", "-\n", ".\n", "1 \n", "1\r\n", "1e5\n", "+1\n", "1.2.3\n", "1:\n",
            "1/\n", "NaN\n", &long,
        ];
        for text in others {
            assert_eq!(plain_number_length(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_timestamp_is_digits_that_fit_in_64_bits() {
        assert_eq!(timestamp_ms(b"0"), Some(0));
        assert_eq!(timestamp_ms(b"0001"), Some(1));
        assert_eq!(timestamp_ms(b"9223372036854775807"), Some(i64::MAX));
        for text in ["", "-1", "+1", "1.5", "9223372036854775808", "1e3", "#"] {
            assert_eq!(timestamp_ms(text.as_bytes()), None, "{text}");
        }
    }
}
