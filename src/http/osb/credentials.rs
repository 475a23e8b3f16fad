//! What a bound app or a service key gets.

use crate::{
    broker::{Credentials, Scope},
    http::urls::app_url,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// The user name that goes with a token where basic auth is used; it is not looked at.
const USERNAME: &str = "scrapebroker";

/// The `credentials` object.
///
/// Both kinds have `token`, and the same as `username` and `password` for clients
/// that know only basic auth. A binding has the URLs of its app:
///
/// ```json
/// {
///   "url": "https://metrics.example.com/v1/apps/4d0c1f4a/metrics",
///   "only_app_metrics_url": "https://metrics.example.com/v1/apps/4d0c1f4a/only-app-metrics",
///   "token": "sbt_…", "username": "scrapebroker", "password": "sbt_…"
/// }
/// ```
///
/// A service key has its space, and URLs to fill in:
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
pub(super) fn credentials(given: &Credentials, base_url: &str) -> Value {
    let apps = format!("{base_url}/v1/apps");
    let mut credentials = match &given.scope {
        Scope::App(app) => {
            let app = app_url(base_url, app);
            json!({
                "url": format!("{app}/metrics"),
                "only_app_metrics_url": format!("{app}/only-app-metrics"),
            })
        }
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
