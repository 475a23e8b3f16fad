//! Splits a path into an instance and the path below it.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The parts of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// The path segment of the instance, not decoded.
    pub(super) segment: &'a str,
    /// The decoded segment.
    pub(super) name: Cow<'a, str>,
    /// The rest of the path with its leading slash, not decoded.
    pub(super) rest: &'a str,
}

impl<'a> Target<'a> {
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/prometheus/")?;
        let (segment, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let name = percent_decode_str(segment).decode_utf8().ok()?;
        Some(Self { segment, name, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_is_decoded() {
        let cases = [
            ("/prometheus/a/api/v1/query", Some(("a", "/api/v1/query"))),
            ("/prometheus/a", Some(("a", ""))),
            ("/prometheus/a/", Some(("a", "/"))),
            ("/prometheus/a%2Fb/%2e%2e", Some(("a/b", "/%2e%2e"))),
            ("/prometheus/tsuru%3Ax", Some(("tsuru:x", ""))),
            ("/prometheus//x", Some(("", "/x"))),
            ("/prometheus/%FF/x", None),
            ("/sub/prometheus/a/graph", None),
            ("/%70rometheus/a", None),
        ];
        for (path, expected) in cases {
            let found = Target::of(path);
            let found = found.as_ref().map(|it| (&*it.name, it.rest));
            assert_eq!(found, expected, "{path}");
        }
    }
}
