//! The demo's events: the app posts one per minute to the queue of its binding.

use super::platform::{EventsCredentials, Platform};
use anyhow::anyhow;
use serde_json::json;
use std::{fmt, net::SocketAddr, time::Duration};

/// Time between two events.
const INTERVAL: Duration = Duration::from_mins(1);

/// What the summary says about events.
#[derive(Clone, Debug)]
pub(super) struct DemoEvents {
    /// The main listener.
    pub(super) address: SocketAddr,
    /// The listener of events.
    pub(super) listen: SocketAddr,
    pub(super) credentials: EventsCredentials,
    /// The broker's user and password, with which the page shows all events.
    pub(super) login: (&'static str, String),
}

impl DemoEvents {
    /// Posts an event.
    async fn post(&self, platform: &awc::Client, version: u64) -> anyhow::Result<()> {
        let event = json!({"labels": {"type": "deploy", "app": "shop", "version": version}});
        let request = platform.post(&self.credentials.url).bearer_auth(&self.credentials.token);
        let sent = request.send_json(&event).await;
        let response = sent.map_err(|error| anyhow!("the demo's event: {error}"))?;
        match response.status().is_success() {
            true => Ok(()),
            false => Err(anyhow!("the demo's event: answered {}", response.status())),
        }
    }

    /// Posts an event, and another one every minute.
    pub(super) async fn run(self, platform: &Platform<'_>) -> anyhow::Result<()> {
        self.post(&platform.http, 1).await?;
        let http = platform.http.clone();
        actix_web::rt::spawn(async move {
            for version in 2.. {
                tokio::time::sleep(INTERVAL).await;
                if let Err(error) = self.post(&http, version).await {
                    tracing::warn!(%error, "event not posted");
                }
            }
        });
        Ok(())
    }
}

impl fmt::Display for DemoEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, listen, credentials: EventsCredentials { url, token }, login } = self;
        let (user, password) = login;
        write!(
            f,
            "\
The app posts an event every minute to its own queue (cf create-service events default):

Post one for it:             curl -H 'Authorization: Bearer {token}' -d 'type=deploy&app=shop' {url}
Look at its events:          curl -H 'Authorization: Bearer {token}' {url}
Post one without a binding:  curl -X POST 'http://{listen}/event?type=deploy&app=shop'
Open in a browser:           http://{address}/events
                             (user {user}, password {password})"
        )
    }
}
