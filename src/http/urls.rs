//! Public URLs of apps and instances.

use crate::domain::{AppGuid, InstanceId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Characters of an id that need no encoding in a path (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same with the colon of Tsuru's app ids.
const APP: &AsciiSet = &SEGMENT.remove(b':');

/// The parts of a base URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BaseUrl {
    pub(super) scheme: String,
    /// A name, an IPv4 address, or an IPv6 one in brackets.
    pub(super) host: String,
    /// None: the default port of the scheme.
    pub(super) port: Option<u16>,
    /// The path before all other paths, decoded; empty, or with a slash at its beginning only.
    pub(super) path: String,
}

impl BaseUrl {
    /// `base_url` must be valid.
    pub(super) fn of(base_url: &str) -> Self {
        let (scheme, rest) = base_url.split_once("://").unwrap_or(("http", base_url));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let host = match port {
            Some(_) => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
            None => authority,
        };
        let path = path.trim_end_matches('/');
        Self {
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            port,
            path: percent_decode_str(path).decode_utf8_lossy().into_owned(),
        }
    }

    /// `host:port`, as in target lists of Prometheus.
    pub(super) fn target(&self) -> String {
        let port = self.port.unwrap_or(if self.scheme == "https" { 443 } else { 80 });
        format!("{}:{port}", self.host)
    }
}

/// The merged metrics of an app.
pub(super) fn metrics(base_url: &str, app: &AppGuid) -> String {
    format!("{base_url}/v1/apps/{}/metrics", utf8_percent_encode(app.as_str(), APP))
}

/// The same without external exporters.
pub(super) fn only_app_metrics(base_url: &str, app: &AppGuid) -> String {
    format!("{base_url}/v1/apps/{}/only-app-metrics", utf8_percent_encode(app.as_str(), APP))
}

/// A provisioned Prometheus: its query API is below, and its page is there.
pub(super) fn prometheus(base_url: &str, instance: &InstanceId) -> String {
    format!("{base_url}/prometheus/{}", utf8_percent_encode(instance.as_str(), SEGMENT))
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
    fn the_path_of_a_url_has_no_slash_at_its_end() {
        for (url, path) in
            [("http://x", ""), ("http://x/", ""), ("https://x:1/a/b/", "/a/b"), ("x/a", "/a")]
        {
            assert_eq!(path_of(url), path, "{url}");
        }
    }
}
