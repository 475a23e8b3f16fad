//! Scrapebroker's own series about a scrape: which instances returned metrics, which did not, and
//! why.

use super::{
    outcome::{ScrapedTarget, TargetOutcome},
    plan::{UnfilledExporter, instance_labels},
    request::OwnSeries,
};
use crate::discovery::Endpoint;
use std::{collections::BTreeSet, fmt::Write};

type Labels = Vec<(&'static str, String)>;

/// Renders the series in text format 0.0.4, instances in the order given.
pub(super) fn render(
    scraped: &[ScrapedTarget],
    unfilled: &[UnfilledExporter],
    series: OwnSeries,
) -> String {
    let mut text = String::new();
    if series == OwnSeries::All {
        per_instance(
            &mut text,
            "scrapebroker_instance_up",
            "1 if the instance returned metrics, else 0.",
            scraped,
            |one| f64::from(u8::from(one.result.is_ok())),
        );
        per_instance(
            &mut text,
            "scrapebroker_instance_scrape_duration_seconds",
            "Duration of the instance's scrape.",
            scraped,
            |one| one.duration.as_secs_f64(),
        );
        per_instance(
            &mut text,
            "scrapebroker_instance_samples",
            "Samples that the instance returned.",
            scraped,
            |one| one.result.as_ref().map_or(0, |i| i.samples()) as f64,
        );
        family(
            &mut text,
            "scrapebroker_instance_info",
            "Platform metadata of the instance; always 1.",
            instances(scraped).map(|(endpoint, _)| (info_labels(endpoint), 1.0)),
        );
    }
    family(
        &mut text,
        "promfetcher_scrape_error",
        "1 for an instance that could not be scraped, with the reason.",
        distinct(scraped.iter().filter_map(failure_sample)),
    );
    family(
        &mut text,
        "promfetcher_scrape_external_exporter_error",
        "1 for an external exporter that cannot be scraped for this app, with the reason.",
        distinct(unfilled.iter().map(unfilled_sample)),
    );
    text
}

fn per_instance(
    text: &mut String,
    name: &str,
    help: &str,
    scraped: &[ScrapedTarget],
    value: impl Fn(&TargetOutcome) -> f64,
) {
    let samples = instances(scraped)
        .map(|(endpoint, outcome)| (label_text(instance_labels(endpoint)), value(outcome)));
    family(text, name, help, samples);
}

fn family(
    text: &mut String,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (String, f64)>,
) {
    let mut head = Some(format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
    for (labels, value) in samples {
        text.extend(head.take());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}{{{labels}}} {value}");
    }
}

/// Removes duplicates: two exporters may have the same host.
fn distinct(samples: impl Iterator<Item = (String, f64)>) -> impl Iterator<Item = (String, f64)> {
    let mut seen = BTreeSet::new();
    samples.filter(move |(labels, _)| seen.insert(labels.clone()))
}

fn instances(scraped: &[ScrapedTarget]) -> impl Iterator<Item = (&Endpoint, &TargetOutcome)> {
    scraped.iter().filter_map(|one| Some((&**one.target.endpoint()?, &one.outcome)))
}

fn failure_sample(one: &ScrapedTarget) -> Option<(String, f64)> {
    let reason = one.outcome.failure_reason()?;
    let mut labels = label_text(one.target.kind.labels());
    push_label(&mut labels, "error", reason.as_str());
    Some((labels, 1.0))
}

fn unfilled_sample(one: &UnfilledExporter) -> (String, f64) {
    let mut labels = label_text(one.exporter.labels());
    push_label(&mut labels, "name", &one.exporter.exporter.name);
    push_label(&mut labels, "error", one.why.as_str());
    (labels, 1.0)
}

fn info_labels(endpoint: &Endpoint) -> String {
    let mut labels = label_text(instance_labels(endpoint));
    for (name, value) in [
        ("process_type", &*endpoint.process_type),
        ("process_instance_id", endpoint.process_instance_id.as_deref().unwrap_or_default()),
        ("availability_zone", endpoint.availability_zone.as_deref().unwrap_or_default()),
    ] {
        push_label(&mut labels, name, value);
    }
    if endpoint.behind_host.is_some() {
        push_label(&mut labels, "by", "host");
    }
    labels
}

fn label_text(labels: Labels) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        push_label(&mut text, name, &value);
    }
    text
}

fn push_label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(name);
    labels.push_str("=\"");
    for character in value.chars() {
        match character {
            '\\' => labels.push_str("\\\\"),
            '"' => labels.push_str("\\\""),
            '\n' => labels.push_str("\\n"),
            other => labels.push(other),
        }
    }
    labels.push('"');
}
