use super::*;
use crate::domain::ScrapeOptions;
use proptest::prelude::*;
use serde_json::{Map, json};

fn built_in() -> Value {
    serde_json::from_str(include_str!("../../../broker-catalog.json")).unwrap()
}

/// Paths and texts of all problems after `change` was applied to the built-in catalog.
fn mistakes(change: impl FnOnce(&mut Value)) -> Vec<(String, String)> {
    let mut document = built_in();
    change(&mut document);
    let mistakes = Catalog::parse(&document, "http://x").err().unwrap_or_default();
    mistakes.into_iter().map(|mistake| (mistake.path, mistake.problem)).collect()
}

#[test]
fn each_problem_has_a_path() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 50] = [
        ("services", |c| c["services"] = json!([])),
        ("services", |c| c["services"] = json!({})),
        ("services[0]", |c| c["services"][0] = json!("metrics")),
        ("services[3].id", |c| {
            let mut copy = c["services"][0].clone();
            copy["name"] = json!("other");
            copy["plans"][0]["id"] = json!("other");
            c["services"].as_array_mut().unwrap().push(copy);
        }),
        ("services[3].name", |c| {
            let mut copy = c["services"][0].clone();
            copy["id"] = json!("other");
            copy["plans"][0]["id"] = json!("other");
            c["services"].as_array_mut().unwrap().push(copy);
        }),
        ("services[3].plans[0].id", |c| {
            let mut copy = c["services"][0].clone();
            copy["id"] = json!("other");
            copy["name"] = json!("other");
            c["services"].as_array_mut().unwrap().push(copy);
        }),
        ("services[0].plans[1].name", |c| {
            let mut copy = c["services"][0]["plans"][0].clone();
            copy["id"] = json!("other");
            c["services"][0]["plans"].as_array_mut().unwrap().push(copy);
        }),
        ("services[0].id", |c| c["services"][0]["id"] = json!("")),
        ("services[0].id", |c| c["services"][0]["id"] = json!("a\u{0}b")),
        ("services[0].id", |c| c["services"][0]["id"] = json!("x".repeat(256))),
        ("services[0].name", |c| c["services"][0]["name"] = json!(null)),
        ("services[0].description", |c| c["services"][0]["description"] = json!(["x"])),
        ("services[0].description", |c| {
            c["services"][0]["description"] = json!("ü".repeat(10_001));
        }),
        ("services[0].bindable", |c| c["services"][0]["bindable"] = json!("true")),
        ("services[0].bindable", |c| c["services"][0]["bindable"] = json!(null)),
        ("services[0].plan_updateable", |c| c["services"][0]["plan_updateable"] = json!(1)),
        ("services[0].instances_retrievable", |c| {
            c["services"][0]["instances_retrievable"] = json!("yes");
        }),
        ("services[0].bindings_retrievable", |c| {
            c["services"][0]["bindings_retrievable"] = json!("yes");
        }),
        ("services[0].allow_context_updates", |c| {
            c["services"][0]["allow_context_updates"] = json!("yes");
        }),
        ("services[0].tags", |c| c["services"][0]["tags"] = json!("prometheus")),
        ("services[0].tags", |c| c["services"][0]["tags"] = json!(["a", 1])),
        ("services[0].tags", |c| {
            c["services"][0]["tags"] = json!(["x".repeat(2_000), "x".repeat(49)]);
        }),
        ("services[0].requires", |c| c["services"][0]["requires"] = json!(["root"])),
        ("services[0].metadata", |c| c["services"][0]["metadata"] = json!("x")),
        ("services[1].plans[0].metadata.prometheus.storage", |c| {
            c["services"][1]["plans"][0]["metadata"]["prometheus"]["storage"] = json!("tape");
        }),
        ("services[2].plans[0].metadata.events", |c| {
            c["services"][2]["plans"][0]["metadata"]["events"] = json!({"ttl": "1h"});
        }),
        ("services[2].plans[0].metadata.events", |c| {
            let prometheus = c["services"][1]["plans"][0]["metadata"]["prometheus"].clone();
            c["services"][2]["plans"][0]["metadata"]["prometheus"] = prometheus;
        }),
        ("services[2].plans[0].binding_rotatable", |c| {
            c["services"][2]["plans"][0]["binding_rotatable"] = json!(true);
        }),
        ("services[0].metadata.shareable", |c| {
            c["services"][0]["metadata"]["shareable"] = json!("true");
        }),
        ("services[0].dashboard_client.secret", |c| {
            c["services"][0]["dashboard_client"] = json!({"id": "i", "redirect_uri": "http://x"});
        }),
        ("services[0].plans", |c| c["services"][0]["plans"] = json!([])),
        ("services[0].plans[0].description", |c| {
            c["services"][0]["plans"][0]["description"] = json!("");
        }),
        ("services[0].plans[0].free", |c| {
            c["services"][0]["plans"][0]["free"] = json!("true");
        }),
        ("services[0].plans[0].bindable", |c| {
            c["services"][0]["plans"][0]["bindable"] = json!("true");
        }),
        ("services[0].plans[0].binding_rotatable", |c| {
            c["services"][0]["plans"][0]["binding_rotatable"] = json!(0);
        }),
        ("services[0].plans[0].plan_updateable", |c| {
            c["services"][0]["plans"][0]["plan_updateable"] = json!([]);
        }),
        ("services[0].plans[0].metadata", |c| {
            c["services"][0]["plans"][0]["metadata"] = json!([]);
        }),
        ("services[0].plans[0].maximum_polling_duration", |c| {
            c["services"][0]["plans"][0]["maximum_polling_duration"] = json!("60");
        }),
        ("services[0].plans[0].maintenance_info.version", |c| {
            c["services"][0]["plans"][0]["maintenance_info"] = json!({"version": "1.2"});
        }),
        ("services[0].plans[0].maintenance_info.version", |c| {
            c["services"][0]["plans"][0]["maintenance_info"] = json!({});
        }),
        ("services[0].plans[0].maintenance_info.stage", |c| {
            let info = json!({"version": "1.2.0", "stage": "x"});
            c["services"][0]["plans"][0]["maintenance_info"] = info;
        }),
        ("services[0].plans[0].maintenance_info.description", |c| {
            let info = json!({"version": "1.2.0", "description": 5});
            c["services"][0]["plans"][0]["maintenance_info"] = info;
        }),
        ("services[0].plans[0].maintenance_info", |c| {
            let info = json!({"version": "1.2.0", "description": "x".repeat(2_000)});
            c["services"][0]["plans"][0]["maintenance_info"] = info;
        }),
        ("services[0].plans[0].schemas", |c| {
            c["services"][0]["plans"][0]["schemas"] = json!("x");
        }),
        ("services[0].plans[0].schemas.service_binding.create", |c| {
            c["services"][0]["plans"][0]["schemas"]["service_binding"]["create"] = json!(1);
        }),
        (BIND_SCHEMA, |c| bind_schema(c, json!({"type": "object"}))),
        (BIND_SCHEMA, |c| bind_schema(c, json!({"$schema": DRAFT, "type": "text"}))),
        (BIND_SCHEMA, |c| {
            let properties = json!({"a": {"$ref": "http://evil.example/schema#"}});
            bind_schema(c, json!({"$schema": DRAFT, "properties": properties}));
        }),
        (BIND_SCHEMA, |c| {
            bind_schema(c, json!({"$schema": DRAFT, "description": "x".repeat(65_536)}));
        }),
        (BIND_SCHEMA, |c| {
            bind_schema(c, json!({"$schema": DRAFT, "$ref": "#/definitions/nowhere"}));
        }),
    ];
    assert_eq!(mistakes(|_| {}), [], "the built-in catalog");
    for (index, (path, change)) in cases.into_iter().enumerate() {
        let found = mistakes(change);
        assert_eq!(found.len(), 1, "case {index}: {found:?}");
        assert_eq!(found[0].0, path, "case {index}: {found:?}");
    }
}

const DRAFT: &str = "http://json-schema.org/draft-04/schema#";
const BIND_SCHEMA: &str = "services[0].plans[0].schemas.service_binding.create.parameters";

fn bind_schema(catalog: &mut Value, schema: Value) {
    let plan = &mut catalog["services"][0]["plans"][0];
    plan["schemas"]["service_binding"]["create"]["parameters"] = schema;
}

#[test]
fn all_problems_are_reported_at_once() {
    let found = mistakes(|catalog| {
        catalog["services"][0]["id"] = json!("");
        catalog["services"][0]["plans"][0]["name"] = json!(5);
        let second = json!({"plans": [{}]});
        catalog["services"].as_array_mut().unwrap().push(second);
    });
    let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "services[0].id",
            "services[0].plans[0].name",
            "services[3].id",
            "services[3].name",
            "services[3].description",
            "services[3].bindable",
            "services[3].plans[0].id",
            "services[3].plans[0].name",
            "services[3].plans[0].description",
        ]
    );
}

#[test]
fn a_document_that_is_not_an_object_is_one_problem() {
    let found = Catalog::parse(&json!([]), "").unwrap_err();
    assert_eq!(found[0].to_string(), "the catalog must be an object with the key services");
}

#[test]
fn a_plan_overrides_flags_of_its_service() {
    let mut document = built_in();
    let mut plan = document["services"][0]["plans"][0].clone();
    plan["id"] = json!("other");
    plan["name"] = json!("other");
    plan["bindable"] = json!(false);
    plan["plan_updateable"] = json!(false);
    plan["maintenance_info"] = json!({"version": "1.2.0"});
    document["services"][0]["plans"].as_array_mut().unwrap().push(plan);
    let catalog = Catalog::parse(&document, "").unwrap();
    let [inheriting, own] = catalog.services()[0].plans.as_slice() else { panic!("two plans") };
    assert!(inheriting.bindable && inheriting.plan_updateable);
    assert!(!own.bindable && !own.plan_updateable);
    assert_eq!(own.maintenance_version.as_deref(), Some("1.2.0"));
}

#[test]
fn unknown_keys_are_kept_in_services_and_dropped_at_the_top_level() {
    let mut document = built_in();
    document["comment"] = json!("ours");
    document["services"][0]["x_vendor"] = json!({"a": 1});
    let catalog = Catalog::parse(&document, "").unwrap();
    assert_eq!(catalog.document()["services"][0]["x_vendor"], json!({"a": 1}));
    assert_eq!(catalog.document().get("comment"), None);
}

fn built_in_plan() -> Plan {
    Catalog::parse(&built_in(), "").unwrap().services()[0].plans[0].clone()
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn an_invalid_parameter_is_named_without_its_value() {
    let bind = built_in_plan().bind.unwrap();
    let cases = [
        (json!({"metrics_path": "/x"}), "metrics_path"),
        (json!({"endpoint": 5}), "endpoint"),
        (json!({"basic_auth": {"username": "u"}}), "basic_auth.password"),
        (json!({"basic_auth": {"username": "u", "password": "p", "x": 1}}), "basic_auth.x"),
        (json!({"headers": {"A": 5}}), "headers.A"),
        (json!({"labels": {"a/b": "1"}}), "labels.a/b"),
    ];
    for (parameters, field) in cases {
        let error = bind.check(&map(parameters.clone())).unwrap_err();
        assert_eq!(error.field, field, "{parameters}");
    }
    let secret = json!({"basic_auth": {"username": "u", "password": "hunter2\n"}});
    let error = bind.check(&map(secret)).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
    let provision = built_in_plan().provision.unwrap();
    let error = provision.check(&map(json!({"scrape_interval": "30s"}))).unwrap_err();
    assert_eq!(error.to_string(), "parameter scrape_interval is unknown");
}

/// Parameters that are valid or almost valid.
fn parameters() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[ -~]{0,6}",
        "[a-z_:]{0,6}",
        "(/|//|a://|/[.]{2}|%2e%2E|[?]|#|a|/){0,4}",
        Just("le".to_owned()),
        Just("app_id".to_owned()),
        Just("\u{7f}".to_owned()),
        Just("ü".to_owned()),
        Just("\t".to_owned()),
    ];
    let text = text.prop_map(Value::String);
    let texts = prop::collection::vec(text.clone(), 0..3).prop_map(Value::Array);
    let name = || "[A-Za-z_:-]{0,3}|__x|le|app_id|a b";
    let named = |value: BoxedStrategy<Value>| {
        prop::collection::btree_map(name(), value, 0..2)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    };
    let credentials = prop::collection::btree_map("username|password|x", text.clone(), 1..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()));
    let number = prop_oneof![Just(json!(-1)), Just(json!(0)), Just(json!(1)), Just(json!(1.5))];
    let any = prop_oneof![
        text.clone(),
        texts.clone(),
        number,
        credentials,
        named(text.clone().boxed()),
        named(texts.boxed()),
    ];
    let key = "endpoint|params|headers|basic_auth|bearer_token|labels|process_types|sample_limit";
    prop::collection::btree_map(key, any, 0..3)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Users can rely on the schema in the catalog. [`ScrapeOptions`] rejects only what JSON schema
    /// cannot express: reserved headers, and header names that differ only in case.
    #[test]
    fn the_built_in_bind_schema_matches_scrape_options(parameters in parameters()) {
        use std::sync::LazyLock;
        static BIND: LazyLock<ParameterSchema> = LazyLock::new(|| built_in_plan().bind.unwrap());
        let parameters = map(parameters);
        let domain = ScrapeOptions::from_parameters(&parameters);
        let schema = BIND.check(&parameters);
        let beyond_schema = matches!(
            &domain,
            Err(error) if error.field.starts_with("headers.")
        );
        prop_assert!(
            domain.is_ok() == schema.is_ok() || beyond_schema && schema.is_ok(),
            "{domain:?} {schema:?}"
        );
    }
}

#[test]
fn a_recursive_schema_terminates() {
    for schema in [
        json!({"$schema": DRAFT, "$ref": "#"}),
        json!({"$schema": DRAFT, "allOf": [{"$ref": "#"}]}),
    ] {
        let schema = ParameterSchema::parse(&schema).unwrap();
        schema.check(&map(json!({"a": {"a": 1}}))).unwrap();
    }
}

#[test]
fn without_a_provisioner_prometheus_plans_are_not_offered() {
    let catalog = Catalog::parse(&built_in(), "").unwrap();
    let names = |catalog: &Catalog| {
        catalog.services().iter().map(|service| service.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&catalog), ["metrics", "prometheus", "events"]);
    assert!(catalog.services()[1].plans.iter().all(|plan| plan.prometheus.is_some()));
    let without = catalog.without_prometheus();
    assert_eq!(names(&without), ["metrics", "events"]);
    assert_eq!(without.document()["services"].as_array().unwrap().len(), 2);
}

#[test]
fn effective_flags_are_written_into_each_plan() {
    let mut document = built_in();
    let service = &mut document["services"][0];
    service["plan_updateable"] = json!(null);
    service["bindable"] = json!(false);
    let mut plan = service["plans"][0].clone();
    plan.as_object_mut().unwrap().remove("free");
    let mut second = plan.clone();
    second["id"] = json!("second");
    second["name"] = json!("second");
    second["free"] = json!(false);
    second["bindable"] = json!(true);
    second["plan_updateable"] = json!(true);
    plan["bindable"] = json!(null);
    service["plans"] = json!([plan, second]);
    let catalog = Catalog::parse(&document, "http://x").unwrap();
    for catalog in [catalog.clone(), catalog.without_prometheus()] {
        let flags = |plan: usize| {
            let plan = &catalog.document()["services"][0]["plans"][plan];
            ["free", "bindable", "plan_updateable"].map(|flag| plan[flag].as_bool())
        };
        assert_eq!(flags(0), [Some(true), Some(false), Some(false)]);
        assert_eq!(flags(1), [Some(false), Some(true), Some(true)]);
    }
}
