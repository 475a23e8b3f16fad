use super::*;
use crate::discovery::endpoint::Endpoint;

const REFRESH: u64 = 15;
const STALE_AFTER: u64 = 120;
const KEEP: u64 = 3600;

/// What is known, a clock that the test moves, and what the writer was told.
struct Story {
    known: Known,
    started: Instant,
    now: Instant,
    told: BTreeMap<Key, Entry>,
    standing: Option<Standing>,
    skipped: usize,
    failures: usize,
    /// Of the answers that failed, all are counted.
    failed: u64,
}

fn app(name: &str) -> TsuruApp {
    TsuruApp { name: name.to_owned(), ..TsuruApp::default() }
}

/// Units of `app` at these addresses, under its name.
fn units(name: &str, addresses: &[&str]) -> Told {
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
    Told { entries: addresses.iter().map(entry).collect(), ..Told::default() }
}

impl Story {
    fn of(apps: &[&str]) -> Self {
        let ages = Ages {
            refresh_interval: Duration::from_secs(REFRESH),
            stale_after: Duration::from_secs(STALE_AFTER),
            keep: Duration::from_secs(KEEP),
        };
        let now = Instant::now();
        let mut story = Self {
            known: Known::new(ages, DropLog::new("tsuru".into()), now),
            started: now,
            now,
            told: BTreeMap::new(),
            standing: None,
            skipped: 0,
            failures: 0,
            failed: 0,
        };
        story.bind(apps);
        story
    }

    fn bind(&mut self, apps: &[&str]) -> &mut Self {
        let apps: Vec<_> = apps.iter().map(|name| app(name)).collect();
        self.known.bind(&apps, self.now);
        self.report()
    }

    /// Moves the clock; what falls due on the way is dropped when it is due.
    fn at(&mut self, seconds: u64) -> &mut Self {
        let then = self.started + Duration::from_secs(seconds);
        while let Some(due) = self.known.next_due().filter(|due| *due <= then) {
            self.now = self.now.max(due);
            self.report();
        }
        self.now = then;
        self.report()
    }

    fn answers(&mut self, name: &str, addresses: &[&str]) -> &mut Self {
        self.known.take(&app(name), Ok(Some(units(name, addresses))), self.now);
        self.report()
    }

    fn is_gone(&mut self, name: &str) -> &mut Self {
        self.known.take(&app(name), Ok(None), self.now);
        self.report()
    }

    fn fails(&mut self, name: &str) -> &mut Self {
        self.known.take(&app(name), Err(SourceError::Status(500)), self.now);
        self.report()
    }

    /// As the writer takes it.
    fn report(&mut self) -> &mut Self {
        self.known.expire(self.now);
        if !self.known.has_news() {
            return self;
        }
        for report in self.known.report(self.now) {
            match report {
                Report::Changes(changes) => {
                    for change in changes.changes {
                        match change {
                            Change::Said(entry) => {
                                let address = entry.endpoint.as_ref().map(|it| it.address);
                                let key = (Arc::clone(&entry.route), address);
                                assert_ne!(self.told.insert(key, entry.clone()), Some(entry));
                            }
                            Change::Gone { route, address } => {
                                assert!(self.told.remove(&(route, address)).is_some());
                            }
                        }
                    }
                    self.failed += changes.failed;
                    (self.standing, self.skipped) = (Some(changes.standing), changes.skipped);
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
        let address = |key: &Key| format!("{} {}", key.0, key.1.unwrap());
        let seen: Vec<_> = self.told.keys().map(address).collect();
        assert_eq!(seen, expected);
        self
    }

    /// Whose turn it is now.
    fn asked(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.known.next_to_ask(self.now)).map(|app| app.name).collect()
    }
}

#[test]
fn a_new_app_is_asked_for_at_once_and_then_in_turn() {
    let mut story = Story::of(&["a"]);
    assert_eq!(story.asked(), ["a"]);
    assert!(story.asked().is_empty(), "it is being asked for");
    story.at(5).answers("a", &[]).bind(&["a", "b"]);
    assert_eq!(story.asked(), ["b"]);
    story.fails("b").at(5 + REFRESH);
    assert_eq!(story.asked(), ["a", "b"]);
    story.answers("a", &[]).fails("b");
    // Its hosts have changed.
    let hosts = vec!["h.example".to_owned()];
    story.known.bind(&[app("a"), TsuruApp { hosts, ..app("b") }], story.now);
    assert_eq!(story.asked(), ["b"]);
}

#[test]
fn units_come_and_go_with_the_answers_and_apps_with_their_bindings() {
    let mut story = Story::of(&["a", "b"]);
    story.answers("a", &["10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(story.standing, Some(Standing::Filling), "nothing is known of the other yet");
    story.answers("b", &["10.0.0.9:80"]);
    assert_eq!(story.standing, Some(Standing::Current));
    story.sees(&["a 10.0.0.1:80", "a 10.0.0.2:80", "b 10.0.0.9:80"]);
    story.answers("a", &["10.0.0.2:80", "10.0.0.3:80"]);
    story.sees(&["a 10.0.0.2:80", "a 10.0.0.3:80", "b 10.0.0.9:80"]);
    story.is_gone("b").sees(&["a 10.0.0.2:80", "a 10.0.0.3:80"]);
    story.answers("b", &["10.0.0.9:80"]).bind(&["b"]).sees(&["b 10.0.0.9:80"]);
    // It was asked for before it was unbound.
    story.answers("a", &["10.0.0.2:80"]).sees(&["b 10.0.0.9:80"]);
    story.bind(&[]).sees(&[]);
    assert_eq!((story.standing, story.failures), (Some(Standing::Current), 0));
}

#[test]
fn an_app_that_is_not_told_of_keeps_what_it_had_until_it_is_stale() {
    let mut story = Story::of(&["a", "b"]);
    story.answers("a", &["10.0.0.1:80"]).answers("b", &["10.0.0.9:80"]);
    for seconds in (10..STALE_AFTER).step_by(10) {
        story.at(seconds).answers("a", &["10.0.0.1:80"]).fails("b");
        story.sees(&["a 10.0.0.1:80", "b 10.0.0.9:80"]);
        assert_eq!((story.standing, story.skipped), (Some(Standing::Current), 1));
    }
    story.at(STALE_AFTER).sees(&["a 10.0.0.1:80"]);
    assert_eq!((story.failures, story.failed), (0, 11), "the API is here");
    story.answers("b", &["10.0.0.9:80"]).sees(&["a 10.0.0.1:80", "b 10.0.0.9:80"]);
    assert_eq!(story.skipped, 0);
}

#[test]
fn while_the_api_is_away_all_is_kept_for_longer() {
    let mut story = Story::of(&["a", "b"]);
    story.answers("a", &["10.0.0.1:80"]).answers("b", &["10.0.0.9:80"]);
    story.at(10).fails("a").fails("b");
    let both = ["a 10.0.0.1:80", "b 10.0.0.9:80"];
    story.at(KEEP - 100).fails("a").sees(&both);
    assert!(story.failures >= 2);
    // It is back, and has told of one; the other is not yet too old.
    story.answers("a", &["10.0.0.1:80"]).sees(&both);
    assert_eq!(story.standing, Some(Standing::Current));
    story.fails("b").at(KEEP + 10).sees(&both);
    story.at(KEEP - 100 + STALE_AFTER).sees(&["a 10.0.0.1:80"]);
    story.fails("a").at(2 * KEEP - 101).sees(&["a 10.0.0.1:80"]);
    story.at(2 * KEEP - 100).sees(&[]);
}

#[test]
fn that_all_is_as_it_was_is_told_again() {
    let mut story = Story::of(&[]);
    story.standing = None;
    story.at(REFRESH);
    assert_eq!(story.standing, Some(Standing::Current));
    let mut story = Story::of(&["a"]);
    story.fails("a").at(10 * REFRESH);
    assert_eq!((story.failures, story.standing), (1, Some(Standing::Filling)));
}

#[test]
fn apps_that_fail_may_be_unbound_and_bound_again() {
    let mut story = Story::of(&["a", "b", "c", "c"]);
    story.answers("a", &["10.0.0.1:80"]).fails("b").fails("c");
    assert_eq!((story.standing, story.skipped), (Some(Standing::Current), 2));
    // The one that was told of goes: nobody is told of now.
    story.bind(&["b", "c"]).sees(&[]);
    assert_eq!((story.standing, story.failures), (Some(Standing::Away), 0));
    story.fails("b");
    assert_eq!(story.failures, 1);
    story.bind(&["a", "b"]).answers("a", &["10.0.0.1:80"]);
    assert_eq!((story.standing, story.skipped), (Some(Standing::Current), 1));
    story.answers("b", &[]).sees(&["a 10.0.0.1:80"]);
    assert_eq!(story.skipped, 0);
    // Both turns are still known, each once.
    story.at(REFRESH);
    assert_eq!(story.asked(), ["a", "b"]);
}

#[test]
fn an_app_whose_units_lose_all_addresses_keeps_what_it_had_until_it_is_stale() {
    let mut story = Story::of(&["a", "b"]);
    story.answers("a", &["10.0.0.1:80"]).answers("b", &["10.0.0.9:80"]);
    let no_address = || Ok(Some(Told { skipped: 1, ..Told::default() }));
    for seconds in (10..STALE_AFTER).step_by(10) {
        story.at(seconds).answers("a", &["10.0.0.1:80"]);
        story.known.take(&app("b"), no_address(), story.now);
        story.report().sees(&["a 10.0.0.1:80", "b 10.0.0.9:80"]);
    }
    assert_eq!((story.failed, story.skipped), (11, 1));
    story.at(STALE_AFTER).sees(&["a 10.0.0.1:80"]);
    // It has never had an address since then: that is how it is.
    story.known.take(&app("b"), no_address(), story.now);
    story.report();
    assert_eq!((story.failed, story.skipped, story.standing), (11, 1, Some(Standing::Current)));
    // No units at all are none.
    story.answers("b", &["10.0.0.9:80"]).answers("b", &[]).sees(&["a 10.0.0.1:80"]);
}
