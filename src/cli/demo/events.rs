//! The demo's events: two per minute, and a scraper of those that no Prometheus scrapes.

use super::{
    platform::{EventsCredentials, Platform},
    scraper,
};
use anyhow::anyhow;
use serde_json::json;
use std::{net::SocketAddr, time::Duration};

/// Time between two events of a queue.
const INTERVAL: Duration = Duration::from_mins(1);

/// The queues to which the demo posts.
pub(super) struct DemoEvents {
    /// The queue of the app's binding, which the dedicated Prometheus scrapes.
    pub(super) app: EventsCredentials,
    /// The listener of events. Its queue is that of the installation, which the page shows first.
    pub(super) listen: SocketAddr,
}

impl DemoEvents {
    /// Posts an event to each queue, and others every minute.
    pub(super) async fn start(self, platform: &Platform<'_>) -> anyhow::Result<()> {
        let http = platform.http.clone();
        self.post(&http, 1).await?;
        scraper::start(http.clone(), format!("http://{}/metrics", self.listen)).await;
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

    async fn post(&self, http: &awc::Client, version: u64) -> anyhow::Result<()> {
        let event = json!({"labels": {"type": "deploy", "app": "shop", "version": version}});
        let EventsCredentials { url, token } = &self.app;
        let to_app = http.post(url).bearer_auth(token);
        let to_installation = http.post(format!("http://{}/event", self.listen));
        for request in [to_app, to_installation] {
            let sent = request.send_json(&event).await;
            let response = sent.map_err(|error| anyhow!("the demo's event: {error}"))?;
            if !response.status().is_success() {
                return Err(anyhow!("the demo's event: answered {}", response.status()));
            }
        }
        Ok(())
    }
}
