use super::*;
use crate::discovery::nats::message;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const STALE_AFTER: Duration = Duration::from_secs(120);
const LONGEST: Duration = Duration::from_secs(3600);

/// Messages by hand, on a clock that the test moves; and what a table that
/// only sees the changes makes of them.
struct Told {
    heard: Heard,
    now: Instant,
    table: BTreeMap<(String, Option<SocketAddr>), Option<Arc<Endpoint>>>,
    changes: usize,
}

impl Told {
    fn new() -> Self {
        let heard = Heard::new(Thresholds { stale_after: STALE_AFTER, longest: LONGEST });
        Self { heard, now: Instant::now(), table: BTreeMap::new(), changes: 0 }
    }

    fn register(&mut self, message: &Value) -> &mut Self {
        let payload = message.to_string();
        let said = message::parse(payload.as_bytes()).unwrap();
        self.heard.register(&said, self.now).unwrap();
        self.follow()
    }

    fn unregister(&mut self, message: &Value) -> &mut Self {
        let payload = message.to_string();
        self.heard.unregister(&message::parse(payload.as_bytes()).unwrap());
        self.follow()
    }

    fn after(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self.heard.expire(self.now);
        self.follow()
    }

    fn follow(&mut self) -> &mut Self {
        for change in self.heard.take_changes() {
            self.changes += 1;
            match change {
                Change::Said(Entry { route, endpoint }) => {
                    let address = endpoint.as_ref().map(|endpoint| endpoint.address);
                    self.table.insert((route.to_string(), address), endpoint);
                }
                Change::Gone { route, address } => {
                    self.table.remove(&(route.to_string(), address));
                }
            }
        }
        self
    }

    fn shows(&self) -> Vec<String> {
        let line = |((route, address), endpoint): (
            &(String, Option<SocketAddr>),
            &Option<Arc<Endpoint>>,
        )| {
            let endpoint = endpoint.as_ref();
            let id = endpoint.and_then(|endpoint| endpoint.process_instance_id.as_deref());
            let port = address.map_or(0, |address| address.port());
            format!("{route} {port} {}", id.unwrap_or("-"))
        };
        self.table.iter().map(line).collect()
    }
}

fn instance(port: u16, id: &str, uris: &[&str]) -> Value {
    json!({"host": "10.0.0.1", "port": port, "uris": uris, "private_instance_id": id,
        "tags": {"app_id": "a"}})
}

fn component(port: u16, uris: &[&str]) -> Value {
    json!({"host": "10.0.0.9", "port": port, "uris": uris, "tags": {"component": "uaa"}})
}

#[test]
fn a_refresh_changes_nothing() {
    let mut told = Told::new();
    told.register(&instance(1, "i1", &["r.test"]));
    for _ in 0..30 {
        told.after(20).register(&instance(1, "i1", &["r.test"]));
    }
    assert_eq!(told.shows(), ["r.test 1 i1"]);
    assert_eq!(told.changes, 1);
}

/// promfetcher, gap 1: each endpoint leaves the table by its own threshold, TLS or not.
#[test]
fn gap_1_what_is_not_refreshed_goes_by_its_own_threshold_tls_too() {
    let mut told = Told::new();
    let mut quick = instance(1, "quick", &["r.test"]);
    quick["stale_threshold_in_seconds"] = json!(30);
    let mut tls = instance(0, "tls", &["r.test"]);
    tls["tls_port"] = json!(2);
    let mut endless = instance(3, "endless", &["r.test"]);
    endless["stale_threshold_in_seconds"] = json!(u64::MAX);
    told.register(&quick).register(&tls).register(&endless);
    assert_eq!(told.after(29).shows(), ["r.test 1 quick", "r.test 2 tls", "r.test 3 endless"]);
    assert_eq!(told.after(1).shows(), ["r.test 2 tls", "r.test 3 endless"]);
    assert_eq!(told.after(89).shows(), ["r.test 2 tls", "r.test 3 endless"]);
    assert_eq!(told.after(1).shows(), ["r.test 3 endless"]);
    assert!(told.after(3600).shows().is_empty());
}

/// promfetcher, gap 2: an unregister removes one instance, in any spelling of its URI.
#[test]
fn gap_2_an_unregister_is_exact_however_the_uri_is_spelled() {
    for spelling in ["App.Example.com/API", "app.example.com/api/", "APP.EXAMPLE.COM/api//"] {
        let mut told = Told::new();
        told.register(&instance(1, "i1", &["App.Example.com/API/", "other.test"]));
        told.register(&instance(2, "i2", &["app.example.com/api"]));
        told.unregister(&instance(1, "i1", &[spelling]));
        assert_eq!(told.shows(), ["app.example.com/api 2 i2", "other.test 1 i1"], "{spelling}");
        told.unregister(&instance(2, "i2", &[spelling]));
        assert_eq!(told.shows(), ["other.test 1 i1"]);
    }
}

/// promfetcher, gap 3: a registration of a re-used address replaces the instance before.
#[test]
fn gap_3_an_address_that_is_used_again_is_the_new_instance() {
    let mut told = Told::new();
    told.register(&instance(1, "old", &["r.test"])).register(&instance(1, "new", &["r.test"]));
    assert_eq!(told.shows(), ["r.test 1 new"]);
}

/// promfetcher, gap 4: a registration with other TLS, protocol, SAN or process type counts.
#[test]
fn gap_4_an_endpoint_is_updated_in_place() {
    let mut told = Told::new();
    let before = instance(1, "i1", &["r.test"]);
    told.register(&before);
    for (key, value) in [
        ("protocol", json!("http2")),
        ("server_cert_domain_san", json!("i1")),
        ("tags", json!({"app_id": "a", "app_name": "renamed", "process_type": "worker"})),
    ] {
        let mut after = before.clone();
        after[key] = value;
        told.changes = 0;
        told.register(&after);
        assert_eq!(told.changes, 1, "{key}");
        assert_eq!(told.shows(), ["r.test 1 i1"]);
    }
    let mut tls = before.clone();
    (tls["port"], tls["tls_port"]) = (json!(7), json!(1));
    told.register(&before).register(&tls);
    let endpoint = told.table.values().next().unwrap().as_ref().unwrap();
    assert!(endpoint.tls);
    assert_eq!(told.table.len(), 1);
}

/// promfetcher, gap 5: no key stays after the last instance left.
#[test]
fn gap_5_a_route_goes_with_its_last_instance() {
    let mut told = Told::new();
    told.register(&instance(1, "i1", &["r.test"])).unregister(&instance(1, "i1", &["r.test"]));
    assert!(told.shows().is_empty());
    assert!(told.heard.routes.is_empty());
    told.register(&instance(1, "i1", &["r.test"])).after(120);
    assert!(told.heard.routes.is_empty() && told.heard.slots == 0);
}

#[test]
fn a_route_of_the_platform_is_known_while_any_of_its_components_is() {
    let mut told = Told::new();
    told.register(&component(1, &["uaa.test"])).register(&component(2, &["uaa.test"]));
    assert_eq!(told.shows(), ["uaa.test 0 -"]);
    assert_eq!(told.heard.without_app(), 2);
    told.unregister(&component(1, &["uaa.test"]));
    assert_eq!(told.shows(), ["uaa.test 0 -"]);
    told.unregister(&component(2, &["uaa.test"]));
    assert!(told.shows().is_empty());
    // An address that becomes an app's, and the platform's again.
    let mut app = component(3, &["x.test"]);
    app["tags"] = json!({"app_id": "a"});
    told.register(&component(3, &["x.test"])).register(&app);
    assert_eq!(told.shows(), ["x.test 3 -"]);
    told.register(&component(3, &["x.test"]));
    assert_eq!(told.shows(), ["x.test 0 -"]);
    assert_eq!(told.heard.without_app(), 1);
}

#[test]
fn nothing_grows_old_while_nobody_could_be_heard() {
    let mut told = Told::new();
    told.register(&instance(1, "i1", &["r.test"]));
    told.now += Duration::from_secs(1800);
    told.heard.freshen(told.now);
    assert_eq!(told.after(119).shows(), ["r.test 1 i1"]);
    assert!(told.after(1).shows().is_empty());
}

#[test]
fn all_is_gone_after_a_clear_and_comes_back_as_new() {
    let mut told = Told::new();
    told.register(&instance(1, "i1", &["r.test", "s.test"])).register(&component(1, &["u.test"]));
    told.heard.clear();
    assert!(told.follow().shows().is_empty());
    told.register(&instance(1, "i1", &["r.test"]));
    assert_eq!(told.shows(), ["r.test 1 i1"]);
}

#[test]
fn an_app_id_that_is_none_is_refused() {
    let mut told = Told::new();
    let payload =
        json!({"host": "10.0.0.1", "port": 1, "uris": ["r"], "tags": {"app_id": "a\u{0}b"}});
    let payload = payload.to_string();
    let said = message::parse(payload.as_bytes()).unwrap();
    assert_eq!(told.heard.register(&said, told.now), Err(MessageError::AppId));
}

proptest::proptest! {
    /// What follows the changes always shows what a map of all registrations would.
    #[test]
    fn a_table_that_follows_the_changes_is_never_wrong(
        steps in proptest::collection::vec((0u8..4, 0u16..3, 0u16..4, 0u64..70), 1..60)
    ) {
        let mut told = Told::new();
        let mut model: BTreeMap<(u16, u16), (bool, Instant)> = BTreeMap::new();
        for (what, route, port, seconds) in steps {
            let uri = format!("r{route}.test");
            let uris = [uri.as_str()];
            let port = port + 1;
            // Both kinds share their addresses.
            let mut component = component(port, &uris);
            component["host"] = json!("10.0.0.1");
            match what {
                0 => { told.register(&instance(port, "i", &uris)); model.insert((route, port), (true, told.now)); }
                1 => { told.register(&component); model.insert((route, port), (false, told.now)); }
                2 => { told.unregister(&component); model.remove(&(route, port)); }
                _ => {
                    told.after(seconds);
                    model.retain(|_, (_, at)| told.now - *at < STALE_AFTER);
                }
            }
            let expected: BTreeSet<_> = model.iter().map(|((route, port), (is_app, _))| {
                let (port, id) = if *is_app { (*port, "i") } else { (0, "-") };
                format!("r{route}.test {port} {id}")
            }).collect();
            proptest::prop_assert_eq!(told.shows(), expected.into_iter().collect::<Vec<_>>());
            proptest::prop_assert_eq!(told.heard.slots, model.len());
        }
    }
}
