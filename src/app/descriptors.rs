//! File descriptors: the limit of the process, and its allocation to connections.
//!
//! A reserve is kept for all other uses, so that clients cannot exhaust the descriptors of the
//! health listener, the database, the route sources and the provisioner. Each use has a maximum:
//!
//! | Use | Maximum number of descriptors |
//! | --- | --- |
//! | further addresses of the main listener | one per address |
//! | standard streams, listeners, main thread, NATS, promtool, temporarily opened files, lists of sockets for scrapes of events | [`FIXED`] |
//! | health listener | [`HEALTH_CONNECTIONS`] |
//! | workers of the main listener, of `query.listen` and of `events.listen` | per worker: its runtime, and connections until they are refused ([`UNREFUSED_PER_WORKER`]) |
//! | database | [`store::max_descriptors`] |
//! | gorouters | per gorouter: a connection, and the previous connection while it is being closed |
//! | Tsuru's API | [`TSURU_CALLS`] for units, and as many to confirm binds |
//! | name lookups | one per external exporter, and [`ALERTMANAGER_LOOKUPS`] for parameters; lookups for sources and Prometheus servers precede a connection that is counted |
//! | provisioner `process` | per replica: its memory usage, its exit and a probe; per instance: the files of an operation |
//! | provisioner `tsuru` | per instance: an API call, and the creation of an app, which is never aborted |

use crate::{
    config::{Config, Provisioner},
    domain::prometheus::MAX_REPLICAS,
    provisioner::ALERTMANAGER_LOOKUPS,
    store,
    tsuru::TSURU_CALLS,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{num::NonZeroUsize, thread::available_parallelism};

/// Default maximum of incoming and of outgoing connections. An idle connection uses about 20 kB of
/// memory, and one that receives a request head up to 150 kB.
const DEFAULT_MAX: usize = 4096;

/// Maximum number of connections to the health listener.
pub(super) const HEALTH_CONNECTIONS: usize = 32;
/// Connections per worker that exceed the limit, until they are refused.
pub(super) const UNREFUSED_PER_WORKER: usize = 16;

/// Uses that do not depend on the configuration.
const FIXED: usize = 64;
/// Descriptors of a worker's runtime.
const PER_WORKER: usize = 4;
const PER_GOROUTER: usize = 2;
/// A socket, and a configuration file of the system.
const PER_LOOKUP: usize = 2;
const PER_REPLICA: usize = 3;
/// A search for processes, or a copy of files.
const PER_INSTANCE: usize = 4;
/// For the provisioner `tsuru`.
const PER_TSURU_INSTANCE: usize = 2;

/// Maximum numbers of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptors {
    /// Connections of clients to the main listener, to `query.listen` and to `events.listen`.
    pub(super) incoming: usize,
    /// Connections to instances, exporters and Prometheus servers.
    pub(super) outgoing: usize,
}

impl Descriptors {
    /// Raises the soft limit of the process to the hard limit, and divides it.
    pub(super) fn allocate(config: &Config) -> Self {
        let limit = raise_limit();
        let reserve = reserve(config, workers());
        let shared = Self::of(limit, reserve, config);
        if reserve > limit / 2 {
            tracing::warn!(
                limit,
                reserve,
                "the limit of open files is low: it should be four times the reserve, which \
                 follows from the configuration"
            );
        }
        let exceeds = |set: Option<usize>, allocated: usize| set.is_some_and(|set| set > allocated);
        if exceeds(config.max_connections, shared.incoming)
            || exceeds(config.backends.max_connections, shared.outgoing)
        {
            tracing::warn!(
                limit,
                max_connections = shared.incoming,
                backends_max_connections = shared.outgoing,
                "lowered to the limit of open files"
            );
        }
        shared
    }

    fn of(limit: usize, reserve: usize, config: &Config) -> Self {
        // With a very low limit the reserve is limited too.
        let free = limit - reserve.min(limit / 2);
        let (incoming, outgoing) = (config.max_connections, config.backends.max_connections);
        let default = (free / 2).clamp(1, DEFAULT_MAX);
        let incoming = match (incoming, outgoing) {
            (Some(set), _) => set,
            (None, Some(outgoing)) => free.saturating_sub(outgoing).clamp(1, DEFAULT_MAX),
            (None, None) => default,
        };
        let outgoing = outgoing.unwrap_or(free.saturating_sub(incoming).clamp(1, DEFAULT_MAX));
        if incoming.saturating_add(outgoing) <= free {
            return Self { incoming, outgoing };
        }
        Self { incoming: incoming.min(free / 2).max(1), outgoing: outgoing.min(free / 2).max(1) }
    }
}

/// Number of threads that serve requests.
pub(super) fn workers() -> usize {
    available_parallelism().map_or(2, NonZeroUsize::get)
}

/// Returns the new limit of open files.
fn raise_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            current
        }
    };
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Descriptors for all uses except connections from clients and to instances.
fn reserve(config: &Config, workers: usize) -> usize {
    let routes = &config.routes;
    let confirmed = if routes.tsuru.is_some() { TSURU_CALLS } else { 0 };
    let optional = [config.query.listen, config.events.listen];
    let listeners: usize = 1 + optional.iter().flatten().count();
    let lookups = config.external_exporters.len().saturating_add(ALERTMANAGER_LOOKUPS);
    let uses = [
        FIXED,
        config.listen.len().saturating_sub(1),
        HEALTH_CONNECTIONS,
        listeners.saturating_mul(workers.saturating_mul(PER_WORKER + UNREFUSED_PER_WORKER)),
        store::max_descriptors(&config.database_url, config.database.max_connections),
        routes.gorouters.len().saturating_mul(PER_GOROUTER),
        TSURU_CALLS + confirmed,
        lookups.saturating_mul(PER_LOOKUP),
        provisioner(config),
    ];
    uses.into_iter().fold(0, usize::saturating_add)
}

fn provisioner(config: &Config) -> usize {
    let prometheus = &config.prometheus;
    let instances = usize::try_from(prometheus.max_instances).unwrap_or(usize::MAX);
    match prometheus.provisioner {
        Provisioner::Process => {
            let replicas =
                instances.saturating_mul(MAX_REPLICAS.into()).min(prometheus.process.ports.len());
            let operations = instances.min(replicas).saturating_mul(PER_INSTANCE);
            replicas.saturating_mul(PER_REPLICA).saturating_add(operations)
        }
        Provisioner::Tsuru => instances.saturating_mul(PER_TSURU_INSTANCE),
        Provisioner::None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(max_connections: Option<usize>, backends: Option<usize>) -> Config {
        let mut config = Config::load(None, []).unwrap();
        config.max_connections = max_connections;
        config.backends.max_connections = backends;
        config
    }

    #[test]
    fn connections_never_use_the_reserve() {
        let cases = [
            (1024, None, None, (412, 412)),
            (1 << 20, None, None, (4096, 4096)),
            (64, None, None, (16, 16)),
            (1, None, None, (1, 1)),
            (1024, Some(600), None, (600, 224)),
            (1024, None, Some(600), (224, 600)),
            (1024, Some(800), Some(24), (800, 24)),
            (1024, Some(800), Some(800), (412, 412)),
            (1024, Some(usize::MAX), None, (412, 1)),
            (usize::MAX, Some(100_000), Some(50_000), (100_000, 50_000)),
        ];
        for (limit, incoming, outgoing, expected) in cases {
            let shared = Descriptors::of(limit, 200, &config(incoming, outgoing));
            let found = (shared.incoming, shared.outgoing);
            assert_eq!(found, expected, "{limit} {incoming:?} {outgoing:?}");
        }
    }

    #[test]
    fn the_reserve_depends_on_the_configuration() {
        let reserve_of = |settings: &[(&str, &str)]| {
            let settings = settings
                .iter()
                .map(|(key, value)| (format!("SCRAPEBROKER__{key}"), (*value).to_owned()));
            reserve(&Config::load(None, settings).unwrap(), 4)
        };
        let none = ("PROMETHEUS__PROVISIONER", "none");
        let key = ("BROKER__TOKEN_KEY", "a key that is long enough");
        // 64 fixed, 32 for the health listener, 4 × 20 for workers, 16 + 16 for lookups.
        let postgres = [none, key, ("DATABASE_URL", "postgres://db.example.com/x")];
        let base = reserve_of(&postgres);
        assert_eq!(base, 64 + 32 + 80 + 16 + 16 + 11);
        let more = |setting| reserve_of(&[&postgres[..], &[setting]].concat()) - base;
        assert_eq!(more(("DATABASE__MAX_CONNECTIONS", "50")), 40);
        let routers =
            r#"[{"url": "http://a.example.com/routes"}, {"url": "http://b.example.com/routes"}]"#;
        assert_eq!(more(("ROUTES__GOROUTERS", routers)), 4);
        assert_eq!(more(("EXTERNAL_EXPORTERS", r#"[{"host": "a.example.com"}]"#)), 2);
        // A connection to a database file has three open files.
        assert_eq!(reserve_of(&[none]) - base, 3 * 13 - 11);

        let process = |settings: &[(&str, &str)]| {
            let process = [key, postgres[2], ("PROMETHEUS__PROVISIONER", "process")];
            reserve_of(&[&process[..], settings].concat()) - base
        };
        assert_eq!(process(&[]), 500 * 3 + 100 * 4);
        assert_eq!(process(&[("PROMETHEUS__PORTS", "19100-19109")]), 10 * 3 + 10 * 4);
        assert_eq!(process(&[("PROMETHEUS__MAX_INSTANCES", "0")]), 0);
        assert_eq!(process(&[("PROMETHEUS__MAX_INSTANCES", "2")]), 2 * 5 * 3 + 2 * 4);
        let tsuru = [
            key,
            postgres[2],
            ("PROMETHEUS__PROVISIONER", "tsuru"),
            ("PROMETHEUS__TSURU__IMAGE", "registry.example.com/prometheus"),
            ("ROUTES__TSURU__API_URL", "https://tsuru.example.com"),
            ("ROUTES__TSURU__TOKEN", "token"),
        ];
        assert_eq!(reserve_of(&tsuru) - base, 100 * 2 + 16);
    }
}
