//! Allow-list of Prometheus endpoints; all others are rejected.
//!
//! Paths are compared without decoding: an encoded slash, an empty segment or `..` matches nothing.
//! Only the name of a label may be percent-encoded, and it is encoded again.
//!
//! These endpoints are excluded by default although they are read-only: `status/config`, `scrape_pools/config`
//! and `status/flags` (secrets, paths), `status/runtimeinfo` (paths), `status/tsdb` (iterates all
//! series in memory under a lock), `alertmanagers` (a URL that may contain a key),
//! `status/self_metrics`, `/metrics` and `/debug` (the process, not its stored data), `/consoles`
//! and `/user` (files of the disk), and the pages about these. A pool may allow some of them
//! ([`Writes`]). `notifications/live` never ends;
//! `http::prometheus` responds to it like a server with too many subscribers.
//!
//! Clients and the endpoints that they use: the pages of versions 2 and 3 use queries, labels,
//! `metadata`, `targets`, `scrape_pools`, `rules`, `walreplay`, and version 3 also `series`,
//! `notifications`, `parse_query`, `format_query`, `relabel_steps` and `features`. Grafana uses
//! queries, labels, `series`, `metadata`, `rules`, `alerts`, `query_exemplars` and `buildinfo`; it
//! tries POST first and repeats a request that gets 405 as a GET. vmalert uses `query` and
//! `query_range`. promtool uses queries, labels, `series`, `/-/healthy` and `/-/ready`.

use super::{BodyKind, RulePathFormat, Writes};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Characters that are not encoded in a path segment (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AllowedMethods {
    Get,
    /// Also POST, with the parameters as a form, which may be longer than a URL.
    GetOrForm,
    /// Only POST.
    Post(BodyKind),
}

/// Responses of these two contain the path of each rule file.
const RULES: &str = "/api/v1/rules";
const CLASSIC_ALERTS: &str = "/classic/alerts";

/// Allowed paths; those that end in `*` are prefixes.
const READS: &[(&str, AllowedMethods)] = &[
    ("/api/v1/query", AllowedMethods::GetOrForm),
    ("/api/v1/query_range", AllowedMethods::GetOrForm),
    ("/api/v1/query_exemplars", AllowedMethods::GetOrForm),
    ("/api/v1/series", AllowedMethods::GetOrForm),
    ("/api/v1/labels", AllowedMethods::GetOrForm),
    ("/api/v1/format_query", AllowedMethods::GetOrForm),
    // Used by the query page of version 3.
    ("/api/v1/parse_query", AllowedMethods::GetOrForm),
    // Search of label names and values, since version 3.13.
    ("/api/v1/search/metric_names", AllowedMethods::GetOrForm),
    ("/api/v1/search/label_names", AllowedMethods::GetOrForm),
    ("/api/v1/search/label_values", AllowedMethods::GetOrForm),
    ("/api/v1/metadata", AllowedMethods::Get),
    ("/api/v1/targets", AllowedMethods::Get),
    ("/api/v1/targets/metadata", AllowedMethods::Get),
    // Used by the targets page of version 3.
    ("/api/v1/targets/relabel_steps", AllowedMethods::Get),
    ("/api/v1/scrape_pools", AllowedMethods::Get),
    ("/api/v1/notifications", AllowedMethods::Get),
    ("/api/v1/features", AllowedMethods::Get),
    ("/api/v1/openapi.yaml", AllowedMethods::Get),
    (RULES, AllowedMethods::Get),
    ("/api/v1/alerts", AllowedMethods::Get),
    ("/api/v1/status/buildinfo", AllowedMethods::Get),
    // The same for humans.
    ("/version", AllowedMethods::Get),
    ("/federate", AllowedMethods::Get),
    // Pages: /graph of version 2, which Debian serves below /classic, /query of version 3, and
    // pages that show responses of the API above.
    ("/graph", AllowedMethods::Get),
    ("/graph/", AllowedMethods::Get),
    ("/query", AllowedMethods::Get),
    ("/alerts", AllowedMethods::Get),
    ("/rules", AllowedMethods::Get),
    ("/targets", AllowedMethods::Get),
    // Uses the target lists above.
    ("/service-discovery", AllowedMethods::Get),
    // Page of version 2 while a server is starting.
    ("/starting", AllowedMethods::Get),
    // Linked from each page of Debian's package.
    ("/classic", AllowedMethods::Get),
    ("/classic/", AllowedMethods::Get),
    ("/classic/graph", AllowedMethods::Get),
    (CLASSIC_ALERTS, AllowedMethods::Get),
    ("/classic/rules", AllowedMethods::Get),
    ("/classic/targets", AllowedMethods::Get),
    ("/classic/service-discovery", AllowedMethods::Get),
    // Pages request the readiness and the progress of the start before they show data.
    ("/-/ready", AllowedMethods::Get),
    ("/-/healthy", AllowedMethods::Get),
    ("/api/v1/status/walreplay", AllowedMethods::Get),
    ("/favicon.ico", AllowedMethods::Get),
    ("/favicon.svg", AllowedMethods::Get),
    ("/manifest.json", AllowedMethods::Get),
    ("/static/*", AllowedMethods::Get),
    ("/assets/*", AllowedMethods::Get),
    ("/classic/static/*", AllowedMethods::Get),
];

/// Path before and after the name of a label.
const LABEL: (&str, &str) = ("/api/v1/label/", "/values");

/// An allowed endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadEndpoint {
    /// Path of the request to Prometheus.
    pub path: String,
    allowed: AllowedMethods,
}

impl ReadEndpoint {
    /// Finds the endpoint of `path`, the part after the name of the instance or pool.
    pub fn find(path: &str, writes: Writes) -> Option<Self> {
        // The root redirects to the query page, whose path depends on the version.
        if path == "/" {
            return Some(Self { path: path.to_owned(), allowed: AllowedMethods::Get });
        }
        // A trailing slash is ignored.
        Self::known(path, writes).or_else(|| Self::known(path.strip_suffix('/')?, writes))
    }

    fn known(path: &str, writes: Writes) -> Option<Self> {
        let is = |(pattern, _): &&(&str, AllowedMethods)| match pattern.strip_suffix('*') {
            None => path == *pattern,
            Some(start) => path.strip_prefix(start).is_some_and(is_file),
        };
        if let Some((_, allowed)) = READS.iter().chain(writes.endpoints()).find(is) {
            return Some(Self { path: path.to_owned(), allowed: *allowed });
        }
        let name = path.strip_prefix(LABEL.0)?.strip_suffix(LABEL.1)?;
        let path = format!("{}{}{}", LABEL.0, label(name)?, LABEL.1);
        Some(Self { path, allowed: AllowedMethods::Get })
    }

    /// The format in which the response contains paths of rule files.
    pub fn files(&self) -> Option<RulePathFormat> {
        match self.path.as_str() {
            RULES => Some(RulePathFormat::Rules),
            CLASSIC_ALERTS => Some(RulePathFormat::AlertsPage),
            _ => None,
        }
    }

    pub fn allows_get(&self) -> bool {
        !matches!(self.allowed, AllowedMethods::Post(_))
    }

    /// What the body of a POST request is, if POST is allowed.
    pub fn body(&self) -> Option<BodyKind> {
        match self.allowed {
            AllowedMethods::Get => None,
            AllowedMethods::GetOrForm => Some(BodyKind::Form),
            AllowedMethods::Post(body) => Some(body),
        }
    }

    /// Value of the `Allow` header.
    pub fn methods(&self) -> &'static str {
        match self.allowed {
            AllowedMethods::Get => "GET, HEAD",
            AllowedMethods::GetOrForm => "GET, HEAD, POST",
            AllowedMethods::Post(_) => "POST",
        }
    }
}

/// Whether `path` names a file without `..` or hidden segments.
fn is_file(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'@');
    path.split('/').all(|segment| {
        !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(plain)
    })
}

/// Decodes and re-encodes the name of a label; `None` if it is not a valid path segment.
fn label(encoded: &str) -> Option<String> {
    let name = percent_decode_str(encoded).decode_utf8().ok()?;
    let is_more = |c: char| c.is_control() || matches!(c, '/' | '\\' | '%');
    let is_name = !name.is_empty() && !encoded.contains('/') && !name.contains(is_more);
    (is_name && !name.starts_with('.')).then(|| utf8_percent_encode(&name, SEGMENT).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(path: &str) -> Option<ReadEndpoint> {
        ReadEndpoint::find(path, Writes::Deny)
    }

    #[test]
    fn the_read_api_is_allowed() {
        let forms = [
            "query",
            "query_range",
            "query_exemplars",
            "series",
            "labels",
            "format_query",
            "parse_query",
            "search/metric_names",
            "search/label_names",
            "search/label_values",
        ];
        for form in forms {
            let read = find(&format!("/api/v1/{form}")).unwrap();
            assert_eq!(read.body(), Some(BodyKind::Form), "{form}");
            assert_eq!(read.methods(), "GET, HEAD, POST");
        }
        for path in [
            "/",
            "/api/v1/label/job/values",
            "/api/v1/label/__name__/values",
            "/api/v1/label/U__http_2e_method/values",
            "/api/v1/metadata",
            "/api/v1/targets",
            "/api/v1/rules",
            "/api/v1/alerts",
            "/api/v1/targets/metadata",
            "/api/v1/targets/relabel_steps",
            "/api/v1/scrape_pools",
            "/api/v1/notifications",
            "/api/v1/features",
            "/api/v1/status/buildinfo",
            "/api/v1/status/walreplay",
            "/service-discovery",
            "/starting",
            "/federate",
            "/graph",
            "/graph/",
            "/query",
            "/version",
            "/api/v1/openapi.yaml",
            "/-/ready",
            "/-/healthy",
            "/classic/service-discovery",
            "/favicon.ico",
            "/static/js/main.1a2b.js",
            "/assets/index-C0ff_ee.css",
            "/classic",
            "/classic/",
            "/classic/graph",
            "/classic/service-discovery",
            "/classic/static/vendor/popper.js/popper.min.js",
        ] {
            let read = find(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!((read.path.as_str(), read.body()), (path, None));
            assert_eq!(read.methods(), "GET, HEAD");
        }
    }

    #[test]
    fn a_trailing_slash_is_ignored() {
        for (path, expected) in [
            ("/api/v1/query/", "/api/v1/query"),
            ("/api/v1/label/job/values/", "/api/v1/label/job/values"),
            ("/graph/", "/graph/"),
            ("/static/js/", "/static/js"),
        ] {
            assert_eq!(find(path).unwrap().path, expected);
        }
        assert_eq!(find("/api/v1/rules/").unwrap().files(), Some(RulePathFormat::Rules));
        assert_eq!(find("/rules").unwrap().files(), None);
    }

    #[test]
    fn a_label_name_is_decoded_and_encoded_again() {
        let path = |name: &str| find(&format!("/api/v1/label/{name}/values"));
        for (name, sent) in [("job", "job"), ("%6aob", "job"), ("h%C3%A9", "h%C3%A9")] {
            let expected = format!("/api/v1/label/{sent}/values");
            assert_eq!(path(name).unwrap().path, expected, "{name}");
        }
        for more in [
            "",
            ".",
            "..",
            "%2e%2e",
            ".%2E",
            "a/b",
            "a%2Fb",
            "a%5Cb",
            "a%00b",
            "%FF",
            "a%252Fb",
            "..%2f..%2fadmin",
        ] {
            assert_eq!(path(more), None, "{more}");
        }
    }

    #[test]
    fn other_paths_are_rejected() {
        for path in [
            "",
            "//",
            "/api/v1",
            "/api/v1/",
            "/api/v1/query//",
            "//api/v1/query",
            "/api//v1/query",
            "/api/v1/./query",
            "/api/v1/%71uery",
            "/api%2Fv1%2Fquery",
            "/api/v1/query%00",
            "/api/v1/query;x",
            "/API/V1/QUERY",
            "/api/v1/write",
            "/api/v1/read",
            "/api/v1/otlp/v1/metrics",
            "/api/v1/admin/tsdb/delete_series",
            "/api/v1/admin/tsdb/snapshot",
            "/api/v1/admin/tsdb/clean_tombstones",
            "/api/v1/query/../admin/tsdb/snapshot",
            "/static/../api/v1/admin/tsdb/snapshot",
            "/static/..%2fapi/v1/write",
            "/static/%2e%2e/-/quit",
            "/static/",
            "/static//x.js",
            "/static/.git/config",
            "/static/a\\..\\b",
            "/api/v1/status/config",
            "/api/v1/status/flags",
            "/api/v1/status/runtimeinfo",
            "/api/v1/status/tsdb",
            "/api/v1/notifications/live",
            "/-/reload",
            "/-/quit",
            "/metrics",
            "/debug/pprof/",
            "/consoles/x.html",
            "/config",
            "/flags",
            "/status",
            "/discovered-alertmanagers",
            "/agent",
            "/api/v1/alertmanagers",
            "/api/v1/status/tsdb/blocks",
            "/api/v1/status/self_metrics",
            "/api/v1/search/",
            "/api/v1/search/metric_names/x",
            "/api/v1/scrape_pools/config",
            "/tsdb-status",
            "/classic/config",
            "/classic/status",
            "/classic/flags",
            "/new/graph",
        ] {
            assert_eq!(find(path), None, "{path}");
        }
    }
}
