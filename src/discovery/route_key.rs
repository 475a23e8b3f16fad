//! How a route is spelled, by gorouter's rules (`route/uris.go`).
//!
//! Table and look-up spell alike: what an operator wrote into a route file is
//! found again when it is asked for in the same words.

use std::{borrow::Cow, net::Ipv6Addr};

/// Longest host that can be a name on the network (RFC 1035, section 2.3.4);
/// a longer one is not worth a walk through its wildcards.
const MAX_HOST: usize = 253;

/// The spelling under which a route is kept: lower-cased as a whole, without
/// scheme, port, query and closing slashes. Gorouter has no scheme and no port
/// in its keys; people paste URLs. An IPv6 address is kept in brackets.
pub(super) fn normalize(text: &str) -> Cow<'_, str> {
    let text = without_scheme(text);
    let text = text.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let (host, path) = split(text);
    let bare = without_port(host);
    let key = match bare {
        bare if bare.contains(':')
            && let Some(address) = ipv6(bare) =>
        {
            Cow::Owned(format!("[{address}]{path}"))
        }
        bare if bare.len() == host.len() => Cow::Borrowed(text),
        bare if path.is_empty() => Cow::Borrowed(bare),
        bare => Cow::Owned(format!("{bare}{path}")),
    };
    if !key.is_ascii() {
        return Cow::Owned(key.to_lowercase());
    }
    if !key.bytes().any(|b| b.is_ascii_uppercase()) {
        return key;
    }
    let mut key = key.into_owned();
    key.make_ascii_lowercase();
    Cow::Owned(key)
}

/// The host of a route, or of what a caller typed, in the spelling given.
pub(super) fn host(text: &str) -> &str {
    let text = without_scheme(text).split(['?', '#']).next().unwrap_or_default();
    without_port(split(text).0)
}

/// Whether the route stands for every host of a domain.
pub(super) fn is_wildcard(host: &str) -> bool {
    host.starts_with("*.") || host == "*"
}

/// Whether `host` can travel in a Host header as it is.
pub(super) fn is_sendable(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= MAX_HOST
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Calls `found` with `a.b.c/p` as `*.b.c/p`, then `*.c/p`, until it answers.
pub(super) fn next_wildcards<T>(key: &str, mut found: impl FnMut(&str) -> Option<T>) -> Option<T> {
    let host = split(key).0;
    let labels = host.strip_prefix("*.").unwrap_or(host);
    if !is_sendable(labels) {
        return None;
    }
    let mut wildcard = String::with_capacity(key.len().saturating_add(1));
    host.match_indices('.').find_map(|(dot, _)| {
        wildcard.clear();
        wildcard.push('*');
        wildcard.push_str(key.get(dot..)?);
        found(&wildcard)
    })
}

/// Host, and the path with its slash.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find('/').unwrap_or(text.len()))
}

fn without_scheme(text: &str) -> &str {
    ["http://", "https://"]
        .iter()
        .find_map(|scheme| {
            let start = text.get(..scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then(|| text.get(scheme.len()..))?
        })
        .unwrap_or(text)
}

/// Without brackets an IPv6 address may end in what looks like a port: `fd00::1`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            let is_address = |text| ipv6(text).is_some();
            if bare.contains(':') && (is_address(host) || !is_address(bare)) { host } else { bare }
        }
        _ => host,
    }
}

/// An IPv6 address, with or without brackets.
fn ipv6(host: &str) -> Option<Ipv6Addr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_kept_under_gorouters_spelling_of_it() {
        let cases = [
            ("app.example.com", "app.example.com"),
            ("App.Example.com/API/v1/", "app.example.com/api/v1"),
            ("app.example.com//", "app.example.com"),
            ("app.example.com/api?x=/1", "app.example.com/api"),
            ("https://app.example.com", "app.example.com"),
            ("HTTP://App.example.com:8080/api#top", "app.example.com/api"),
            ("app.example.com:443", "app.example.com"),
            ("app.example.com:", "app.example.com"),
            ("*.Example.com", "*.example.com"),
            ("MÜNCHEN.example", "münchen.example"),
            ("a:b", "a:b"),
            ("::1", "[::1]"),
            ("[::1]:8080/x", "[::1]/x"),
            ("http://FD00:0::1/x", "[fd00::1]/x"),
            // Not one route, though both end in what may be a port.
            ("fd00::1", "[fd00::1]"),
            ("fd00::2", "[fd00::2]"),
            ("2001:db8:0:0:0:0:0:1:8080", "[2001:db8::1]"),
            // No host, and no two of them are one route.
            ("[::1", "[::1"),
            ("a:b:1", "a:b:1"),
            ("", ""),
            ("/", ""),
            ("https://", ""),
        ];
        for (input, expected) in cases {
            assert_eq!(normalize(input), expected, "{input:?}");
        }
    }

    #[test]
    fn the_host_of_a_pasted_url_keeps_its_letters_and_loses_the_rest() {
        let cases = [
            ("App.example.com", "App.example.com"),
            ("https://App.example.com:8443/x?y", "App.example.com"),
            ("app.example.com?x", "app.example.com"),
        ];
        for (input, expected) in cases {
            assert_eq!(host(input), expected, "{input:?}");
        }
    }

    #[test]
    fn wildcards_lose_one_label_after_the_other_and_keep_the_path() {
        let tried = |key: &str| {
            let mut tried = Vec::new();
            next_wildcards::<()>(key, |wildcard| {
                tried.push(wildcard.to_owned());
                None
            });
            tried
        };
        assert_eq!(tried("a.b.c/p.q"), ["*.b.c/p.q", "*.c/p.q"]);
        assert_eq!(tried("*.b.c"), ["*.b.c", "*.c"]);
        assert_eq!(tried("a.b"), ["*.b"]);
        for nothing in ["localhost", "localhost/p.q", "", "a b.c", "ü.example", "*"] {
            assert!(tried(nothing).is_empty(), "{nothing:?}");
        }
        assert!(tried(&"a.".repeat(200)).is_empty());
    }
}
