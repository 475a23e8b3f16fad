//! What needs the attention of an operator.

use super::health::{AppLink, InstallationHealth, InstanceTotals};
use crate::http::ui::format;
use serde::Serialize;
use std::{fmt::Write, time::Duration};

/// Maximum number of lines.
const MAX_LINES: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    Error,
    Warning,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Attention {
    pub(super) severity: Severity,
    pub(super) text: String,
    /// Below the path of the public URL.
    pub(super) path: String,
    /// Some of the apps that it concerns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) apps: Vec<AppLink>,
}

/// The problems, errors first.
pub(super) fn attention(
    health: &InstallationHealth,
    warning: Option<&str>,
    waiting: Option<&str>,
) -> Vec<Attention> {
    let mut lines = Lines(Vec::new());
    if let Some(waiting) = waiting {
        lines.error(format!("Not ready: {waiting}."), "/#health");
    }
    sources(health, &mut lines);
    database(health, warning, &mut lines);
    instances(health, &mut lines);
    prometheus(health, &mut lines);
    pools(health, &mut lines);
    events(health, &mut lines);
    let Lines(mut lines) = lines;
    lines.sort_by_key(|line| line.severity);
    lines.truncate(MAX_LINES);
    lines
}

struct Lines(Vec<Attention>);

impl Lines {
    fn error(&mut self, text: String, path: impl Into<String>) {
        self.add(Severity::Error, text, path, &[]);
    }

    fn warning(&mut self, text: String, path: impl Into<String>) {
        self.add(Severity::Warning, text, path, &[]);
    }

    fn add(&mut self, severity: Severity, text: String, path: impl Into<String>, apps: &[AppLink]) {
        self.0.push(Attention { severity, text, path: path.into(), apps: apps.to_vec() });
    }
}

fn sources(health: &InstallationHealth, lines: &mut Lines) {
    for source in &health.sources {
        let name = &source.name;
        match (&source.error, source.age()) {
            (Some(error), Some(age)) => lines.error(
                format!(
                    "Route source {name} fails: {error}. Its last answer was {} ago.",
                    format::long(&age)
                ),
                "/#sources",
            ),
            (Some(error), None) => {
                lines.error(format!("Route source {name} fails: {error}."), "/#sources");
            }
            (None, None) => {
                lines.warning(format!("Route source {name} has not answered yet."), "/#sources");
            }
            (None, Some(_)) => {}
        }
    }
}

fn database(health: &InstallationHealth, warning: Option<&str>, lines: &mut Lines) {
    if let Some(problem) = &health.database.problem {
        let mut text = format!("{}.", sentence(problem));
        if let Some(seconds) = health.database.bindings_age_seconds {
            let age = format::long(&Duration::from_secs(seconds));
            // Writing to a String cannot fail.
            let _ = write!(text, " Bindings as they were {age} ago are used.");
        }
        lines.error(text, "/#health");
    }
    if let Some(warning) = warning {
        lines.warning(warning.to_owned(), "/doc#operators");
    }
}

/// The text with a capital letter at its beginning.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}

fn instances(health: &InstallationHealth, lines: &mut Lines) {
    const FAILING: &str = "/apps?state=failing&sort=up";
    let InstanceTotals { apps_down, apps_degraded, down_examples, degraded_examples, .. } =
        &health.instances;
    if *apps_down > 0 {
        let apps = format::counted(apps_down, "app");
        let text = format!("{apps} without a working instance: all scraped instances fail.");
        lines.add(Severity::Error, text, FAILING, down_examples);
    }
    if *apps_degraded > 0 {
        let apps = format::counted(apps_degraded, "app");
        let text = format!("{apps} with some failing instances.");
        lines.add(Severity::Warning, text, FAILING, degraded_examples);
    }
}

fn prometheus(health: &InstallationHealth, lines: &mut Lines) {
    for it in &health.prometheus.problems {
        lines.error(format!("Prometheus {}: {}.", it.name, it.problem), &*it.path);
    }
    for it in &health.prometheus.firing {
        let alerts = format::counted(it.count, "firing alert");
        let text = format!("Prometheus {} has {alerts}: {}.", it.name, it.names);
        lines.warning(text, format!("{}#alerts", it.path));
    }
}

fn pools(health: &InstallationHealth, lines: &mut Lines) {
    for pool in &health.pools {
        let (name, path) = (&pool.name, format!("/pools/{}/", pool.name));
        if !pool.is_usable {
            lines.error(format!("Query pool {name} has no ready replica."), path);
            continue;
        }
        if pool.is_fallback {
            let text = format!(
                "No replica of query pool {name} fulfils its strategy; the best one is used."
            );
            lines.warning(text, &*path);
        }
        if pool.open_breakers > 0 {
            let replicas = format::counted(pool.open_breakers, "replica");
            let text =
                format!("Query pool {name}: {replicas} without queries after repeated failures.");
            lines.warning(text, &*path);
        }
        for locator in &pool.failing_locators {
            lines.warning(format!("Query pool {name}: the locator {locator} fails."), &*path);
        }
    }
}

fn events(health: &InstallationHealth, lines: &mut Lines) {
    for queue in &health.events.late {
        let (oldest, ttl) = (format::long(&queue.oldest()), format::long(&queue.expires_after()));
        let (name, path) = match &queue.binding {
            Some(binding) => {
                (format!("the binding {binding}"), format!("/events?queue={}", urlencoded(binding)))
            }
            None => ("this installation".to_owned(), "/events".to_owned()),
        };
        lines.warning(
            format!("Events of {name} wait for a scraper since {oldest}. They expire after {ttl}."),
            path,
        );
    }
}

fn urlencoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::{super::health::*, *};
    use crate::http::prometheus::FiringAlerts;

    fn healthy() -> InstallationHealth {
        InstallationHealth {
            sources: vec![source(Some(3), None)],
            database: DatabaseHealth { problem: None, bindings_age_seconds: Some(0) },
            prometheus: ProvisionerHealth {
                provisioner: "process",
                instances: 1,
                running: 1,
                problems: Vec::new(),
                firing: Vec::new(),
            },
            pools: vec![pool()],
            events: EventsHealth { queues: 1, pending: 0, scrapers: 1, late: Vec::new() },
            apps: 1,
            instances: InstanceTotals {
                all: 3,
                up: 3,
                failing: 0,
                unscraped: 0,
                apps_up: 1,
                apps_down: 0,
                apps_degraded: 0,
                apps_unscraped: 0,
                down_examples: Vec::new(),
                degraded_examples: Vec::new(),
            },
        }
    }

    fn source(age_seconds: Option<u64>, error: Option<&str>) -> SourceHealth {
        SourceHealth {
            name: "http://router".to_owned(),
            key: "routes.gorouters[0]".to_owned(),
            age_seconds,
            endpoints: 3,
            retained: 0,
            skipped: 0,
            error: error.map(str::to_owned),
        }
    }

    fn pool() -> PoolHealth {
        PoolHealth {
            name: "eu".to_owned(),
            is_usable: true,
            is_fallback: false,
            healthy: 2,
            replicas: 2,
            open_breakers: 0,
            failing_locators: Vec::new(),
        }
    }

    /// The only line after a change of a healthy state.
    fn after(change: impl Fn(&mut InstallationHealth)) -> (Severity, String, String) {
        let mut health = healthy();
        change(&mut health);
        let lines = attention(&health, None, None);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        (line.severity, line.text.clone(), line.path.clone())
    }

    #[test]
    fn each_problem_has_a_line_and_a_link() {
        assert_eq!(attention(&healthy(), None, None), []);
        let (error, warning) = (Severity::Error, Severity::Warning);
        let line = |severity, text: &str, path: &str| (severity, text.to_owned(), path.to_owned());
        assert_eq!(
            after(|it| it.sources = vec![source(Some(240), Some("refused"))]),
            line(
                error,
                "Route source http://router fails: refused. Its last answer was 4 min ago.",
                "/#sources"
            )
        );
        assert_eq!(
            after(|it| it.sources = vec![source(None, None)]),
            line(warning, "Route source http://router has not answered yet.", "/#sources")
        );
        assert_eq!(
            after(|it| it.database = DatabaseHealth {
                problem: Some("the database is not available: disk full".to_owned()),
                bindings_age_seconds: Some(12)
            }),
            line(
                error,
                "The database is not available: disk full. Bindings as they were 12 s ago are used.",
                "/#health"
            )
        );
        let mut health = healthy();
        health.instances.apps_degraded = 5;
        health.instances.degraded_examples =
            vec![AppLink { name: "acme / prod / shop".to_owned(), path: "/apps/shop".to_owned() }];
        let lines = attention(&health, None, None);
        assert_eq!(lines[0].apps, health.instances.degraded_examples);
        assert_eq!(
            after(|it| it.instances.apps_down = 1),
            line(
                error,
                "1 app without a working instance: all scraped instances fail.",
                "/apps?state=failing&sort=up"
            )
        );
        assert_eq!(
            after(|it| it.instances.apps_degraded = 2),
            line(warning, "2 apps with some failing instances.", "/apps?state=failing&sort=up")
        );
        let problem = || PrometheusProblem {
            name: "mine".to_owned(),
            path: "/prometheus/mine/".to_owned(),
            problem: "server 1 failed: no disk".to_owned(),
        };
        assert_eq!(
            after(|it| it.prometheus.problems = vec![problem()]),
            line(error, "Prometheus mine: server 1 failed: no disk.", "/prometheus/mine/")
        );
        let firing = || FiringAlerts {
            name: "mine".to_owned(),
            path: "/prometheus/mine/".to_owned(),
            count: 1,
            names: "InstanceFailing".to_owned(),
        };
        assert_eq!(
            after(|it| it.prometheus.firing = vec![firing()]),
            line(
                warning,
                "Prometheus mine has 1 firing alert: InstanceFailing.",
                "/prometheus/mine/#alerts"
            )
        );
        assert_eq!(
            after(|it| it.pools[0].is_usable = false),
            line(error, "Query pool eu has no ready replica.", "/pools/eu/")
        );
        assert_eq!(
            after(|it| it.pools[0].open_breakers = 1),
            line(
                warning,
                "Query pool eu: 1 replica without queries after repeated failures.",
                "/pools/eu/"
            )
        );
        let late = || LateQueue {
            binding: Some("b/1".to_owned()),
            oldest_seconds: 1500,
            expires_after_seconds: 3000,
        };
        assert_eq!(
            after(|it| it.events.late = vec![late()]),
            line(
                warning,
                "Events of the binding b/1 wait for a scraper since 25 min. They expire after 50 min.",
                "/events?queue=b%2F1"
            )
        );
    }

    #[test]
    fn errors_come_first_and_the_list_is_limited() {
        let mut health = healthy();
        health.pools = (0..30)
            .map(|index| PoolHealth {
                name: format!("p{index}"),
                is_usable: index != 29,
                is_fallback: index != 29,
                ..pool()
            })
            .collect();
        let lines = attention(&health, Some("The disk is lost at a restart."), Some("stopping"));
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(
            (&*lines[0].text, lines[1].severity, lines[2].severity),
            ("Not ready: stopping.", Severity::Error, Severity::Warning)
        );
    }
}
