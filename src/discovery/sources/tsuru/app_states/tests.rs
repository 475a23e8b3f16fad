use super::*;
use crate::discovery::{Limits, endpoint::Endpoint};
use std::{sync::Arc, time::Duration};

const REFRESH: u64 = 15;
const STALE_AFTER: u64 = 120;
const KEEP: u64 = 3600;

/// App states with a manual clock, and the reported entries.
struct Harness {
    states: AppStates,
    started: Instant,
    now: Instant,
    app_units: BTreeMap<EntryKey, Entry>,
    sync_state: Option<SyncState>,
    skipped: usize,
    failures: usize,
    /// Number of failed polls.
    failed: u64,
}

fn app(name: &str) -> TsuruApp {
    TsuruApp { name: name.to_owned(), ..TsuruApp::default() }
}

/// Units of `app` at these addresses.
fn units(name: &str, addresses: &[&str]) -> AppUnits {
    let described = Arc::new(app(name).describe().unwrap());
    let entry = |address: &&str| {
        let endpoint = Endpoint {
            address: address.parse().unwrap(),
            app: Arc::clone(&described),
            index: None,
            process_type: "web".into(),
            process_instance_id: None,
            availability_zone: None,
            tls: false,
            http2: false,
            server_cert_domain_san: None,
            isolation_segment: None,
            route_service_url: None,
            behind_host: None,
        };
        Entry { route: name.into(), endpoint: Some(Arc::new(endpoint)) }
    };
    AppUnits { entries: addresses.iter().map(entry).collect(), ..AppUnits::default() }
}

impl Harness {
    fn of(apps: &[&str]) -> Self {
        let settings = Settings {
            stale_after: Duration::from_secs(STALE_AFTER),
            keep: Duration::from_secs(KEEP),
            refresh_interval: Duration::from_secs(REFRESH),
            limits: Limits::default(),
        };
        let now = Instant::now();
        let mut harness = Self {
            states: AppStates::new(settings, DropLog::new("tsuru".into()), now),
            started: now,
            now,
            app_units: BTreeMap::new(),
            sync_state: None,
            skipped: 0,
            failures: 0,
            failed: 0,
        };
        harness.bind(apps);
        harness
    }

    fn bind(&mut self, apps: &[&str]) -> &mut Self {
        let apps: Vec<_> = apps.iter().map(|name| app(name)).collect();
        self.states.set_bound(&apps, self.now);
        self.report()
    }

    /// Moves the clock. Expired units are dropped at the time when they expire.
    fn at(&mut self, seconds: u64) -> &mut Self {
        let then = self.started + Duration::from_secs(seconds);
        while let Some(due) = self.states.next_due().filter(|due| *due <= then) {
            self.now = self.now.max(due);
            self.report();
        }
        self.now = then;
        self.report()
    }

    fn answers(&mut self, name: &str, addresses: &[&str]) -> &mut Self {
        self.states.apply(&app(name), Ok(Some(units(name, addresses))), self.now);
        self.report()
    }

    fn is_gone(&mut self, name: &str) -> &mut Self {
        self.states.apply(&app(name), Ok(None), self.now);
        self.report()
    }

    fn fails(&mut self, name: &str) -> &mut Self {
        self.states.apply(&app(name), Err(SourceError::Status(500)), self.now);
        self.report()
    }

    /// Applies the reports like the writer.
    fn report(&mut self) -> &mut Self {
        self.states.expire(self.now);
        if !self.states.has_report() {
            return self;
        }
        for report in self.states.report(self.now) {
            match report {
                Report::Changes(changes) => {
                    for change in changes.changes {
                        match change {
                            Change::Set(entry) => {
                                let key = entry.to_key();
                                assert_ne!(self.app_units.insert(key, entry.clone()), Some(entry));
                            }
                            Change::Removed(key) => {
                                assert!(self.app_units.remove(&key).is_some());
                            }
                        }
                    }
                    self.failed += changes.failed;
                    (self.sync_state, self.skipped) = (Some(changes.sync_state), changes.skipped);
                }
                Report::Failure(_) => {
                    self.failures += 1;
                    self.failed += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        self
    }

    fn sees(&mut self, expected: &[&str]) -> &mut Self {
        let address = |key: &EntryKey| format!("{} {}", key.0, key.1.unwrap());
        let seen: Vec<_> = self.app_units.keys().map(address).collect();
        assert_eq!(seen, expected);
        self
    }

    /// The apps whose polls are due.
    fn due(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.states.take_due(self.now)).map(|app| app.name).collect()
    }
}

#[test]
fn a_new_app_is_polled_immediately_and_then_periodically() {
    let mut harness = Harness::of(&["a"]);
    assert_eq!(harness.due(), ["a"]);
    assert!(harness.due().is_empty(), "its poll is running");
    harness.at(5).answers("a", &[]).bind(&["a", "b"]);
    assert_eq!(harness.due(), ["b"]);
    harness.fails("b").at(5 + REFRESH);
    assert_eq!(harness.due(), ["a", "b"]);
    harness.answers("a", &[]).fails("b");
    // Its hosts have changed.
    let hosts = vec!["h.example".to_owned()];
    harness.states.set_bound(&[app("a"), TsuruApp { hosts, ..app("b") }], harness.now);
    assert_eq!(harness.due(), ["b"]);
}

#[test]
fn units_follow_the_responses_and_apps_follow_the_bindings() {
    let mut harness = Harness::of(&["a", "b"]);
    harness.answers("a", &["10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(harness.sync_state, Some(SyncState::Syncing), "nothing is known of the other yet");
    harness.answers("b", &["10.0.0.9:80"]);
    assert_eq!(harness.sync_state, Some(SyncState::Synced));
    harness.sees(&["a 10.0.0.1:80", "a 10.0.0.2:80", "b 10.0.0.9:80"]);
    harness.answers("a", &["10.0.0.2:80", "10.0.0.3:80"]);
    harness.sees(&["a 10.0.0.2:80", "a 10.0.0.3:80", "b 10.0.0.9:80"]);
    harness.is_gone("b").sees(&["a 10.0.0.2:80", "a 10.0.0.3:80"]);
    harness.answers("b", &["10.0.0.9:80"]).bind(&["b"]).sees(&["b 10.0.0.9:80"]);
    // The poll began before the app was unbound.
    harness.answers("a", &["10.0.0.2:80"]).sees(&["b 10.0.0.9:80"]);
    harness.bind(&[]).sees(&[]);
    assert_eq!((harness.sync_state, harness.failures), (Some(SyncState::Synced), 0));
}

#[test]
fn an_app_whose_polls_fail_keeps_its_units_until_stale_after() {
    let mut harness = Harness::of(&["a", "b"]);
    harness.answers("a", &["10.0.0.1:80"]).answers("b", &["10.0.0.9:80"]);
    for seconds in (10..STALE_AFTER).step_by(10) {
        harness.at(seconds).answers("a", &["10.0.0.1:80"]).fails("b");
        harness.sees(&["a 10.0.0.1:80", "b 10.0.0.9:80"]);
        assert_eq!((harness.sync_state, harness.skipped), (Some(SyncState::Synced), 1));
    }
    harness.at(STALE_AFTER).sees(&["a 10.0.0.1:80"]);
    assert_eq!((harness.failures, harness.failed), (0, 11), "the API is here");
    harness.answers("b", &["10.0.0.9:80"]).sees(&["a 10.0.0.1:80", "b 10.0.0.9:80"]);
    assert_eq!(harness.skipped, 0);
}

#[test]
fn while_the_api_is_unavailable_units_are_kept_until_keep() {
    let mut harness = Harness::of(&["a", "b"]);
    harness.answers("a", &["10.0.0.1:80"]).answers("b", &["10.0.0.9:80"]);
    harness.at(10).fails("a").fails("b");
    let both = ["a 10.0.0.1:80", "b 10.0.0.9:80"];
    harness.at(KEEP - 100).fails("a").sees(&both);
    assert!(harness.failures >= 2);
    // The API is available again and has returned one app. The other app has not expired yet.
    harness.answers("a", &["10.0.0.1:80"]).sees(&both);
    assert_eq!(harness.sync_state, Some(SyncState::Synced));
    harness.fails("b").at(KEEP + 10).sees(&both);
    harness.at(KEEP - 100 + STALE_AFTER).sees(&["a 10.0.0.1:80"]);
    harness.fails("a").at(2 * KEEP - 101).sees(&["a 10.0.0.1:80"]);
    harness.at(2 * KEEP - 100).sees(&[]);
}

#[test]
fn an_unchanged_state_is_confirmed_periodically() {
    let mut harness = Harness::of(&[]);
    harness.sync_state = None;
    harness.at(REFRESH);
    assert_eq!(harness.sync_state, Some(SyncState::Synced));
    let mut harness = Harness::of(&["a"]);
    harness.fails("a").at(10 * REFRESH);
    assert_eq!((harness.failures, harness.sync_state), (1, Some(SyncState::Syncing)));
}

#[test]
fn failing_apps_can_be_unbound_and_bound_again() {
    let mut harness = Harness::of(&["a", "b", "c", "c"]);
    harness.answers("a", &["10.0.0.1:80"]).fails("b").fails("c");
    assert_eq!((harness.sync_state, harness.skipped), (Some(SyncState::Synced), 2));
    // The app with units is unbound, so no app has units now.
    harness.bind(&["b", "c"]).sees(&[]);
    assert_eq!((harness.sync_state, harness.failures), (Some(SyncState::Disconnected), 0));
    harness.fails("b");
    assert_eq!(harness.failures, 1);
    harness.bind(&["a", "b"]).answers("a", &["10.0.0.1:80"]);
    assert_eq!((harness.sync_state, harness.skipped), (Some(SyncState::Synced), 1));
    harness.answers("b", &[]).sees(&["a 10.0.0.1:80"]);
    assert_eq!(harness.skipped, 0);
    // Both apps are scheduled once.
    harness.at(REFRESH);
    assert_eq!(harness.due(), ["a", "b"]);
}

#[test]
fn an_app_whose_units_lose_all_addresses_keeps_its_units_until_stale_after() {
    let mut harness = Harness::of(&["a", "b"]);
    harness.answers("a", &["10.0.0.1:80"]).answers("b", &["10.0.0.9:80"]);
    let no_address = || Ok(Some(AppUnits { skipped: 1, ..AppUnits::default() }));
    for seconds in (10..STALE_AFTER).step_by(10) {
        harness.at(seconds).answers("a", &["10.0.0.1:80"]);
        harness.states.apply(&app("b"), no_address(), harness.now);
        harness.report().sees(&["a 10.0.0.1:80", "b 10.0.0.9:80"]);
    }
    assert_eq!((harness.failed, harness.skipped), (11, 1));
    harness.at(STALE_AFTER).sees(&["a 10.0.0.1:80"]);
    // It has had no address since, so this is its state.
    harness.states.apply(&app("b"), no_address(), harness.now);
    harness.report();
    assert_eq!(
        (harness.failed, harness.skipped, harness.sync_state),
        (11, 1, Some(SyncState::Synced))
    );
    // An app without units has no endpoints.
    harness.answers("b", &["10.0.0.9:80"]).answers("b", &[]).sees(&["a 10.0.0.1:80"]);
}
