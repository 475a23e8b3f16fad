use super::*;
use crate::{
    broker::BindingTable,
    discovery::parse,
    domain::ScrapeOptions,
    http::sd::query::{Mode, Scheme},
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn endpoint(app: &str, kind: &str, index: Option<&str>, address: &str) -> Value {
    let mut tags = json!({
        "app_id": app, "app_name": format!("name of {app}"), "process_type": kind,
        "process_instance_id": address,
        "organization_id": "org-guid", "organization_name": "acme",
        "space_id": "space-guid", "space_name": "prod",
    });
    if let Some(index) = index {
        tags["instance_id"] = index.into();
    }
    json!({"address": address, "tags": tags})
}

fn table(routes: &Value) -> Snapshot {
    Snapshot::from(&parse(routes.to_string().as_bytes()).unwrap())
}

fn requested_list(table: &Snapshot, visibility: &Visibility, query: &SdQuery) -> Vec<Value> {
    let base = "https://broker.example.com".parse().unwrap();
    let bound = BindingTable::default().snapshot();
    let text = list(table, &bound, visibility, query, &base).unwrap();
    let list: Vec<Value> = serde_json::from_slice(&text).unwrap();
    list
}

fn sd_query(rest: &str, query: &str) -> SdQuery {
    SdQuery::parse(rest, query).unwrap()
}

fn instances(list: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list.iter()
        .map(|one| {
            let labels = &one["labels"];
            format!("{} {}", text(&labels["__meta_cf_app_id"]), text(&labels["instance"]))
        })
        .collect()
}

/// The target group of one instance, with the parameters of a binding.
fn group(instance: Value, parameters: &Value, query: &SdQuery, base: &str) -> Value {
    let table = table(&json!({"web.example.com/x": [instance]}));
    let options = ScrapeOptions::from_parameters(parameters.as_object().unwrap()).unwrap();
    let bound = ActiveBinding { binding_id: "b".parse().unwrap(), options };
    let base: BaseUrl = base.parse().unwrap();
    let targets =
        AppTargets { bound: Some(&bound), route: "web.example.com/x", query, base: &base };
    let found = table.unordered_apps().next().unwrap();
    serde_json::to_value(targets.group(found.endpoints[0], true)).unwrap()
}

#[test]
fn a_target_has_the_documented_labels() {
    let web = || endpoint("guid", "web", Some("0"), "10.0.0.1:61001");
    let found = group(web(), &json!({}), &SdQuery::default(), "https://broker.example.com");
    let expected = json!({
        "targets": ["broker.example.com:443"],
        "labels": {
            "__scheme__": "https",
            "__metrics_path__": "/v1/apps/guid/instances/0/metrics",
            "instance": "web/0",
            "organization_id": "org-guid",
            "space_id": "space-guid",
            "app_id": "guid",
            "organization_name": "acme",
            "space_name": "prod",
            "app_name": "name of guid",
            "index": "0",
            "instance_id": "0",
            "__meta_cf_app_id": "guid",
            "__meta_cf_org_id": "org-guid",
            "__meta_cf_space_id": "space-guid",
            "__meta_cf_instance_index": "0",
            "__meta_cf_process_type": "web",
            "__meta_cf_route": "web.example.com/x",
            "__meta_cf_metrics_path": "/metrics",
        },
    });
    assert_eq!(found, expected);

    let direct = sd_query("", "mode=direct");
    let parameters = json!({
        "endpoint": "/a%20b?x=canary",
        "params": {"z": ["canary", "2"], "collect[]": "canary"},
        "labels": {"team": "checkout"},
    });
    let found = group(web(), &parameters, &direct, "https://broker.example.com");
    assert_eq!(found["targets"], json!(["10.0.0.1:61001"]));
    let labels = found["labels"].as_object().unwrap();
    for (name, value) in [
        ("__scheme__", "http"),
        ("__metrics_path__", "/a b"),
        ("team", "checkout"),
        ("instance", "web/0"),
        ("__meta_cf_metrics_path", "/a b"),
    ] {
        assert_eq!(labels[name], value, "{name}");
    }
    assert!(!found.to_string().contains("canary"), "a parameter may be a key: {found}");
}

/// Cases: app, process type, index, address; base URL; expected target.
#[test]
fn unusual_names_are_encoded_in_paths() {
    let address = "[fd00::1]:8080";
    for (app, kind, index, base, target, path, instance) in [
        (
            "tsuru:my-app",
            "web",
            Some("3"),
            "http://b:8085",
            "b:8085",
            "/v1/apps/tsuru:my-app/instances/3/metrics",
            "web/3",
        ),
        (
            "a b/ü?%41#&",
            "web",
            Some("0"),
            "https://b",
            "b:443",
            "/v1/apps/a b/ü?%41#&/instances/0/metrics",
            "web/0",
        ),
        (
            "guid",
            "web",
            None,
            "https://b/x%20y/",
            "b:443",
            "/x y/v1/apps/guid/instances/[fd00::1]:8080/metrics",
            "web/[fd00::1]:8080",
        ),
        (
            "guid",
            "we b/",
            Some("x"),
            "http://b",
            "b:80",
            "/v1/apps/guid/instances/[fd00::1]:8080/metrics",
            "we b//[fd00::1]:8080",
        ),
        (
            "guid",
            "web",
            Some(""),
            "http://[::1]:80",
            "[::1]:80",
            "/v1/apps/guid/instances/[fd00::1]:8080/metrics",
            "web/[fd00::1]:8080",
        ),
        (
            "guid",
            "web",
            Some("0"),
            "http://[::1]",
            "[::1]:80",
            "/v1/apps/guid/instances/0/metrics",
            "web/0",
        ),
    ] {
        let unusual = endpoint(app, kind, index, address);
        let found = group(unusual, &json!({}), &SdQuery::default(), base);
        assert_eq!(found["targets"], json!([target]), "{app}");
        assert_eq!(found["labels"]["__metrics_path__"], path, "{app}");
        assert_eq!(found["labels"]["instance"], instance, "{app}");
        let process_type = if kind == "web" { Value::Null } else { kind.into() };
        assert_eq!(found["labels"]["__param_process_type"], process_type, "{app}");
        let pool = if app.starts_with("tsuru:") { "prod".into() } else { Value::Null };
        assert_eq!(found["labels"]["__meta_tsuru_pool"], pool, "{app}");
    }
}

#[test]
fn scheme_and_port_can_be_replaced() {
    for (query, base, scheme, target) in [
        ("scheme=http", "https://b/x", "http", "b:80"),
        ("scheme=https", "http://b:8085", "https", "b:8085"),
        ("port=1", "https://[::1]:443", "https", "[::1]:1"),
        ("mode=direct&scheme=https&port=9100", "http://b", "https", "10.0.0.1:9100"),
        ("mode=direct", "https://b", "http", "10.0.0.1:80"),
    ] {
        let web = endpoint("guid", "web", Some("0"), "10.0.0.1:80");
        let found = group(web, &json!({}), &sd_query("", query), base);
        assert_eq!(found["labels"]["__scheme__"], scheme, "{query}");
        assert_eq!(found["targets"], json!([target]), "{query}");
    }
    let mut secured = endpoint("guid", "web", Some("0"), "10.0.0.1:80");
    secured["tls"] = true.into();
    let found = group(secured, &json!({}), &sd_query("", "mode=direct"), "http://b");
    assert_eq!(found["labels"]["__scheme__"], Scheme::Https.as_str());
}

#[test]
fn instances_are_sorted_and_equal_indexes_are_distinguished() {
    let table = table(&json!({
        "z.example.com": [
            endpoint("b", "web", Some("10"), "10.0.0.10:80"),
            endpoint("b", "web", Some("2"), "10.0.0.3:80"),
            endpoint("b", "web", Some("2"), "10.0.0.2:80"),
            endpoint("b", "web", None, "10.0.0.4:80"),
            endpoint("b", "cron", Some("2"), "10.0.0.5:80"),
        ],
        "y.example.com": [endpoint("a", "web", Some("0"), "10.0.1.1:80")],
    }));
    let list = requested_list(&table, &Visibility::Everything, &SdQuery::default());
    let expected =
        ["a web/0", "b cron/2", "b web/2", "b web/10.0.0.3:80", "b web/10", "b web/10.0.0.4:80"];
    assert_eq!(instances(&list), expected);
    assert_eq!(list[3]["labels"]["__meta_cf_instance_index"], "2");
}

#[test]
fn callers_see_the_requested_apps_of_their_scope() {
    let mut other = endpoint("b", "web", Some("0"), "10.0.0.2:80");
    other["tags"]["space_id"] = "dev-guid".into();
    other["tags"]["space_name"] = "dev".into();
    let table = table(&json!({
        "a.example.com": [endpoint("a", "web", Some("0"), "10.0.0.1:80")],
        "b.example.com": [other.clone()],
        "both.example.com": [endpoint("a", "web", Some("0"), "10.0.0.1:80"), other],
    }));
    let app = |guid: &str| Visibility::App(guid.parse().unwrap());
    let space = |guid: &str| Visibility::Space(guid.parse().unwrap());
    for (visibility, rest, query, expected) in [
        (Visibility::Everything, "", "", &["b web/0", "a web/0"][..]),
        (Visibility::Everything, "/acme", "", &["b web/0", "a web/0"]),
        (Visibility::Everything, "/org-guid/prod", "", &["a web/0"]),
        (Visibility::Everything, "/acme/dev-guid/b", "", &["b web/0"]),
        (Visibility::Everything, "/acme/dev/name%20of%20b", "", &["b web/0"]),
        (Visibility::Everything, "/acme/prod/b", "", &[]),
        (Visibility::Everything, "/ACME", "", &[]),
        (Visibility::Everything, "", "app=a", &["a web/0"]),
        (Visibility::Everything, "", "app=acme/dev/name%20of%20b", &["b web/0"]),
        (Visibility::Everything, "", "route_url=both.example.com/x", &["b web/0", "a web/0"]),
        (app("a"), "", "", &["a web/0"]),
        (app("a"), "", "route_url=both.example.com", &["a web/0"]),
        (app("a"), "", "app=b", &[]),
        (app("a"), "/acme/dev", "", &[]),
        (app("unknown"), "", "", &[]),
        (space("dev-guid"), "", "", &["b web/0"]),
        (space("dev-guid"), "/acme/prod", "", &[]),
        (Visibility::BoundApps("i".parse().unwrap()), "", "", &[]),
    ] {
        let query = sd_query(rest, query);
        assert_eq!(
            instances(&requested_list(&table, &visibility, &query)),
            expected,
            "{visibility:?} {query:?}"
        );
    }
    let by_route = sd_query("", "route_url=both.example.com");
    let list = requested_list(&table, &Visibility::Everything, &by_route);
    assert_eq!(list[0]["labels"]["__meta_cf_route"], "both.example.com");
}

proptest! {
    #[test]
    fn targets_are_sorted_and_unique(
        instances in prop::collection::vec((0_u8..4, 0_u8..3, 0_u8..4, 1_u16..30), 0..40),
        direct: bool,
    ) {
        let kinds = ["web", "cron", "worker"];
        let routes = json!({"r.example.com": instances.iter().map(|(app, kind, index, port)| {
            let index = (*index < 3).then(|| index.to_string());
            endpoint(
                &format!("app{app}"),
                kinds[usize::from(*kind)],
                index.as_deref(),
                &format!("10.0.0.{app}:{port}"),
            )
        }).collect::<Vec<_>>()});
        let mode = if direct { Mode::Direct } else { Mode::Router };
        let query = SdQuery { mode, ..SdQuery::default() };
        let table = table(&routes);
        let list = requested_list(&table, &Visibility::Everything, &query);
        prop_assert_eq!(list.len(), table.size().1);
        let text = |one: &Value, name: &str| {
            one["labels"][name].as_str().unwrap_or_default().to_owned()
        };
        let sort_key = |one: &Value| {
            (text(one, "__meta_cf_app_id"), text(one, "__meta_cf_process_type"))
        };
        prop_assert!(list.is_sorted_by_key(sort_key));
        // Prometheus distinguishes targets, and their `up` series, by these labels.
        let identity = |one: &Value| {
            let names = ["__metrics_path__", "__param_process_type"];
            (one["targets"].to_string(), names.map(|name| text(one, name)))
        };
        let shown = |one: &Value| (text(one, "app_name"), text(one, "instance"));
        let (mut by_url, mut by_label): (Vec<_>, Vec<_>) =
            (list.iter().map(identity).collect(), list.iter().map(shown).collect());
        by_url.sort();
        by_label.sort();
        prop_assert!(by_url.windows(2).all(|pair| pair[0] != pair[1]));
        prop_assert!(by_label.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
