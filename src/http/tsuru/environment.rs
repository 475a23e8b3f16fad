//! Environment variables of bound apps and jobs. Tsuru accepts only strings.

use crate::{
    broker::{Credentials, Scope},
    domain::{AppGuid, BaseUrl},
    http::{osb, urls},
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

/// Variables of a binding. For the fetch router these are the URL of the app's metrics and a token.
/// For a Prometheus these are the URL of its query API and the URL of the app's metrics. For events
/// these are the URLs of the queue and a token.
///
/// A job has no metrics, so it gets the URL of all apps that it may scrape.
pub(super) fn variables(
    given: &Credentials,
    app: Option<&AppGuid>,
    base_url: &BaseUrl,
) -> Map<String, Value> {
    let token = given.token.expose_secret();
    let metrics_url = app.map(|app| urls::metrics(base_url, app));
    let variables: Vec<(&str, Option<String>)> = match &given.scope {
        Scope::App(_) | Scope::Space(_) => vec![
            ("METRICS_URL", metrics_url.or_else(|| Some(format!("{base_url}/v1/apps")))),
            ("METRICS_TOKEN", Some(token.to_owned())),
        ],
        Scope::Query(instance) | Scope::PrometheusTargets(instance, _) => vec![
            ("PROMETHEUS_URL", Some(urls::prometheus(base_url, instance))),
            ("PROMETHEUS_USERNAME", Some(osb::USERNAME.to_owned())),
            ("PROMETHEUS_PASSWORD", Some(token.to_owned())),
            ("METRICS_URL", metrics_url),
        ],
        Scope::Events(_) => vec![
            ("EVENTS_URL", Some(urls::events(base_url))),
            ("EVENTS_METRICS_URL", Some(urls::event_metrics(base_url))),
            ("EVENTS_TOKEN", Some(token.to_owned())),
        ],
    };
    let set = |(name, value): (&str, Option<String>)| Some((name.to_owned(), value?.into()));
    variables.into_iter().filter_map(set).collect()
}
