//! Scrapes the demo's app if there is no Prometheus, so that the page of the app has a history.

use super::platform::Platform;
use anyhow::{anyhow, bail};
use std::time::Duration;

/// Time between two scrapes.
const INTERVAL: Duration = Duration::from_secs(5);

/// The name that the page of the app shows as its scraper.
const USER_AGENT: &str = concat!("scrapebroker-demo/", env!("CARGO_PKG_VERSION"));

/// Maximum size of an answer.
const MAX_BODY: usize = 16 << 20;

/// Scrapes the app now, and then at each interval until the process ends.
pub(super) async fn start(platform: &Platform<'_>) {
    let url = format!("http://{}/v1/apps/acme/demo/shop/metrics", platform.broker);
    let http = platform.http.clone();
    scrape_and_log(&http, &url).await;
    actix_web::rt::spawn(async move {
        loop {
            tokio::time::sleep(INTERVAL).await;
            scrape_and_log(&http, &url).await;
        }
    });
}

async fn scrape_and_log(http: &awc::Client, url: &str) {
    if let Err(error) = scrape(http, url).await {
        tracing::warn!(%error, "demo app not scraped");
    }
}

async fn scrape(http: &awc::Client, url: &str) -> anyhow::Result<()> {
    let sent = http.get(url).insert_header(("User-Agent", USER_AGENT)).send().await;
    let mut response = sent.map_err(|error| anyhow!("{error}"))?;
    // The connection can be reused only after the whole answer was read.
    response.body().limit(MAX_BODY).await?;
    match response.status().is_success() {
        true => Ok(()),
        false => bail!("answered {}", response.status()),
    }
}
