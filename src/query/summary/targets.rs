//! The targets of a Prometheus, from `GET /api/v1/targets`.

use super::parse_time;
use serde::Deserialize;
use std::time::{Duration, SystemTime};

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
    pub health: TargetHealth,
    /// Scrape error; empty if there is none.
    pub error: String,
    /// `None` before the first scrape.
    pub last_scrape: Option<SystemTime>,
    /// Duration of the last scrape.
    pub duration: Duration,
}

/// The result of a target's last scrape, failures first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "String")]
pub enum TargetHealth {
    Down,
    /// Before the first scrape.
    #[default]
    Unknown,
    Up,
}

impl From<String> for TargetHealth {
    fn from(name: String) -> Self {
        match name.as_str() {
            "down" => Self::Down,
            "up" => Self::Up,
            _ => Self::Unknown,
        }
    }
}

impl TargetHealth {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Unknown => "unknown",
            Self::Up => "up",
        }
    }
}

/// Numbers of targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetCounts {
    pub all: usize,
    pub up: usize,
    pub down: usize,
    /// Not scraped yet.
    pub unknown: usize,
}

impl TargetCounts {
    pub(super) fn of(targets: &[TargetStatus]) -> Self {
        let count = |health| targets.iter().filter(|target| target.health == health).count();
        Self {
            all: targets.len(),
            up: count(TargetHealth::Up),
            down: count(TargetHealth::Down),
            unknown: count(TargetHealth::Unknown),
        }
    }
}

/// The parts of the response that are shown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TargetsData {
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
    last_scrape_duration: f64,
    #[serde(default)]
    health: TargetHealth,
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

impl TargetsData {
    /// All targets, failing ones first.
    pub(super) fn list(self) -> Vec<TargetStatus> {
        let mut targets: Vec<_> = self.active_targets.into_iter().map(TargetStatus::from).collect();
        targets
            .sort_by(|a, b| (a.health, &a.app, &a.instance).cmp(&(b.health, &b.app, &b.instance)));
        targets
    }
}

impl From<ActiveTarget> for TargetStatus {
    fn from(active: ActiveTarget) -> Self {
        let Labels { organization_name, space_name, app_name, index, instance } = active.labels;
        let parts = [organization_name, space_name, app_name];
        let app = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        let duration = Duration::try_from_secs_f64(active.last_scrape_duration);
        Self {
            app,
            app_id: active.discovered_labels.app_id,
            name: active.discovered_labels.instance,
            instance: if index.is_empty() { instance } else { index },
            health: active.health,
            error: active.last_error,
            last_scrape: parse_time(&active.last_scrape),
            duration: duration.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Summary, parse};
    use super::*;

    fn list(body: &str) -> Option<Vec<TargetStatus>> {
        parse::<TargetsData>(body.as_bytes()).map(TargetsData::list)
    }

    #[test]
    fn failing_targets_come_first_and_all_are_counted() {
        let target = |index: usize, health: &str, error: &str| {
            format!(
                r#"{{"discoveredLabels":{{"__address__":"x","__meta_cf_app_id":"guid","instance":"web/{index}"}},"labels":{{"app_name":"shop","space_name":"prod","organization_name":"acme","index":"{index}","instance":"10.0.0.1:8080"}},"scrapePool":"apps","lastError":"{error}","lastScrape":"2026-11-21T11:18:06.886123Z","lastScrapeDuration":0.25,"health":"{health}"}}"#
            )
        };
        let mut all: Vec<_> = (0..150).map(|index| target(index, "up", "")).collect();
        all.push(target(150, "unknown", ""));
        all.push(target(151, "down", "server returned HTTP status 404 Not Found"));
        let body = format!(
            r#"{{"status":"success","data":{{"activeTargets":[{}],"droppedTargets":[]}}}}"#,
            all.join(",")
        );
        let summary = Summary { targets: list(&body), ..Summary::default() };
        let expected = TargetCounts { all: 152, up: 150, down: 1, unknown: 1 };
        assert_eq!(summary.counts(), Some(expected));
        let first = summary.failing().unwrap();
        assert_eq!((first.app.as_str(), first.instance.as_str()), ("acme/prod/shop", "151"));
        assert_eq!((first.app_id.as_str(), first.name.as_str()), ("guid", "web/151"));
        assert_eq!(first.duration, Duration::from_millis(250));
        let at = humantime::parse_rfc3339("2026-11-21T11:18:06.886123Z").unwrap();
        assert_eq!(first.last_scrape, Some(at));
        assert_eq!(first.error, "server returned HTTP status 404 Not Found");
        assert_eq!(summary.targets.unwrap()[1].health, TargetHealth::Unknown);
    }

    #[test]
    fn missing_fields_are_empty() {
        let unnamed = r#"{"data":{"activeTargets":[{"labels":{"instance":"a:1"},"health":"new","lastScrape":"0001-01-01T00:00:00Z","lastScrapeDuration":-1}]}}"#;
        let summary = Summary { targets: list(unnamed), ..Summary::default() };
        assert_eq!(summary.failing(), None);
        let expected = TargetStatus {
            app: String::new(),
            app_id: String::new(),
            name: String::new(),
            instance: "a:1".to_owned(),
            health: TargetHealth::Unknown,
            error: String::new(),
            last_scrape: None,
            duration: Duration::ZERO,
        };
        assert_eq!(summary.targets, Some(vec![expected]));
        for body in ["", "[]", "{}", r#"{"data":{}}"#] {
            assert_eq!(list(body), None, "{body}");
        }
        assert_eq!(Summary::default().counts(), None);
    }
}
