//! Summary of an instance for pages, read from its own Prometheus.

use super::{
    PrometheusClient, QueryBackend, QueryFailure, QueryRequest,
    metrics_text::{TextSample, samples},
};
use awc::http::{StatusCode, header::HeaderMap};
use futures_util::StreamExt;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;

/// Timeout of the requests for a summary.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a response, bytes: about 20,000 targets.
const MAX_BODY: usize = 32 << 20;
/// Maximum number of targets that are shown.
const MAX_SHOWN: usize = 100;

/// Metrics of the bytes in files.
const STORED: [&str; 3] = [
    "prometheus_tsdb_storage_blocks_bytes",
    "prometheus_tsdb_wal_storage_size_bytes",
    "prometheus_tsdb_head_chunks_storage_size_bytes",
];
const SERIES: &str = "prometheus_tsdb_head_series";

/// Targets and storage of a Prometheus; values are `None` if it did not return them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Targets that are up.
    pub targets_up: Option<usize>,
    pub targets: Option<usize>,
    /// Some of the targets, failing ones first.
    pub shown: Vec<TargetStatus>,
    pub storage: Option<Storage>,
    /// Why a value is unknown.
    pub problem: Option<String>,
}

/// Status of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetStatus {
    /// The app, as `organization/space/name`.
    pub app: String,
    /// The app's id; empty if unknown.
    pub app_id: String,
    /// The target's name in `/sd`, as in `web/0`.
    pub name: String,
    /// Index or address of the instance.
    pub instance: String,
    /// `up`, `down`, or `unknown` before its first scrape.
    pub health: String,
    /// Scrape error; empty if there is none.
    pub error: String,
    /// Time of the last scrape; empty before the first one.
    pub last_scrape: String,
}

/// Storage of a Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Bytes in files, as far as this version of Prometheus exports them.
    pub bytes: u64,
    /// Active series.
    pub series: u64,
}

impl PrometheusClient {
    /// Queries an instance for its summary; takes at most a few seconds.
    pub async fn summary(&self, backend: &QueryBackend) -> Summary {
        let targets = self.get(backend, "/api/v1/targets?state=active");
        let storage = self.get(backend, "/metrics");
        let (targets, storage) = futures_util::join!(targets, storage);
        let mut summary = Summary::default();
        let mut problem = None;
        match storage {
            Ok(body) => summary.storage = Storage::read(&String::from_utf8_lossy(&body)),
            Err(failure) => problem = Some(failure.to_string()),
        }
        match targets {
            // Parsing a long list would block a thread that serves requests.
            Ok(body) => match tokio::task::spawn_blocking(move || parse(&body)).await {
                Ok(Some(targets)) => summary.add(targets),
                _ => problem = Some("its list of targets is invalid".to_owned()),
            },
            Err(failure) => problem = Some(failure.to_string()),
        }
        summary.problem = problem;
        summary
    }

    async fn get(&self, backend: &QueryBackend, target: &str) -> Result<Vec<u8>, QueryFailure> {
        let headers = HeaderMap::new();
        let request = QueryRequest::get(target.to_owned(), &headers, TIMEOUT);
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
        timeout(TIMEOUT, read).await.unwrap_or(Err(QueryFailure::Timeout(TIMEOUT)))
    }
}

impl Summary {
    fn add(&mut self, mut targets: Vec<TargetStatus>) {
        targets.sort_by(|a, b| {
            let key = |it: &TargetStatus| (it.health == "up", it.health == "unknown");
            (key(a), &a.app, &a.instance).cmp(&(key(b), &b.app, &b.instance))
        });
        self.targets = Some(targets.len());
        self.targets_up = Some(targets.iter().filter(|target| target.health == "up").count());
        targets.truncate(MAX_SHOWN);
        self.shown = targets;
    }

    /// Name and error of one failing target.
    pub fn last_error(&self) -> Option<String> {
        let failed = self.shown.first().filter(|target| !target.error.is_empty());
        failed.map(|it| format!("{} instance {}: {}", it.app, it.instance, it.error))
    }
}

impl Storage {
    /// Parses an exposition; `None` if it contains none of the metrics.
    fn read(metrics: &str) -> Option<Self> {
        let (mut storage, mut found) = (Self::default(), false);
        for TextSample { name, value, .. } in samples(metrics) {
            // The cast saturates: negative values become 0.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates"
            )]
            let value = value as u64;
            if STORED.contains(&name) {
                storage.bytes = storage.bytes.saturating_add(value);
            } else if name == SERIES {
                storage.series = value;
            } else {
                continue;
            }
            found = true;
        }
        found.then_some(storage)
    }
}

/// The parts of the response of `GET /api/v1/targets` that are shown.
#[derive(Deserialize)]
struct Envelope {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    active_targets: Vec<ActiveTarget>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActiveTarget {
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    discovered_labels: DiscoveredLabels,
    #[serde(default)]
    last_error: String,
    #[serde(default)]
    last_scrape: String,
    #[serde(default)]
    health: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Labels {
    organization_name: String,
    space_name: String,
    app_name: String,
    index: String,
    instance: String,
}

/// Labels from Scrapebroker's target list, before relabelling.
#[derive(Default, Deserialize)]
#[serde(default)]
struct DiscoveredLabels {
    #[serde(rename = "__meta_cf_app_id")]
    app_id: String,
    instance: String,
}

fn parse(body: &[u8]) -> Option<Vec<TargetStatus>> {
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    Some(envelope.data.active_targets.into_iter().map(TargetStatus::from).collect())
}

impl From<ActiveTarget> for TargetStatus {
    fn from(active: ActiveTarget) -> Self {
        let Labels { organization_name, space_name, app_name, index, instance } = active.labels;
        let parts = [organization_name, space_name, app_name];
        let app = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        // Go's zero time, in year 1, means never.
        let scraped = !active.last_scrape.starts_with("0001-");
        Self {
            app,
            app_id: active.discovered_labels.app_id,
            name: active.discovered_labels.instance,
            instance: if index.is_empty() { instance } else { index },
            health: active.health,
            error: active.last_error,
            last_scrape: if scraped { to_seconds(&active.last_scrape) } else { String::new() },
        }
    }
}

/// An RFC 3339 time without fractions of a second.
fn to_seconds(time: &str) -> String {
    let Some((seconds, rest)) = time.split_once('.') else { return time.replace('T', " ") };
    let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{}{zone}", seconds.replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_fail_come_first_and_all_are_counted() {
        let target = |index: usize, health: &str, error: &str| {
            format!(
                r#"{{"discoveredLabels":{{"__address__":"x"}},"labels":{{"app_name":"shop","space_name":"prod","organization_name":"acme","index":"{index}","instance":"10.0.0.1:8080"}},"scrapePool":"apps","lastError":"{error}","lastScrape":"2026-11-21T11:18:06.886123Z","lastScrapeDuration":0.1,"health":"{health}"}}"#
            )
        };
        let mut all: Vec<_> = (0..150).map(|index| target(index, "up", "")).collect();
        all.push(target(150, "unknown", ""));
        all.push(target(151, "down", "server returned HTTP status 404 Not Found"));
        let body = format!(
            r#"{{"status":"success","data":{{"activeTargets":[{}],"droppedTargets":[]}}}}"#,
            all.join(",")
        );
        let mut summary = Summary::default();
        summary.add(parse(body.as_bytes()).unwrap());
        assert_eq!((summary.targets, summary.targets_up), (Some(152), Some(150)));
        assert_eq!(summary.shown.len(), MAX_SHOWN);
        let first = &summary.shown[0];
        assert_eq!((first.app.as_str(), first.instance.as_str()), ("acme/prod/shop", "151"));
        assert_eq!(first.last_scrape, "2026-11-21 11:18:06Z");
        let error = "acme/prod/shop instance 151: server returned HTTP status 404 Not Found";
        assert_eq!(summary.last_error().as_deref(), Some(error));

        let mut summary = Summary::default();
        let unnamed = r#"{"data":{"activeTargets":[{"labels":{"instance":"a:1"},"health":"unknown","lastScrape":"0001-01-01T00:00:00Z"}]}}"#;
        summary.add(parse(unnamed.as_bytes()).unwrap());
        assert_eq!(
            (summary.targets, summary.targets_up, summary.last_error()),
            (Some(1), Some(0), None)
        );
        let expected = TargetStatus {
            app: String::new(),
            app_id: String::new(),
            name: String::new(),
            instance: "a:1".to_owned(),
            health: "unknown".to_owned(),
            error: String::new(),
            last_scrape: String::new(),
        };
        assert_eq!(summary.shown, [expected]);
        for nonsense in ["", "[]", "{}", r#"{"data":{}}"#] {
            assert_eq!(parse(nonsense.as_bytes()), None, "{nonsense}");
        }
    }

    #[test]
    fn what_is_stored_is_what_this_version_tells_of_it() {
        let metrics = "# TYPE x gauge\nprometheus_tsdb_storage_blocks_bytes 1.5e+06\n\
            prometheus_tsdb_wal_storage_size_bytes 100\nprometheus_tsdb_head_series 7\nup{} 1\n";
        assert_eq!(Storage::read(metrics), Some(Storage { bytes: 1_500_100, series: 7 }));
        assert_eq!(Storage::read("prometheus_tsdb_head_series NaN"), Some(Storage::default()));
        for nonsense in ["", "<html>", "prometheus_tsdb_head_series x"] {
            assert_eq!(Storage::read(nonsense), None, "{nonsense}");
        }
    }
}
