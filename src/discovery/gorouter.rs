//! Polls the route table of a gorouter.
//!
//! The endpoint is on the router's loopback interface or reached through a tunnel, so any server
//! may respond ([`fetch`](super::fetch)).

use super::{Limits, error::SourceError, fetch::fetch, sources::Report, writer::Reporter};
use crate::net;
use awc::{Client, http::Uri};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// A router to poll.
#[derive(Clone, Debug)]
pub struct Gorouter {
    /// URL of the route table, for example `http://127.0.0.1:8082/routes`.
    pub url: String,
    /// Credentials for basic auth.
    pub credentials: Option<(String, SecretString)>,
}

impl Gorouter {
    /// Display name without credentials and query.
    pub(super) fn name(&self) -> String {
        match self.uri() {
            Some(uri) => {
                let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
                format!("gorouter {}{port}", uri.host().unwrap_or_default())
            }
            None => "gorouter with an unusable URL".to_owned(),
        }
    }

    /// The URL if it is valid.
    fn uri(&self) -> Option<Uri> {
        let uri: Uri = self.url.parse().ok()?;
        let is_usable =
            uri.scheme_str() == Some("http") && uri.host().is_some_and(|h| !h.is_empty());
        is_usable.then_some(uri)
    }
}

/// Polls at startup and then every `refresh_interval`, until `shutdown`.
///
/// Must run where `spawn_local` works, because awc's clients are not `Send`.
pub(super) async fn poll(
    gorouter: Gorouter,
    refresh_interval: Duration,
    limits: Limits,
    reporter: Reporter,
    shutdown: CancellationToken,
) {
    // The caller sets the timeout, which includes the body.
    let client = net::client(net::connector(None).timeout(limits.timeout));
    let mut ticks = interval(refresh_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let polling = async {
        loop {
            ticks.tick().await;
            let result =
                timeout(limits.timeout, fetch_table(&client, &gorouter, limits.body_bytes)).await;
            let report = match result.unwrap_or(Err(SourceError::Timeout(limits.timeout))) {
                Ok(body) => Report::Full(body),
                Err(error) => Report::Failure(error),
            };
            reporter.report(report).await;
        }
    };
    shutdown.run_until_cancelled(polling).await;
}

async fn fetch_table(
    client: &Client,
    gorouter: &Gorouter,
    body_bytes: u64,
) -> Result<Vec<u8>, SourceError> {
    let uri = gorouter.uri().ok_or(SourceError::Url)?;
    // gorouter closes the connection after each response and does not always announce it.
    let mut request = client.get(uri).force_close();
    if let Some((username, password)) = &gorouter.credentials {
        request = request.basic_auth(username, password.expose_secret());
    }
    fetch(request, body_bytes).await.map_err(|error| match error {
        SourceError::Status(404) => SourceError::NoTable,
        error => error,
    })
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
