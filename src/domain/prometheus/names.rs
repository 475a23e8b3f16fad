//! Names of instances for paths, folders and apps.

use crate::domain::InstanceId;
use ring::digest;
use std::fmt::Write;

/// The path segment of an instance: its id, or its [`slug`] if the id requires percent-encoding.
///
/// Prometheus writes the decoded path into pages and redirects. So the encoded and the decoded path
/// must be the same. Ids of Cloud Foundry require no encoding.
pub fn segment(id: &InstanceId) -> String {
    let text = id.as_str();
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    match text.bytes().all(unreserved) && !text.starts_with('.') {
        true => text.to_owned(),
        false => slug(id),
    }
}

/// Maximum length of the readable part of a slug, in bytes.
const MAX_READABLE: usize = 12;

/// A name for the folder and the apps of an instance. It consists of at most 29 lower-case letters,
/// digits and dashes. It is derived from the id, and contains 64 bits of the id's SHA-256 hash to
/// make it unique.
pub fn slug(id: &InstanceId) -> String {
    let to_slug_char = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => c,
        _ => '-',
    };
    let readable: String = id.as_str().chars().map(to_slug_char).collect();
    // The end of the id is used, because all ids of Tsuru have the same prefix.
    let start = readable.len().saturating_sub(MAX_READABLE);
    let readable = readable.get(start..).unwrap_or_default().trim_matches('-');
    let mut slug = match readable {
        "" => String::new(),
        readable => format!("{readable}-"),
    };
    for byte in digest::digest(&digest::SHA256, id.as_str().as_bytes()).as_ref().iter().take(8) {
        // Writing to a String cannot fail.
        let _ = write!(slug, "{byte:02x}");
    }
    slug
}
