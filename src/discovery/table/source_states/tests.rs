use super::*;
use crate::{
    discovery::{
        RouteTable, Snapshot,
        report::Change,
        sources::{file, gorouter, nats, tsuru},
    },
    domain::{AppKey, Prefer},
};
use serde_json::{Value, json};
use std::time::Duration;

mod exclusive;

const STALE_AFTER: Duration = Duration::from_secs(120);
const KEEP: Duration = Duration::from_secs(3600);
const A: usize = 0;
const B: usize = 1;

/// Applies reports with a manual clock.
struct Harness {
    sources: SourceStates,
    now: Instant,
    started: Instant,
    /// Number of tables built.
    built: usize,
    table: RouteTable,
}

impl Harness {
    fn new(kinds: &[SourceKind]) -> Self {
        let retention = Retention {
            stale_after: STALE_AFTER,
            keep: KEEP,
            first_round: Duration::from_secs(15),
        };
        let named = |kind: &SourceKind| SourceName {
            kind: *kind,
            key: kind.key.into(),
            name: "source".into(),
        };
        let names: Vec<_> = kinds.iter().map(named).collect();
        let now = Instant::now();
        let sources = SourceStates::new(retention, &names, now);
        Self { sources, now, started: now, built: 0, table: RouteTable::new(Snapshot::default()) }
    }

    /// Moves the clock. Expired routes are dropped at the time when they expire.
    fn at(&mut self, seconds: u64) -> &mut Self {
        let then = self.started + Duration::from_secs(seconds);
        assert!(then >= self.now, "the clock goes forward");
        while let Some(due) = self.sources.next_due().filter(|due| *due <= then) {
            self.now = self.now.max(due);
            let changed = self.sources.expire(self.now);
            assert!(changed, "an expiry changes the table");
            self.publish(changed);
        }
        self.now = then;
        self
    }

    fn apply(&mut self, source: usize, report: Report) -> &mut Self {
        let changed = self.sources.apply(source, report, self.now);
        let dropped = self.sources.expire(self.now);
        self.publish(changed || dropped);
        self
    }

    fn reports_table(&mut self, source: usize, routes: &Value) -> &mut Self {
        self.apply(source, Report::Full(routes.to_string().into_bytes()))
    }

    fn fails(&mut self, source: usize) -> &mut Self {
        self.apply(source, Report::Failure(SourceError::Status(502)))
    }

    fn publish(&mut self, changed: bool) {
        if changed {
            self.built += 1;
            let before = self.table.snapshot();
            let index = Arc::new(self.sources.build(&before.index));
            self.table.publish(Snapshot { index, sources: self.sources.status() });
        }
        self.check_that_nothing_was_missed();
    }

    /// Checks that a table built from scratch is the same.
    fn check_that_nothing_was_missed(&mut self) {
        let keys = self.sources.sources.iter().flat_map(|source| source.claims.keys());
        self.sources.outdated = keys.map(|(route, _)| Arc::clone(route)).collect();
        let index = Arc::new(self.sources.build(&Index::default()));
        let shown = self.shows();
        let sizes = (self.table.snapshot().size(), index.size());
        let anew = Snapshot { index, sources: Vec::new() };
        let published = std::mem::replace(&mut self.table, RouteTable::new(anew));
        assert_eq!(self.shows(), shown);
        assert_eq!(sizes.0, sizes.1);
        self.table = published;
    }

    /// All endpoints: route, address, app, instance.
    fn shows(&self) -> Vec<String> {
        let snapshot = self.table.snapshot();
        let lines = snapshot.routes().flat_map(|(route, endpoints)| {
            endpoints.iter().map(move |e| {
                let id = e.process_instance_id.as_deref().unwrap_or("-");
                format!("{route} {} {} {id}", e.address, e.app.id)
            })
        });
        lines.collect()
    }
}

fn endpoint(app: &str, port: u16, instance: &str) -> Value {
    let tags = json!({"app_id": app, "process_instance_id": instance});
    json!({"address": format!("10.0.0.1:{port}"), "tags": tags})
}

/// Routes `r1`, `r2`, … each with one endpoint of app `a` on the port of its number.
fn routes(numbers: impl IntoIterator<Item = u16>) -> Value {
    let route = |n: u16| (format!("r{n:02}"), json!([endpoint("a", n, &format!("i{n}"))]));
    Value::Object(numbers.into_iter().map(route).collect())
}

fn lines(numbers: impl IntoIterator<Item = u16>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("r{n:02} 10.0.0.1:{n} a i{n}")).collect()
}

#[test]
fn an_endpoint_that_its_source_omits_is_removed_immediately() {
    for kind in [gorouter::KIND, file::KIND] {
        let mut harness = Harness::new(&[kind]);
        harness.reports_table(A, &routes(1..=4));
        assert_eq!(harness.shows(), lines(1..=4));
        harness.at(15).reports_table(A, &routes([1, 2, 4]));
        assert_eq!(harness.shows(), lines([1, 2, 4]), "{kind:?}");
    }
}

#[test]
fn routes_of_an_unavailable_source_expire_after_its_last_successful_report() {
    let mut harness = Harness::new(&[gorouter::KIND, gorouter::KIND]);
    harness.reports_table(A, &routes([1])).reports_table(B, &routes([2]));
    harness.at(15).fails(A).reports_table(B, &routes([2]));
    assert_eq!(harness.at(119).shows(), lines([1, 2]));
    assert_eq!(harness.at(120).shows(), lines([2]));
    harness.at(130).reports_table(A, &routes([1]));
    assert_eq!(harness.shows(), lines([1, 2]));
}

#[test]
fn while_all_sources_are_unavailable_the_table_is_served_until_keep() {
    let mut harness = Harness::new(&[gorouter::KIND, gorouter::KIND]);
    harness.reports_table(A, &routes([1])).at(10).reports_table(B, &routes([2]));
    harness.at(15).fails(A).fails(B).at(600).fails(A);
    assert_eq!(harness.at(3609).shows(), lines([1, 2]));
    assert!(harness.at(3610).shows().is_empty());
    assert_eq!(harness.sources.next_due(), None);
    assert_ne!(harness.table.snapshot().sources().count(), 0);
    harness.at(4000).reports_table(A, &routes([1]));
    assert_eq!(harness.shows(), lines([1]));
}

#[test]
fn a_recovered_source_ends_the_extended_lifetime_of_the_others() {
    let mut harness = Harness::new(&[gorouter::KIND, gorouter::KIND]);
    harness.reports_table(A, &routes([1])).reports_table(B, &routes([2])).at(15).fails(A).fails(B);
    assert_eq!(harness.at(600).shows(), lines([1, 2]));
    harness.reports_table(B, &routes([2]));
    assert_eq!(harness.shows(), lines([2]));
}

#[test]
fn an_available_source_does_not_expire_between_polls() {
    let mut harness = Harness::new(&[file::KIND]);
    harness.reports_table(A, &routes([1]));
    assert_eq!(harness.at(100_000).shows(), lines([1]));
}

#[test]
fn changed_fields_of_an_instance_are_applied() {
    let mut harness = Harness::new(&[gorouter::KIND]);
    harness.reports_table(A, &routes([1]));
    let mut changed = endpoint("a", 1, "i1");
    changed["tls"] = json!(true);
    changed["protocol"] = json!("http2");
    changed["tags"]["process_type"] = json!("worker");
    harness.at(15).reports_table(A, &json!({"r1": [changed]}));
    let snapshot = harness.table.snapshot();
    let (_, endpoints) = snapshot.routes().next().unwrap();
    let endpoint = &endpoints[0];
    assert!(endpoint.tls && endpoint.http2);
    assert_eq!(&*endpoint.process_type, "worker");
}

#[test]
fn a_route_without_instances_expires_with_its_source() {
    let mut harness = Harness::new(&[gorouter::KIND]);
    harness.reports_table(A, &json!({"r1": [], "r2": [endpoint("a", 2, "i2")]}));
    assert_eq!(harness.table.snapshot().routes().count(), 2);
    harness.at(15).reports_table(A, &routes([2]));
    assert_eq!(harness.table.snapshot().routes().count(), 1);
}

fn snapshot(harness: &Harness) -> Snapshot {
    Snapshot { sources: harness.sources.status(), ..Snapshot::default() }
}

#[test]
fn the_first_table_of_any_configured_source_is_enough() {
    assert!(snapshot(&Harness::new(&[])).has_table());
    assert!(snapshot(&Harness::new(&[tsuru::HOSTS])).has_table(), "none is configured");
    let mut harness = Harness::new(&[gorouter::KIND, gorouter::KIND, nats::KIND, tsuru::HOSTS]);
    assert!(!snapshot(&harness).has_table());
    assert!(!snapshot(harness.fails(A)).has_table());
    harness.at(10 * STALE_AFTER.as_secs());
    assert!(!snapshot(&harness).has_table(), "time alone is no table");
    harness.apply(3, exclusive::harness("tsuru:b", "10.0.0.2:80"));
    assert!(!snapshot(&harness).has_table(), "bound apps are not a configured source");
    assert!(snapshot(harness.reports_table(B, &json!({}))).has_table());
    assert!(snapshot(harness.fails(B).at(3 * KEEP.as_secs())).has_table(), "it is earned once");
    let waiting: Vec<_> = snapshot(&harness).waiting_for().map(|it| it.kind).collect();
    assert_eq!(waiting, [gorouter::KIND, nats::KIND]);
}

#[test]
fn routes_of_a_kind_are_known_while_one_source_has_them_in_the_table() {
    let unknown = |harness: &Harness| {
        let unknown = snapshot(harness).unknown_routes(Duration::MAX);
        unknown.into_iter().map(|it| (it.kind, it.is_filling)).collect::<Vec<_>>()
    };
    let mut harness = Harness::new(&[gorouter::KIND, gorouter::KIND, nats::KIND, tsuru::UNITS]);
    let all = [(gorouter::KIND, false), (nats::KIND, false), (tsuru::UNITS, false)];
    assert_eq!(unknown(&harness), all);
    harness
        .fails(A)
        .reports_table(B, &routes([1]))
        .apply(3, exclusive::harness("tsuru:b", "10.0.0.2:80"));
    assert_eq!(unknown(&harness), [(nats::KIND, false)], "one gorouter is enough");
    harness.apply(2, exclusive::report("r9", "10.0.0.9:80", SyncState::Syncing));
    assert_eq!(unknown(&harness), [(nats::KIND, true)]);
    harness.apply(2, exclusive::report("r9", "10.0.0.9:80", SyncState::Synced));
    assert_eq!(unknown(&harness), []);
    // The routers' endpoints expire while another source is available.
    harness.fails(B).at(STALE_AFTER.as_secs() - 1);
    assert_eq!(unknown(&harness), []);
    harness.at(STALE_AFTER.as_secs());
    assert_eq!(unknown(&harness), [(gorouter::KIND, false)]);
    assert_eq!(unknown(harness.reports_table(A, &routes([1]))), []);
}

#[test]
fn a_table_is_complete_after_a_report_of_each_source() {
    let complete = |harness: &Harness| snapshot(harness).is_complete();
    assert!(complete(&Harness::new(&[])));
    let mut harness = Harness::new(&[gorouter::KIND, file::KIND]);
    assert!(!complete(&harness));
    assert!(!complete(harness.reports_table(A, &routes([1]))));
    assert!(!complete(harness.fails(B)));
    assert!(complete(harness.reports_table(B, &json!({}))));
    assert!(complete(harness.fails(B)), "it is earned once");
}

#[test]
fn a_dead_or_stale_router_hides_no_routes() {
    let mut harness = Harness::new(&[gorouter::KIND, gorouter::KIND, gorouter::KIND]);
    harness.fails(A).reports_table(B, &json!({"r1": [endpoint("a", 1, "i1")], "r3": []}));
    harness
        .reports_table(2, &json!({"r1": [endpoint("a", 2, "i2")], "r3": [endpoint("a", 3, "i3")]}));
    let expected = ["r1 10.0.0.1:1 a i1", "r1 10.0.0.1:2 a i2", "r3 10.0.0.1:3 a i3"];
    assert_eq!(harness.shows(), expected);
    let answer = b"<html>502</html>".to_vec();
    harness.at(15).apply(B, Report::Full(answer)).reports_table(B, &json!({"r1": []}));
    assert_eq!(harness.at(110).shows(), expected, "it may be filling");
    harness.at(120);
    assert_eq!(harness.shows(), expected[1..]);
}

#[test]
fn routes_that_a_restarted_router_omits_are_retained() {
    let mut harness = Harness::new(&[gorouter::KIND]);
    harness.reports_table(A, &routes(1..=10)).at(15).reports_table(A, &routes(1..=10));
    harness.at(30).reports_table(A, &json!({}));
    assert_eq!(harness.shows(), lines(1..=10));
    harness.at(45).reports_table(A, &routes(1..=4));
    assert_eq!(harness.shows(), lines(1..=10));
    // The table is half full: other routes may still follow.
    harness.at(60).reports_table(A, &routes([1, 2, 3, 5, 6, 7]));
    assert_eq!(
        harness.shows(),
        lines([1, 2, 3, 5, 6, 7, 8, 9, 10]),
        "4 was listed for another instance"
    );
    assert_eq!(harness.at(134).shows().len(), 9);
    // Last confirmed at 15 by an identical report.
    assert_eq!(harness.at(135).shows(), lines([1, 2, 3, 5, 6, 7]));
}

#[test]
fn a_small_file_is_a_complete_report() {
    let mut harness = Harness::new(&[file::KIND]);
    harness.reports_table(A, &routes(1..=10)).at(15).reports_table(A, &json!({}));
    assert!(harness.shows().is_empty());
}

#[test]
fn an_address_listed_for_another_instance_is_not_retained() {
    let mut harness = Harness::new(&[gorouter::KIND]);
    harness.reports_table(A, &routes(1..=10));
    harness.at(15).reports_table(A, &json!({"other": [endpoint("b", 1, "new")]}));
    let mut expected = vec!["other 10.0.0.1:1 b new".to_owned()];
    expected.extend(lines(2..=10));
    assert_eq!(harness.shows(), expected);
    // It does not come back when the new instance disappears.
    harness.at(30).reports_table(A, &json!({"next": [endpoint("b", 99, "next")]}));
    expected[0] = "next 10.0.0.1:99 b next".to_owned();
    assert_eq!(harness.shows(), expected);
}

#[test]
fn a_reused_address_belongs_to_the_new_instance() {
    let mut harness = Harness::new(&[gorouter::KIND, gorouter::KIND]);
    let old = json!({"r1": [endpoint("a", 1, "old")], "r2": [endpoint("a", 1, "old")]});
    let new = json!({"r1": [endpoint("a", 1, "new")], "r2": [endpoint("a", 1, "new")]});
    let expected = ["r1 10.0.0.1:1 a new", "r2 10.0.0.1:1 a new"];
    for (learns, misses) in [(A, B), (B, A)] {
        let mut harness = Harness::new(&[gorouter::KIND, gorouter::KIND]);
        harness.reports_table(A, &old).reports_table(B, &old).at(15).reports_table(learns, &new);
        assert_eq!(harness.shows(), expected);
        // The stale router reports last and reports other changes, which proves nothing about this
        // address.
        let mut other = old.clone();
        other["r3"] = json!([]);
        harness
            .at(16)
            .reports_table(misses, &other)
            .at(30)
            .reports_table(learns, &new)
            .reports_table(misses, &old);
        assert_eq!(harness.shows(), expected, "{learns} knows");
    }
    harness.at(5).reports_table(A, &old).at(10).reports_table(B, &new);
    assert_eq!(harness.shows()[0], "r1 10.0.0.1:1 a old", "first reports count as simultaneous");
    let mut harness = Harness::new(&[gorouter::KIND, gorouter::KIND]);
    harness.at(5).reports_table(A, &old).at(20).reports_table(B, &new);
    assert_eq!(harness.shows()[0], "r1 10.0.0.1:1 a new", "the later report is newer");
}

#[test]
fn an_address_under_a_new_route_is_removed_from_the_old_app() {
    let mut harness = Harness::new(&[gorouter::KIND, gorouter::KIND]);
    harness.reports_table(A, &routes([1, 2])).reports_table(B, &routes([1, 2]));
    let reused = json!({"new": [endpoint("b", 1, "n")], "r02": [endpoint("a", 2, "i2")]});
    harness.at(15).reports_table(A, &reused);
    assert_eq!(harness.shows(), ["new 10.0.0.1:1 b n", "r02 10.0.0.1:2 a i2"]);
}

#[test]
fn claims_of_equal_rank_both_stay_under_their_routes() {
    let mut harness = Harness::new(&[gorouter::KIND]);
    harness
        .reports_table(A, &json!({"r1": [endpoint("a", 1, "i")], "r2": [endpoint("b", 1, "j")]}));
    assert_eq!(harness.shows(), ["r1 10.0.0.1:1 a i", "r2 10.0.0.1:1 b j"]);
}

#[test]
fn an_available_source_wins_over_an_unavailable_one() {
    let mut harness = Harness::new(&[gorouter::KIND, gorouter::KIND]);
    let (one, two) = (json!({"r": [endpoint("a", 1, "x")]}), json!({"r": [endpoint("a", 1, "y")]}));
    harness.reports_table(A, &one).reports_table(B, &one).at(15).reports_table(A, &two);
    assert_eq!(harness.shows(), ["r 10.0.0.1:1 a y"]);
    harness.at(30).fails(A);
    assert_eq!(harness.shows(), ["r 10.0.0.1:1 a x"]);
    harness.at(45).reports_table(A, &two);
    assert_eq!(harness.shows(), ["r 10.0.0.1:1 a y"]);
}

#[test]
fn a_current_claim_wins_over_a_retained_claim() {
    let mut harness = Harness::new(&[gorouter::KIND, gorouter::KIND]);
    let (one, two) = (json!({"r": [endpoint("a", 1, "x")]}), json!({"r": [endpoint("a", 1, "y")]}));
    harness.reports_table(A, &one).reports_table(B, &one).at(15).reports_table(A, &two);
    assert_eq!(harness.shows(), ["r 10.0.0.1:1 a y"]);
    harness.at(30).reports_table(A, &json!({}));
    assert_eq!(harness.shows(), ["r 10.0.0.1:1 a x"]);
}

#[test]
fn the_stale_router_of_the_samples_hides_no_routes() {
    let full = include_bytes!("../../../../tests/fixtures/routes/full.json").to_vec();
    let stale =
        include_bytes!("../../../../tests/fixtures/routes/second_router_stale.json").to_vec();
    let mut harness = Harness::new(&[gorouter::KIND, gorouter::KIND]);
    harness.apply(B, Report::Full(stale)).apply(A, Report::Full(full.clone()));
    let snapshot = harness.table.snapshot();
    let jobs = snapshot.app("4d0c1f4a-8f0e-4a56-8a53-0d6a7b1c2003").unwrap();
    let id = jobs.endpoints[0].process_instance_id.as_deref();
    assert_eq!(
        id,
        Some("7e57ab1e-0006-4b1d-9006-c0ffee000006"),
        "as the first router reports_table"
    );
    let key = AppKey::parse("acme/prod/shop", Prefer::Name).unwrap();
    assert_eq!(snapshot.find(&key)[0].endpoints.len(), 4, "the stale one is for TLS to find out");
    harness.at(15).apply(A, Report::Full(full)).fails(B);
    assert_eq!(harness.at(120).table.snapshot().find(&key)[0].endpoints.len(), 3);
}

#[test]
fn an_identical_report_refreshes_the_age_without_a_rebuild() {
    let mut harness = Harness::new(&[gorouter::KIND]);
    harness.reports_table(A, &routes(1..=3));
    let built = harness.built;
    harness.at(15).reports_table(A, &routes(1..=3)).at(30).apply(A, Report::Unchanged);
    assert_eq!(harness.built, built);
    let status = harness.sources.status();
    assert_eq!(status[A].last_answer, Some(harness.now));
    // The same table in another format changes times but not the table.
    let [one, two, three] = [1, 2, 3].map(|n| routes([n])[format!("r{n:02}")].clone());
    harness.at(45).reports_table(A, &json!({"r03": three, "R01/": one, "r02?x": two}));
    assert_eq!(harness.built, built);
}

#[test]
fn after_a_broken_report_the_last_table_stays_and_the_error_does_not_quote_it() {
    let mut harness = Harness::new(&[file::KIND]);
    harness.reports_table(A, &routes([1]));
    harness.at(15).apply(A, Report::Full(b"{\"secret\": [".to_vec()));
    assert_eq!(harness.shows(), lines([1]));
    let status = &harness.sources.status()[A];
    assert_eq!(status.failure.as_deref(), Some("the route table is incomplete"));
    assert_eq!((status.failed, status.endpoints), (1, 1));
    // A file that is still broken does not count as a successful report.
    harness.at(16).apply(A, Report::Unchanged);
    assert!(harness.sources.status()[A].failure.is_some());
    assert_eq!(harness.sources.status()[A].last_answer, Some(harness.started));
    harness.at(17).reports_table(A, &routes([1]));
    assert!(harness.sources.status()[A].failure.is_none());
}

#[test]
fn an_identical_report_after_expiry_is_applied() {
    let mut harness = Harness::new(&[gorouter::KIND]);
    harness.reports_table(A, &routes([1])).at(15).fails(A).at(4000);
    assert!(harness.shows().is_empty());
    harness.reports_table(A, &routes([1]));
    assert_eq!(harness.shows(), lines([1]));
}

#[test]
fn unlimited_lifetimes_never_expire() {
    let mut harness = Harness::new(&[gorouter::KIND]);
    harness.sources.retention.keep = Duration::MAX;
    harness.reports_table(A, &routes([1])).at(15).fails(A);
    assert_eq!(harness.sources.next_due(), None);
    assert!(!harness.sources.expire(harness.now));
}

proptest::proptest! {
    /// [`Harness`] compares each incrementally built table with one that is built from scratch.
    #[test]
    fn an_incremental_table_equals_one_built_from_scratch(
        steps in proptest::collection::vec(
            (0usize..4, 0u8..4, proptest::collection::vec((0u8..4, 1u16..4, 0u8..3), 0..6), 0u64..200),
            1..25,
        )
    ) {
        let mut harness = Harness::new(&[file::KIND, gorouter::KIND, gorouter::KIND, nats::KIND]);
        let mut seconds = 0;
        for (source, what, change, pause) in steps {
            seconds += pause;
            harness.at(seconds);
            match (what, source) {
                (0, _) => drop(harness.fails(source)),
                (_, 3) => {
                    let changes = change.iter().map(|(route, port, id)| {
                        let route: Arc<str> = format!("r{route}").into();
                        let address = format!("10.0.0.1:{port}").parse().unwrap();
                        let change = json!({&*route: [endpoint("a", *port, &format!("i{id}"))]});
                        let change = crate::discovery::parse(change.to_string().as_bytes()).unwrap();
                        match what {
                            1 => Change::Removed((route, Some(address))),
                            _ => Change::Set(change.entries[0].clone()),
                        }
                    });
                    let changes = changes.collect();
                    let sync_state = SyncState::Synced;
                    let report = Changes { changes, sync_state, failed: 0, skipped: 0, without_app: 0 };
                    harness.apply(source, Report::Changes(report));
                }
                _ => {
                    let mut routes = json!({});
                    for (route, port, id) in change {
                        let app = if id == 0 { "b" } else { "a" };
                        let endpoint = endpoint(app, port, &format!("i{id}"));
                        let pool = &mut routes[format!("r{route}")];
                        match pool.as_array_mut() {
                            Some(pool) => pool.push(endpoint),
                            None => *pool = json!([endpoint]),
                        }
                    }
                    harness.reports_table(source, &routes);
                }
            }
        }
    }
}

#[test]
fn nats_reports_changes_and_expires_its_own_routes() {
    let change = |port: u16| {
        let change = json!({"r": [endpoint("a", port, "i")]});
        let change = crate::discovery::parse(change.to_string().as_bytes()).unwrap();
        Change::Set(change.entries[0].clone())
    };
    let changes_report = |changes, sync_state| {
        Report::Changes(Changes { changes, sync_state, failed: 0, skipped: 3, without_app: 2 })
    };
    let mut harness = Harness::new(&[gorouter::KIND, nats::KIND]);
    harness
        .reports_table(A, &json!({}))
        .apply(B, changes_report(vec![change(1)], SyncState::Syncing));
    assert!(!harness.table.snapshot().is_complete(), "it has not listened for a full period");
    assert_eq!(harness.shows(), ["r 10.0.0.1:1 a i"]);
    harness.apply(B, changes_report(vec![], SyncState::Synced));
    harness.apply(A, Report::Unchanged);
    let status = harness.sources.status();
    assert_eq!((status[B].endpoints, status[B].skipped, status[B].without_app), (1, 3, 2));
    // Disconnected for longer than any limit: the source expires its own routes.
    harness.fails(B).at(3000).reports_table(A, &json!({}));
    harness.apply(B, changes_report(vec![change(2)], SyncState::Disconnected));
    assert_eq!(harness.shows(), ["r 10.0.0.1:1 a i", "r 10.0.0.1:2 a i"]);
    assert!(harness.sources.status()[B].failure.is_some());
    harness.apply(B, Report::StillUnavailable(SourceError::Status(503)));
    assert_eq!(harness.sources.status()[B].failed, 1);
    let removal = Change::Removed(("r".into(), "10.0.0.1:1".parse().ok()));
    harness.apply(B, changes_report(vec![removal], SyncState::Syncing));
    assert_eq!(harness.shows(), ["r 10.0.0.1:2 a i"]);
    assert!(harness.sources.status()[B].failure.is_none());
}
