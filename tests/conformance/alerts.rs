//! Alerts in deploy/monitoring/rules: Prometheus accepts them, docs/OPERATIONS.md explains each of
//! them, and their metrics exist. tests/packages/monitoring tests when they fire.

use std::{fs, process::Command};

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring/rules");

fn operations() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md")).unwrap()
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
    let text = operations();
    let rules = fs::read_to_string(format!("{RULES}/scrapebroker.yml")).unwrap();
    let alerts: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 8, "{alerts:?}");
    for alert in alerts {
        assert!(text.contains(&format!("| `{alert}` |")), "{alert} is not explained");
    }
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for metric in
        words.filter(|word| word.starts_with("scrapebroker_") || word.starts_with("promfetch"))
    {
        let table = text.lines().filter(|line| line.starts_with('|') && !line.contains("alert"));
        let name = metric.trim_end_matches("_bucket");
        assert!(table.into_iter().any(|line| line.contains(&format!("`{name}`"))), "{metric}");
    }
}
