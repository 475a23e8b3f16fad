//! The JSON twin of the page about the metrics of an app.

use super::{
    MAX_FAMILIES, MAX_LABELS, SECONDS_PER_DAY,
    query::MetricsQuery,
    violations::{FamilyViolation, Violations},
};
use crate::{
    domain::App,
    http::ui::format,
    scrape::{Explanation, FailedInstance, Inspected, InspectedInstance, merge_changes},
};
use exposition::{FamilyReport, LabelReport};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Serialize)]
pub(super) struct MetricsTwin<'a> {
    app_id: &'a str,
    /// The instances that answered, in the order of `series` of families, then those that failed.
    instances: Vec<InstanceTwin<'a>>,
    pub(super) samples: u64,
    pub(super) size_bytes: u64,
    /// False if the limits of the report were reached.
    pub(super) is_complete: bool,
    interval_seconds: f64,
    samples_per_day: f64,
    pub(super) families_total: usize,
    families: Vec<FamilyTwin<'a>>,
    pub(super) labels_total: usize,
    labels: Vec<LabelTwin<'a>>,
    /// The format of the merge.
    pub(super) format: &'static str,
    /// The changes that a merge makes, by kind.
    changes: BTreeMap<&'static str, usize>,
}

#[derive(Serialize)]
struct InstanceTwin<'a> {
    name: &'a str,
    samples: Option<usize>,
    size_bytes: Option<u64>,
    format: Option<&'static str>,
    error: Option<&'static str>,
    detail: Option<&'a str>,
    explanation: Option<Explanation>,
}

#[derive(Serialize)]
struct FamilyTwin<'a> {
    name: &'a str,
    /// None if the instances have no type, or different ones.
    #[serde(rename = "type")]
    metric_type: Option<&'static str>,
    /// Each type with the positions of the instances, if there are several.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    types: BTreeMap<&'static str, Vec<usize>>,
    help: Option<&'a str>,
    unit: Option<&'a str>,
    /// Number of series of each instance that answered.
    series: Vec<u32>,
    /// Positions of the instances that lack the family.
    missing: Vec<usize>,
    renamed: &'a [String],
    conflict: bool,
    violations: Vec<ViolationTwin<'a>>,
    widest_label: Option<WidestLabel<'a>>,
}

#[derive(Serialize)]
struct ViolationTwin<'a> {
    reason: String,
    /// Positions of the instances.
    instances: &'a [usize],
}

#[derive(Serialize)]
struct WidestLabel<'a> {
    name: &'a str,
    values: u64,
}

#[derive(Serialize)]
struct LabelTwin<'a> {
    name: &'a str,
    values: u64,
    families: u32,
    /// The families with the most values.
    top: BTreeMap<&'a str, u64>,
    examples: &'a [String],
}

impl<'a> MetricsTwin<'a> {
    pub(super) fn new(
        inspected: &'a Inspected,
        violations: &'a Violations<'_>,
        query: &MetricsQuery,
        app: &'a App,
    ) -> Self {
        let Inspected { report, instances, failures, format: output, stats, .. } = inspected;
        let answered = instances.len();
        let changes = merge_changes(stats).into_iter().filter(|(_, number)| *number > 0);
        Self {
            app_id: app.id.as_str(),
            instances: instances
                .iter()
                .map(InstanceTwin::answered)
                .chain(failures.iter().map(|failed| InstanceTwin::failed(failed, app)))
                .collect(),
            samples: report.samples,
            size_bytes: instances.iter().map(|instance| instance.bytes).sum(),
            is_complete: report.is_complete,
            interval_seconds: query.interval.as_secs_f64(),
            samples_per_day: report.samples as f64 * SECONDS_PER_DAY / query.interval.as_secs_f64(),
            families_total: report.families.len(),
            families: (report.families.iter().take(MAX_FAMILIES))
                .map(|family| FamilyTwin::new(family, answered, violations.of(&family.name)))
                .collect(),
            labels_total: report.labels.len(),
            labels: report.labels.iter().take(MAX_LABELS).map(LabelTwin::new).collect(),
            format: output.as_str(),
            changes: changes.collect(),
        }
    }

    pub(super) fn samples_per_day(&self) -> f64 {
        self.samples_per_day
    }

    /// The formats in which instances answered.
    pub(super) fn formats(&self) -> Vec<&'static str> {
        let formats: BTreeSet<_> = self.instances.iter().filter_map(|one| one.format).collect();
        formats.into_iter().collect()
    }
}

impl<'a> InstanceTwin<'a> {
    fn answered(instance: &'a InspectedInstance) -> Self {
        Self {
            name: &instance.name,
            samples: Some(instance.samples),
            size_bytes: Some(instance.bytes),
            format: Some(instance.format.as_str()),
            error: None,
            detail: None,
            explanation: None,
        }
    }

    fn failed(FailedInstance { name, failure }: &'a FailedInstance, app: &App) -> Self {
        Self {
            name,
            samples: None,
            size_bytes: None,
            format: None,
            error: Some(failure.reason.as_str()),
            detail: Some(&failure.detail),
            explanation: Some(format::explanation(failure, app)),
        }
    }
}

impl<'a> FamilyTwin<'a> {
    fn new(family: &'a FamilyReport, instances: usize, violations: &'a [FamilyViolation]) -> Self {
        let mut series = vec![0; instances];
        for one in &family.bodies {
            if let Some(series) = series.get_mut(one.body) {
                *series = one.series;
            }
        }
        let types = family.types();
        let metric_type = match types.as_slice() {
            [(only, _)] => Some(*only),
            _ => None,
        };
        Self {
            name: &family.name,
            metric_type,
            types: if types.len() > 1 { types.into_iter().collect() } else { BTreeMap::new() },
            help: family.help.as_deref(),
            unit: family.unit.as_deref(),
            series,
            missing: family.missing(instances),
            renamed: &family.renamed,
            conflict: family.has_conflict,
            violations: violations
                .iter()
                .map(|FamilyViolation { reason, instances }| ViolationTwin {
                    reason: reason.to_string(),
                    instances,
                })
                .collect(),
            widest_label: (family.widest_label.as_ref())
                .map(|(name, values)| WidestLabel { name, values: *values }),
        }
    }
}

impl<'a> LabelTwin<'a> {
    fn new(label: &'a LabelReport) -> Self {
        Self {
            name: &label.name,
            values: label.values,
            families: label.families,
            top: label.top.iter().map(|(family, values)| (family.as_str(), *values)).collect(),
            examples: &label.examples,
        }
    }
}
