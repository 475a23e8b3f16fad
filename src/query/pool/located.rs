//! The replicas that the locators of a pool have found.

use super::snapshot::LocatorStatus;
use crate::{
    domain::BaseUrl,
    query::{Locator, LocatorError},
};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, timeout},
};

/// Timeout of one call of a locator.
const LOCATE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of replicas of a pool. More are a mistake, such as a selector of all pods.
pub(super) const MAX_REPLICAS: usize = 100;

/// The last results of all locators of a pool. They run on one thread.
pub(super) struct Located {
    pool: String,
    results: RefCell<Vec<LastResult>>,
    /// A locator has found other replicas than before.
    pub(super) changed: Notify,
}

struct LastResult {
    urls: Vec<String>,
    status: LocatorStatus,
}

impl Located {
    pub(super) fn new(pool: &str, locators: &[Box<dyn Locator>]) -> Self {
        let mut names: Vec<String> = Vec::new();
        for locator in locators {
            let name = locator.name();
            let used = names.iter().filter(|it| **it == name).count();
            // Names are values of a label.
            names.push(if used == 0 { name } else { format!("{name} ({})", names.len() + 1) });
        }
        let results = names.into_iter().map(|name| LastResult {
            urls: Vec::new(),
            status: LocatorStatus { name, replicas: 0, succeeded: None, error: None },
        });
        Self {
            pool: pool.to_owned(),
            results: RefCell::new(results.collect()),
            changed: Notify::new(),
        }
    }

    /// Calls a locator again and again.
    pub(super) async fn run(&self, index: usize, mut locator: Box<dyn Locator>, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let found = timeout(LOCATE_TIMEOUT, locator.locate()).await.unwrap_or_else(|_| {
                let why = format!("did not respond within {} s", LOCATE_TIMEOUT.as_secs());
                Err(LocatorError(why))
            });
            self.record(index, found);
        }
    }

    fn record(&self, index: usize, found: Result<Vec<BaseUrl>, LocatorError>) {
        let mut results = self.results.borrow_mut();
        let Some(last) = results.get_mut(index) else { return };
        let (pool, locator) = (&self.pool, &last.status.name);
        match found {
            Ok(urls) => {
                if last.status.error.take().is_some() {
                    tracing::info!(pool, locator, replicas = urls.len(), "locator succeeds again");
                }
                let urls: BTreeSet<_> = urls.iter().map(|it| it.as_str().to_owned()).collect();
                let urls: Vec<_> = urls.into_iter().collect();
                if last.urls != urls || last.status.succeeded.is_none() {
                    self.changed.notify_one();
                }
                last.status.replicas = urls.len();
                last.status.succeeded = Some(Instant::now());
                last.urls = urls;
            }
            Err(LocatorError(error)) => {
                if last.status.error.as_ref() != Some(&error) {
                    tracing::warn!(
                        pool,
                        locator,
                        error,
                        "locator failed; keeping its last replicas"
                    );
                    self.changed.notify_one();
                }
                last.status.error = Some(error);
            }
        }
    }

    /// The URLs of all replicas, each once, and how many of them are too many.
    pub(super) fn urls(&self) -> (Vec<String>, usize) {
        let results = self.results.borrow();
        let urls: BTreeSet<&String> = results.iter().flat_map(|it| &it.urls).collect();
        let kept: Vec<_> = urls.iter().take(MAX_REPLICAS).map(|it| (*it).clone()).collect();
        let dropped = urls.len() - kept.len();
        (kept, dropped)
    }

    pub(super) fn statuses(&self) -> Vec<LocatorStatus> {
        self.results.borrow().iter().map(|it| it.status.clone()).collect()
    }
}
