//! `/apps/{app}/metrics`: what an app exposes, and what makes it expensive to store.
//!
//! Each view scrapes the app once, so it needs what a scrape needs, and nothing is cached.

mod differences;
mod query;
mod twin;
mod violations;

use super::{
    AppPages,
    failures::{Failure, FailureGroups},
    scrape_now,
};
use crate::{
    domain::{App, AppGuid},
    http::{
        access::Caller,
        apps::{Apps, AppsError},
        ui::{self, Layout, Section, Viewer, format},
        urls::app_path,
    },
    scrape::{FailedInstance, Inspected, ScrapeClient},
};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use differences::differences;
use exposition::{FamilyReport, LabelReport};
use query::{FamilyOrder, MetricsQuery};
use twin::MetricsTwin;
use violations::Violations;

/// Maximum number of families on the page and in its JSON twin.
const MAX_FAMILIES: usize = 1000;

/// Maximum number of labels on the page and in its JSON twin.
const MAX_LABELS: usize = 200;

/// Bytes that Prometheus needs for a stored sample, as its documentation estimates.
const BYTES_PER_SAMPLE: f64 = 1.5;

const SECONDS_PER_DAY: f64 = 86_400.0;

#[derive(Template)]
#[template(path = "app_metrics.html")]
struct MetricsPage<'a> {
    layout: Layout<'a>,
    app: &'a App,
    /// Path of the page of the app.
    path: String,
    query: MetricsQuery,
    inspected: &'a Inspected,
    failures: FailureGroups,
    twin: &'a MetricsTwin<'a>,
    families: Vec<FamilyRow<'a>>,
    labels: &'a [LabelReport],
}

struct FamilyRow<'a> {
    family: &'a FamilyReport,
    series: u64,
    types: String,
    /// The smallest and the largest number of series of an instance that has the family.
    per_instance: String,
    share: String,
    differences: Vec<String>,
    violations: Vec<String>,
}

pub(super) async fn respond(
    request: &HttpRequest,
    apps: &Apps,
    pages: &AppPages,
    client: &ScrapeClient,
    caller: &Caller,
    id: &AppGuid,
) -> Result<HttpResponse, AppsError> {
    let query = MetricsQuery::parse(request.query_string())?;
    let (app, plan, scrape_request) = scrape_now::plan(request, apps, caller, id)?;
    let mut inspected = apps.scrapes.inspect(client, plan, &scrape_request).await?;
    query.order.sort(&mut inspected.report.families);
    let violations = Violations::new(&inspected.lost_types);
    let twin = MetricsTwin::new(&inspected, &violations, &query, &app);
    let families = inspected.report.families.iter().take(MAX_FAMILIES);
    let labels = &inspected.report.labels;
    let page = MetricsPage {
        layout: Layout::new(pages.base_url.path(), Section::Apps, Viewer::of(caller)),
        app: &app,
        path: format!("{}{}", pages.base_url.path(), app_path(id.as_str())),
        query,
        inspected: &inspected,
        failures: failures(&inspected, &app),
        twin: &twin,
        families: families.map(|family| FamilyRow::new(family, &inspected, &violations)).collect(),
        labels: labels.get(..MAX_LABELS).unwrap_or(labels),
    };
    Ok(ui::respond(request, &page, &twin))
}

fn failures(inspected: &Inspected, app: &App) -> FailureGroups {
    let failures = inspected.failures.iter().map(|FailedInstance { name, failure }| Failure {
        instance: name.clone(),
        reason: failure.reason.as_str(),
        detail: &failure.detail,
        explanation: format::explanation(failure, app),
    });
    FailureGroups::of(failures)
}

impl<'a> FamilyRow<'a> {
    fn new(family: &'a FamilyReport, inspected: &Inspected, violations: &Violations<'_>) -> Self {
        let series = family.series();
        let types: Vec<_> = family.types().iter().map(|(name, _)| *name).collect();
        let of_bodies = || family.bodies.iter().map(|one| one.series);
        let (least, most) = (of_bodies().min().unwrap_or(0), of_bodies().max().unwrap_or(0));
        let share = series as f64 * 100.0 / inspected.report.samples.max(1) as f64;
        Self {
            family,
            series,
            types: if types.is_empty() { "untyped".to_owned() } else { types.join(", ") },
            per_instance: match least == most {
                true => format::count(most),
                false => {
                    format!("{}–{}", format::count(least), format::count(most))
                }
            },
            share: format!("{share:.1} %"),
            differences: differences(family, &inspected.instances),
            violations: (violations.of(&family.name).iter())
                .map(|violation| violation.text(&inspected.instances))
                .collect(),
        }
    }
}

impl MetricsPage<'_> {
    fn status(&self) -> String {
        let Inspected { report, instances, failures, .. } = self.inspected;
        let all = instances.len() + failures.len();
        format!(
            "{} of {} answered with {}.",
            instances.len(),
            format::counted(all, "instance"),
            format::counted(report.samples, "sample")
        )
    }

    fn formats(&self) -> String {
        self.twin.formats().join(", ")
    }

    /// What Prometheus stores per day.
    fn cost(&self) -> String {
        let samples = self.twin.samples_per_day();
        let bytes = samples * BYTES_PER_SAMPLE;
        format!(
            "about {} samples a day, about {}",
            format::count(samples as u64),
            format::size(&(bytes as u64))
        )
    }

    fn order_link(&self, order: &FamilyOrder) -> String {
        let interval = humantime::format_duration(self.query.interval).to_string();
        format!("?sort={}&interval={}#families", order.as_str(), interval.replace(' ', ""))
    }

    fn with_violations(&self) -> impl Iterator<Item = &FamilyRow<'_>> {
        self.families.iter().filter(|row| !row.violations.is_empty())
    }

    fn with_differences(&self) -> impl Iterator<Item = &FamilyRow<'_>> {
        self.families.iter().filter(|row| !row.differences.is_empty())
    }
}
