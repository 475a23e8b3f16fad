//! File descriptors: the limit of the process, and how connections share it.
//!
//! A reserve is kept for everything else, so that clients cannot take what the health listener, the
//! database, the sources of routes and the provisioner need. Each of these is bounded:
//!
//! | Use | Descriptors at most |
//! | --- | --- |
//! | standard streams, listeners, main thread, NATS, promtool, files that are read for a moment | [`FIXED`] |
//! | the health listener | [`HEALTH_CONNECTIONS`] |
//! | workers | each its runtime, and clients that are about to be refused ([`UNDECIDED`]) |
//! | the database | [`store::max_descriptors`] |
//! | gorouters | each its request, and the connection of the last one while it closes |
//! | Tsuru's API | as many calls for units, and as many that confirm binds ([`TSURU_CALLS`]) |
//! | look-ups of names | one for each external exporter, [`ALERTMANAGER_LOOKUPS`] for parameters; those of sources and Prometheus servers precede a connection that is counted |
//! | provisioner `process` | each replica its memory, its end and a probe; each instance what an operation reads and writes |
//! | provisioner `tsuru` | each instance a call, and the creation of an app, which is never broken off |

use crate::{
    config::{Config, Provisioner},
    discovery::TSURU_CALLS,
    domain::prometheus::MOST_REPLICAS,
    provisioner::ALERTMANAGER_LOOKUPS,
    store,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{num::NonZeroUsize, thread::available_parallelism};

/// Most connections of either kind that are allowed without a setting: an idle one takes some
/// 20 kB, and one on which the head of a request arrives up to 150 kB.
const DEFAULT_MAX: usize = 4096;

/// Most connections to the health listener.
pub(super) const HEALTH_CONNECTIONS: usize = 32;
/// Connections of a worker beside its part of those that are allowed: until it has refused them.
pub(super) const UNDECIDED: usize = 16;

/// What needs no setting.
const FIXED: usize = 64;
/// The runtime of a worker.
const PER_WORKER: usize = 4;
const PER_GOROUTER: usize = 2;
/// A socket, and a file of the system's.
const PER_LOOKUP: usize = 2;
const PER_REPLICA: usize = 3;
/// A search for processes, or a copy of files.
const PER_INSTANCE: usize = 4;
/// Of the provisioner `tsuru`.
const PER_TSURU_INSTANCE: usize = 2;

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptors {
    /// Of clients, at the main listener.
    pub(super) incoming: usize,
    /// To instances, exporters and Prometheus servers.
    pub(super) outgoing: usize,
}

impl Descriptors {
    /// Raises the limit of the process as far as it may, and shares it out.
    pub(super) fn share_out(config: &Config) -> Self {
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
        let wanted = |set: Option<usize>, given: usize| set.is_some_and(|set| set > given);
        if wanted(config.max_connections, shared.incoming)
            || wanted(config.backends.max_connections, shared.outgoing)
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
        // With a very low limit everything is short of descriptors.
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

/// Threads that serve requests.
pub(super) fn workers() -> usize {
    available_parallelism().map_or(2, NonZeroUsize::get)
}

/// Returns the limit of open files afterwards.
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

/// Descriptors for everything but connections of clients and connections to instances.
fn reserve(config: &Config, workers: usize) -> usize {
    let routes = &config.routes;
    let confirmed = if routes.tsuru.is_some() { TSURU_CALLS } else { 0 };
    let lookups = config.external_exporters.len().saturating_add(ALERTMANAGER_LOOKUPS);
    let uses = [
        FIXED,
        HEALTH_CONNECTIONS,
        workers.saturating_mul(PER_WORKER + UNDECIDED),
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
                instances.saturating_mul(MOST_REPLICAS.into()).min(prometheus.process.ports.len());
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
    fn connections_never_take_the_reserve() {
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
    fn the_reserve_follows_from_the_configuration() {
        let reserve_of = |settings: &[(&str, &str)]| {
            let settings = settings
                .iter()
                .map(|(key, value)| (format!("SCRAPEBROKER__{key}"), (*value).to_owned()));
            reserve(&Config::load(None, settings).unwrap(), 4)
        };
        let none = ("PROMETHEUS__PROVISIONER", "none");
        let key = ("BROKER__TOKEN_KEY", "a key that is long enough");
        // 64 fixed, 32 of the health listener, 4 × 20 of workers, 16 + 16 of look-ups.
        let postgres = [none, key, ("DATABASE_URL", "postgres://db.example.com/x")];
        let base = reserve_of(&postgres);
        assert_eq!(base, 64 + 32 + 80 + 16 + 16 + 11);
        let more = |setting| reserve_of(&[&postgres[..], &[setting]].concat()) - base;
        assert_eq!(more(("DATABASE__MAX_CONNECTIONS", "50")), 40);
        let routers =
            r#"[{"url": "http://a.example.com/routes"}, {"url": "http://b.example.com/routes"}]"#;
        assert_eq!(more(("ROUTES__GOROUTERS", routers)), 4);
        assert_eq!(more(("EXTERNAL_EXPORTERS", r#"[{"host": "a.example.com"}]"#)), 2);
        // A database file has three open files for each connection.
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
