//! Removes duplicate and trailing slashes from paths.
//!
//! A broker URL with a trailing slash leads to `//v2/catalog`, and `/metrics/` is a common mistake.
//! Percent-encoded slashes are part of a name, and are kept.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, Uri, uri::PathAndQuery},
    middleware::Next,
};
use std::borrow::Cow;

/// Below these paths, trailing slashes are kept: pages of instances and pools have relative links.
const PROMETHEUS: [&str; 2] = ["/prometheus/", "/pools/"];
/// Below this path, paths are kept unchanged. Otherwise a user could send a path that Tsuru's proxy
/// does not recognize as a reserved call.
const TSURU: &str = "/tsuru/";

/// Middleware that removes superfluous slashes.
pub async fn normalize<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    if let Cow::Owned(path) = normalized(request.path(), request.method())
        && let Some(uri) = with_path(request.uri(), &path)
    {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
    next.call(request).await
}

fn normalized<'a>(path: &'a str, method: &Method) -> Cow<'a, str> {
    let single = if path.contains("//") { Cow::Owned(single(path)) } else { Cow::Borrowed(path) };
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    if single.starts_with(TSURU) && !is_read {
        return joined(path);
    }
    let is_below =
        |prefix: &str| single.split_once(prefix).is_some_and(|(_, below)| !below.is_empty());
    let keeps_end = single.len() == 1 || PROMETHEUS.into_iter().any(is_below);
    match single.strip_suffix('/').filter(|_| !keeps_end) {
        Some(without) => Cow::Owned(without.to_owned()),
        None => single,
    }
}

fn single(path: &str) -> String {
    let mut normalized = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !normalized.ends_with('/') {
            normalized.push(character);
        }
    }
    normalized
}

/// Removes duplicate slashes before and directly after [`TSURU`], where a base URL and a path are
/// joined.
fn joined(path: &str) -> Cow<'_, str> {
    let rest = path.trim_start_matches('/');
    match rest.strip_prefix(TSURU.trim_matches('/')) {
        Some(rest) if rest.starts_with('/') => {
            let joined = format!("{TSURU}{}", rest.trim_start_matches('/'));
            if joined == path { Cow::Borrowed(path) } else { Cow::Owned(joined) }
        }
        _ => Cow::Borrowed(path),
    }
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let question_mark = if uri.query().is_some() { "?" } else { "" };
    let target = format!("{path}{question_mark}{}", uri.query().unwrap_or_default());
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superfluous_slashes_are_removed_and_encoded_ones_are_kept() {
        let get = |path: &str| normalized(path, &Method::GET).into_owned();
        for (path, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/metrics", "/metrics"),
            ("/metrics/", "/metrics"),
            ("/metrics//", "/metrics"),
            ("///metrics", "/metrics"),
            ("//v2//catalog/", "/v2/catalog"),
            ("/v1/apps/a%2F%2Fb%2F/metrics/", "/v1/apps/a%2F%2Fb%2F/metrics"),
            ("/v1/apps/%2F/", "/v1/apps/%2F"),
            ("/prometheus/", "/prometheus"),
            ("/base/pools//", "/base/pools"),
            ("/prometheus/prometheus/", "/prometheus/prometheus/"),
            ("/prometheus/a/", "/prometheus/a/"),
            ("/prometheus//a//graph/", "/prometheus/a/graph/"),
            ("/base/prometheus/a/", "/base/prometheus/a/"),
            ("/pools//a/", "/pools/a/"),
            ("/tsuru//resources/plans/", "/tsuru/resources/plans"),
        ] {
            assert_eq!(get(path), expected, "{path}");
            assert_eq!(get(&get(path)), expected, "{path}");
        }
        let post = |path: &str| normalized(path, &Method::POST).into_owned();
        for (path, expected) in [
            ("/broker//v2/x/", "/broker/v2/x"),
            ("/tsuru/resources", "/tsuru/resources"),
            ("//tsuru//resources/a", "/tsuru/resources/a"),
            ("/tsuru/resources/a//bind-app", "/tsuru/resources/a//bind-app"),
            ("/tsuru/resources/a/bind-app/", "/tsuru/resources/a/bind-app/"),
            ("/tsurus//a/", "/tsurus/a"),
        ] {
            assert_eq!(post(path), expected, "{path}");
        }
    }

    #[test]
    fn the_query_is_kept() {
        let uri: Uri = "/a//b/?x=//&y".parse().unwrap();
        assert_eq!(with_path(&uri, "/a/b").unwrap(), "/a/b?x=//&y");
        let uri: Uri = "http://h/a/".parse().unwrap();
        assert_eq!(with_path(&uri, "/a").unwrap(), "http://h/a");
        // A URI that begins with two slashes could be parsed as a URI with a host.
        let uri: Uri = "//v2/catalog".parse().unwrap();
        assert_eq!(with_path(&uri, "/v2/catalog").unwrap().path(), "/v2/catalog");
    }
}
