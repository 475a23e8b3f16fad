//! The environment variables of bound apps and jobs. Tsuru takes nothing but texts.

use crate::{
    broker::{Credentials, Scope},
    http::urls::app_url,
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

/// What a binding of the fetch router gives: an app the URL of its own metrics,
/// a job, which has none, that of all apps that it may scrape.
pub(super) fn variables(given: &Credentials, base_url: &str) -> Map<String, Value> {
    let url = match &given.scope {
        Scope::App(app) => format!("{}/metrics", app_url(base_url, app)),
        Scope::Space(_) => format!("{base_url}/v1/apps"),
    };
    let token = given.token.expose_secret().to_owned();
    Map::from_iter([
        ("METRICS_URL".to_owned(), url.into()),
        ("METRICS_TOKEN".to_owned(), token.into()),
    ])
}
