//! What may be asked of a Prometheus: a table, since what is not in it is refused.
//!
//! Paths are compared as they come, without decoding: an encoded slash, an empty
//! segment or a way up matches nothing. Only the name of a label may be encoded,
//! and it is encoded anew.
//!
//! Left out on purpose, though they can only be read: `status/config`,
//! `scrape_pools/config` and `status/flags` (secrets, paths), `status/runtimeinfo` (paths),
//! `status/tsdb` (walks through all series in memory under a lock), `alertmanagers` (a URL that
//! may hold a key), `status/self_metrics`, `/metrics` and `/debug` (the process, not what it has
//! stored), `/consoles` and `/user` (files of the disk), and the pages about these.
//! `notifications/live` never ends; see `http::prometheus`, which answers it as a server with
//! too many subscribers does.
//!
//! Clients and what they read: the pages of versions 2 and 3 read queries, labels, `metadata`,
//! `targets`, `scrape_pools`, `rules`, `walreplay`, and version 3 also `series`, `notifications`,
//! `parse_query`, `format_query`, `relabel_steps` and `features`. Grafana reads queries, labels,
//! `series`, `metadata`, `rules`, `alerts`, `query_exemplars` and `buildinfo`; it tries POST
//! first and repeats a request that gets 405 as a GET. vmalert reads `query` and `query_range`.
//! promtool reads queries, labels, `series`, `/-/healthy` and `/-/ready`.

use super::FilesIn;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Characters of a name that need no encoding in a path (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How something is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Get,
    /// Or with the parameters as a form, which may be longer than a URL.
    GetOrForm,
}

/// These name the file of each group of rules.
const RULES: &str = "/api/v1/rules";
const CLASSIC_ALERTS: &str = "/classic/alerts";

/// Each path, or what it begins with when it ends in `*`.
const READS: &[(&str, By)] = &[
    ("/api/v1/query", By::GetOrForm),
    ("/api/v1/query_range", By::GetOrForm),
    ("/api/v1/query_exemplars", By::GetOrForm),
    ("/api/v1/series", By::GetOrForm),
    ("/api/v1/labels", By::GetOrForm),
    ("/api/v1/format_query", By::GetOrForm),
    // The query page of version 3 shows the tree of a query.
    ("/api/v1/parse_query", By::GetOrForm),
    // Searches of the same index as labels, since version 3.13.
    ("/api/v1/search/metric_names", By::GetOrForm),
    ("/api/v1/search/label_names", By::GetOrForm),
    ("/api/v1/search/label_values", By::GetOrForm),
    ("/api/v1/metadata", By::Get),
    ("/api/v1/targets", By::Get),
    ("/api/v1/targets/metadata", By::Get),
    // The page of targets of version 3 explains labels with it.
    ("/api/v1/targets/relabel_steps", By::Get),
    ("/api/v1/scrape_pools", By::Get),
    ("/api/v1/notifications", By::Get),
    ("/api/v1/features", By::Get),
    ("/api/v1/openapi.yaml", By::Get),
    (RULES, By::Get),
    ("/api/v1/alerts", By::Get),
    ("/api/v1/status/buildinfo", By::Get),
    // The same for people.
    ("/version", By::Get),
    ("/federate", By::Get),
    // Pages: /graph of version 2, which Debian has below /classic, and /query of
    // version 3; and those that show what the API above says.
    ("/graph", By::Get),
    ("/graph/", By::Get),
    ("/query", By::Get),
    ("/alerts", By::Get),
    ("/rules", By::Get),
    ("/targets", By::Get),
    // Made of the lists of targets above.
    ("/service-discovery", By::Get),
    // Where the pages of version 2 wait for a server that starts.
    ("/starting", By::Get),
    // The name of the program on each page of Debian leads there, and on to its graph.
    ("/classic", By::Get),
    ("/classic/", By::Get),
    ("/classic/graph", By::Get),
    (CLASSIC_ALERTS, By::Get),
    ("/classic/rules", By::Get),
    ("/classic/targets", By::Get),
    ("/classic/service-discovery", By::Get),
    // Before it shows anything, a page asks whether the server is ready, or how far
    // it is with starting.
    ("/-/ready", By::Get),
    ("/-/healthy", By::Get),
    ("/api/v1/status/walreplay", By::Get),
    ("/favicon.ico", By::Get),
    ("/favicon.svg", By::Get),
    ("/manifest.json", By::Get),
    ("/static/*", By::Get),
    ("/assets/*", By::Get),
    ("/classic/static/*", By::Get),
];

/// What stands round the name of a label.
const LABEL: (&str, &str) = ("/api/v1/label/", "/values");

/// Something that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The path to ask for.
    pub path: String,
    by: By,
}

impl Read {
    /// What `path`, the part behind the instance's name, asks for.
    pub fn find(path: &str) -> Option<Self> {
        // A closing slash means nothing.
        Self::known(path).or_else(|| Self::known(path.strip_suffix('/')?))
    }

    fn known(path: &str) -> Option<Self> {
        let is = |(pattern, _): &&(&str, By)| match pattern.strip_suffix('*') {
            None => path == *pattern,
            Some(start) => path.strip_prefix(start).is_some_and(is_file),
        };
        if let Some((_, by)) = READS.iter().find(is) {
            return Some(Self { path: path.to_owned(), by: *by });
        }
        let name = path.strip_prefix(LABEL.0)?.strip_suffix(LABEL.1)?;
        let path = format!("{}{}{}", LABEL.0, label(name)?, LABEL.1);
        Some(Self { path, by: By::Get })
    }

    /// How the answer names files of our disk.
    pub fn files(&self) -> Option<FilesIn> {
        match self.path.as_str() {
            RULES => Some(FilesIn::Rules),
            CLASSIC_ALERTS => Some(FilesIn::AlertsPage),
            _ => None,
        }
    }

    /// Whether it may be asked for with a form.
    pub fn takes_form(&self) -> bool {
        self.by == By::GetOrForm
    }

    /// The methods that it takes, as `Allow` says them.
    pub fn methods(&self) -> &'static str {
        match self.by {
            By::Get => "GET, HEAD",
            By::GetOrForm => "GET, HEAD, POST",
        }
    }
}

/// Whether this is a path to a file, and nowhere else.
fn is_file(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'@');
    path.split('/').all(|segment| {
        !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(plain)
    })
}

/// The name of a label, encoded anew; none if it is more than a name.
fn label(encoded: &str) -> Option<String> {
    let name = percent_decode_str(encoded).decode_utf8().ok()?;
    let is_more = |c: char| c.is_control() || matches!(c, '/' | '\\' | '%');
    let is_name = !name.is_empty() && !encoded.contains('/') && !name.contains(is_more);
    (is_name && !name.starts_with('.')).then(|| utf8_percent_encode(&name, SEGMENT).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_read_api_may_be_asked() {
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
            let read = Read::find(&format!("/api/v1/{form}")).unwrap();
            assert!(read.takes_form(), "{form}");
            assert_eq!(read.methods(), "GET, HEAD, POST");
        }
        for path in [
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
            let read = Read::find(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!((read.path.as_str(), read.takes_form()), (path, false));
            assert_eq!(read.methods(), "GET, HEAD");
        }
    }

    #[test]
    fn a_closing_slash_means_nothing() {
        for (path, meant) in [
            ("/api/v1/query/", "/api/v1/query"),
            ("/api/v1/label/job/values/", "/api/v1/label/job/values"),
            ("/graph/", "/graph/"),
            ("/static/js/", "/static/js"),
        ] {
            assert_eq!(Read::find(path).unwrap().path, meant);
        }
        assert_eq!(Read::find("/api/v1/rules/").unwrap().files(), Some(FilesIn::Rules));
        assert_eq!(Read::find("/rules").unwrap().files(), None);
    }

    #[test]
    fn a_label_is_encoded_anew() {
        let path = |name: &str| Read::find(&format!("/api/v1/label/{name}/values"));
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
    fn nothing_else_may_be_asked() {
        for path in [
            "",
            "/",
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
            assert_eq!(Read::find(path), None, "{path}");
        }
    }
}
