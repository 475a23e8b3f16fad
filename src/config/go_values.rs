//! Parses values as programs in Go write them.

use std::time::Duration;

/// Parses a duration of Go, such as `120s`, `1h30m`, `1.5h`, or a number of nanoseconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "is not a duration like 120s or 1h30m, longer than nothing".to_owned();
    let units = [
        ("h", 3600.0),
        ("ms", 1e-3),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ns", 1e-9),
        ("m", 60.0),
        ("s", 1.0),
    ];
    let mut seconds = 0.0;
    let mut rest = text;
    if let Ok(nanoseconds) = text.parse::<u64>() {
        return Some(Duration::from_nanos(nanoseconds)).filter(|d| !d.is_zero()).ok_or_else(wrong);
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, behind) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let (unit, factor) =
            units.iter().find(|(unit, _)| behind.starts_with(unit)).ok_or_else(wrong)?;
        seconds += number * factor;
        rest = behind.strip_prefix(unit).unwrap_or_default();
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(wrong()),
    }
}

/// Parses a flag as `strconv.ParseBool` does.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}
