//! What is counted, and whose turn it is. Pure: the caller holds the lock.

use super::OutgoingMetrics;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio::sync::oneshot;

#[derive(Debug)]
pub(super) struct State {
    max: usize,
    /// Permits that are held.
    in_use: usize,
    /// Connections that are open, idle ones included.
    open: usize,
    owners: HashMap<Arc<str>, Owner>,
    metrics: OutgoingMetrics,
}

#[derive(Debug, Default)]
struct Owner {
    in_use: usize,
    waiting: VecDeque<oneshot::Sender<()>>,
}

impl State {
    pub(super) fn new(max: usize, metrics: OutgoingMetrics) -> Self {
        Self { max, in_use: 0, open: 0, owners: HashMap::new(), metrics }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Takes a permit for `owner`, or a place in its queue.
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
            self.metrics.use_now(self.in_use);
            return (name, None);
        }
        let (turn, waiting) = oneshot::channel();
        owner.waiting.push_back(turn);
        self.metrics.waits();
        (name, Some(waiting))
    }

    /// Takes a permit back.
    pub(super) fn leave(&mut self, name: &Arc<str>) {
        if let Some(owner) = self.owners.get_mut(name) {
            owner.in_use -= 1;
            self.in_use -= 1;
        }
        self.give_turns();
        self.forget(name);
        self.metrics.use_now(self.in_use);
    }

    /// A place in the queue of `name` was left.
    pub(super) fn give_up(&mut self, name: &Arc<str>) {
        if let Some(owner) = self.owners.get_mut(name) {
            owner.waiting.retain(|turn| !turn.is_closed());
        }
        self.forget(name);
    }

    pub(super) fn refuse(&mut self) {
        self.metrics.refuse();
    }

    /// Counts one more open connection, if there is room for it.
    pub(super) fn open(&mut self) -> bool {
        let has_room = self.open < self.max;
        if has_room {
            self.open += 1;
            self.metrics.open_now(self.open);
        }
        has_room
    }

    pub(super) fn close(&mut self) {
        self.open -= 1;
        self.metrics.open_now(self.open);
    }

    fn free(&self) -> usize {
        self.max - self.in_use
    }

    /// Gives turns to the owners that use the fewest, while each uses fewer than are free.
    fn give_turns(&mut self) {
        loop {
            let waiting = self.owners.values_mut().filter(|owner| !owner.waiting.is_empty());
            let Some(next) = waiting.min_by_key(|owner| owner.in_use) else { return };
            if next.in_use >= self.max - self.in_use {
                return;
            }
            let is_there = next.waiting.pop_front().is_some_and(|turn| turn.send(()).is_ok());
            if is_there {
                next.in_use += 1;
                self.in_use += 1;
            }
        }
    }

    fn forget(&mut self, name: &Arc<str>) {
        if self.owners.get(name).is_some_and(|it| it.in_use == 0 && it.waiting.is_empty()) {
            self.owners.remove(name);
        }
    }
}
