//! The state of a pool at one time.

use super::{health::Health, measurement::Measurement};
use crate::query::{Server, ServerState};
use std::{sync::Arc, time::Instant};

/// The result of a selection.
#[derive(Clone, Debug, Default)]
pub struct PoolSnapshot {
    /// By preference.
    pub replicas: Vec<PoolReplica>,
    /// The first replicas are selected; the others get queries if these fail.
    pub selected: usize,
    /// Whether no replica fulfils the strategy, so the best one is selected anyway.
    pub is_fallback: bool,
    pub locators: Vec<LocatorStatus>,
    /// Time of the selection; `None` before the first one.
    pub at: Option<Instant>,
}

/// A replica of a pool.
#[derive(Clone, Debug)]
pub struct PoolReplica {
    pub server: Server,
    pub state: Arc<ServerState>,
    pub health: Health,
    /// Why it is selected or not, in words.
    pub reason: String,
    pub measurement: Measurement,
}

/// The last results of a locator.
#[derive(Clone, Debug)]
pub struct LocatorStatus {
    pub name: String,
    /// Number of replicas in its last good result.
    pub replicas: usize,
    /// Time of its first call.
    pub started: Instant,
    /// Time of its last good result.
    pub succeeded: Option<Instant>,
    /// Error of its last call.
    pub error: Option<String>,
}

impl PoolSnapshot {
    /// Whether at least one replica is ready to respond, even if its data is stale.
    pub fn is_usable(&self) -> bool {
        self.replicas.iter().any(|it| it.health < Health::NotReady)
    }

    /// The selected replicas.
    pub fn selected(&self) -> &[PoolReplica] {
        self.replicas.get(..self.selected).unwrap_or_default()
    }

    /// Why there are no replicas.
    pub fn why_empty(&self) -> String {
        if self.at.is_none() {
            return "its replicas are not known yet".to_owned();
        }
        let errors = self.locators.iter().filter(|it| it.error.is_some());
        let names: Vec<_> =
            errors.map(|it| it.name.split(' ').next().unwrap_or_default()).collect();
        match names.is_empty() {
            true => "its locators find no replicas".to_owned(),
            false => format!("these of its locators fail: {}", names.join(", ")),
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::query::ServerStates;

    pub(in crate::query::pool) fn replica(url: &str) -> PoolReplica {
        PoolReplica {
            server: Server { name: url.into(), url: url.into(), authorization: None },
            state: ServerStates::default().server("", &url.into()),
            health: Health::Healthy,
            reason: String::new(),
            measurement: Measurement::default(),
        }
    }
}
