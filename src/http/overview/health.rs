//! The state of all parts of this installation.

use super::Overview;
use crate::{
    broker::PrometheusSnapshot,
    discovery::{Snapshot, SourceStatus},
    domain::{
        App, AppGuid, OperationState,
        prometheus::{ReplicaState, segment},
    },
    http::{
        prometheus::{self, FiringAlerts},
        urls::app_path,
    },
    query::{BreakerState, Health, Pool},
    scrape::{AppCount, ScrapeTotals},
};
use serde::Serialize;
use std::time::Duration;

/// Maximum number of parts of one kind that are named.
const MAX_NAMED: usize = 20;

#[derive(Debug, Serialize)]
pub(super) struct InstallationHealth {
    pub(super) sources: Vec<SourceHealth>,
    pub(super) database: DatabaseHealth,
    pub(super) prometheus: ProvisionerHealth,
    pub(super) pools: Vec<PoolHealth>,
    pub(super) events: EventsHealth,
    pub(super) apps: usize,
    pub(super) instances: InstanceTotals,
}

#[derive(Debug, Serialize)]
pub(super) struct SourceHealth {
    pub(super) name: String,
    pub(super) key: String,
    /// Since its last answer. None before the first one.
    pub(super) age_seconds: Option<u64>,
    pub(super) endpoints: usize,
    /// Endpoints that are kept although its last answer omits them.
    pub(super) retained: usize,
    /// Entries that cannot be used.
    pub(super) skipped: usize,
    pub(super) error: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct DatabaseHealth {
    pub(super) problem: Option<String>,
    /// Since the database confirmed the bindings.
    pub(super) bindings_age_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct ProvisionerHealth {
    pub(super) provisioner: &'static str,
    pub(super) instances: usize,
    pub(super) running: usize,
    /// Instances with a problem, at most 20.
    pub(super) problems: Vec<PrometheusProblem>,
    /// The first instances with firing alerts.
    pub(super) firing: Vec<FiringAlerts>,
}

#[derive(Debug, Serialize)]
pub(super) struct PrometheusProblem {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) problem: String,
}

#[derive(Debug, Serialize)]
pub(super) struct PoolHealth {
    pub(super) name: String,
    pub(super) is_usable: bool,
    pub(super) is_fallback: bool,
    pub(super) healthy: usize,
    pub(super) replicas: usize,
    /// Replicas that get no queries, because they failed repeatedly.
    pub(super) open_breakers: usize,
    pub(super) failing_locators: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct EventsHealth {
    pub(super) queues: usize,
    pub(super) pending: i64,
    pub(super) scrapers: usize,
    /// Queues with events that expire soon, at most 20.
    pub(super) late: Vec<LateQueue>,
}

#[derive(Debug, Serialize)]
pub(super) struct LateQueue {
    /// None for the queue of the installation.
    pub(super) binding: Option<String>,
    pub(super) oldest_seconds: u64,
    pub(super) expires_after_seconds: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct InstanceTotals {
    pub(super) all: usize,
    pub(super) up: usize,
    pub(super) failing: usize,
    pub(super) unscraped: usize,
    /// Apps whose scraped instances all work.
    pub(super) apps_up: usize,
    /// Apps whose scraped instances all fail.
    pub(super) apps_down: usize,
    /// Apps with working and failing instances.
    pub(super) apps_degraded: usize,
    /// Apps of which no instance was scraped.
    pub(super) apps_unscraped: usize,
    #[serde(skip)]
    pub(super) down_examples: Vec<AppLink>,
    #[serde(skip)]
    pub(super) degraded_examples: Vec<AppLink>,
}

/// An app and its page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct AppLink {
    /// Organization, space and name.
    pub(super) name: String,
    /// Below the path of the public URL.
    pub(super) path: String,
}

impl InstanceTotals {
    pub(super) fn apps_failing(&self) -> usize {
        self.apps_down + self.apps_degraded
    }
}

impl InstallationHealth {
    pub(super) fn of(overview: &Overview, table: &Snapshot, firing: Vec<FiringAlerts>) -> Self {
        let (apps, instances) = table.size();
        let bindings_age = overview.bound.age();
        Self {
            sources: table.sources().map(SourceHealth::of).collect(),
            database: DatabaseHealth {
                problem: overview.broker.database_problem(),
                bindings_age_seconds: bindings_age.as_ref().map(Duration::as_secs),
            },
            prometheus: provisioner(overview, firing),
            pools: overview.pools.iter().map(PoolHealth::of).collect(),
            events: events(overview),
            apps,
            instances: totals(table, apps, instances, overview.last.totals()),
        }
    }
}

impl SourceHealth {
    fn of(status: &SourceStatus) -> Self {
        Self {
            name: status.name.to_string(),
            key: status.key.to_string(),
            age_seconds: status.last_answer.map(|at| at.elapsed().as_secs()),
            endpoints: status.endpoints,
            retained: status.retained,
            skipped: status.skipped,
            error: status.failure.as_deref().map(str::to_owned),
        }
    }

    pub(super) fn age(&self) -> Option<Duration> {
        self.age_seconds.map(Duration::from_secs)
    }
}

impl PoolHealth {
    fn of(pool: &Pool) -> Self {
        let snapshot = pool.snapshot();
        let replicas = || snapshot.replicas.iter();
        let failing = snapshot.locators.iter().filter(|it| it.error.is_some());
        Self {
            name: pool.settings().name.clone(),
            is_usable: snapshot.is_usable(),
            is_fallback: snapshot.is_fallback,
            healthy: replicas().filter(|it| it.health == Health::Healthy).count(),
            replicas: replicas().count(),
            open_breakers: replicas()
                .filter(|it| it.state.status().breaker == BreakerState::Open)
                .count(),
            failing_locators: failing.map(|it| it.name.clone()).collect(),
        }
    }
}

impl LateQueue {
    pub(super) fn oldest(&self) -> Duration {
        Duration::from_secs(self.oldest_seconds)
    }

    pub(super) fn expires_after(&self) -> Duration {
        Duration::from_secs(self.expires_after_seconds)
    }
}

fn provisioner(overview: &Overview, firing: Vec<FiringAlerts>) -> ProvisionerHealth {
    let all = overview.bound.all_prometheus();
    let is_running =
        |it: &PrometheusSnapshot| it.replicas.iter().any(|it| it.state == ReplicaState::Ready);
    let mut problems: Vec<_> = all.values().filter_map(|it| prometheus_problem(it)).collect();
    problems.sort_by(|a, b| a.name.cmp(&b.name));
    problems.truncate(MAX_NAMED);
    ProvisionerHealth {
        provisioner: overview.provisioner,
        instances: all.len(),
        running: all.values().filter(|it| is_running(it)).count(),
        problems,
        firing,
    }
}

/// A failed operation, or replicas that failed.
fn prometheus_problem(it: &PrometheusSnapshot) -> Option<PrometheusProblem> {
    let failed = it.operation.as_ref().is_some_and(|it| it.state == OperationState::Failed);
    let replica = it.replicas.iter().find(|it| it.state == ReplicaState::Failed);
    let problem = match replica {
        _ if failed => prometheus::state(it),
        Some(replica) => format!("server {} failed: {}", replica.number, replica.problem),
        None => return None,
    };
    Some(PrometheusProblem {
        name: it.names.instance.clone().unwrap_or_else(|| it.instance_id.to_string()),
        path: format!("/prometheus/{}/", segment(&it.instance_id)),
        problem,
    })
}

fn events(overview: &Overview) -> EventsHealth {
    let states = overview.events.states();
    let late = states.queues.iter().filter_map(|it| {
        let ttl = overview.events.settings(it.queue).ttl;
        let oldest = states.age(it.oldest_at);
        (it.oldest_at.is_some() && oldest > ttl.as_secs_f64() / 2.0).then(|| LateQueue {
            binding: it.binding.as_ref().map(ToString::to_string),
            oldest_seconds: Duration::try_from_secs_f64(oldest).unwrap_or_default().as_secs(),
            expires_after_seconds: ttl.as_secs(),
        })
    });
    EventsHealth {
        queues: states.queues.len(),
        pending: states.queues.iter().map(|it| it.pending).sum(),
        scrapers: states.queues.iter().map(|it| it.scrapers.len()).sum(),
        late: late.take(MAX_NAMED).collect(),
    }
}

fn totals(table: &Snapshot, apps: usize, all: usize, scraped: ScrapeTotals) -> InstanceTotals {
    let ScrapeTotals { up, failing, apps_up, apps_down, apps_degraded } = scraped;
    let links = |count: &AppCount| count.examples.iter().map(|id| app_link(table, id)).collect();
    InstanceTotals {
        all,
        up,
        failing,
        // The history may still contain an app that has left the table.
        unscraped: all.saturating_sub(up + failing),
        apps_up,
        apps_unscraped: apps.saturating_sub(apps_up + apps_down.count + apps_degraded.count),
        down_examples: links(&apps_down),
        degraded_examples: links(&apps_degraded),
        apps_down: apps_down.count,
        apps_degraded: apps_degraded.count,
    }
}

fn app_link(table: &Snapshot, id: &AppGuid) -> AppLink {
    let name = match table.app(id.as_str()) {
        Some(found) => {
            let App { organization_name, space_name, name, .. } = &**found.app;
            format!("{organization_name} / {space_name} / {name}")
        }
        None => id.to_string(),
    };
    AppLink { name, path: app_path(id.as_str()) }
}
