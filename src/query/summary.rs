//! What pages show of an instance, read from its own Prometheus.

mod alerts;
mod plot;
mod server;
mod targets;

pub use alerts::{Alert, AlertList, Alerts};
pub use plot::{MetricName, MetricNameError, MetricRange, RangeSeries};
pub use server::Storage;
pub use targets::{TargetCounts, TargetHealth, TargetStatus};

use super::{PrometheusClient, QueryBackend, QueryFailure, QueryRequest};
use awc::http::{StatusCode, header::HeaderMap};
use futures_util::StreamExt;
use serde::{Deserialize, de::DeserializeOwned};
use server::OwnMetrics;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use targets::TargetsData;
use tokio::time::timeout;

/// Timeout of the requests for a summary.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a response, bytes: about 20,000 targets.
const MAX_BODY: usize = 32 << 20;

/// Targets, storage and memory of a Prometheus; values are `None` if it did not return them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All active targets, failing ones first.
    pub targets: Option<Vec<TargetStatus>>,
    pub storage: Option<Storage>,
    /// Resident memory of the server, bytes.
    pub memory: Option<u64>,
    /// Why a value is unknown.
    pub problem: Option<String>,
}

impl Summary {
    pub fn counts(&self) -> Option<TargetCounts> {
        self.targets.as_deref().map(TargetCounts::of)
    }

    /// One of the failing targets.
    pub fn failing(&self) -> Option<&TargetStatus> {
        self.targets.iter().flatten().next().filter(|target| !target.error.is_empty())
    }
}

impl PrometheusClient {
    /// Queries an instance for its summary; takes at most a few seconds.
    pub async fn summary(&self, backend: &QueryBackend) -> Summary {
        let targets = self.api(backend, "/api/v1/targets?state=active", TIMEOUT, TargetsData::list);
        let metrics = self.get(backend, "/metrics", TIMEOUT);
        let (targets, metrics) = futures_util::join!(targets, metrics);
        let mut summary = Summary::default();
        match metrics {
            Ok(body) => {
                let OwnMetrics { storage, memory } = OwnMetrics::of(&body);
                (summary.storage, summary.memory) = (storage, memory);
            }
            Err(failure) => summary.problem = Some(failure.to_string()),
        }
        match targets {
            Ok(targets) => summary.targets = Some(targets),
            Err(failure) => summary.problem = Some(failure.to_string()),
        }
        summary
    }

    /// Requests JSON of the API, and converts its data.
    async fn api<T, R>(
        &self,
        backend: &QueryBackend,
        target: &str,
        within: Duration,
        convert: impl FnOnce(T) -> R + Send + 'static,
    ) -> Result<R, QueryFailure>
    where
        T: DeserializeOwned,
        R: Send + 'static,
    {
        let body = self.get(backend, target, within).await?;
        // Parsing a long list would block a thread that serves requests.
        let parsed = tokio::task::spawn_blocking(move || parse(&body).map(convert)).await;
        parsed.ok().flatten().ok_or(QueryFailure::Unusable("it is not what its API returns"))
    }

    async fn get(
        &self,
        backend: &QueryBackend,
        target: &str,
        within: Duration,
    ) -> Result<Vec<u8>, QueryFailure> {
        let headers = HeaderMap::new();
        let request = QueryRequest::get(target.to_owned(), &headers, within);
        let read = async {
            let mut response = backend.forward(self, &request).await?;
            if response.status != StatusCode::OK {
                return Err(QueryFailure::Unusable("its status is not 200"));
            }
            let mut body = Vec::new();
            while let Some(piece) = response.body.next().await {
                body.extend_from_slice(&piece.map_err(|_| QueryFailure::Broken)?);
                if body.len() > MAX_BODY {
                    return Err(QueryFailure::Unusable("it is too long"));
                }
            }
            Ok(body)
        };
        timeout(within, read).await.unwrap_or(Err(QueryFailure::Timeout(within)))
    }
}

/// A response of the API.
#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice::<Envelope<T>>(body).ok().map(|envelope| envelope.data)
}

/// The last second of the year 9999, in seconds since 1970. Later times have no text.
const LAST_SECOND: u64 = 253_402_300_799;

/// A time of RFC 3339 with an offset from UTC, as Go writes it. `None` for times before 1970, such as
/// Go's zero time, which means never.
fn parse_time(text: &str) -> Option<SystemTime> {
    let offset_at = text.rfind(['Z', '+', '-'])?;
    let (local, offset) = text.split_at(offset_at);
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let seconds = |offset: &str| {
        let (hours, minutes) = offset.split_once(':')?;
        let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
        Some(Duration::from_secs(u64::from(hours) * 3600 + u64::from(minutes) * 60))
    };
    let time = match offset.split_at_checked(1)? {
        ("Z", "") => local,
        ("+", east) => local.checked_sub(seconds(east)?)?,
        (_, west) => local.checked_add(seconds(west)?)?,
    };
    let since_1970 = time.duration_since(UNIX_EPOCH).ok()?;
    (since_1970.as_secs() <= LAST_SECOND).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_any_offset_and_go_s_zero_time_means_never() {
        let time = |text| {
            let time = parse_time(text)?;
            Some(humantime::format_rfc3339(time).to_string())
        };
        for (text, expected) in [
            ("2026-11-21T11:18:06.886123Z", Some("2026-11-21T11:18:06.886123000Z")),
            ("2026-11-21T11:18:06+01:30", Some("2026-11-21T09:48:06Z")),
            ("2026-11-21T11:18:06.5-02:00", Some("2026-11-21T13:18:06.500000000Z")),
            ("0001-01-01T00:00:00Z", None),
            ("1970-01-01T00:00:00+00:01", None),
            ("9999-12-31T23:59:59-00:01", None),
            ("2026-11-21T11:18:06", None),
            ("2026-11-21T11:18:06+1", None),
            ("2026-11-21T11:18:06Zulu", None),
            ("", None),
            ("ä", None),
        ] {
            assert_eq!(time(text).as_deref(), expected, "{text}");
        }
    }
}
