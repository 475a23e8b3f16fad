//! Permits, open connections and queues of the limiter. The caller holds the lock.

use super::metrics::ConnectionLimiterMetrics;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio::sync::oneshot;

#[derive(Debug)]
pub(super) struct LimiterState {
    max: usize,
    in_use: usize,
    /// Open connections, including idle ones.
    open: usize,
    owners: HashMap<Arc<str>, Owner>,
    metrics: ConnectionLimiterMetrics,
}

#[derive(Debug, Default)]
struct Owner {
    in_use: usize,
    waiting: VecDeque<oneshot::Sender<()>>,
}

impl LimiterState {
    pub(super) fn new(max: usize, metrics: ConnectionLimiterMetrics) -> Self {
        Self { max, in_use: 0, open: 0, owners: HashMap::new(), metrics }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Takes a permit for `owner`, or queues the request.
    pub(super) fn enter(&mut self, owner: &str) -> (Arc<str>, Option<oneshot::Receiver<()>>) {
        let name = match self.owners.get_key_value(owner) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(owner),
        };
        let free = self.free();
        let owner = self.owners.entry(Arc::clone(&name)).or_default();
        if owner.waiting.is_empty() && owner.in_use < free {
            owner.in_use += 1;
            self.in_use += 1;
            self.metrics.set_in_use(self.in_use);
            return (name, None);
        }
        let (grant, waiting) = oneshot::channel();
        owner.waiting.push_back(grant);
        self.metrics.count_wait();
        (name, Some(waiting))
    }

    /// Returns a permit.
    pub(super) fn leave(&mut self, name: &Arc<str>) {
        if let Some(owner) = self.owners.get_mut(name) {
            owner.in_use -= 1;
            self.in_use -= 1;
        }
        self.grant_permits();
        self.remove_if_unused(name);
        self.metrics.set_in_use(self.in_use);
    }

    /// Removes dropped requests of `name` from the queue.
    pub(super) fn cancel_wait(&mut self, name: &Arc<str>) {
        if let Some(owner) = self.owners.get_mut(name) {
            owner.waiting.retain(|grant| !grant.is_closed());
        }
        self.remove_if_unused(name);
    }

    pub(super) fn count_refused(&mut self) {
        self.metrics.count_refused();
    }

    /// Counts one more open connection if the limit allows it.
    pub(super) fn open(&mut self) -> bool {
        let has_room = self.open < self.max;
        if has_room {
            self.open += 1;
            self.metrics.set_open(self.open);
        }
        has_room
    }

    pub(super) fn close(&mut self) {
        self.open -= 1;
        self.metrics.set_open(self.open);
    }

    fn free(&self) -> usize {
        self.max - self.in_use
    }

    /// Grants permits to the owners that hold the fewest, while each holds fewer than are free.
    fn grant_permits(&mut self) {
        loop {
            let waiting = self.owners.values_mut().filter(|owner| !owner.waiting.is_empty());
            let Some(next) = waiting.min_by_key(|owner| owner.in_use) else { return };
            if next.in_use >= self.max - self.in_use {
                return;
            }
            let is_waiting = next.waiting.pop_front().is_some_and(|grant| grant.send(()).is_ok());
            if is_waiting {
                next.in_use += 1;
                self.in_use += 1;
            }
        }
    }

    fn remove_if_unused(&mut self, name: &Arc<str>) {
        if self.owners.get(name).is_some_and(|it| it.in_use == 0 && it.waiting.is_empty()) {
            self.owners.remove(name);
        }
    }
}
