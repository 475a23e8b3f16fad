//! Normalizes routes by gorouter's rules (gorouter's `route/uris.go`).
//!
//! The table and look-ups use the same rules, so that a route is found as an operator wrote it in a
//! route file.

use std::{borrow::Cow, net::Ipv6Addr};

/// Maximum length of a host name (RFC 1035, section 2.3.4). Longer ones match no wildcard.
const MAX_HOST: usize = 253;

/// Normalizes a route: lower case, without scheme, port, query and trailing slashes. gorouter's
/// keys have no scheme and port, but users paste URLs. An IPv6 address has brackets.
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

/// The host of a route or of a request, with its letter case.
pub(super) fn host(text: &str) -> &str {
    let text = without_scheme(text).split(['?', '#']).next().unwrap_or_default();
    without_port(split(text).0)
}

/// Whether the route is a wildcard.
pub(super) fn is_wildcard(host: &str) -> bool {
    host.starts_with("*.") || host == "*"
}

/// Whether `host` can be sent as a Host header.
pub(super) fn is_sendable(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= MAX_HOST
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Calls `found` with `*.b.c/p` and `*.c/p` for `a.b.c/p` until it returns a value.
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

/// Splits a route into its host and its path with the slash.
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

/// The end of an IPv6 address without brackets may look like a port: `fd00::1`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            let is_address = |text| ipv6(text).is_some();
            if bare.contains(':') && (is_address(host) || !is_address(bare)) { host } else { bare }
        }
        _ => host,
    }
}

/// Parses an IPv6 address with or without brackets.
fn ipv6(host: &str) -> Option<Ipv6Addr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_normalized_like_in_gorouter() {
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
            // Different routes, although both end in digits that may be a port.
            ("fd00::1", "[fd00::1]"),
            ("fd00::2", "[fd00::2]"),
            ("2001:db8:0:0:0:0:0:1:8080", "[2001:db8::1]"),
            // None of these is a host, and they remain different routes.
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
    fn the_host_of_a_pasted_url_keeps_its_letter_case() {
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
    fn wildcards_drop_one_label_at_a_time_and_keep_the_path() {
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
