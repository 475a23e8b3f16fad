use proptest::prelude::*;

use super::*;

fn canonical(value: f64) -> String {
    let mut out = Vec::new();
    write_canonical(value, &mut out);
    String::from_utf8(out).unwrap()
}

fn shortest(value: f64) -> String {
    let mut out = Vec::new();
    out.extend_from_slice(CanonicalNumber::shortest(value).as_bytes());
    String::from_utf8(out).unwrap()
}

fn seconds(millis: i64) -> String {
    let mut out = Vec::new();
    write_seconds(millis, &mut out);
    String::from_utf8(out).unwrap()
}

/// Includes the examples of the OpenMetrics specification.
#[test]
fn numbers_have_one_canonical_form() {
    let cases = [
        (0.0, "0.0"),
        (-0.0, "0.0"),
        (1.0, "1.0"),
        (-1.0, "-1.0"),
        (0.001, "0.001"),
        (0.1, "0.1"),
        (9.999, "9.999"),
        (10.0, "10.0"),
        (1e-10, "1e-10"),
        (1e-9, "1e-09"),
        (1e-5, "1e-05"),
        (0.00012, "0.00012"),
        (0.0001, "0.0001"),
        (0.000099, "9.9e-05"),
        (100_000.0, "100000.0"),
        (999_999.0, "999999.0"),
        (999_999.999_999_999_9, "999999.9999999999"),
        (123_456.789, "123456.789"),
        (1e6, "1e+06"),
        (1_048_576.0, "1.048576e+06"),
        (1_234_567.0, "1.234567e+06"),
        (-2_500_000.0, "-2.5e+06"),
        (1e10, "1e+10"),
        (1e21, "1e+21"),
        (1e100, "1e+100"),
        (f64::MAX, "1.7976931348623157e+308"),
        (-f64::MAX, "-1.7976931348623157e+308"),
        (-f64::MIN_POSITIVE, "-2.2250738585072014e-308"),
        (5e-324, "5e-324"),
        (9_007_199_254_740_993.0, "9.007199254740992e+15"),
        (0.1 + 0.2, "0.30000000000000004"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
        (f64::NAN, "NaN"),
        (-f64::NAN, "NaN"),
    ];
    for (value, text) in cases {
        assert_eq!(canonical(value), text);
        assert_eq!(shortest(value), text.strip_suffix(".0").unwrap_or(text));
        assert!(is_canonical(text.as_bytes()), "{text}");
    }
}

#[test]
fn other_forms_are_not_canonical() {
    let cases = [
        "",
        "1",
        "+1.0",
        "01.0",
        "1.",
        ".5",
        "1.00",
        "0.50",
        "-0.0",
        "-0",
        "1e6",
        "1e+6",
        "1E+06",
        "1000000.0",
        "100000",
        "1.0e+06",
        "1e-4",
        "0.00001",
        "0.00009",
        "0.000100",
        "Inf",
        "inf",
        "+inf",
        "-inf",
        "nan",
        "-NaN",
        "1e999",
        "x",
        "1.0 ",
        " 1.0",
        "1_0.0",
        "1.5.5",
        "0.10000000000000001",
        "1.0x",
        "--1.0",
        "\u{e9}",
        "1234567.5",
        "10e+05",
    ];
    for text in cases {
        assert!(!is_canonical(text.as_bytes()), "{text}");
    }
    assert!(!is_canonical(b"\xff"));
}

#[test]
fn seconds_become_milliseconds() {
    let cases = [
        ("0", 0),
        ("-0", 0),
        ("1", 1000),
        ("+1", 1000),
        ("1.", 1000),
        (".5", 500),
        ("-.5", -500),
        ("1.001", 1001),
        ("1.0019", 1001),
        ("-1.0019", -1001),
        ("0.0009", 0),
        ("1520879607.789", 1_520_879_607_789),
        ("1.520879607789e+09", 1_520_879_607_789),
        ("1.520879607789E9", 1_520_879_607_789),
        ("1520879607789e-3", 1_520_879_607_789),
        ("15208796077890000e-7", 1_520_879_607_789),
        ("1e0", 1000),
        ("1e-3", 1),
        ("1e-4", 0),
        ("1e-999999999999999999999999", 0),
        ("0e999999999999999999999999", 0),
        ("0000000000000000000000000000001.5000000000000000000000000000000", 1500),
        ("9223372036854775.807", i64::MAX),
        ("-9223372036854775.808", i64::MIN),
        ("9223372036854775.8079", i64::MAX),
    ];
    for (text, millis) in cases {
        assert_eq!(seconds_to_millis(text.as_bytes()), Some(millis), "{text}");
    }
    let bad = [
        "",
        "+",
        "-",
        ".",
        "-.",
        "e5",
        "1e",
        "1e+",
        "1e5x",
        "1e5.0",
        "--1",
        "+-1",
        "1,5",
        "1_0",
        "0x10",
        "NaN",
        "nan",
        "Inf",
        "+Inf",
        "-Inf",
        "infinity",
        "1.5.5",
        "1 ",
        " 1",
        "one",
        "1e999",
        "9223372036854775.808",
        "-9223372036854775.809",
        "99999999999999999999",
        "1e16",
        "1e999999999999999999999999",
    ];
    for text in bad {
        assert_eq!(seconds_to_millis(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn milliseconds_become_seconds() {
    let cases = [
        (0, "0"),
        (1, "0.001"),
        (10, "0.01"),
        (100, "0.1"),
        (1000, "1"),
        (10_000, "10"),
        (1_000_000, "1000"),
        (1500, "1.5"),
        (1010, "1.01"),
        (1_520_879_607_789, "1520879607.789"),
        (-1, "-0.001"),
        (-1000, "-1"),
        (-1500, "-1.5"),
        (i64::MAX, "9223372036854775.807"),
        (i64::MIN, "-9223372036854775.808"),
    ];
    for (millis, text) in cases {
        assert_eq!(seconds(millis), text);
    }
}

proptest! {
    #[test]
    fn a_canonical_number_is_the_same_number(value in proptest::num::f64::ANY) {
        let text = canonical(value);
        let read: f64 = text.parse().unwrap();
        prop_assert!(read == value || (read.is_nan() && value.is_nan()), "{} {}", text, value);
        prop_assert!(is_canonical(text.as_bytes()));
        prop_assert!(text.len() < MAX_LENGTH);
        let short = shortest(value).parse::<f64>().unwrap();
        prop_assert!(short == value || value.is_nan());
    }

    #[test]
    fn the_fast_check_agrees_with_the_slow_one(text in "-?0?[0-9]{0,7}\\.?[0-9]{0,17}(e[+-]?[0-9]{1,3})?") {
        let slow = text.parse().is_ok_and(|number| canonical(number) == text);
        prop_assert_eq!(is_canonical(text.as_bytes()), slow);
        prop_assert!(slow || !is_plainly_canonical(text.as_bytes()));
    }

    #[test]
    fn a_timestamp_survives_conversion_to_seconds_and_back(millis: i64) {
        prop_assert_eq!(seconds_to_millis(seconds(millis).as_bytes()), Some(millis));
    }

    #[test]
    fn a_common_timestamp_is_exact_as_a_float(millis in -(1i64 << 50)..1i64 << 50) {
        let text = shortest(millis as f64 / 1000.0);
        prop_assert_eq!(seconds_to_millis(text.as_bytes()), Some(millis), "{}", text);
    }

    #[test]
    fn any_text_is_accepted_as_a_timestamp_without_panic(text in "[-+0-9.eE]{0,30}") {
        let known = text.parse::<f64>().ok().map(|seconds| seconds * 1000.0);
        let millis = seconds_to_millis(text.as_bytes());
        match known {
            None => prop_assert_eq!(millis, None),
            Some(known) if known.abs() < 9e15 => {
                let off = (millis.unwrap() as f64 - known.trunc()).abs();
                prop_assert!(off <= 1.0, "{} {:?}", text, millis);
            }
            Some(known) if known.abs() > 9.3e18 => prop_assert_eq!(millis, None),
            Some(_) => {}
        }
    }
}

fn any_milliseconds() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), 0..10_000_i64, 1_700_000_000_000..1_800_000_000_000_i64]
}

proptest! {
    #[test]
    fn seconds_equal_the_written_number(millis in any_milliseconds()) {
        let read: f64 = seconds(millis).parse().unwrap();
        prop_assert_eq!(super::seconds(millis), read);
    }
}
