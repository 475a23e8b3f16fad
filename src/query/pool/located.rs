//! The replicas that the locators of a pool have found.

use super::snapshot::LocatorStatus;
use crate::query::{LocatedReplica, Locator, LocatorError, Server};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
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
    /// One per URL, in the order of their URLs.
    replicas: Vec<LocatedReplica>,
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
            replicas: Vec::new(),
            status: LocatorStatus {
                name,
                replicas: 0,
                started: Instant::now(),
                succeeded: None,
                error: None,
            },
        });
        Self {
            pool: pool.to_owned(),
            results: RefCell::new(results.collect()),
            changed: Notify::new(),
        }
    }

    /// Calls a locator at the interval, and when it reports a change.
    pub(super) async fn run(&self, index: usize, mut locator: Box<dyn Locator>, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = locator.changed() => {}
            }
            let found = timeout(LOCATE_TIMEOUT, locator.locate()).await.unwrap_or_else(|_| {
                let why = format!("did not respond within {} s", LOCATE_TIMEOUT.as_secs());
                Err(LocatorError(why))
            });
            self.record(index, found);
        }
    }

    fn record(&self, index: usize, found: Result<Vec<LocatedReplica>, LocatorError>) {
        let mut results = self.results.borrow_mut();
        let Some(last) = results.get_mut(index) else { return };
        let (pool, locator) = (&self.pool, &last.status.name);
        match found {
            Ok(replicas) => {
                let replicas: Vec<_> = by_url(&replicas).into_iter().cloned().collect();
                if last.status.error.take().is_some() {
                    let replicas = replicas.len();
                    tracing::info!(pool, locator, replicas, "locator succeeds again");
                }
                if last.replicas != replicas || last.status.succeeded.is_none() {
                    self.changed.notify_one();
                }
                last.status.replicas = replicas.len();
                last.status.succeeded = Some(Instant::now());
                last.replicas = replicas;
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

    /// The replicas of all locators, one per URL, and how many of them are too many.
    pub(super) fn servers(&self) -> (Vec<Server>, usize) {
        let results = self.results.borrow();
        let mut replicas = by_url(results.iter().flat_map(|it| &it.replicas));
        let dropped = replicas.len().saturating_sub(MAX_REPLICAS);
        replicas.truncate(MAX_REPLICAS);
        (with_unique_names(&replicas), dropped)
    }

    pub(super) fn statuses(&self) -> Vec<LocatorStatus> {
        self.results.borrow().iter().map(|it| it.status.clone()).collect()
    }
}

/// One replica per URL, in the order of the URLs. The credentials of a replica are for its URL, so a
/// replica with credentials replaces one without.
fn by_url<'a>(replicas: impl IntoIterator<Item = &'a LocatedReplica>) -> Vec<&'a LocatedReplica> {
    let mut by_url = BTreeMap::new();
    for replica in replicas {
        let known = by_url.entry(replica.url.as_str()).or_insert(replica);
        if known.authorization.is_none() && replica.authorization.is_some() {
            *known = replica;
        }
    }
    by_url.into_values().collect()
}

/// Names are values of a label. A name that is used twice is replaced by that of the URL.
fn with_unique_names(replicas: &[&LocatedReplica]) -> Vec<Server> {
    let mut servers: Vec<_> = replicas.iter().map(|it| it.server()).collect();
    let mut uses: HashMap<_, u32> = HashMap::new();
    servers.iter().for_each(|it| *uses.entry(it.name.clone()).or_default() += 1);
    for (server, replica) in servers.iter_mut().zip(replicas) {
        if uses.get(&server.name).is_some_and(|uses| *uses > 1) {
            server.name = replica.default_name().into();
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{Authorization, StaticUrls};

    fn replica(url: &str, name: Option<&str>, password: Option<&str>) -> LocatedReplica {
        LocatedReplica {
            url: url.parse().unwrap(),
            name: name.map(Into::into),
            authorization: password.and_then(|it| Authorization::of_provisioned(&it.into())),
        }
    }

    fn located(locators: usize) -> Located {
        let locators = (0..locators).map(|_| Box::new(StaticUrls(Vec::new())) as _);
        Located::new("p", &locators.collect::<Vec<_>>())
    }

    /// What locators with these results have found together.
    fn servers(results: &[&[LocatedReplica]]) -> Vec<Server> {
        let located = located(results.len());
        for (index, found) in results.iter().enumerate() {
            located.record(index, Ok(found.to_vec()));
        }
        located.servers().0
    }

    #[test]
    fn a_replica_with_its_own_credentials_replaces_one_without() {
        let plain = replica("http://a", None, None);
        let own = replica("http://a", Some("own/0"), Some("x"));
        let other = replica("http://b", None, None);
        for results in [
            [vec![plain.clone(), other.clone()], vec![own.clone()]],
            [vec![own.clone()], vec![other.clone(), plain.clone()]],
            [vec![plain, own.clone(), other.clone()], Vec::new()],
        ] {
            let found = servers(&[&results[0], &results[1]]);
            assert_eq!(found, [own.server(), other.server()]);
            assert!(found[1].authorization.is_none(), "credentials are for one server");
        }
    }

    #[test]
    fn names_are_different() {
        let found = servers(&[
            &[replica("http://a", Some("0"), None), replica("http://b", Some("0"), None)],
            &[replica("http://c", Some("d"), None), replica("http://d", None, None)],
            &[replica("http://e/x", Some("1"), None), replica("https://a", None, None)],
        ]);
        let names: Vec<_> = found.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["a", "b", "c", "d", "1", "https://a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_password_is_a_change() {
        let located = located(1);
        let is_change = async |password: &str| {
            located.record(0, Ok(vec![replica("http://a", None, Some(password))]));
            timeout(Duration::from_millis(1), located.changed.notified()).await.is_ok()
        };
        assert!(is_change("x").await);
        assert!(!is_change("x").await);
        assert!(is_change("y").await);
    }
}
