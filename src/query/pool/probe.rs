//! Probes a replica: whether it is ready, and what data it has.

use super::{
    health::{ProbeResult, Readiness},
    measurement::Measurement,
    unix_time,
};
use crate::{
    net,
    query::{QueryFailure, replica_api::ReplicaApi},
};
use awc::{
    ClientResponse,
    http::{
        StatusCode,
        header::{self, HttpDate},
    },
};
use serde::Deserialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::timeout;

/// Timeout of the requests that find out whether a replica is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout of the requests that measure its data. `/metrics` of a large server is slow.
const MEASURE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of the metrics of a server, bytes.
const MAX_METRICS: u64 = 16 << 20;
/// Maximum size of other responses, bytes.
const MAX_RESPONSE: u64 = 64 << 10;

/// Ages at which a server without metrics is queried for samples, in seconds, from short to long.
const HISTORY_STEPS: [u64; 7] =
    [3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600, 30 * 24 * 3600, 90 * 24 * 3600, 365 * 24 * 3600];

/// Sends the requests of probes to one replica.
pub(super) struct Probe<'a> {
    pub(super) api: ReplicaApi<'a>,
    /// The age of samples that matters, if the strategy has one.
    pub(super) minimum_history: Option<Duration>,
}

impl Probe<'_> {
    pub(super) async fn run(&self) -> ProbeResult {
        let unreachable = |why: String| ProbeResult {
            readiness: Readiness::Unreachable(why),
            measurement: Measurement::default(),
        };
        let late = |_| Err(format!("it did not respond within {} s", READY_TIMEOUT.as_secs()));
        let (readiness, clock_offset) =
            match timeout(READY_TIMEOUT, self.readiness()).await.unwrap_or_else(late) {
                Ok(found) => found,
                Err(why) => return unreachable(why),
            };
        let measured = match readiness {
            Readiness::Ready => timeout(MEASURE_TIMEOUT, self.measure()).await,
            _ => Ok(Ok(Measurement::default())),
        };
        match measured {
            Ok(Err(why)) => unreachable(why),
            Ok(Ok(found)) => {
                ProbeResult { readiness, measurement: Measurement { clock_offset, ..found } }
            }
            Err(_) => {
                let late = Measurement { is_late: true, clock_offset, ..Measurement::default() };
                ProbeResult { readiness, measurement: late }
            }
        }
    }

    /// Whether the replica is ready, and how far its clock is ahead.
    async fn readiness(&self) -> Result<(Readiness, Option<f64>), String> {
        let mut response = self.api.get("/-/ready").await?;
        let clock_offset = clock_offset(&response);
        let status = response.status();
        // The connection can be reused once the body is read.
        let _ = net::read_body(&mut response, MAX_RESPONSE).await;
        let readiness = match status {
            // Prometheus 1 and other servers have no such endpoint.
            StatusCode::OK | StatusCode::NOT_FOUND => Readiness::Ready,
            StatusCode::SERVICE_UNAVAILABLE => Readiness::NotReady(self.why_not_ready().await),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Readiness::NotReady(QueryFailure::Refused.to_string())
            }
            status => Readiness::NotReady(format!("/-/ready responds with {}", status.as_u16())),
        };
        Ok((readiness, clock_offset))
    }

    /// The progress of reading the write-ahead log, if that is what the server does.
    async fn why_not_ready(&self) -> String {
        #[derive(Deserialize)]
        struct Progress {
            max: i64,
            current: i64,
        }
        match self.api.data::<Progress>("/api/v1/status/walreplay", MAX_RESPONSE).await {
            Ok(Progress { max, current }) if current < max => {
                format!(
                    "it is starting: {current} of {max} segments of its write-ahead log are read"
                )
            }
            _ => "it is starting or stopping".to_owned(),
        }
    }

    async fn measure(&self) -> Result<Measurement, String> {
        let mut response = self.api.get("/metrics").await?;
        let body = net::read_body(&mut response, MAX_METRICS).await;
        if response.status() == StatusCode::OK
            && let Ok(body) = body
        {
            let found = Measurement::read(&String::from_utf8_lossy(&body));
            if found.is_empty || found.oldest_sample.is_some() {
                return Ok(found);
            }
            // Prometheus 1 does not export the times of its samples.
            return self.measure_by_queries(found).await;
        }
        self.measure_by_queries(Measurement::default()).await
    }

    /// Adds what the metrics of a server do not contain.
    async fn measure_by_queries(&self, mut found: Measurement) -> Result<Measurement, String> {
        found.newest_sample = self.query("max(timestamp(up))", None).await?;
        let steps = match &self.minimum_history {
            Some(history) => vec![history.as_secs()],
            None => HISTORY_STEPS.to_vec(),
        };
        let now = unix_time().as_secs_f64();
        for step in steps {
            #[expect(clippy::cast_precision_loss, reason = "at most a year")]
            let time = now - step as f64;
            // An hour before, so that neither a short gap nor a single sample decides.
            if self.query("count(count_over_time(up[1h]) > 1)", Some(time)).await?.is_none() {
                break;
            }
            found.oldest_sample = Some(time);
        }
        Ok(found)
    }

    /// The value of an instant query, if it has a result.
    async fn query(&self, query: &str, time: Option<f64>) -> Result<Option<f64>, String> {
        #[derive(Deserialize)]
        struct Vector {
            result: Vec<Sample>,
        }
        #[derive(Deserialize)]
        struct Sample {
            value: (f64, String),
        }
        let query =
            percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC);
        let time = time.map_or_else(String::new, |time| format!("&time={time:.3}"));
        let found: Vector =
            self.api.data(&format!("/api/v1/query?query={query}{time}"), MAX_RESPONSE).await?;
        Ok(found.result.first().and_then(|it| it.value.1.parse().ok()))
    }
}

/// How far the clock of a server is ahead, seconds. Its header has whole seconds, and is at least as
/// old as the response.
fn clock_offset(response: &ClientResponse) -> Option<f64> {
    let date: HttpDate = response.headers().get(header::DATE)?.to_str().ok()?.parse().ok()?;
    let date = SystemTime::from(date).duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(date - unix_time().as_secs_f64())
}
