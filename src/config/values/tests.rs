use super::*;

#[test]
fn addresses_are_written_with_and_without_a_host() {
    let cases = [
        ("0.0.0.0:8085", "0.0.0.0:8085"),
        (":8085", "[::]:8085"),
        ("[::]:8085", "[::]:8085"),
        ("127.0.0.1:0", "127.0.0.1:0"),
    ];
    for (input, expected) in cases {
        assert_eq!(address(input).unwrap().to_string(), expected, "{input}");
    }
    for wrong in ["8085", "localhost", "0.0.0.0", "::", ":99999", "0.0.0.0:8085/x", ":"] {
        assert!(address(wrong).unwrap_err().contains(wrong), "{wrong}");
    }
}

#[test]
fn durations_need_a_unit_and_an_end() {
    let cases = [
        ("30s", Duration::from_secs(30)),
        ("500ms", Duration::from_millis(500)),
        ("1h30m", Duration::from_secs(5400)),
        ("0s", Duration::ZERO),
    ];
    for (input, expected) in cases {
        assert_eq!(duration(input).unwrap(), expected, "{input}");
    }
    for wrong in ["30", "s", "-1s", "1y1d", "soon", "99999999999999999999s", "300000000000y"] {
        assert!(duration(wrong).is_err(), "{wrong}");
    }
    assert!(period("0s").is_err());
}

#[test]
fn sizes_are_binary_or_decimal_and_not_zero() {
    let cases = [("64MiB", 64 << 20), ("4GiB", 4 << 30), ("1MB", 1_000_000), ("1024", 1024)];
    for (input, expected) in cases {
        assert_eq!(size(input).unwrap(), expected, "{input}");
    }
    for wrong in ["0", "0MiB", "-1", "64 bananas", "MiB", "999EiB", "1.2.3KiB"] {
        assert!(size(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn numbers_stay_in_their_range() {
    let parse = number(1..=10_u32);
    assert_eq!(parse("10"), Ok(10));
    for wrong in ["0", "11", "-1", "1.5", "ten", "99999999999"] {
        assert!(parse(wrong).unwrap_err().contains("from 1 to 10"), "{wrong}");
    }
}

#[test]
fn a_log_filter_is_levels_with_or_without_a_target() {
    for good in ["info", "WARN", "off", "scrapebroker=debug", "info, scrapebroker::http=trace"] {
        assert!(log_filter(good).is_ok(), "{good}");
    }
    for wrong in ["verbose", "scrapebroker", "=debug", "a b=info", "info,", "x[y]=info", "x=loud"] {
        assert!(log_filter(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn query_values_of_urls_are_never_shown() {
    let cases = [
        (
            "https://u.example.com/write?key=hunter2&x=&y",
            "https://u.example.com/write?key=************&x=************&y",
        ),
        ("/federate?token=hunter2=a", "/federate?token=************"),
        ("http://u.example.com/a=b", "http://u.example.com/a=b"),
        ("{app=~\"a?b=c\"}", "{app=~\"a?b=c\"}"),
    ];
    for (input, expected) in cases {
        assert_eq!(without_query_values(input), expected, "{input}");
    }
}
