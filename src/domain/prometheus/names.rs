//! What an instance is called where its id cannot be written.

use crate::domain::InstanceId;
use ring::digest;
use std::fmt::Write;

/// The name of an instance in the path under which it is found: its id, as long as
/// that needs no encoding, else its [`slug`].
///
/// Prometheus writes this path into its pages and redirects, decoded; so it has
/// to be the same encoded and decoded. The ids of Cloud Foundry are.
pub fn segment(id: &InstanceId) -> String {
    let text = id.as_str();
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    match text.bytes().all(unreserved) && !text.starts_with('.') {
        true => text.to_owned(),
        false => slug(id),
    }
}

/// Longest readable part of a slug, in bytes.
const READABLE: usize = 12;

/// A name for folders and apps that belong to an instance: lower-case letters,
/// digits and dashes, at most 29 of them. The same id has the same, and two
/// ids have different ones (64 bits of their SHA-256).
pub fn slug(id: &InstanceId) -> String {
    let safe = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => c,
        _ => '-',
    };
    let readable: String = id.as_str().chars().map(safe).collect();
    // The end, since all ids of Tsuru begin alike.
    let start = readable.len().saturating_sub(READABLE);
    let readable = readable.get(start..).unwrap_or_default().trim_matches('-');
    let mut slug = match readable {
        "" => String::new(),
        readable => format!("{readable}-"),
    };
    for byte in digest::digest(&digest::SHA256, id.as_str().as_bytes()).as_ref().iter().take(8) {
        // Writing to a text cannot fail.
        let _ = write!(slug, "{byte:02x}");
    }
    slug
}
