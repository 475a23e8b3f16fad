//! Scrapes what no Prometheus of the demo scrapes: the queue of events of the installation, and
//! without a Prometheus the app. So their pages have something to show.

use anyhow::{anyhow, bail};
use std::time::Duration;

/// Time between two scrapes.
const INTERVAL: Duration = Duration::from_secs(5);

/// The name of the scraper on the page of the app.
const USER_AGENT: &str = concat!("scrapebroker-demo/", env!("CARGO_PKG_VERSION"));

/// Maximum size of an answer.
const MAX_BODY: usize = 16 << 20;

/// Scrapes `url` now, and then at each interval until the process ends.
pub(super) async fn start(http: awc::Client, url: String) {
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
        tracing::warn!(%error, url, "not scraped by the demo");
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
