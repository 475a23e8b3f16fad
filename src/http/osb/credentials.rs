//! Credentials of bindings and service keys.

use crate::{
    broker::{Credentials, Scope},
    domain::BaseUrl,
    http::urls,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// User name for a token in basic auth. It is not checked.
pub(in crate::http) const USERNAME: &str = "scrapebroker";

/// The `credentials` object.
///
/// It always contains `token`. `username` and `password` contain the same token for clients that
/// support only basic auth. For a Prometheus the object contains the URL of its query API:
///
/// ```json
/// {
///   "url": "https://metrics.example.com/prometheus/8a1f3c2e",
///   "token": "sbt_…", "username": "scrapebroker", "password": "sbt_…"
/// }
/// ```
///
/// For other instances a binding contains the URLs of its app:
///
/// ```json
/// {
///   "url": "https://metrics.example.com/v1/apps/4d0c1f4a/metrics",
///   "only_app_metrics_url": "https://metrics.example.com/v1/apps/4d0c1f4a/only-app-metrics",
///   "token": "sbt_…", "username": "scrapebroker", "password": "sbt_…"
/// }
/// ```
///
/// A binding or service key of a queue of events contains the URL for posts and that of scrapes:
///
/// ```json
/// {
///   "url": "https://metrics.example.com/v1/events",
///   "metrics_url": "https://metrics.example.com/v1/events/metrics",
///   "EVENTS_URL": "https://metrics.example.com/v1/events", "EVENTS_TOKEN": "sbt_…",
///   "token": "sbt_…", "username": "scrapebroker", "password": "sbt_…"
/// }
/// ```
///
/// A service key contains its space and URL templates:
///
/// ```json
/// {
///   "scope": { "space_guid": "5a3d7c52" },
///   "urls": {
///     "app_guid": "https://metrics.example.com/v1/apps/{app_guid}/metrics",
///     "app_name": "https://metrics.example.com/v1/apps/{organization}/{space}/{app}/metrics",
///     "route": "https://metrics.example.com/v1/apps/metrics?route_url={route}"
///   },
///   "token": "sbt_…", "username": "scrapebroker", "password": "sbt_…"
/// }
/// ```
pub(super) fn credentials(given: &Credentials, base_url: &BaseUrl) -> Value {
    let apps = format!("{base_url}/v1/apps");
    let mut credentials = match &given.scope {
        Scope::App(app) => json!({
            "url": urls::metrics(base_url, app),
            "only_app_metrics_url": urls::only_app_metrics(base_url, app),
        }),
        Scope::Query(instance) | Scope::PrometheusTargets(instance, _) => json!({
            "url": urls::prometheus(base_url, instance),
        }),
        Scope::Events(_) => json!({
            "url": urls::events(base_url),
            "metrics_url": urls::event_metrics(base_url),
            "EVENTS_URL": urls::events(base_url),
            "EVENTS_TOKEN": given.token.expose_secret(),
        }),
        Scope::Space(space) => json!({
            "scope": { "space_guid": space.as_str() },
            "urls": {
                "app_guid": format!("{apps}/{{app_guid}}/metrics"),
                "app_name": format!("{apps}/{{organization}}/{{space}}/{{app}}/metrics"),
                "route": format!("{apps}/metrics?route_url={{route}}"),
            },
        }),
    };
    let token = given.token.expose_secret();
    credentials["token"] = json!(token);
    credentials["username"] = json!(USERNAME);
    credentials["password"] = json!(token);
    credentials
}
