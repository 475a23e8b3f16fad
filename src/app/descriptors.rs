//! File descriptors: the limit of the process, and how connections share it.
//!
//! A reserve is kept for everything else, so that clients cannot take what the
//! health listener, the database, the sources of routes and child processes need.

use crate::config::{Config, Provisioner};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most connections of either kind that are allowed without a setting: an idle one takes some
/// 20 kB, and one on which the head of a request arrives up to 150 kB.
const DEFAULT_MAX: usize = 4096;

/// Descriptors for listeners, log, health checks, sources of routes, files and threads.
const OTHERS: usize = 96;
/// Descriptors of a child process: its log, and its end.
const PER_CHILD: usize = 3;

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
        let others = others(config);
        let shared = Self::of(limit, others, config);
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

    fn of(limit: usize, others: usize, config: &Config) -> Self {
        // With a very low limit everything is short of descriptors.
        let free = limit - others.min(limit / 2);
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

/// The limit of open files in force afterwards.
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

fn others(config: &Config) -> usize {
    let database = usize::try_from(config.database.max_connections).unwrap_or(usize::MAX);
    let children = match config.prometheus.provisioner {
        Provisioner::Process => config.prometheus.max_instances as usize * PER_CHILD,
        Provisioner::Tsuru | Provisioner::None => 0,
    };
    OTHERS.saturating_add(database).saturating_add(children)
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
}
