use super::*;
use secrecy::ExposeSecret;

#[test]
fn addresses_are_written_with_and_without_a_host() {
    let cases = [
        ("0.0.0.0:8085", "0.0.0.0:8085"),
        (":8085", "0.0.0.0:8085"),
        ("[::]:8085", "[::]:8085"),
        ("127.0.0.1:0", "127.0.0.1:0"),
    ];
    for (input, expected) in cases {
        assert_eq!(address(input).unwrap().to_string(), expected, "{input}");
    }
    for wrong in ["8085", "localhost:8085", "0.0.0.0", "::", ":99999", "0.0.0.0:8085/x", ":"] {
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
fn a_base_url_is_http_without_credentials_and_query() {
    let cases = [
        ("https://metrics.example.com/", "https://metrics.example.com"),
        ("http://localhost:8085", "http://localhost:8085"),
        ("https://example.com/scrapebroker/", "https://example.com/scrapebroker"),
    ];
    for (input, expected) in cases {
        assert_eq!(base_url(input).unwrap(), expected, "{input}");
    }
    let wrong = [
        "metrics.example.com",
        "ftp://example.com",
        "https://",
        "https://example.com/?a=b",
        "https://example.com/#top",
        "https://user:hunter2@example.com",
    ];
    for wrong in wrong {
        assert!(!base_url(wrong).unwrap_err().contains("hunter2"), "{wrong}");
    }
}

#[test]
fn a_database_is_sqlite_or_postgresql() {
    let good = [
        "sqlite://scrapebroker.db",
        "sqlite::memory:",
        "sqlite:///var/lib/x.db?mode=rwc",
        "postgres://u:p@db.example.com:5432/broker?sslmode=require",
        "postgresql://db/broker",
        "postgres:///broker?host=/run/postgresql",
    ];
    for good in good {
        assert_eq!(database_url(good).unwrap().expose_secret(), good);
    }
    let wrong = [
        "mysql://u:hunter2@db/broker",
        "postgres://",
        "postgres:///broker",
        "postgres://u:hun/ter2@db/x",
        "sqlite:",
        "scrapebroker.db",
    ];
    for wrong in wrong {
        assert!(!database_url(wrong).unwrap_err().contains("hun"), "{wrong}");
    }
}

#[test]
fn passwords_of_a_database_are_never_shown() {
    let cases = [
        ("sqlite://my data.db", "sqlite://my data.db"),
        ("postgres://u:hunter2@db/x", "postgres://u:************@db/x"),
        ("postgres://u@db/x?sslmode=require", "postgres://u@db/x?sslmode=require"),
        (
            "postgres://u@db/x?sslmode=require&PassWord=hunter2",
            "postgres://u@db/x?sslmode=require&PassWord=************",
        ),
        ("hunter2", MASK),
    ];
    for (input, expected) in cases {
        assert_eq!(masked_url(input), expected, "{input}");
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
