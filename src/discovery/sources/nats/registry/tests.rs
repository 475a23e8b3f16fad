use super::*;
use crate::discovery::sources::nats::message;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const STALE_AFTER: Duration = Duration::from_secs(120);
const LONGEST: Duration = Duration::from_secs(3600);

/// Applies messages with a manual clock, and maintains a table from the changes alone.
struct Harness {
    registry: Registry,
    now: Instant,
    table: BTreeMap<(String, Option<SocketAddr>), Option<Arc<Endpoint>>>,
    changes: usize,
}

impl Harness {
    fn new() -> Self {
        let registry = Registry::new(Thresholds { stale_after: STALE_AFTER, max: LONGEST });
        Self { registry, now: Instant::now(), table: BTreeMap::new(), changes: 0 }
    }

    fn register(&mut self, message: &Value) -> &mut Self {
        let payload = message.to_string();
        let registration = message::parse(payload.as_bytes()).unwrap();
        self.registry.register(&registration, self.now).unwrap();
        self.follow()
    }

    fn unregister(&mut self, message: &Value) -> &mut Self {
        let payload = message.to_string();
        self.registry.unregister(&message::parse(payload.as_bytes()).unwrap());
        self.follow()
    }

    fn after(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self.registry.expire(self.now);
        self.follow()
    }

    fn follow(&mut self) -> &mut Self {
        for change in self.registry.take_changes() {
            self.changes += 1;
            match change {
                Change::Set(Entry { route, endpoint }) => {
                    let address = endpoint.as_ref().map(|endpoint| endpoint.address);
                    self.table.insert((route.to_string(), address), endpoint);
                }
                Change::Removed((route, address)) => {
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
    let mut harness = Harness::new();
    harness.register(&instance(1, "i1", &["r.test"]));
    for _ in 0..30 {
        harness.after(20).register(&instance(1, "i1", &["r.test"]));
    }
    assert_eq!(harness.shows(), ["r.test 1 i1"]);
    assert_eq!(harness.changes, 1);
}

#[test]
fn endpoints_expire_by_their_own_threshold_also_with_tls() {
    let mut harness = Harness::new();
    let mut quick = instance(1, "quick", &["r.test"]);
    quick["stale_threshold_in_seconds"] = json!(30);
    let mut tls = instance(0, "tls", &["r.test"]);
    tls["tls_port"] = json!(2);
    let mut endless = instance(3, "endless", &["r.test"]);
    endless["stale_threshold_in_seconds"] = json!(u64::MAX);
    harness.register(&quick).register(&tls).register(&endless);
    assert_eq!(harness.after(29).shows(), ["r.test 1 quick", "r.test 2 tls", "r.test 3 endless"]);
    assert_eq!(harness.after(1).shows(), ["r.test 2 tls", "r.test 3 endless"]);
    assert_eq!(harness.after(89).shows(), ["r.test 2 tls", "r.test 3 endless"]);
    assert_eq!(harness.after(1).shows(), ["r.test 3 endless"]);
    assert!(harness.after(3600).shows().is_empty());
}

#[test]
fn an_unregister_removes_one_instance_in_any_format_of_the_uri() {
    for spelling in ["App.Example.com/API", "app.example.com/api/", "APP.EXAMPLE.COM/api//"] {
        let mut harness = Harness::new();
        harness.register(&instance(1, "i1", &["App.Example.com/API/", "other.test"]));
        harness.register(&instance(2, "i2", &["app.example.com/api"]));
        harness.unregister(&instance(1, "i1", &[spelling]));
        assert_eq!(harness.shows(), ["app.example.com/api 2 i2", "other.test 1 i1"], "{spelling}");
        harness.unregister(&instance(2, "i2", &[spelling]));
        assert_eq!(harness.shows(), ["other.test 1 i1"]);
    }
}

#[test]
fn a_reused_address_belongs_to_the_new_instance() {
    let mut harness = Harness::new();
    harness.register(&instance(1, "old", &["r.test"])).register(&instance(1, "new", &["r.test"]));
    assert_eq!(harness.shows(), ["r.test 1 new"]);
}

#[test]
fn an_endpoint_is_updated_in_place() {
    let mut harness = Harness::new();
    let before = instance(1, "i1", &["r.test"]);
    harness.register(&before);
    for (key, value) in [
        ("protocol", json!("http2")),
        ("server_cert_domain_san", json!("i1")),
        ("tags", json!({"app_id": "a", "app_name": "renamed", "process_type": "worker"})),
    ] {
        let mut after = before.clone();
        after[key] = value;
        harness.changes = 0;
        harness.register(&after);
        assert_eq!(harness.changes, 1, "{key}");
        assert_eq!(harness.shows(), ["r.test 1 i1"]);
    }
    let mut tls = before.clone();
    (tls["port"], tls["tls_port"]) = (json!(7), json!(1));
    harness.register(&before).register(&tls);
    let endpoint = harness.table.values().next().unwrap().as_ref().unwrap();
    assert!(endpoint.tls);
    assert_eq!(harness.table.len(), 1);
}

#[test]
fn a_route_is_removed_with_its_last_instance() {
    let mut harness = Harness::new();
    harness.register(&instance(1, "i1", &["r.test"])).unregister(&instance(1, "i1", &["r.test"]));
    assert!(harness.shows().is_empty());
    assert!(harness.registry.routes.is_empty());
    harness.register(&instance(1, "i1", &["r.test"])).after(120);
    assert!(harness.registry.routes.is_empty() && harness.registry.endpoints == 0);
}

#[test]
fn a_route_of_the_platform_exists_while_one_of_its_components_does() {
    let mut harness = Harness::new();
    harness.register(&component(1, &["uaa.test"])).register(&component(2, &["uaa.test"]));
    assert_eq!(harness.shows(), ["uaa.test 0 -"]);
    assert_eq!(harness.registry.without_app(), 2);
    harness.unregister(&component(1, &["uaa.test"]));
    assert_eq!(harness.shows(), ["uaa.test 0 -"]);
    harness.unregister(&component(2, &["uaa.test"]));
    assert!(harness.shows().is_empty());
    // An address is used by an app, then by the platform again.
    let mut app = component(3, &["x.test"]);
    app["tags"] = json!({"app_id": "a"});
    harness.register(&component(3, &["x.test"])).register(&app);
    assert_eq!(harness.shows(), ["x.test 3 -"]);
    harness.register(&component(3, &["x.test"]));
    assert_eq!(harness.shows(), ["x.test 0 -"]);
    assert_eq!(harness.registry.without_app(), 1);
}

#[test]
fn endpoints_do_not_expire_while_disconnected() {
    let mut harness = Harness::new();
    harness.register(&instance(1, "i1", &["r.test"]));
    harness.now += Duration::from_secs(1800);
    harness.registry.refresh_all(harness.now);
    assert_eq!(harness.after(119).shows(), ["r.test 1 i1"]);
    assert!(harness.after(1).shows().is_empty());
}

#[test]
fn after_a_clear_registrations_are_new() {
    let mut harness = Harness::new();
    harness
        .register(&instance(1, "i1", &["r.test", "s.test"]))
        .register(&component(1, &["u.test"]));
    harness.registry.clear();
    assert!(harness.follow().shows().is_empty());
    harness.register(&instance(1, "i1", &["r.test"]));
    assert_eq!(harness.shows(), ["r.test 1 i1"]);
}

#[test]
fn an_invalid_app_id_is_rejected() {
    let mut harness = Harness::new();
    let payload =
        json!({"host": "10.0.0.1", "port": 1, "uris": ["r"], "tags": {"app_id": "a\u{0}b"}});
    let payload = payload.to_string();
    let registration = message::parse(payload.as_bytes()).unwrap();
    assert_eq!(harness.registry.register(&registration, harness.now), Err(MessageError::AppId));
}

proptest::proptest! {
    /// A table that is maintained from the changes equals a map of all registrations.
    #[test]
    fn the_changes_reproduce_the_registrations(
        steps in proptest::collection::vec((0u8..4, 0u16..3, 0u16..4, 0u64..70), 1..60)
    ) {
        let mut harness = Harness::new();
        let mut model: BTreeMap<(u16, u16), (bool, Instant)> = BTreeMap::new();
        for (what, route, port, seconds) in steps {
            let uri = format!("r{route}.test");
            let uris = [uri.as_str()];
            let port = port + 1;
            // Apps and platform components share addresses.
            let mut component = component(port, &uris);
            component["host"] = json!("10.0.0.1");
            match what {
                0 => { harness.register(&instance(port, "i", &uris)); model.insert((route, port), (true, harness.now)); }
                1 => { harness.register(&component); model.insert((route, port), (false, harness.now)); }
                2 => { harness.unregister(&component); model.remove(&(route, port)); }
                _ => {
                    harness.after(seconds);
                    model.retain(|_, (_, at)| harness.now - *at < STALE_AFTER);
                }
            }
            let expected: BTreeSet<_> = model.iter().map(|((route, port), (is_app, _))| {
                let (port, id) = if *is_app { (*port, "i") } else { (0, "-") };
                format!("r{route}.test {port} {id}")
            }).collect();
            proptest::prop_assert_eq!(harness.shows(), expected.into_iter().collect::<Vec<_>>());
            proptest::prop_assert_eq!(harness.registry.endpoints, model.len());
        }
    }
}
