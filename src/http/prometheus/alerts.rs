//! Rules and alerts on the page of a Prometheus.

use crate::{
    http::ui::format,
    query::{Alert, AlertList, Alerts},
};
use serde::Serialize;
use std::{collections::BTreeMap, time::SystemTime};

#[derive(Debug, Serialize)]
pub(super) struct AlertsTwin {
    pub(super) rules: usize,
    pub(super) firing: usize,
    pub(super) pending: usize,
    /// Firing ones first; at most 100 of each state.
    pub(super) alerts: Vec<AlertRow>,
    pub(super) failing_rules: Vec<FailingRule>,
}

#[derive(Debug, Serialize)]
pub(super) struct AlertRow {
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) summary: Option<String>,
    pub(super) value: String,
    since: Option<String>,
    #[serde(skip)]
    pub(super) since_time: Option<SystemTime>,
}

#[derive(Debug, Serialize)]
pub(super) struct FailingRule {
    pub(super) name: String,
    pub(super) error: String,
}

impl AlertsTwin {
    pub(super) fn new(alerts: Alerts) -> Self {
        let (firing, pending) = (alerts.firing.count, alerts.pending.count);
        let mut rows = rows("firing", alerts.firing);
        rows.extend(self::rows("pending", alerts.pending));
        let failing_rules = alerts.unhealthy.into_iter();
        Self {
            rules: alerts.rules,
            firing,
            pending,
            alerts: rows,
            failing_rules: failing_rules.map(|(name, error)| FailingRule { name, error }).collect(),
        }
    }
}

fn rows(state: &'static str, list: AlertList) -> Vec<AlertRow> {
    let row = |alert: Alert| AlertRow {
        name: alert.name,
        state,
        labels: alert.labels,
        summary: alert.text,
        value: alert.value,
        since: alert.since.as_ref().map(format::rfc3339),
        since_time: alert.since,
    };
    list.first.into_iter().map(row).collect()
}
