//! Parses values of promfetcher's YAML.

use crate::config::section::{Read, Section};
use ::config::ValueKind;
use std::str::FromStr;

/// Reads a scalar exactly as written.
pub(super) fn raw(s: &mut Section<'_>, key: &str) -> Read<Option<String>> {
    match s.take(key).map(|value| value.kind) {
        None => Ok(None),
        Some(ValueKind::String(value)) => match text(&value) {
            Ok(value) => Ok(Some(value)),
            Err(problem) => Err(s.mistake(key, problem)),
        },
        Some(_) => Err(s.mistake(key, "must be one value")),
    }
}

/// Reads certificates or a key, and ends them with exactly one line break.
pub(super) fn pem(s: &mut Section<'_>, key: &str) -> Read<Option<String>> {
    s.optional(key, |pem| match pem.contains("-----BEGIN ") {
        true => Ok(format!("{}\n", pem.trim())),
        false => Err("is not PEM".to_owned()),
    })
}

/// Parses a flag in YAML 1.1, which promfetcher uses.
pub(super) fn flag(s: &mut Section<'_>, key: &str) -> Option<bool> {
    let flag = |text: &str| match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Ok(true),
        "false" | "no" | "off" | "n" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    };
    s.optional(key, flag).ok().flatten()
}

/// Requires both values or none. Returns nothing if one is wrong or missing.
pub(super) fn both_or_none(
    s: &mut Section<'_>,
    (first_key, first): (&str, Read<Option<String>>),
    (second_key, second): (&str, Read<Option<String>>),
) -> Read<Option<(String, String)>> {
    match (first?, second?) {
        (Some(first), Some(second)) => Ok(Some((first, second))),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(s.mistake(second_key, format!("is missing, and {first_key} is set")))
        }
        (None, Some(_)) => {
            Err(s.mistake(first_key, format!("is missing, and {second_key} is set")))
        }
    }
}

/// Rejects control characters.
pub(super) fn text(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        true => Err("contains a control character".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// Checks an id and returns it as written.
pub(super) fn id<T: FromStr>(id: &str) -> Result<String, String>
where
    T::Err: std::fmt::Display,
{
    id.parse::<T>().map(|_| id.to_owned()).map_err(|error| error.to_string())
}
