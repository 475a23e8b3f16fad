//! Parameters of a scrape that do not depend on the app: what the scraper requested, and the
//! operator's limits.

use super::scraped_by::ScrapedBy;
use crate::domain::MetricsPath;
use awc::http::header::{HeaderName, HeaderValue};
use exposition::{self, Format, OutputFormat};
use std::{borrow::Cow, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Header with the ids of all Scrapebroker processes that a scrape passed through; used to reject
/// loops.
pub const VIA: &str = "x-scrapebroker-via";

/// Parameters of one scraper's request that do not depend on the app.
#[derive(Clone, Debug)]
pub struct ScrapeRequest {
    /// Deadline for the responses of all instances.
    pub deadline: Instant,
    /// Format of the response, and the formats that instances are requested to send.
    pub negotiated: NegotiatedFormats,
    /// Path for this request; overrides the binding's path.
    pub metric_path: Option<MetricsPath>,
    /// Query parameters for the instances, as percent-encoded `name=value` pairs.
    pub query: Vec<String>,
    /// The scraper's headers that are forwarded to instances; see [`forwarded_headers`](super::headers::forwarded_headers).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// X-Forwarded-For of the requests to instances.
    pub forwarded_for: Option<HeaderValue>,
    /// Scheme of Scrapebroker's public address, for X-Forwarded-Proto.
    pub public_scheme: &'static str,
    /// Value of the [`VIA`] header, including the id of this process.
    pub via: String,
    /// Which of Scrapebroker's own series the response contains.
    pub series: OwnSeries,
    /// Shown on the page of the app.
    pub scraper: Arc<ScrapedBy>,
}

/// Which of Scrapebroker's own series a response contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnSeries {
    All,
    /// Only `promfetcher_scrape_error`, for `only-app-metrics`.
    FailuresOnly,
}

/// The negotiated formats of one request.
#[derive(Clone, Debug)]
pub struct NegotiatedFormats {
    /// Formats that the scraper accepts, in order of preference.
    accepted: Vec<OutputFormat>,
    target: OutputFormat,
    /// The first format of the Accept header for instances.
    requested: Format,
    /// The Accept header for instances.
    accept: String,
}

impl NegotiatedFormats {
    /// Negotiates with a scraper that sent this `Accept`. The response is text, if the scraper
    /// accepts text, until [`choose`](Self::choose) gets the formats of the instances.
    ///
    /// The Accept header for instances depends only on the scraper, not on the format of the
    /// response. So instances respond as they would to the scraper itself, and their formats do not
    /// change from scrape to scrape. With `text_only` it contains only text format 0.0.4.
    pub fn new(accept: Option<&str>, text_only: bool) -> Self {
        let accepted = exposition::accepted_formats(accept);
        let preferred = accepted.first().copied().unwrap_or_default();
        Self {
            target: exposition::choose_format(&accepted, &[]),
            requested: if text_only { Format::Text004 } else { preferred.format() },
            accept: exposition::scrape_accept_header(preferred, text_only, true),
            accepted,
        }
    }

    /// Chooses the format of the response for instances with these formats.
    #[must_use]
    pub fn choose(self, available: &[Format]) -> Self {
        Self { target: exposition::choose_format(&self.accepted, available), ..self }
    }

    pub fn content_type(&self) -> Cow<'static, str> {
        self.target.content_type()
    }

    pub(super) fn target(&self) -> OutputFormat {
        self.target
    }

    pub(super) fn requested(&self) -> Format {
        self.requested
    }

    pub(super) fn accept(&self) -> &str {
        &self.accept
    }
}

/// Limits of one scraper's request.
#[derive(Clone, Copy, Debug)]
pub struct ScrapeLimits {
    /// Instances that are scraped in parallel.
    pub concurrency: usize,
    /// Maximum size of an instance's body after decompression, bytes.
    pub max_instance_body: u64,
    /// Maximum size of the response before compression, bytes.
    pub max_response: u64,
    /// Limits on the content of one body.
    pub exposition: exposition::Limits,
}

/// The operator's limits on the duration of a scrape.
#[derive(Clone, Copy, Debug)]
pub struct ScrapeTimeouts {
    /// Timeout when the scraper sends none.
    pub default: Duration,
    /// Maximum timeout that a scraper can set.
    pub max: Duration,
    /// Subtracted from the scraper's timeout, but at most half of it, so that the response arrives
    /// before the scraper times out.
    pub offset: Duration,
}

impl ScrapeTimeouts {
    /// Timeout for all instances together, given the value of
    /// `X-Prometheus-Scrape-Timeout-Seconds`. A value that is not a positive number is ignored.
    pub fn total(&self, announced: Option<&str>) -> Duration {
        let announced = announced
            .and_then(|text| text.trim().parse::<f64>().ok())
            .filter(|seconds| *seconds > 0.0)
            .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(self.max).min(self.max));
        match announced {
            Some(time) => time - self.offset.min(time / 2),
            None => self.default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scraper_sets_the_deadline() {
        let timeouts = ScrapeTimeouts {
            default: Duration::from_secs(30),
            max: Duration::from_secs(120),
            offset: Duration::from_millis(500),
        };
        let cases = [
            (None, 30_000),
            (Some("10"), 9_500),
            (Some("10.000000"), 9_500),
            (Some(" 60 "), 59_500),
            (Some("0.5"), 250),
            (Some("1e3"), 119_500),
            (Some("1e300"), 119_500),
            (Some("inf"), 119_500),
            (Some("nan"), 30_000),
            (Some("0"), 30_000),
            (Some("-3"), 30_000),
            (Some("soon"), 30_000),
        ];
        for (announced, expected_ms) in cases {
            assert_eq!(timeouts.total(announced).as_millis(), expected_ms, "{announced:?}");
        }
    }
}
