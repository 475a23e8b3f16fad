//! Ids of apps.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::{fmt, str::FromStr};

/// Characters of a segment that are encoded in a path.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Id of an app, as in `/monitoring/prometheus-a`. The first slash is optional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarathonAppId {
    /// Names of the groups and of the app; none of them is empty.
    segments: Vec<String>,
}

impl MarathonAppId {
    /// The path of the app below `/v2/apps/`, with each segment encoded.
    pub(super) fn path(&self) -> String {
        let encode = |segment: &String| utf8_percent_encode(segment, ENCODED).to_string();
        self.segments.iter().map(encode).collect::<Vec<_>>().join("/")
    }
}

impl fmt::Display for MarathonAppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.segments.join("/"))
    }
}

impl FromStr for MarathonAppId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = text.strip_prefix('/').unwrap_or(text);
        // Marathon answers `*` with all apps of a group. `..` would lead to another call of its API.
        let is_wrong = |segment: &str| {
            ["", ".", ".."].contains(&segment)
                || segment.contains(|c: char| c == '*' || c.is_control() || c.is_whitespace())
        };
        match id.split('/').any(is_wrong) {
            true => {
                Err("is not the id of one app; write it like /monitoring/prometheus".to_owned())
            }
            false => Ok(Self { segments: id.split('/').map(str::to_owned).collect() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_encoded_segment_by_segment() {
        for (text, path, shown) in [
            ("prometheus", "prometheus", "/prometheus"),
            ("/prometheus-a", "prometheus-a", "/prometheus-a"),
            ("/a/b.c/d", "a/b.c/d", "/a/b.c/d"),
            ("a/b?c#d%2F", "a/b%3Fc%23d%252F", "/a/b?c#d%2F"),
            ("/é", "%C3%A9", "/é"),
        ] {
            let id: MarathonAppId = text.parse().unwrap();
            assert_eq!((id.path().as_str(), id.to_string().as_str()), (path, shown), "{text}");
        }
        for wrong in ["", "/", "//a", "a/", "a//b", "/a/*", "../x", "a/./b", "a b", "a\nb"] {
            assert!(wrong.parse::<MarathonAppId>().is_err(), "{wrong:?}");
        }
    }
}
