use super::*;
use crate::discovery::{RouteTable, Snapshot};
use crate::domain::{AppKey, Prefer};
use serde_json::{Value, json};

mod apart;

const STALE_AFTER: Duration = Duration::from_secs(120);
const KEEP: Duration = Duration::from_secs(3600);
const A: usize = 0;
const B: usize = 1;

/// Sources driven by hand: a clock that the test moves, and what it shows.
struct Told {
    sources: Sources,
    now: Instant,
    started: Instant,
    /// Tables that were built.
    built: usize,
    table: RouteTable,
}

impl Told {
    fn new(kinds: &[Kind]) -> Self {
        let ages =
            Ages { stale_after: STALE_AFTER, keep: KEEP, first_round: Duration::from_secs(15) };
        let named =
            |kind: &Kind| Named { kind: *kind, key: kind.key().into(), name: "source".into() };
        let names: Vec<_> = kinds.iter().map(named).collect();
        let now = Instant::now();
        let sources = Sources::new(ages, &names, now);
        Self { sources, now, started: now, built: 0, table: RouteTable::new(Snapshot::default()) }
    }

    /// Moves the clock; what falls due on the way is dropped when it is due.
    fn at(&mut self, seconds: u64) -> &mut Self {
        let then = self.started + Duration::from_secs(seconds);
        assert!(then >= self.now, "the clock goes forward");
        while let Some(due) = self.sources.next_due().filter(|due| *due <= then) {
            self.now = self.now.max(due);
            let changed = self.sources.expire(self.now);
            assert!(changed, "what is due changes something");
            self.publish(changed);
        }
        self.now = then;
        self
    }

    fn hear(&mut self, source: usize, report: Report) -> &mut Self {
        let changed = self.sources.take(source, report, self.now);
        let dropped = self.sources.expire(self.now);
        self.publish(changed || dropped);
        self
    }

    fn says(&mut self, source: usize, routes: &Value) -> &mut Self {
        self.hear(source, Report::Answer(routes.to_string().into_bytes()))
    }

    fn fails(&mut self, source: usize) -> &mut Self {
        self.hear(source, Report::Failure(SourceError::Status(502)))
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

    /// Built from nothing, the table would be the same.
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

    /// Every scrapeable endpoint: route, address, app, instance.
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

/// promfetcher, gap 1: what is no longer named is no longer there.
#[test]
fn gap_1_an_endpoint_that_its_source_no_longer_names_goes_at_once() {
    for kind in [Kind::Router, Kind::File] {
        let mut told = Told::new(&[kind]);
        told.says(A, &routes(1..=4));
        assert_eq!(told.shows(), lines(1..=4));
        told.at(15).says(A, &routes([1, 2, 4]));
        assert_eq!(told.shows(), lines([1, 2, 4]), "{kind:?}");
    }
}

/// promfetcher, gap 1: the stale age is compared with the clock.
#[test]
fn gap_1_what_an_away_source_said_goes_stale_after_its_last_good_answer() {
    let mut told = Told::new(&[Kind::Router, Kind::Router]);
    told.says(A, &routes([1])).says(B, &routes([2]));
    told.at(15).fails(A).says(B, &routes([2]));
    assert_eq!(told.at(119).shows(), lines([1, 2]));
    assert_eq!(told.at(120).shows(), lines([2]));
    told.at(130).says(A, &routes([1]));
    assert_eq!(told.shows(), lines([1, 2]));
}

/// promfetcher, gap 1: when every refresh fails, the last table serves within a limit.
#[test]
fn gap_1_the_last_table_serves_for_keep_while_every_source_is_away_and_then_is_empty() {
    let mut told = Told::new(&[Kind::Router, Kind::Router]);
    told.says(A, &routes([1])).at(10).says(B, &routes([2]));
    told.at(15).fails(A).fails(B).at(600).fails(A);
    assert_eq!(told.at(3609).shows(), lines([1, 2]));
    assert!(told.at(3610).shows().is_empty());
    assert_eq!(told.sources.next_due(), None);
    assert!(!told.table.snapshot().sources().is_empty());
    told.at(4000).says(A, &routes([1]));
    assert_eq!(told.shows(), lines([1]));
}

#[test]
fn a_source_that_returns_ends_the_grace_of_those_still_away() {
    let mut told = Told::new(&[Kind::Router, Kind::Router]);
    told.says(A, &routes([1])).says(B, &routes([2])).at(15).fails(A).fails(B);
    assert_eq!(told.at(600).shows(), lines([1, 2]));
    told.says(B, &routes([2]));
    assert_eq!(told.shows(), lines([2]));
}

#[test]
fn a_source_that_is_here_is_not_stale_however_rarely_it_is_asked() {
    let mut told = Told::new(&[Kind::File]);
    told.says(A, &routes([1]));
    assert_eq!(told.at(100_000).shows(), lines([1]));
}

/// promfetcher, gap 4: a new TLS flag, protocol or process type of a known instance counts.
#[test]
fn gap_4_what_changes_about_an_instance_is_taken_over() {
    let mut told = Told::new(&[Kind::Router]);
    told.says(A, &routes([1]));
    let mut changed = endpoint("a", 1, "i1");
    changed["tls"] = json!(true);
    changed["protocol"] = json!("http2");
    changed["tags"]["process_type"] = json!("worker");
    told.at(15).says(A, &json!({"r1": [changed]}));
    let snapshot = told.table.snapshot();
    let (_, endpoints) = snapshot.routes().next().unwrap();
    let endpoint = &endpoints[0];
    assert!(endpoint.tls && endpoint.http2);
    assert_eq!(&*endpoint.process_type, "worker");
}

/// promfetcher, gap 5: no empty route stays behind.
#[test]
fn gap_5_a_route_without_instances_leaves_the_table_with_its_source() {
    let mut told = Told::new(&[Kind::Router]);
    told.says(A, &json!({"r1": [], "r2": [endpoint("a", 2, "i2")]}));
    assert_eq!(told.table.snapshot().routes().count(), 2);
    told.at(15).says(A, &routes([2]));
    assert_eq!(told.table.snapshot().routes().count(), 1);
}

fn snapshot(told: &Told) -> Snapshot {
    Snapshot { sources: told.sources.status(), ..Snapshot::default() }
}

#[test]
fn the_first_table_of_any_configured_source_is_enough_to_be_ready() {
    assert!(snapshot(&Told::new(&[])).has_table());
    assert!(snapshot(&Told::new(&[Kind::ApartIfAny])).has_table(), "none is configured");
    let mut told = Told::new(&[Kind::Router, Kind::Router, Kind::Bus, Kind::ApartIfAny]);
    assert!(!snapshot(&told).has_table());
    assert!(!snapshot(told.fails(A)).has_table());
    told.at(10 * STALE_AFTER.as_secs());
    assert!(!snapshot(&told).has_table(), "time alone is no table");
    told.hear(3, apart::told("tsuru:b", "10.0.0.2:80"));
    assert!(!snapshot(&told).has_table(), "what bindings name is no configured source");
    assert!(snapshot(told.says(B, &json!({}))).has_table());
    assert!(snapshot(told.fails(B).at(3 * KEEP.as_secs())).has_table(), "it is earned once");
    let waiting: Vec<_> = snapshot(&told).waiting_for().map(|it| it.kind).collect();
    assert_eq!(waiting, [Kind::Router, Kind::Bus]);
}

#[test]
fn the_routes_of_a_kind_are_known_while_one_of_its_sources_has_them_in_the_table() {
    let unknown = |told: &Told| {
        let unknown = snapshot(told).unknown_routes(Duration::MAX);
        unknown.into_iter().map(|it| (it.kind, it.is_filling)).collect::<Vec<_>>()
    };
    let mut told = Told::new(&[Kind::Router, Kind::Router, Kind::Bus, Kind::Apart]);
    let all = [(Kind::Router, false), (Kind::Bus, false), (Kind::Apart, false)];
    assert_eq!(unknown(&told), all);
    told.fails(A).says(B, &routes([1])).hear(3, apart::told("tsuru:b", "10.0.0.2:80"));
    assert_eq!(unknown(&told), [(Kind::Bus, false)], "one gorouter is enough");
    told.hear(2, apart::report("r9", "10.0.0.9:80", Standing::Filling));
    assert_eq!(unknown(&told), [(Kind::Bus, true)]);
    told.hear(2, apart::report("r9", "10.0.0.9:80", Standing::Current));
    assert_eq!(unknown(&told), []);
    // The routers' endpoints are dropped while another source is heard.
    told.fails(B).at(STALE_AFTER.as_secs() - 1);
    assert_eq!(unknown(&told), []);
    told.at(STALE_AFTER.as_secs());
    assert_eq!(unknown(&told), [(Kind::Router, false)]);
    assert_eq!(unknown(told.says(A, &routes([1]))), []);
}

/// promfetcher, gap 6: readiness waits until each source has been heard.
#[test]
fn gap_6_a_table_is_complete_when_every_source_has_answered_once() {
    let complete = |told: &Told| snapshot(told).is_complete();
    assert!(complete(&Told::new(&[])));
    let mut told = Told::new(&[Kind::Router, Kind::File]);
    assert!(!complete(&told));
    assert!(!complete(told.says(A, &routes([1]))));
    assert!(!complete(told.fails(B)));
    assert!(complete(told.says(B, &json!({}))));
    assert!(complete(told.fails(B)), "it is earned once");
}

/// promfetcher, gap 9: tables are united, so a stale gorouter hides nobody's instances.
#[test]
fn gap_9_a_dead_or_stale_router_neither_hides_nor_deletes_what_another_says() {
    let mut told = Told::new(&[Kind::Router, Kind::Router, Kind::Router]);
    told.fails(A).says(B, &json!({"r1": [endpoint("a", 1, "i1")], "r3": []}));
    told.says(2, &json!({"r1": [endpoint("a", 2, "i2")], "r3": [endpoint("a", 3, "i3")]}));
    let expected = ["r1 10.0.0.1:1 a i1", "r1 10.0.0.1:2 a i2", "r3 10.0.0.1:3 a i3"];
    assert_eq!(told.shows(), expected);
    let answer = b"<html>502</html>".to_vec();
    told.at(15).hear(B, Report::Answer(answer)).says(B, &json!({"r1": []}));
    assert_eq!(told.at(110).shows(), expected, "it may be filling");
    told.at(120);
    assert_eq!(told.shows(), expected[1..]);
}

/// promfetcher, gap 9: a gorouter that has just started replaces no good table.
#[test]
fn gap_9_a_router_that_was_just_restarted_keeps_what_it_has_not_learned_again() {
    let mut told = Told::new(&[Kind::Router]);
    told.says(A, &routes(1..=10)).at(15).says(A, &routes(1..=10));
    told.at(30).says(A, &json!({}));
    assert_eq!(told.shows(), lines(1..=10));
    told.at(45).says(A, &routes(1..=4));
    assert_eq!(told.shows(), lines(1..=10));
    // Half filled: the rest may still come, whatever the answers name.
    told.at(60).says(A, &routes([1, 2, 3, 5, 6, 7]));
    assert_eq!(told.shows(), lines([1, 2, 3, 5, 6, 7, 8, 9, 10]), "4 was named, and is gone");
    assert_eq!(told.at(134).shows().len(), 9);
    // Last named at 15, or rather confirmed by the same answer then.
    assert_eq!(told.at(135).shows(), lines([1, 2, 3, 5, 6, 7]));
}

/// promfetcher, gap 9: the same caution is not used on files, which mean what they say.
#[test]
fn gap_9_a_file_means_what_it_says_even_if_that_is_little() {
    let mut told = Told::new(&[Kind::File]);
    told.says(A, &routes(1..=10)).at(15).says(A, &json!({}));
    assert!(told.shows().is_empty());
}

/// promfetcher, gap 3: an address that somebody else got leaves its old app.
#[test]
fn gap_3_an_address_that_is_named_for_another_instance_is_not_kept_for_the_old_one() {
    let mut told = Told::new(&[Kind::Router]);
    told.says(A, &routes(1..=10));
    told.at(15).says(A, &json!({"other": [endpoint("b", 1, "new")]}));
    let mut expected = vec!["other 10.0.0.1:1 b new".to_owned()];
    expected.extend(lines(2..=10));
    assert_eq!(told.shows(), expected);
    // Nor does it come back when the new one goes.
    told.at(30).says(A, &json!({"next": [endpoint("b", 99, "next")]}));
    expected[0] = "next 10.0.0.1:99 b next".to_owned();
    assert_eq!(told.shows(), expected);
}

/// promfetcher, gap 3: an address is one instance, the newer of two.
#[test]
fn gap_3_an_address_that_is_used_again_is_one_instance_the_new_one() {
    let mut told = Told::new(&[Kind::Router, Kind::Router]);
    let old = json!({"r1": [endpoint("a", 1, "old")], "r2": [endpoint("a", 1, "old")]});
    let new = json!({"r1": [endpoint("a", 1, "new")], "r2": [endpoint("a", 1, "new")]});
    let expected = ["r1 10.0.0.1:1 a new", "r2 10.0.0.1:1 a new"];
    for (learns, misses) in [(A, B), (B, A)] {
        let mut told = Told::new(&[Kind::Router, Kind::Router]);
        told.says(A, &old).says(B, &old).at(15).says(learns, &new);
        assert_eq!(told.shows(), expected);
        // The stale one goes on to answer last, and to learn about others,
        // which proves nothing about this address.
        let mut other = old.clone();
        other["r3"] = json!([]);
        told.at(16).says(misses, &other).at(30).says(learns, &new).says(misses, &old);
        assert_eq!(told.shows(), expected, "{learns} knows");
    }
    told.at(5).says(A, &old).at(10).says(B, &new);
    assert_eq!(told.shows()[0], "r1 10.0.0.1:1 a old", "from the first round nobody can tell");
    let mut told = Told::new(&[Kind::Router, Kind::Router]);
    told.at(5).says(A, &old).at(20).says(B, &new);
    assert_eq!(told.shows()[0], "r1 10.0.0.1:1 a new", "who comes later may know more");
}

/// promfetcher, gap 3: a re-used address is not found under its old route.
#[test]
fn gap_3_an_address_under_a_new_route_takes_it_from_the_old_app() {
    let mut told = Told::new(&[Kind::Router, Kind::Router]);
    told.says(A, &routes([1, 2])).says(B, &routes([1, 2]));
    let reused = json!({"new": [endpoint("b", 1, "n")], "r02": [endpoint("a", 2, "i2")]});
    told.at(15).says(A, &reused);
    assert_eq!(told.shows(), ["new 10.0.0.1:1 b n", "r02 10.0.0.1:2 a i2"]);
}

#[test]
fn claims_that_nothing_tells_apart_both_stay_under_their_routes() {
    let mut told = Told::new(&[Kind::Router]);
    told.says(A, &json!({"r1": [endpoint("a", 1, "i")], "r2": [endpoint("b", 1, "j")]}));
    assert_eq!(told.shows(), ["r1 10.0.0.1:1 a i", "r2 10.0.0.1:1 b j"]);
}

#[test]
fn an_away_source_does_not_contradict_one_that_is_here() {
    let mut told = Told::new(&[Kind::Router, Kind::Router]);
    let (one, two) = (json!({"r": [endpoint("a", 1, "x")]}), json!({"r": [endpoint("a", 1, "y")]}));
    told.says(A, &one).says(B, &one).at(15).says(A, &two);
    assert_eq!(told.shows(), ["r 10.0.0.1:1 a y"]);
    told.at(30).fails(A);
    assert_eq!(told.shows(), ["r 10.0.0.1:1 a x"]);
    told.at(45).says(A, &two);
    assert_eq!(told.shows(), ["r 10.0.0.1:1 a y"]);
}

#[test]
fn what_a_router_only_seems_to_have_lost_does_not_contradict_what_another_names() {
    let mut told = Told::new(&[Kind::Router, Kind::Router]);
    let (one, two) = (json!({"r": [endpoint("a", 1, "x")]}), json!({"r": [endpoint("a", 1, "y")]}));
    told.says(A, &one).says(B, &one).at(15).says(A, &two);
    assert_eq!(told.shows(), ["r 10.0.0.1:1 a y"]);
    told.at(30).says(A, &json!({}));
    assert_eq!(told.shows(), ["r 10.0.0.1:1 a x"]);
}

#[test]
fn the_stale_second_router_of_the_samples_hides_nothing() {
    let full = include_bytes!("../../../tests/fixtures/routes/full.json").to_vec();
    let stale = include_bytes!("../../../tests/fixtures/routes/second_router_stale.json").to_vec();
    let mut told = Told::new(&[Kind::Router, Kind::Router]);
    told.hear(B, Report::Answer(stale)).hear(A, Report::Answer(full.clone()));
    let snapshot = told.table.snapshot();
    let jobs = snapshot.app("4d0c1f4a-8f0e-4a56-8a53-0d6a7b1c2003").unwrap();
    let id = jobs.endpoints[0].process_instance_id.as_deref();
    assert_eq!(id, Some("7e57ab1e-0006-4b1d-9006-c0ffee000006"), "as the first router says");
    let key = AppKey::parse("acme/prod/shop", Prefer::Name).unwrap();
    assert_eq!(snapshot.find(&key)[0].endpoints.len(), 4, "the stale one is for TLS to find out");
    told.at(15).hear(A, Report::Answer(full)).fails(B);
    assert_eq!(told.at(120).table.snapshot().find(&key)[0].endpoints.len(), 3);
}

#[test]
fn an_unchanged_answer_is_no_work_and_refreshes_the_age() {
    let mut told = Told::new(&[Kind::Router]);
    told.says(A, &routes(1..=3));
    let built = told.built;
    told.at(15).says(A, &routes(1..=3)).at(30).hear(A, Report::Unchanged);
    assert_eq!(told.built, built);
    let status = told.sources.status();
    assert_eq!(status[A].last_answer, Some(told.now));
    // The same table in other words changes times, and no table.
    let [one, two, three] = [1, 2, 3].map(|n| routes([n])[format!("r{n:02}")].clone());
    told.at(45).says(A, &json!({"r03": three, "R01/": one, "r02?x": two}));
    assert_eq!(told.built, built);
}

#[test]
fn a_broken_answer_keeps_the_last_good_one_and_is_told_without_its_content() {
    let mut told = Told::new(&[Kind::File]);
    told.says(A, &routes([1]));
    told.at(15).hear(A, Report::Answer(b"{\"secret\": [".to_vec()));
    assert_eq!(told.shows(), lines([1]));
    let status = &told.sources.status()[A];
    assert_eq!(status.failure.as_deref(), Some("the route table ends in the middle"));
    assert_eq!((status.failed, status.endpoints), (1, 1));
    // A file that stays broken is no good answer.
    told.at(16).hear(A, Report::Unchanged);
    assert!(told.sources.status()[A].failure.is_some());
    assert_eq!(told.sources.status()[A].last_answer, Some(told.started));
    told.at(17).says(A, &routes([1]));
    assert!(told.sources.status()[A].failure.is_none());
}

#[test]
fn a_source_whose_claims_were_dropped_may_say_the_same_again() {
    let mut told = Told::new(&[Kind::Router]);
    told.says(A, &routes([1])).at(15).fails(A).at(4000);
    assert!(told.shows().is_empty());
    told.says(A, &routes([1]));
    assert_eq!(told.shows(), lines([1]));
}

#[test]
fn endless_ages_are_never_due() {
    let mut told = Told::new(&[Kind::Router]);
    told.sources.ages.keep = Duration::MAX;
    told.says(A, &routes([1])).at(15).fails(A);
    assert_eq!(told.sources.next_due(), None);
    assert!(!told.sources.expire(told.now));
}

proptest::proptest! {
    /// The check is in [`Told`]: at each step the table that was built bit by
    /// bit is compared with one that is built from nothing.
    #[test]
    fn a_table_that_is_built_bit_by_bit_is_the_whole_table(
        steps in proptest::collection::vec(
            (0usize..4, 0u8..4, proptest::collection::vec((0u8..4, 1u16..4, 0u8..3), 0..6), 0u64..200),
            1..25,
        )
    ) {
        let mut told = Told::new(&[Kind::File, Kind::Router, Kind::Router, Kind::Bus]);
        let mut seconds = 0;
        for (source, what, said, pause) in steps {
            seconds += pause;
            told.at(seconds);
            match (what, source) {
                (0, _) => drop(told.fails(source)),
                (_, 3) => {
                    let changes = said.iter().map(|(route, port, id)| {
                        let route: Arc<str> = format!("r{route}").into();
                        let address = format!("10.0.0.1:{port}").parse().unwrap();
                        let said = json!({&*route: [endpoint("a", *port, &format!("i{id}"))]});
                        let said = crate::discovery::parse(said.to_string().as_bytes()).unwrap();
                        match what {
                            1 => Change::Gone { route, address: Some(address) },
                            _ => Change::Said(said.entries[0].clone()),
                        }
                    });
                    let changes = changes.collect();
                    let standing = Standing::Current;
                    let news = Changes { changes, standing, failed: 0, skipped: 0, without_app: 0 };
                    told.hear(source, Report::Changes(news));
                }
                _ => {
                    let mut routes = json!({});
                    for (route, port, id) in said {
                        let app = if id == 0 { "b" } else { "a" };
                        let endpoint = endpoint(app, port, &format!("i{id}"));
                        let pool = &mut routes[format!("r{route}")];
                        match pool.as_array_mut() {
                            Some(pool) => pool.push(endpoint),
                            None => *pool = json!([endpoint]),
                        }
                    }
                    told.says(source, &routes);
                }
            }
        }
    }
}

#[test]
fn a_bus_is_told_of_changes_and_other_sources_do_not_age_it() {
    let said = |port: u16| {
        let said = json!({"r": [endpoint("a", port, "i")]});
        let said = crate::discovery::parse(said.to_string().as_bytes()).unwrap();
        Change::Said(said.entries[0].clone())
    };
    let news = |changes, standing| {
        Report::Changes(Changes { changes, standing, failed: 0, skipped: 3, without_app: 2 })
    };
    let mut told = Told::new(&[Kind::Router, Kind::Bus]);
    told.says(A, &json!({})).hear(B, news(vec![said(1)], Standing::Filling));
    assert!(!told.table.snapshot().is_complete(), "gap 6: it has not listened for long enough");
    assert_eq!(told.shows(), ["r 10.0.0.1:1 a i"]);
    told.hear(B, news(vec![], Standing::Current));
    told.hear(A, Report::Unchanged);
    let status = told.sources.status();
    assert_eq!((status[B].endpoints, status[B].skipped, status[B].without_app), (1, 3, 2));
    // Away for longer than anything else may be: it judges by itself.
    told.fails(B).at(3000).says(A, &json!({}));
    told.hear(B, news(vec![said(2)], Standing::Away));
    assert_eq!(told.shows(), ["r 10.0.0.1:1 a i", "r 10.0.0.1:2 a i"]);
    assert!(told.sources.status()[B].failure.is_some());
    told.hear(B, Report::StillAway(SourceError::Status(503)));
    assert_eq!(told.sources.status()[B].failed, 1);
    let gone = Change::Gone { route: "r".into(), address: "10.0.0.1:1".parse().ok() };
    told.hear(B, news(vec![gone], Standing::Filling));
    assert_eq!(told.shows(), ["r 10.0.0.1:2 a i"]);
    assert!(told.sources.status()[B].failure.is_none());
}
