//! Times of requests.

use std::time::UNIX_EPOCH;

/// Not a number of milliseconds, and not a time of RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is neither milliseconds since 1970 nor a time like 2026-01-31T12:00:00Z")]
pub struct TimeError;

/// Reads milliseconds since 1970, or a time of RFC 3339 in UTC.
pub fn parse(text: &str) -> Result<i64, TimeError> {
    if let Ok(milliseconds) = text.parse() {
        return Ok(milliseconds);
    }
    let time = humantime::parse_rfc3339(text).map_err(|_| TimeError)?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| TimeError)?;
    i64::try_from(since.as_millis()).map_err(|_| TimeError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_and_rfc_3339_are_accepted() {
        assert_eq!(parse("1700000000123"), Ok(1_700_000_000_123));
        assert_eq!(parse("2023-11-14T22:13:20.123Z"), Ok(1_700_000_000_123));
        for text in ["", "now", "2023-11-14", "1.5", "99999999999999999999"] {
            assert_eq!(parse(text), Err(TimeError), "{text}");
        }
    }
}
