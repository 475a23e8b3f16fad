//! Alerts and failing rules of a Prometheus, from `GET /api/v1/rules`.

use super::parse_time;
use crate::query::{PrometheusClient, QueryBackend, QueryFailure};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

/// Maximum number of alerts of each state, and of failing rules, that are kept.
const MAX_KEPT: usize = 100;
const NAME: &str = "alertname";

/// Rules and alerts of a Prometheus.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alerts {
    /// Number of rules of all groups.
    pub rules: usize,
    /// Names of rules whose last evaluation failed, and the errors; at most 100.
    pub unhealthy: Vec<(String, String)>,
    pub firing: AlertList,
    /// Alerts that fire if their condition lasts.
    pub pending: AlertList,
}

/// Alerts of one state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertList {
    /// Their number.
    pub count: usize,
    /// The first ones, oldest first; at most 100.
    pub first: Vec<Alert>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub name: String,
    /// Labels without the name.
    pub labels: BTreeMap<String, String>,
    /// The annotation `summary`, or else `description`.
    pub text: Option<String>,
    /// Value of the rule's expression.
    pub value: String,
    pub since: Option<SystemTime>,
}

impl PrometheusClient {
    /// The alerts of an instance, if it returns them `within` this time.
    ///
    /// # Errors
    /// [`QueryFailure`] if it does not, or if its response is invalid.
    pub async fn alerts(
        &self,
        backend: &QueryBackend,
        within: Duration,
    ) -> Result<Alerts, QueryFailure> {
        self.api(backend, "/api/v1/rules", within, RulesData::alerts).await
    }
}

/// The parts of the response that are shown.
#[derive(Deserialize)]
struct RulesData {
    groups: Vec<RuleGroup>,
}

#[derive(Deserialize)]
struct RuleGroup {
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    last_error: String,
    #[serde(default)]
    alerts: Vec<ActiveAlert>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActiveAlert {
    #[serde(default)]
    state: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    value: String,
    #[serde(default)]
    active_at: String,
}

impl RulesData {
    fn alerts(self) -> Alerts {
        let mut alerts = Alerts::default();
        for rule in self.groups.into_iter().flat_map(|group| group.rules) {
            alerts.rules += 1;
            if !rule.last_error.is_empty() && alerts.unhealthy.len() < MAX_KEPT {
                alerts.unhealthy.push((rule.name.clone(), rule.last_error));
            }
            for alert in rule.alerts {
                let list = match alert.state.as_str() {
                    "firing" => &mut alerts.firing,
                    "pending" => &mut alerts.pending,
                    _ => continue,
                };
                list.count += 1;
                list.first.push(Alert::of(&rule.name, alert));
            }
        }
        for list in [&mut alerts.firing, &mut alerts.pending] {
            list.first.sort_by_key(|alert| alert.since);
            list.first.truncate(MAX_KEPT);
        }
        alerts
    }
}

impl Alert {
    fn of(rule: &str, alert: ActiveAlert) -> Self {
        let ActiveAlert { mut labels, mut annotations, value, active_at, .. } = alert;
        let name = labels.remove(NAME).unwrap_or_else(|| rule.to_owned());
        let text = annotations.remove("summary").or_else(|| annotations.remove("description"));
        // Prometheus writes `0e+00` for 0.
        let value = value.parse().map_or(value, |number: f64| number.to_string());
        Self { name, labels, text, value, since: parse_time(&active_at) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    /// A response of Prometheus 2.42, shortened.
    const V2: &str = r#"{"status":"success","data":{"groups":[{"name":"a","file":"rules.yml","rules":[{"state":"firing","name":"InstanceFailing","query":"up == 0","duration":0,"keepFiringFor":0,"labels":{},"annotations":{},"alerts":[{"labels":{"alertname":"InstanceFailing","index":"1","job":"apps"},"annotations":{"summary":"an instance fails"},"state":"firing","activeAt":"2026-11-29T15:14:45.127446531Z","value":"0e+00"},{"labels":{"alertname":"InstanceFailing","index":"2"},"annotations":{},"state":"pending","activeAt":"2026-11-29T15:15:45.1Z","value":"0e+00"}],"health":"ok","evaluationTime":0.0002,"lastEvaluation":"2026-11-29T15:15:00.126Z","type":"alerting"},{"name":"x:sum","query":"sum(x)","health":"err","lastError":"vector contains metrics with the same labelset","type":"recording"}],"interval":15,"limit":0,"evaluationTime":0.0003,"lastEvaluation":"2026-11-29T15:15:00.126Z"}]}}"#;

    /// One of Prometheus 3.5.
    const V3: &str = r#"{"status":"success","data":{"groups":[{"name":"a","file":"rules.yml","rules":[{"state":"firing","name":"A","query":"vector(1)","duration":0,"keepFiringFor":60,"labels":{"severity":"page"},"annotations":{"description":"d"},"alerts":[{"labels":{"alertname":"A","severity":"page"},"annotations":{"description":"d"},"state":"firing","activeAt":"2026-11-29T16:14:45+01:00","value":"1e+00","keepFiringSince":"2026-11-29T15:15:45Z"}],"health":"ok","type":"alerting"}],"interval":15}],"groupNextToken":""}}"#;

    fn alerts(body: &str) -> Option<Alerts> {
        parse::<RulesData>(body.as_bytes()).map(RulesData::alerts)
    }

    #[test]
    fn alerts_and_failing_rules_are_listed() {
        let found = alerts(V2).unwrap();
        let error = "vector contains metrics with the same labelset";
        assert_eq!(found.rules, 2);
        assert_eq!(found.unhealthy, [("x:sum".to_owned(), error.to_owned())]);
        assert_eq!((found.firing.count, found.pending.count), (1, 1));
        let alert = &found.firing.first[0];
        let labels = [("index", "1"), ("job", "apps")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!((alert.name.as_str(), &alert.labels), ("InstanceFailing", &labels.into()));
        assert_eq!(alert.text.as_deref(), Some("an instance fails"));
        assert_eq!((alert.value.as_str(), alert.since.is_some()), ("0", true));

        let found = alerts(V3).unwrap();
        assert_eq!(found.firing.first[0].text.as_deref(), Some("d"));
        let since = humantime::parse_rfc3339("2026-11-29T15:14:45Z").unwrap();
        assert_eq!(found.firing.first[0].since, Some(since));
    }

    #[test]
    fn many_alerts_are_counted_and_the_oldest_are_kept() {
        let alert = |second: usize| {
            format!(
                r#"{{"state":"firing","labels":{{"x":"\"><script>"}},"activeAt":"2026-11-29T15:{:02}:{:02}Z"}}"#,
                second / 60,
                second % 60
            )
        };
        let all: Vec<_> = (0..150).rev().map(alert).collect();
        let body = format!(
            r#"{{"data":{{"groups":[{{"rules":[{{"name":"A","alerts":[{}]}}]}}]}}}}"#,
            all.join(",")
        );
        let found = alerts(&body).unwrap();
        assert_eq!((found.firing.count, found.firing.first.len()), (150, MAX_KEPT));
        let oldest = &found.firing.first[0];
        assert_eq!(oldest.since, parse_time("2026-11-29T15:00:00Z"));
        assert_eq!((oldest.name.as_str(), oldest.labels["x"].as_str()), ("A", "\"><script>"));
        assert_eq!(alerts(r#"{"data":{"groups":[]}}"#), Some(Alerts::default()));
        for body in ["", "{}", r#"{"data":{"groups":[{"rules":[{"alerts":[7]}]}]}}"#] {
            assert_eq!(alerts(body), None, "{body}");
        }
    }
}
