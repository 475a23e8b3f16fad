//! Our own series about a scrape: what a scraper sees of the instances that
//! answered and of those that did not.

use super::{fan_out::Scraped, target::instance_labels};
use std::fmt::Write;

/// Which of our series an answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// All of them.
    All,
    /// `promfetcher_scrape_error` only: `only-app-metrics`.
    FailuresOnly,
}

/// Renders the series in text format 0.0.4, instances in the order given.
pub(super) fn render(scraped: &[Scraped], series: Series) -> String {
    let mut text = String::new();
    if series == Series::All {
        family(
            &mut text,
            "scrapebroker_instance_up",
            "1 if the instance answered with metrics, else 0.",
            scraped,
            |one| Some((String::new(), f64::from(u8::from(one.result.is_ok())))),
        );
        family(
            &mut text,
            "scrapebroker_instance_scrape_duration_seconds",
            "How long the instance took to answer.",
            scraped,
            |one| Some((String::new(), one.duration.as_secs_f64())),
        );
        family(
            &mut text,
            "scrapebroker_instance_samples",
            "Samples that the instance answered with.",
            scraped,
            |one| Some((String::new(), one.result.as_ref().map_or(0, |i| i.samples()) as f64)),
        );
        family(
            &mut text,
            "scrapebroker_instance_info",
            "What the platform says of the instance; always 1.",
            scraped,
            |one| Some((info_labels(one), 1.0)),
        );
    }
    family(
        &mut text,
        "promfetcher_scrape_error",
        "1 for an instance that could not be scraped, with the reason.",
        scraped,
        |one| {
            let failure = one.result.as_ref().err()?;
            Some((format!(",error=\"{}\"", failure.reason), 1.0))
        },
    );
    text
}

fn family(
    text: &mut String,
    name: &str,
    help: &str,
    scraped: &[Scraped],
    sample: impl Fn(&Scraped) -> Option<(String, f64)>,
) {
    let mut head = Some(format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
    for one in scraped {
        let Some((more_labels, value)) = sample(one) else { continue };
        text.extend(head.take());
        text.push_str(name);
        text.push('{');
        for (position, (label, value)) in instance_labels(&one.target.endpoint).iter().enumerate() {
            if position > 0 {
                text.push(',');
            }
            push_label(text, label, value);
        }
        text.push_str(&more_labels);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "}} {value}");
    }
}

fn info_labels(one: &Scraped) -> String {
    let endpoint = &one.target.endpoint;
    let mut labels = String::new();
    for (name, value) in [
        ("process_type", &*endpoint.process_type),
        ("process_instance_id", endpoint.process_instance_id.as_deref().unwrap_or_default()),
        ("availability_zone", endpoint.availability_zone.as_deref().unwrap_or_default()),
    ] {
        labels.push(',');
        push_label(&mut labels, name, value);
    }
    labels
}

fn push_label(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str("=\"");
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text.push('"');
}
