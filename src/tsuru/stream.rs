//! Responses with status 200 whose outcome is in the body.
//!
//! Most calls stream JSON objects, one of which may contain an error. A deploy streams a log for
//! people; its last line is the outcome.

use super::error::{TsuruApiError, one_line};
use serde::Deserialize;

/// One line of `application/x-json-stream`. Other fields are for people.
#[derive(Deserialize)]
struct Line {
    #[serde(default, alias = "error", rename = "Error")]
    error: Option<String>,
}

/// Checks a complete `application/x-json-stream`.
pub(super) fn check_lines(body: &[u8]) -> Result<(), TsuruApiError> {
    for line in serde_json::Deserializer::from_slice(body).into_iter::<Line>() {
        let line = line.map_err(|error| match error.is_eof() {
            true => TsuruApiError::Truncated,
            false => TsuruApiError::NotTsuru(200),
        })?;
        if let Some(error) = line.error.filter(|error| !error.trim().is_empty()) {
            return Err(TsuruApiError::InStream(one_line(&error)));
        }
    }
    Ok(())
}

/// Checks the log of a deploy. Its last non-empty line is `OK` after a success, and otherwise often
/// the error.
pub(super) fn check_log(body: &[u8]) -> Result<(), TsuruApiError> {
    let log = String::from_utf8_lossy(body);
    let last = log.lines().map(str::trim).rfind(|line| !line.is_empty());
    match last {
        Some("OK") => Ok(()),
        Some(last) => {
            Err(TsuruApiError::InStream(format!("the deploy ended with: {}", one_line(last))))
        }
        None => Err(TsuruApiError::Truncated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_among_the_lines_is_an_error() {
        for fine in ["", "\n\n", "{\"Message\":\"a\"}\n\n{\"Message\":\"b\",\"Error\":\"\"}"] {
            assert_eq!(check_lines(fine.as_bytes()), Ok(()), "{fine}");
        }
        let error =
            "{\"Message\":\"a\"}\n{\"Message\":\"\",\"Error\":\"no\\n room\"}\n{\"Message\":\"b\"}";
        assert_eq!(
            check_lines(error.as_bytes()),
            Err(TsuruApiError::InStream("no room".to_owned()))
        );
        assert_eq!(check_lines(b"{\"Message\":\"a\"}\n{\"Mess"), Err(TsuruApiError::Truncated));
        for nonsense in ["<html>", "[1]", "{} x", "{\"Error\":1}"] {
            assert_eq!(
                check_lines(nonsense.as_bytes()),
                Err(TsuruApiError::NotTsuru(200)),
                "{nonsense}"
            );
        }
    }

    #[test]
    fn a_deploy_that_does_not_end_with_ok_has_failed() {
        for fine in ["OK", "a\nplease wait...\n\nOK\n", "a\r\nOK\r\n \n"] {
            assert_eq!(check_log(fine.as_bytes()), Ok(()), "{fine}");
        }
        for wrong in ["OK\nError: no image", "OK.", "NOT OK", "OK\nplease wait..."] {
            assert!(
                matches!(check_log(wrong.as_bytes()), Err(TsuruApiError::InStream(_))),
                "{wrong}"
            );
        }
        assert_eq!(check_log(b"\n"), Err(TsuruApiError::Truncated));
    }

    #[test]
    fn texts_of_tsuru_are_shortened_to_one_line() {
        assert_eq!(one_line(" a\n\tb\u{7} "), "a b");
        assert_eq!(one_line("\u{1b} \n"), "no message");
        assert_eq!(one_line(&"é".repeat(1000)).chars().count(), 301);
    }
}
