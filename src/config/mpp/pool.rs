//! Converts everything except the locators.

use super::locators;
use crate::config::{
    document::Document,
    go_values,
    section::Section,
    values::{self, number},
};
use std::time::Duration;
use yaml_rust2::{Yaml, yaml::Hash};

/// Name of the only pool.
const POOL: &str = "main";

const READS_ONLY: &str = "mpp forwards every path; Scrapebroker forwards reads only";
const PROXIES: &str = "list the proxies whose X-Forwarded-For is used in trusted_proxies; mpp used \
                       the header of every client";
const NO_SETTING: &str = "prints a text and is not a setting; leave it out";

pub(super) fn convert(s: &mut Section<'_>, to: &mut Document) {
    let port = s.value("--port", "9090", number(1..=u16::MAX));
    let strategy = s.value("--routing-strategy", "single-most-data", strategy);
    let interval = s.value("--selection-interval", "10s", period);
    let affinity = s.value("--affinity-options", "cookies", affinity);
    let verbose = s.optional("--verbose", go_values::flag);
    for flag in ["--help", "--version"] {
        if s.take(flag).is_some() {
            s.mistake(flag, NO_SETTING);
        }
    }
    let locators = locators::convert(s, to);

    to.remark("paths", READS_ONLY);
    if affinity.as_ref().is_ok_and(|modes| modes.contains(&SOURCE_IP)) {
        to.remark("--affinity-options", PROXIES);
    }
    let mut pool = Hash::new();
    let mut set = |key: &str, value: Yaml| pool.insert(Yaml::String(key.to_owned()), value);
    set("name", Yaml::String(POOL.to_owned()));
    set("strategy", Yaml::String(strategy.unwrap_or_default()));
    set("selection_interval", Yaml::String(interval.unwrap_or_default()));
    let modes = affinity.unwrap_or_default().into_iter();
    set("affinity", Yaml::Array(modes.map(|mode| Yaml::String(mode.to_owned())).collect()));
    set("locators", Yaml::Array(locators));
    to.set(&["query", "listen"], format!("0.0.0.0:{}", port.unwrap_or_default()));
    to.set(&["query", "default_pool"], POOL);
    to.set_yaml(&["query", "pools"], Yaml::Array(vec![Yaml::Hash(pool)]));
    if let Ok(Some(true)) = verbose {
        to.set(&["log", "level"], "debug");
    }
}

/// Parses `name` or `name:argument`.
fn strategy(text: &str) -> Result<String, String> {
    let (name, argument) = match text.split_once(':') {
        None => (text, None),
        Some((name, argument)) => (name, Some(argument)),
    };
    match (name, argument) {
        ("single-most-data" | "random", None) => Ok(name.to_owned()),
        ("single-most-data" | "random", Some(_)) => Err(format!("{name} takes no duration")),
        ("minimum-history", None) => {
            Err("needs a duration; write it like minimum-history:24h".to_owned())
        }
        ("minimum-history", Some(history)) => Ok(format!("minimum-history:{}", period(history)?)),
        _ => Err("is not one of: single-most-data, minimum-history:DURATION, random".to_owned()),
    }
}

/// Parses a duration of Go, and writes it for Scrapebroker.
fn period(text: &str) -> Result<String, String> {
    // Only durations in YAML may be numbers.
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("has no unit; write it like 10s or 24h".to_owned());
    }
    let duration: Duration = go_values::duration(text)?;
    match values::period(text) {
        Ok(same) if same == duration => Ok(text.to_owned()),
        _ => {
            let text = humantime::format_duration(duration).to_string().replace(' ', "");
            values::period(&text).map(|_| text)
        }
    }
}

const SOURCE_IP: &str = "source-ip";

fn affinity(text: &str) -> Result<Vec<&'static str>, String> {
    let modes = [("cookies", "cookies"), ("sourceip", SOURCE_IP)];
    text.split(',').map(str::trim).map(values::choice(&modes)).collect()
}
