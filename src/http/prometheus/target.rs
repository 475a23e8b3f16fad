//! What a path names: an instance, and something of it.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The parts of a path, as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// The name as it stands there.
    pub(super) segment: &'a str,
    /// The same decoded.
    pub(super) name: Cow<'a, str>,
    /// The rest, from its slash on; not decoded.
    pub(super) rest: &'a str,
}

impl<'a> Target<'a> {
    /// Takes a path apart that may begin with `prefix`, the path of our own URL.
    pub(super) fn of(path: &'a str, prefix: &str) -> Option<Self> {
        let below = |path: &'a str| path.strip_prefix("/prometheus/");
        let rest = path.strip_prefix(prefix).and_then(below).or_else(|| below(path))?;
        let (segment, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let name = percent_decode_str(segment).decode_utf8().ok()?;
        Some(Self { segment, name, rest })
    }
}

/// The path of a URL, without a slash at its end.
pub(super) fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default().trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_and_only_the_name_decoded() {
        let cases = [
            ("/prometheus/a/api/v1/query", "", Some(("a", "/api/v1/query"))),
            ("/prometheus/a", "", Some(("a", ""))),
            ("/prometheus/a/", "", Some(("a", "/"))),
            ("/prometheus/a%2Fb/%2e%2e", "", Some(("a/b", "/%2e%2e"))),
            ("/prometheus/tsuru%3Ax", "", Some(("tsuru:x", ""))),
            ("/prometheus//x", "", Some(("", "/x"))),
            ("/sub/prometheus/a/graph", "/sub", Some(("a", "/graph"))),
            ("/prometheus/a/graph", "/sub", Some(("a", "/graph"))),
            ("/prometheus/prometheus/a/x", "/prometheus", Some(("a", "/x"))),
            ("/prometheus/%FF/x", "", None),
            ("/sub/prometheus/a/graph", "", None),
            ("/%70rometheus/a", "", None),
        ];
        for (path, prefix, expected) in cases {
            let found = Target::of(path, prefix);
            let found = found.as_ref().map(|it| (&*it.name, it.rest));
            assert_eq!(found, expected, "{path} {prefix}");
        }
    }

    #[test]
    fn the_path_of_a_url_has_no_slash_at_its_end() {
        for (url, path) in
            [("http://x", ""), ("http://x/", ""), ("https://x:1/a/b/", "/a/b"), ("x/a", "/a")]
        {
            assert_eq!(path_of(url), path, "{url}");
        }
    }
}
