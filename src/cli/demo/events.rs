//! The demo's events: the app posts one per minute to the queue of its binding.

use super::platform::{EventsCredentials, Platform};
use anyhow::anyhow;
use serde_json::json;
use std::time::Duration;

/// Time between two events.
const INTERVAL: Duration = Duration::from_mins(1);

/// Posts an event to the queue, and another one every minute.
pub(super) async fn start(platform: &Platform<'_>, queue: EventsCredentials) -> anyhow::Result<()> {
    let http = platform.http.clone();
    post(&http, &queue, 1).await?;
    actix_web::rt::spawn(async move {
        for version in 2.. {
            tokio::time::sleep(INTERVAL).await;
            if let Err(error) = post(&http, &queue, version).await {
                tracing::warn!(%error, "event not posted");
            }
        }
    });
    Ok(())
}

async fn post(http: &awc::Client, queue: &EventsCredentials, version: u64) -> anyhow::Result<()> {
    let event = json!({"labels": {"type": "deploy", "app": "shop", "version": version}});
    let request = http.post(&queue.url).bearer_auth(&queue.token);
    let sent = request.send_json(&event).await;
    let response = sent.map_err(|error| anyhow!("the demo's event: {error}"))?;
    match response.status().is_success() {
        true => Ok(()),
        false => Err(anyhow!("the demo's event: answered {}", response.status())),
    }
}
