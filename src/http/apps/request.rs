//! Parsing of URLs below `/v1/apps`.
//!
//! The raw path is parsed: a percent-encoded slash is part of the key, and the path patterns of
//! actix would decode it too early.

use crate::{
    domain::{AppGuid, AppKey, AppKeyError, MetricsPath, Prefer},
    http::ui::list::BadParameter,
};
use percent_encoding::percent_decode_str;
use std::net::SocketAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AppRequest {
    pub(super) key: AppKey,
    pub(super) view: View,
    pub(super) metric_path: Option<MetricsPath>,
    pub(super) process_type: Option<String>,
    /// Query parameters for the instances, not decoded.
    pub(super) forwarded: Vec<String>,
}

/// The requested view of the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// A description of the app as JSON.
    Description,
    /// Merged metrics, with all failure series.
    Metrics,
    /// Merged metrics of the app without external exporters.
    OnlyAppMetrics,
    /// Metrics of one instance.
    Instance { selector: InstanceSelector, only_app: bool },
}

/// Selects an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InstanceSelector {
    /// Consists of digits.
    Index(String),
    /// The address, as in the `instance` label. Not every instance has an index, and during a
    /// deployment two instances can have the same one.
    Address(SocketAddr),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRequest {
    #[error("the request {0}")]
    Key(#[from] AppKeyError),
    #[error("the path or a query parameter is not UTF-8 after percent-decoding")]
    NotUtf8,
    #[error("metric_path {0}")]
    MetricPath(#[from] crate::domain::MetricsPathError),
    #[error("the query parameter {0:?} is given twice; give it once")]
    Twice(&'static str),
    #[error("{0} must be {1}")]
    Parameter(&'static str, String),
    #[error(transparent)]
    List(#[from] BadParameter),
}

/// Query parameters of Scrapebroker. All others are forwarded to the instances.
#[derive(Default)]
struct OwnParams {
    app: Option<String>,
    route_url: Option<String>,
    metric_path: Option<String>,
    only_from_app: Option<String>,
    process_type: Option<String>,
}

impl AppRequest {
    /// Parses the path after `/v1/apps/`, and the query. Both are not decoded.
    pub(super) fn parse(rest: &str, query: &str) -> Result<Self, BadRequest> {
        let (own, mut forwarded) = split_query(query)?;
        let only = own.only_from_app.is_some();
        let (key, mut view) = match rest {
            "metrics" => (None, View::Metrics),
            "only-app-metrics" => (None, View::OnlyAppMetrics),
            path => {
                let (key, view) = split_path(path)?;
                (Some(AppKey::parse(&key, Prefer::Name)?), view)
            }
        };
        match &mut view {
            View::Metrics if only => view = View::OnlyAppMetrics,
            View::Instance { only_app, .. } => *only_app = only,
            _ => {}
        }
        // For an instance, `process_type` selects the instance. Otherwise the parameter is
        // forwarded to the app.
        let process_type = match (&view, own.process_type) {
            (View::Instance { .. }, process_type) => process_type,
            (_, Some(process_type)) => {
                forwarded.push(format!("process_type={process_type}"));
                None
            }
            (_, None) => None,
        };
        let key = match key {
            Some(key) => key,
            None => key_of_query(own.app.as_deref(), own.route_url.as_deref())?,
        };
        let metric_path = own.metric_path.map(|path| decode(&path)).transpose()?;
        let metric_path = match metric_path.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(path) => Some(path.parse()?),
        };
        // Prometheus encodes query parameters like forms.
        let process_type = process_type.map(|name| decode(&name.replace('+', " "))).transpose()?;
        Ok(Self { key, view, metric_path, process_type, forwarded })
    }

    /// A request for an app without any parameters.
    pub(super) fn of_app(id: &AppGuid, view: View) -> Self {
        Self { key: id.into(), view, metric_path: None, process_type: None, forwarded: Vec::new() }
    }

    /// The texts that are forwarded to the app.
    pub(super) fn app_texts(&self) -> impl Iterator<Item = &str> {
        let path = self.metric_path.iter().map(MetricsPath::as_str);
        self.forwarded.iter().map(String::as_str).chain(path)
    }
}

fn key_of_query(app: Option<&str>, route_url: Option<&str>) -> Result<AppKey, BadRequest> {
    let app = decode(app.unwrap_or_default())?;
    let route_url = decode(route_url.unwrap_or_default())?;
    if app.is_empty() {
        Ok(AppKey::parse(&route_url, Prefer::Route)?)
    } else {
        Ok(AppKey::parse(&app, Prefer::Name)?)
    }
}

/// Splits a path into key and view.
fn split_path(path: &str) -> Result<(String, View), BadRequest> {
    if let Some(key) = path.strip_suffix("/only-app-metrics") {
        return Ok((decode(key)?, View::OnlyAppMetrics));
    }
    let Some(key) = path.strip_suffix("/metrics") else {
        return Ok((decode(path)?, View::Description));
    };
    let instance = key.rsplit_once('/').and_then(|(before, index)| {
        let key = before.strip_suffix("/instances")?;
        Some((key, selector(index)?)).filter(|_| !key.is_empty())
    });
    match instance {
        Some((key, selector)) => Ok((decode(key)?, View::Instance { selector, only_app: false })),
        None => Ok((decode(key)?, View::Metrics)),
    }
}

/// Parses an instance selector. Other segments are part of a route.
fn selector(segment: &str) -> Option<InstanceSelector> {
    if !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit()) {
        return Some(InstanceSelector::Index(segment.to_owned()));
    }
    decode(segment).ok()?.parse().ok().map(InstanceSelector::Address)
}

fn split_query(query: &str) -> Result<(OwnParams, Vec<String>), BadRequest> {
    let mut own = OwnParams::default();
    let mut forwarded = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, slot) = match &*decode(name)? {
            "app" => ("app", &mut own.app),
            "route_url" => ("route_url", &mut own.route_url),
            "metric_path" => ("metric_path", &mut own.metric_path),
            "only_from_app" => ("only_from_app", &mut own.only_from_app),
            "process_type" => ("process_type", &mut own.process_type),
            _ => {
                forwarded.push(pair.to_owned());
                continue;
            }
        };
        if slot.replace(value.to_owned()).is_some() {
            return Err(BadRequest::Twice(name));
        }
    }
    Ok((own, forwarded))
}

/// Percent-decoding. `+` is not decoded to a space, because keys and paths are not encoded like
/// forms.
pub(super) fn decode(text: &str) -> Result<String, BadRequest> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(BadRequest::NotUtf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str, query: &str) -> (String, View) {
        let request = AppRequest::parse(rest, query).unwrap();
        (request.key.as_str().to_owned(), request.view)
    }

    fn instance(index: &str) -> View {
        View::Instance { selector: InstanceSelector::Index(index.to_owned()), only_app: false }
    }

    fn at(address: &str) -> View {
        View::Instance {
            selector: InstanceSelector::Address(address.parse().unwrap()),
            only_app: false,
        }
    }

    #[test]
    fn every_documented_url_is_parsed() {
        let cases = [
            ("guid/metrics", "", "guid", View::Metrics),
            ("org/space/app/metrics", "", "org/space/app", View::Metrics),
            ("org%2Fspace%2fapp/metrics", "", "org/space/app", View::Metrics),
            ("app.example.com/api/v1/metrics", "", "app.example.com/api/v1", View::Metrics),
            ("app.example.com/metrics/metrics", "", "app.example.com/metrics", View::Metrics),
            ("my%20org/s/a/only-app-metrics", "", "my org/s/a", View::OnlyAppMetrics),
            ("guid/metrics", "only_from_app", "guid", View::OnlyAppMetrics),
            ("guid/metrics", "only_from_app=false", "guid", View::OnlyAppMetrics),
            ("metrics", "app=guid", "guid", View::Metrics),
            ("metrics", "app=%22o/s/a%22", "o/s/a", View::Metrics),
            ("metrics", "route_url=a.example.com%2Fx", "a.example.com/x", View::Metrics),
            ("only-app-metrics", "route_url=a.example.com", "a.example.com", View::OnlyAppMetrics),
            ("guid", "", "guid", View::Description),
            ("o/s/a", "", "o/s/a", View::Description),
            ("guid/instances/0/metrics", "", "guid", instance("0")),
            ("o/s/a/instances/12/metrics", "", "o/s/a", instance("12")),
            ("guid/instances/10.0.0.1:61001/metrics", "", "guid", at("10.0.0.1:61001")),
            ("guid/instances/%5Bfd00::1%5D:80/metrics", "", "guid", at("[fd00::1]:80")),
            ("guid/instances/10.0.0.1/metrics", "", "guid/instances/10.0.0.1", View::Metrics),
            ("h/instances/x/metrics", "", "h/instances/x", View::Metrics),
        ];
        for (rest, query, key, view) in cases {
            assert_eq!(parse(rest, query), (key.to_owned(), view), "{rest}?{query}");
        }
    }

    #[test]
    fn route_url_prefers_routes() {
        let by = |query| AppRequest::parse("metrics", query).unwrap().key.prefer;
        assert_eq!(by("route_url=a/b/c"), Prefer::Route);
        assert_eq!(by("app=a/b/c"), Prefer::Name);
        assert_eq!(by("app=a/b/c&route_url=d/e/f"), Prefer::Name);
        assert_eq!(by("app=&route_url=d/e/f"), Prefer::Route);
    }

    #[test]
    fn other_parameters_are_forwarded_unchanged() {
        let query = "module=http&metric_path=probe&target=http%3A%2F%2Fx&flag&process_type=w";
        let request = AppRequest::parse("guid/metrics", query).unwrap();
        assert_eq!(
            request.forwarded,
            ["module=http", "target=http%3A%2F%2Fx", "flag", "process_type=w"]
        );
        assert_eq!(request.metric_path.unwrap().as_str(), "/probe");
        for written in ["w%20x%2B", "w+x%2B"] {
            let query = format!("process_type={written}");
            let request = AppRequest::parse("guid/instances/0/metrics", &query).unwrap();
            assert_eq!(request.process_type.as_deref(), Some("w x+"));
        }
    }

    #[test]
    fn invalid_requests_are_rejected() {
        let cases = [
            ("metrics", ""),
            ("metrics", "app=%22%22"),
            ("metrics", "app=a&app=b"),
            ("a%00b/metrics", ""),
            ("a%ff/metrics", ""),
            ("guid/metrics", "metric_path=//evil.example"),
            ("guid/metrics", "metric_path=http://evil.example/"),
            ("guid/metrics", "metric_path=/a%0d%0aHost:%20evil"),
            ("guid/metrics", "metric_path=/..%2fadmin"),
            ("guid/metrics", "metric_path=/%ff"),
        ];
        for (rest, query) in cases {
            assert!(AppRequest::parse(rest, query).is_err(), "{rest}?{query}");
        }
    }
}
