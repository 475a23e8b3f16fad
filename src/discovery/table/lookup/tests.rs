use crate::discovery::{Snapshot, parse};
use crate::domain::{AppKey, Prefer};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const SHOP: &str = "4d0c1f4a-8f0e-4a56-8a53-0d6a7b1c2001";
const DOCS: &str = "4d0c1f4a-8f0e-4a56-8a53-0d6a7b1c2002";
const JOBS: &str = "4d0c1f4a-8f0e-4a56-8a53-0d6a7b1c2003";

fn full() -> Snapshot {
    let body = include_bytes!("../../../../tests/fixtures/routes/full.json");
    Snapshot::from(&parse(body).unwrap())
}

fn table(routes: &Value) -> Snapshot {
    Snapshot::from(&parse(routes.to_string().as_bytes()).unwrap())
}

/// An endpoint of app `name` in org `o`, space `s`, with GUID `id-name`.
fn instance(name: &str, address: &str) -> Value {
    json!({"address": address, "tags": {
        "app_id": format!("id-{name}"), "app_name": name,
        "space_name": "s", "organization_name": "o",
    }})
}

/// Result of a look-up: app name, host, and the addresses in order.
type Found = (String, Option<String>, Vec<String>);

fn find(table: &Snapshot, key: &str, prefer: Prefer) -> Vec<Found> {
    let key = AppKey::parse(key, prefer).unwrap();
    let found = table.find(&key);
    found
        .iter()
        .map(|found| {
            let addresses = found.endpoints.iter().map(|e| e.address.to_string()).collect();
            (found.app.name.to_string(), found.host.map(str::to_owned), addresses)
        })
        .collect()
}

fn by_path(table: &Snapshot, key: &str) -> Vec<Found> {
    find(table, key, Prefer::Name)
}

fn by_route(table: &Snapshot, key: &str) -> Vec<Found> {
    find(table, key, Prefer::Route)
}

fn found(name: &str, host: &str, addresses: &[&str]) -> Found {
    let host = Some(host.to_owned()).filter(|host| !host.is_empty());
    (name.to_owned(), host, addresses.iter().map(|&a| a.to_owned()).collect())
}

#[test]
fn an_app_is_found_by_guid_by_name_and_by_route() {
    let table = full();
    let addresses = ["127.0.1.11:61012", "127.0.1.12:61004", "127.0.1.13:61020"];
    // Its first route that is not a wildcard is secured.apps.example.test.
    let whole = vec![found("shop", "secured.apps.example.test", &addresses)];
    for key in [SHOP, "acme/prod/shop"] {
        assert_eq!(by_path(&table, key), whole, "{key}");
        assert_eq!(by_route(&table, key), whole, "{key}");
    }
    for host in ["shop.apps.example.test", "www.shop.example.test"] {
        let expected = vec![found("shop", host, &addresses)];
        assert_eq!(by_path(&table, host), expected, "{host}");
        assert_eq!(by_route(&table, host), expected, "{host}");
    }
    let routes: Vec<_> = table.routes_of(SHOP).collect();
    let expected = [
        "*.tenants.example.test",
        "secured.apps.example.test",
        "shop.apps.example.test",
        "www.shop.example.test",
    ];
    assert_eq!(routes, expected);
}

#[test]
fn an_unknown_key_is_not_found() {
    let table = full();
    let keys = [
        "shop",
        "prod/shop",
        "acme/prod",
        "acme/prod/SHOP",
        "acme/prod/shop/",
        "acme//shop",
        "unknown.example.test",
        "apps.example.test",
        "4d0c1f4a-8f0e-4a56-8a53-0d6a7b1c2999",
        "/",
        "//",
        "*",
        "https://",
    ];
    for key in keys {
        assert!(by_path(&table, key).is_empty(), "{key}");
        assert!(by_route(&table, key).is_empty(), "{key}");
    }
}

#[test]
fn letter_case_and_a_trailing_slash_do_not_matter() {
    let table = table(&json!({"App.Example.com/API/": [instance("app", "10.0.0.1:1")]}));
    for key in ["app.example.com/api", "APP.example.com/Api/", "app.example.com/api?x=1"] {
        assert_eq!(by_route(&table, key), [found("app", "app.example.com", &["10.0.0.1:1"])]);
    }
}

#[test]
fn a_pasted_url_finds_its_route() {
    let table = table(&json!({
        "app.example.com": [instance("app", "10.0.0.1:1")],
        "*.example.com": [instance("wild", "10.0.0.2:1")],
    }));
    let app = [found("app", "app.example.com", &["10.0.0.1:1"])];
    assert_eq!(by_route(&table, "https://APP.example.com:8443/metrics?x"), app);
    let wild = [found("wild", "Other.example.com", &["10.0.0.2:1"])];
    assert_eq!(by_route(&table, "http://Other.example.com:80/"), wild);
}

#[test]
fn every_process_type_that_has_a_route_is_found_by_guid_and_name() {
    let table = full();
    let addresses = ["127.0.2.21:61041", "127.0.2.21:61045", "127.0.2.22:61046"];
    let expected = [found("jobs", "jobs-worker.apps.example.test", &addresses)];
    assert_eq!(by_path(&table, JOBS), expected);
    assert_eq!(by_path(&table, "acme/batch/jobs"), expected);
    let app = table.app(JOBS).unwrap();
    let types: Vec<_> = app.endpoints.iter().map(|e| &*e.process_type).collect();
    assert_eq!(types, ["web", "worker", "worker"]);
    let workers = ["127.0.2.21:61045", "127.0.2.22:61046"];
    let host = "jobs-worker.apps.example.test";
    assert_eq!(by_path(&table, host), [found("jobs", host, &workers)]);
}

#[test]
fn a_worker_with_the_instance_id_of_the_web_process_is_a_separate_instance() {
    let body = include_bytes!("../../../../tests/fixtures/routes/captured.json");
    let table = Snapshot::from(&parse(body).unwrap());
    let addresses = ["127.0.0.2:61101", "127.0.0.2:61200"];
    let expected = [found("shop", "worker.internal", &addresses)];
    assert_eq!(by_path(&table, "b5a3d5a1-0f9b-4c0e-8e56-0d8a4c7b8f11"), expected);
}

#[test]
fn two_path_segments_are_found_as_a_route() {
    let table = full();
    let docs = ["127.0.1.12:61030", "127.0.1.14:61031"];
    let expected = [found("docs", "shop.apps.example.test", &docs)];
    assert_eq!(by_path(&table, "shop.apps.example.test/api/v1"), expected);
    assert_eq!(by_route(&table, "shop.apps.example.test/api/v1"), expected);
    let app = table.app(DOCS).unwrap();
    assert_eq!(app.host, Some("shop.apps.example.test"));
}

#[test]
fn three_parts_are_a_name_first_and_a_route_first_for_route_url() {
    let table = table(&json!({
        "o/s/app": [instance("route", "10.0.0.1:1")],
        "x.test": [instance("app", "10.0.0.2:1")],
        "p/q/r": [],
    }));
    assert_eq!(by_path(&table, "o/s/app"), [found("app", "x.test", &["10.0.0.2:1"])]);
    assert_eq!(by_route(&table, "o/s/app"), [found("route", "o", &["10.0.0.1:1"])]);
    assert!(by_route(&table, "p/q/r").is_empty());
}

#[test]
fn names_may_contain_slashes() {
    let mut first = instance("web/v2", "10.0.0.1:1");
    first["tags"]["organization_name"] = json!("acme/eu");
    let mut second = instance("v2", "10.0.0.2:1");
    second["tags"]["organization_name"] = json!("acme");
    second["tags"]["space_name"] = json!("eu/s/web");
    let table = table(&json!({"a.test": [first], "b.test": [second]}));
    let both = [found("v2", "b.test", &["10.0.0.2:1"]), found("web/v2", "a.test", &["10.0.0.1:1"])];
    assert_eq!(by_path(&table, "acme/eu/s/web/v2"), both);
}

#[test]
fn a_name_finds_the_old_and_the_new_app_with_it() {
    let mut anew = instance("app", "10.0.0.2:1");
    anew["tags"]["app_id"] = json!("id-0");
    let table = table(&json!({"a.test": [instance("app", "10.0.0.1:1"), anew]}));
    let expected =
        [found("app", "a.test", &["10.0.0.2:1"]), found("app", "a.test", &["10.0.0.1:1"])];
    assert_eq!(by_path(&table, "o/s/app"), expected);
}

#[test]
fn during_a_rename_both_names_find_all_instances() {
    let mut renamed = instance("new", "10.0.0.2:1");
    renamed["tags"]["app_id"] = json!("id-old");
    let table = table(&json!({"a.test": [instance("old", "10.0.0.1:1"), renamed]}));
    for key in ["o/s/old", "o/s/new", "id-old"] {
        let expected = [found("old", "a.test", &["10.0.0.1:1", "10.0.0.2:1"])];
        assert_eq!(by_path(&table, key), expected, "{key}");
    }
}

#[test]
fn an_app_with_an_incomplete_name_is_found_by_guid() {
    let nameless = json!({"address": "10.0.0.1:1", "tags": {"app_id": "g"}});
    let table = table(&json!({"a.test": [nameless]}));
    assert_eq!(by_path(&table, "g"), [found("", "a.test", &["10.0.0.1:1"])]);
    assert!(by_path(&table, "//").is_empty());
}

#[test]
fn wildcards_and_parent_paths_match_as_in_gorouter() {
    let table = table(&json!({
        "a.b.c.test": [instance("exact", "10.0.0.1:1")],
        "a.b.c.test/api": [instance("api", "10.0.0.2:1")],
        "a.b.c.test/api/v1/users": [instance("users", "10.0.0.3:1")],
        "*.b.c.test": [instance("near", "10.0.0.4:1")],
        "*.c.test": [instance("far", "10.0.0.5:1")],
        "*.c.test/api": [instance("far-api", "10.0.0.6:1")],
        "only.path.c.test/x": [instance("path", "10.0.0.7:1")],
    }));
    let cases = [
        ("a.b.c.test", "exact", "a.b.c.test", 1),
        ("a.b.c.test/other/path", "exact", "a.b.c.test", 1),
        ("a.b.c.test/api", "api", "a.b.c.test", 2),
        ("a.b.c.test/api/v1", "api", "a.b.c.test", 2),
        ("a.b.c.test/apix", "exact", "a.b.c.test", 1),
        ("a.b.c.test/API/v1/users/7/orders/9", "users", "a.b.c.test", 3),
        ("z.b.c.test", "near", "z.b.c.test", 4),
        ("y.z.b.c.test", "near", "y.z.b.c.test", 4),
        ("z.b.c.test/api", "near", "z.b.c.test", 4),
        ("z.c.test", "far", "z.c.test", 5),
        ("z.c.test/api/v1", "far-api", "z.c.test", 6),
        ("only.path.c.test/x/y", "path", "only.path.c.test", 7),
        ("only.path.c.test", "far", "only.path.c.test", 5),
    ];
    for (key, app, host, last) in cases {
        let address = format!("10.0.0.{last}:1");
        let expected = vec![found(app, host, &[&address])];
        assert_eq!(by_route(&table, key), expected, "{key}");
        assert_eq!(by_path(&table, key), expected, "{key}");
    }
    for key in ["c.test", "test", "b.d.test"] {
        assert!(by_route(&table, key).is_empty(), "{key}");
    }
}

#[test]
fn a_wildcard_requested_by_its_name_uses_an_existing_host() {
    let shop = ["127.0.1.11:61012", "127.0.1.12:61004", "127.0.1.13:61020"];
    let expected = [found("shop", "secured.apps.example.test", &shop)];
    assert_eq!(by_route(&full(), "*.tenants.example.test"), expected);
    let only = table(&json!({"*.c.test": [instance("far", "10.0.0.5:1")]}));
    assert_eq!(by_route(&only, "*.c.test"), [found("far", "", &["10.0.0.5:1"])]);
    assert_eq!(by_path(&only, "id-far"), [found("far", "", &["10.0.0.5:1"])]);
}

#[test]
fn an_invalid_host_matches_no_wildcard() {
    let table = table(&json!({"*.c.test": [instance("far", "10.0.0.5:1")]}));
    for host in ["a b.c.test", "ü.c.test", "a@b.c.test", "a\"b.c.test", "x:y.c.test"] {
        assert!(by_route(&table, host).is_empty(), "{host}");
    }
}

#[test]
fn no_key_finds_platform_components() {
    let component = json!({"address": "10.0.0.9:1", "tags": {"component": "uaa"}});
    let table = table(&json!({
        "uaa.sys.test": [component],
        "mixed.sys.test": [component, instance("app", "10.0.0.1:1")],
        "null.sys.test": [{"address": "10.0.0.8:1", "tags": null}],
        "empty.sys.test": [],
        "*.sys.test": [instance("wild", "10.0.0.2:1")],
    }));
    // As in gorouter, a host with a route of its own does not match a wildcard.
    for key in ["uaa.sys.test", "null.sys.test", "empty.sys.test", "uaa.sys.test/x"] {
        assert!(by_route(&table, key).is_empty(), "{key}");
        assert!(by_path(&table, key).is_empty(), "{key}");
    }
    let app = [found("app", "mixed.sys.test", &["10.0.0.1:1"])];
    assert_eq!(by_route(&table, "mixed.sys.test"), app);
    assert_eq!(table.apps().count(), 2);
    let scrapeable: usize = table.routes().map(|(_, endpoints)| endpoints.len()).sum();
    assert_eq!(scrapeable, 2);
}

#[test]
fn an_instance_with_two_ports_is_scraped_at_the_port_of_its_first_route() {
    let instance = |address: &str, index: &str| {
        let mut instance = instance("app", address);
        instance["tags"]["process_instance_id"] = json!(format!("instance-{index}"));
        instance["tags"]["instance_id"] = json!(index);
        instance
    };
    let table = table(&json!({
        "admin.test": [instance("10.0.0.1:2", "0"), instance("10.0.0.2:2", "1")],
        "main.test": [instance("10.0.0.1:1", "0"), instance("10.0.0.2:1", "1")],
        "new.test": [instance("10.0.0.3:9", "2"), instance("10.0.0.3:8", "2")],
    }));
    let first = ["10.0.0.1:2", "10.0.0.2:2", "10.0.0.3:8"];
    assert_eq!(by_path(&table, "id-app"), [found("app", "admin.test", &first)]);
    let main = ["10.0.0.1:1", "10.0.0.2:1"];
    assert_eq!(by_route(&table, "main.test"), [found("app", "main.test", &main)]);
    let new = ["10.0.0.3:8", "10.0.0.3:9"];
    assert_eq!(by_route(&table, "new.test"), [found("app", "new.test", &new)]);
}

#[test]
fn a_route_of_several_apps_finds_each_with_its_own_instances() {
    let table = table(&json!({"shared.test": [
        instance("b", "10.0.0.3:1"), instance("a", "10.0.0.2:1"), instance("b", "10.0.0.1:1"),
    ]}));
    let expected = [
        found("a", "shared.test", &["10.0.0.2:1"]),
        found("b", "shared.test", &["10.0.0.1:1", "10.0.0.3:1"]),
    ];
    assert_eq!(by_route(&table, "shared.test"), expected);
    let apps: Vec<_> = table.apps().map(|found| found.app.name.to_string()).collect();
    assert_eq!(apps, ["a", "b"]);
}

#[test]
fn instances_are_ordered_by_numeric_index() {
    let indexes = [Some("10"), Some("9"), None, Some("x"), Some("0"), Some("9")];
    let instances = indexes.iter().enumerate().map(|(at, index)| {
        let mut instance = instance("app", &format!("10.0.0.{}:1", 9 - at));
        instance["tags"]["instance_id"] = json!(index);
        instance
    });
    let table = table(&json!({"a.test": instances.collect::<Vec<_>>()}));
    let order: Vec<_> =
        table.app("id-app").unwrap().endpoints.iter().map(|e| e.index.as_deref()).collect();
    let expected = [Some("0"), Some("9"), Some("9"), Some("10"), Some("x"), None];
    assert_eq!(order, expected);
    let nines: Vec<_> = by_path(&table, "id-app")[0].2[1..3].to_vec();
    assert_eq!(nines, ["10.0.0.4:1", "10.0.0.8:1"]);
}

/// Route, app, address, process instance, process type: small numbers, so that they collide.
type Row = (u8, u8, u8, Option<u8>, bool);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0..6_u8, 0..4_u8, 0..12_u8, prop::option::of(0..4_u8), any::<bool>());
    prop::collection::vec(row, 0..60)
}

proptest! {
    #[test]
    fn a_look_up_by_guid_finds_the_same_as_a_scan(rows in rows()) {
        // The last row of a route and address counts.
        let rows: BTreeMap<(u8, u8), Row> =
            rows.into_iter().map(|row| ((row.0, row.2), row)).collect();
        let mut document: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (route, app, address, process, is_web) in rows.values() {
            document.entry(format!("r{route}.test")).or_default().push(json!({
                "address": format!("10.0.0.{address}:1"),
                "tags": {
                    "app_id": format!("app-{app}"),
                    "process_instance_id": process.map(|process| format!("p{process}")),
                    "process_type": if *is_web { "web" } else { "worker" },
                },
            }));
        }
        let table = table(&json!(document));
        for app in 0..4 {
            let mut addresses = BTreeSet::new();
            let mut processes = BTreeSet::new();
            let mut expected = BTreeSet::new();
            let mut first_route = BTreeMap::new();
            for row in rows.values().filter(|row| row.1 == app) {
                // Rows are ordered by route, so the first one is kept.
                if addresses.insert(row.2) {
                    first_route.insert((row.0, row.2), *row);
                }
            }
            for (_, _, address, process, is_web) in first_route.into_values() {
                if process.is_none_or(|process| processes.insert((process, is_web))) {
                    expected.insert(format!("10.0.0.{address}:1"));
                }
            }
            let guid = format!("app-{app}");
            let found = by_path(&table, &guid).pop().map_or_else(Vec::new, |found| found.2);
            let once: BTreeSet<_> = found.iter().cloned().collect();
            prop_assert_eq!(found.len(), once.len());
            prop_assert_eq!(once, expected);
        }
    }

    #[test]
    fn a_look_up_accepts_any_key(key in "[a-b./*:?#%ü ]{0,24}") {
        let table = full();
        for prefer in [Prefer::Name, Prefer::Route] {
            if let Ok(key) = AppKey::parse(&key, prefer) {
                for found in table.find(&key) {
                    prop_assert!(!found.endpoints.is_empty());
                }
            }
        }
    }
}
