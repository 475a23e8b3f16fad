//! The environment variables of bound apps and jobs. Tsuru takes nothing but texts.

use crate::{
    broker::{Credentials, Scope},
    domain::{AppGuid, BaseUrl},
    http::{osb, urls},
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

/// What a binding gives: of the fetch router, the URL of the app's metrics and a token; of a
/// Prometheus, its query API and where the app's own metrics are.
///
/// A job has no metrics of its own that could be asked for, so the fetch router gives it the URL
/// of all apps that it may scrape.
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
    };
    let given = |(name, value): (&str, Option<String>)| Some((name.to_owned(), value?.into()));
    variables.into_iter().filter_map(given).collect()
}
