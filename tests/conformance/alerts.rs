//! Alerts in deploy/monitoring/rules: Prometheus accepts them, docs/ALERTS.md explains each of them,
//! and docs/OPERATIONS.md lists their metrics. tests/packages/monitoring tests when they fire.

use std::{fs, process::Command};

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring/rules");

fn page(name: &str) -> String {
    fs::read_to_string(format!("{}/docs/{name}.md", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn prometheus_accepts_the_rules() {
    let files = ["scrapebroker.yml", "promfetcher.yml"].map(|file| format!("{RULES}/{file}"));
    let output = Command::new("promtool").args(["check", "rules"]).args(files).output().unwrap();
    let message = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{message}");
}

#[test]
fn each_alert_is_explained_and_each_metric_listed() {
    let (alerts_page, text) = (page("ALERTS"), page("OPERATIONS"));
    let [own, promfetcher] = ["scrapebroker", "promfetcher"]
        .map(|name| fs::read_to_string(format!("{RULES}/{name}.yml")).unwrap());
    let alerts: Vec<_> = [&own, &promfetcher]
        .into_iter()
        .flat_map(|rules| rules.lines())
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() >= 8, "{alerts:?}");
    for alert in alerts {
        assert!(alerts_page.contains(&format!("\n## {alert}\n")), "{alert} is not explained");
    }
    let words = own.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for metric in
        words.filter(|word| word.starts_with("scrapebroker_") || word.starts_with("promfetch"))
    {
        let table = text.lines().filter(|line| line.starts_with('|') && !line.contains("alert"));
        let name = metric.trim_end_matches("_bucket");
        assert!(table.into_iter().any(|line| line.contains(&format!("`{name}`"))), "{metric}");
    }
}
