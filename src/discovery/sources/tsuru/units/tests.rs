use super::*;
use serde_json::{Value, json};

const SAMPLE: &str = include_str!("../../../../../tests/fixtures/tsuru_app_info.json");

fn bound(name: &str) -> TsuruApp {
    let (team, pool) = ("bound-team".to_owned(), "bound-pool".to_owned());
    TsuruApp { name: name.to_owned(), team, pool, hosts: vec!["old.example.test".to_owned()] }
}

fn read_json(json: &Value) -> AppUnits {
    of_app(&AppInfo::from_json(json), &bound("shop")).unwrap()
}

/// Address, index and process type of each entry under the first route.
fn units_of(app_units: &AppUnits) -> Vec<String> {
    let Some(first) = app_units.entries.first() else { return Vec::new() };
    let entries = app_units.entries.iter().filter(|entry| entry.route == first.route);
    let endpoints = entries.filter_map(|entry| entry.endpoint.as_ref());
    let line = |endpoint: &Arc<Endpoint>| {
        let index = endpoint.index.as_deref().unwrap_or("-");
        format!("{} {index} {}", endpoint.address, endpoint.process_type)
    };
    endpoints.map(line).collect()
}

#[test]
fn the_sample_has_two_units_under_two_hosts() {
    let app_units = read_json(&serde_json::from_str(SAMPLE).unwrap());
    let routes: Vec<_> = app_units.entries.iter().map(|entry| &*entry.route).collect();
    let (first, second) = ("shop.tsuru.example.test", "www.shop.example.test");
    assert_eq!(routes, [first, first, second, second]);
    // The third unit is in the state `error`. The port of the worker is unknown.
    assert_eq!(units_of(&app_units), ["127.4.1.7:8888 0 web", "127.4.2.9:8888 1 web"]);
    assert_eq!(app_units.skipped, 1);
    let endpoint = app_units.entries[0].endpoint.as_ref().unwrap();
    assert_eq!(endpoint.process_instance_id.as_deref(), Some("shop-web-7-5d9c7b6f8-aaaaa"));
    assert_eq!(
        endpoint.app.labels().map(|(_, value)| value),
        ["tsuru:checkout", "tsuru:checkout/pool-a", "tsuru:shop", "checkout", "pool-a", "shop"]
    );
    assert!(!endpoint.tls && endpoint.behind_host.is_none());
}

#[test]
fn an_address_is_the_pod_ip_with_the_process_port_or_the_reported_address() {
    let web = |version: &str, port: Value| json!({"Process": "web", "Version": version, "TargetPort": port});
    let base = json!([web("", json!(8888))]);
    let pod = |more: Value| {
        let mut unit = json!({"InternalIP": "10.0.0.1", "IP": "10.9.9.9", "Version": 7});
        unit.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        unit
    };
    let none = json!([]);
    let versions = json!([web("6", json!(6)), web("7", json!(7)), web("", json!(1))]);
    let own = json!([web("6", json!(6)), web("7", json!(7))]);
    let other = json!([web("6", json!(6)), web("5", json!(5))]);
    let app_units = json!({"Address": {"Scheme": "http", "Host": "10.0.0.2:32768"}});
    let host = json!({"Address": null, "HostAddr": "10.0.0.3", "HostPort": "32769"});
    let cases = [
        (pod(json!({})), &base, Some("10.0.0.1:8888")),
        (pod(json!({})), &versions, Some("10.0.0.1:1")),
        (pod(json!({})), &own, Some("10.0.0.1:7")),
        (pod(json!({})), &other, Some("10.0.0.1:6")),
        (pod(json!({})), &none, None),
        (pod(json!({"InternalIP": ""})), &base, None),
        (pod(json!({"InternalIP": "pod.local"})), &base, None),
        (pod(json!({"InternalIP": "fd00::1"})), &base, Some("[fd00::1]:8888")),
        (pod(json!({"InternalIP": "0.0.0.0"})), &base, None),
        (pod(json!({"ProcessName": "worker"})), &base, None),
        (pod(app_units.clone()), &base, Some("10.0.0.1:8888")),
        (pod(app_units.clone()), &none, Some("10.0.0.2:32768")),
        (app_units.clone(), &base, Some("10.0.0.2:32768")),
        (host.clone(), &base, Some("10.0.0.3:32769")),
        (pod(host), &none, Some("10.0.0.3:32769")),
        (json!({"HostAddr": "10.0.0.3", "HostPort": 32769}), &none, Some("10.0.0.3:32769")),
        (json!({"HostAddr": "10.0.0.3", "HostPort": "0"}), &none, None),
        (json!({"HostAddr": "10.0.0.3", "HostPort": "x"}), &none, None),
        (json!({"Address": {"Host": "node.example:80"}}), &none, None),
        (json!({"Address": "10.0.0.1:80", "HostAddr": 7}), &none, None),
        (json!({"IP": "10.9.9.9"}), &base, None),
        (pod(json!({})), &json!([web("", json!(0)), web("", json!("81"))]), Some("10.0.0.1:81")),
        (pod(json!({})), &json!([web("", json!(70000)), web("", json!(-1)), 7, null]), None),
        (pod(json!({})), &json!([{"Process": "web", "Port": 80}]), None),
        (pod(json!({})), &json!([{"Process": "web", "Protocol": "UDP", "TargetPort": 53}]), None),
        (pod(json!({})), &json!({"Process": "web"}), None),
    ];
    for (mut unit, ports, expected) in cases {
        unit["Status"] = json!("started");
        let app_units =
            read_json(&json!({"name": "shop", "units": [unit], "internalAddresses": ports}));
        let expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
        let found: Vec<_> = units_of(&app_units);
        let found: Vec<_> = found.iter().filter_map(|unit| unit.split(' ').next()).collect();
        assert_eq!(found, expected, "{unit} with {ports}");
        assert_eq!(app_units.skipped, 1 - expected.len(), "{unit} with {ports}");
    }
}

#[test]
fn only_running_units_are_scraped_and_indexes_stay_the_same() {
    let unit = |name: &str, more: Value| {
        let mut unit =
            json!({"Name": name, "ID": name, "Status": "started", "InternalIP": "10.0.0.1"});
        unit.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        unit
    };
    let ip = |last: u8| json!({"InternalIP": format!("10.0.0.{last}")});
    let mut units =
        vec![unit("d", ip(4)), unit("a", ip(1)), unit("w", json!({"ProcessName": "worker"}))];
    for status in ["created", "building", "starting", "error", "stopped", "succeeded", ""] {
        units.push(unit(
            &format!("b-{status}"),
            json!({"Status": status, "InternalIP": "10.0.0.2"}),
        ));
    }
    units.push(unit("c", json!({"Ready": false, "InternalIP": "10.0.0.3"})));
    units.push(unit("e", json!({"Ready": null, "ProcessName": "", "InternalIP": "10.0.0.5"})));
    // The same address again, and values that are not units.
    units.push(unit("f", ip(5)));
    units.extend([json!(7), json!(null), json!([])]);
    let ports =
        json!([{"Process": "web", "TargetPort": 80}, {"Process": "worker", "TargetPort": 81}]);
    let app_units = read_json(&json!({"name": "shop", "units": units, "internalAddresses": ports}));
    let expected =
        ["10.0.0.1:80 3 web", "10.0.0.4:80 12 web", "10.0.0.5:80 13 web", "10.0.0.1:81 0 worker"];
    let mut found = units_of(&app_units);
    found.sort_by_key(|unit| unit.contains("worker"));
    assert_eq!(found, expected);
    assert_eq!(app_units.skipped, 4);
}

#[test]
fn an_app_is_listed_under_its_hosts_or_its_id() {
    let unit = json!({"Status": "started", "HostAddr": "10.0.0.1", "HostPort": "80"});
    let cases = [
        (json!({"units": [unit]}), vec!["tsuru:shop with"]),
        (json!({"units": []}), vec![]),
        (json!({"cname": ["A.example"], "units": []}), vec!["a.example without"]),
        (
            json!({"cname": ["b.example", 7], "units": [unit], "routers": [
                {"address": "https://a.example", "addresses": ["a.example:80", "", "c d"]}, 7, {}]}),
            vec!["a.example with", "b.example with"],
        ),
    ];
    for (mut json, expected) in cases {
        json["name"] = json!("shop");
        let app_units = read_json(&json);
        let of = |entry: &Entry| if entry.endpoint.is_some() { "with" } else { "without" };
        let found: Vec<_> = app_units
            .entries
            .iter()
            .map(|entry| format!("{} {}", entry.route, of(entry)))
            .collect();
        assert_eq!(found, expected, "{json}");
    }
}

#[test]
fn missing_values_are_taken_from_the_binding() {
    let unit = json!({"Status": "started", "HostAddr": "10.0.0.1", "HostPort": "80"});
    let app_units =
        read_json(&json!({"name": "shop", "teamowner": "", "pool": 7, "units": [unit]}));
    let app = &app_units.entries[0].endpoint.as_ref().unwrap().app;
    assert_eq!((&*app.organization_name, &*app.space_name), ("bound-team", "bound-pool"));
}

#[test]
fn a_response_about_another_app_is_a_failure() {
    for json in [json!([]), json!({}), json!({"name": "other", "units": []})] {
        let error = of_app(&AppInfo::from_json(&json), &bound("shop")).unwrap_err().to_string();
        assert!(error.contains("does not describe the app"), "{json}: {error}");
    }
    let long = "x".repeat(300);
    assert!(of_app(&AppInfo::from_json(&json!({"name": long})), &bound(&long)).is_err());
}

#[test]
fn a_response_without_units_and_with_an_error_is_a_failure() {
    let unit = json!({"Status": "started", "HostAddr": "10.0.0.1", "HostPort": "80"});
    let pod = json!({"Status": "started", "InternalIP": "10.0.0.1"});
    let (units, ports) = (
        "unable to list app units: dial tcp: i/o timeout",
        "unable to get app cluster internal addresses: timeout",
    );
    for (units, error, expected) in [
        (json!(null), json!(units), Some("cannot list the app's units")),
        (json!([]), json!(units), Some("cannot list the app's units")),
        (json!([unit]), json!(format!("{ports}\n{units}")), Some("cannot list the app's units")),
        (json!(null), json!("unable to get app quota: x"), Some("an error instead")),
        (json!(null), json!({"code": 500}), Some("an error instead")),
        (json!([pod]), json!(ports), Some("does not know the ports")),
        (json!([unit]), json!(ports), None),
        (json!([unit]), json!("unable to get autoscale info: x"), None),
        (json!([]), json!("unable to get autoscale info: x"), None),
        (json!([]), json!(""), None),
        (json!(null), json!(null), None),
        (json!([pod]), json!(null), None),
    ] {
        let body = json!({"name": "shop", "units": units, "error": error});
        match (of_app(&AppInfo::from_json(&body), &bound("shop")), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => {
                assert!(error.to_string().contains(expected), "{body}: {error}");
            }
            (other, _) => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn hosts_missing_in_the_response_are_taken_from_the_binding() {
    let unit = json!({"Status": "started", "HostAddr": "10.0.0.1", "HostPort": "80"});
    let error = "unable to get app addresses: router is unreachable";
    let app_units = read_json(&json!({
        "name": "shop", "units": [unit], "cname": ["www.example.test"], "error": error,
    }));
    let routes: Vec<_> = app_units.entries.iter().map(|entry| &*entry.route).collect();
    assert_eq!(routes, ["old.example.test", "www.example.test"]);
}
