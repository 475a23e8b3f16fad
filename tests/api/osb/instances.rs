//! Service instances: sections "Provisioning", "Fetching a Service Instance", "Updating a Service
//! Instance", "Deprovisioning" and "Polling Last Operation for Service Instances" of the Open
//! Service Broker API 2.17.

use super::client::*;
use serde_json::{Value, json};

#[actix_web::test]
async fn a_repeated_provision_is_200_and_a_different_one_409() {
    on_both(async |api| {
        let i = instance("i");
        let created = api.put(&i, &provision()).await;
        assert_eq!((created.status, created.body), (201, json!({})));
        let again = api.put(&i, &provision()).await;
        assert_eq!((again.status, again.body), (200, json!({})));
        let async_again = api.put(&format!("{i}?accepts_incomplete=true"), &provision()).await;
        assert_eq!(async_again.status, 200);
        for (key, other) in [
            ("organization_guid", json!("other")),
            ("space_guid", json!("other")),
            ("plan_id", json!(SECOND_PLAN)),
            ("parameters", json!({"a": 1})),
        ] {
            let different = api.put(&i, &with(provision(), key, other)).await;
            assert_eq!(different.status, 409, "{key}");
            assert!(different.description().contains("different attributes"));
        }
        // Parameters are compared as JSON values, not as text.
        let empty = with(provision(), "parameters", json!({}));
        assert_eq!(api.put(&i, &empty).await.status, 200);
    })
    .await;
}

#[actix_web::test]
async fn a_provision_without_a_required_field_is_400_and_names_the_field() {
    on_both(async |api| {
        for key in ["service_id", "plan_id", "organization_guid", "space_guid"] {
            for wrong in [json!(null), json!(""), json!(5), json!(["x"])] {
                let body = with(provision(), key, wrong.clone());
                let answer = api.put(&instance("i"), &body).await;
                assert_eq!(answer.status, 400, "{key} {wrong}");
                assert!(answer.description().starts_with(key), "{key} {answer:?}");
            }
        }
        for (key, wrong, named) in [
            ("service_id", json!("unknown"), "service_id"),
            ("plan_id", json!("unknown"), "plan_id"),
            ("parameters", json!({"scrape_interval": "30s"}), "scrape_interval"),
            ("parameters", json!([]), "parameters"),
            ("parameters", json!("x"), "parameters"),
            ("context", json!("x"), "context"),
            ("context", json!({"space_name": 5}), "context.space_name"),
            ("maintenance_info", json!("1.2.0"), "maintenance_info"),
            ("maintenance_info", json!({"version": 1}), "maintenance_info.version"),
        ] {
            let answer = api.put(&instance("i"), &with(provision(), key, wrong.clone())).await;
            assert_eq!(answer.status, 400, "{key} {wrong}");
            assert!(answer.description().contains(named), "{key} {answer:?}");
        }
        assert_eq!(api.delete(&instance("i")).await.status, 410, "no instance was created");
    })
    .await;
}

#[actix_web::test]
async fn a_maintenance_version_different_from_the_plan_is_a_conflict() {
    on_both(async |api| {
        let info = |version: &str| json!({"version": version, "description": "ignored"});
        let second = with(provision(), "plan_id", json!(SECOND_PLAN));
        for body in [
            with(provision(), "maintenance_info", info("Invalid")),
            with(second.clone(), "maintenance_info", info("1.2.1")),
        ] {
            let answer = api.put(&instance("i"), &body).await;
            assert_eq!(answer.status, 422);
            assert_eq!(answer.body["error"], "MaintenanceInfoConflict");
            assert_eq!(api.delete(&instance("i")).await.status, 410);
        }
        let good = with(second, "maintenance_info", info("1.2.0"));
        assert_eq!(api.put(&instance("i"), &good).await.status, 201);
        let fetched = api.get(&instance("i")).await;
        assert_eq!(fetched.body["maintenance_info"], json!({"version": "1.2.0"}));
        let update = json!({"service_id": SERVICE, "maintenance_info": info("9.9.9")});
        let answer = api.patch(&instance("i"), &update).await;
        assert_eq!(answer.body["error"], "MaintenanceInfoConflict");
    })
    .await;
}

#[actix_web::test]
async fn only_existing_instances_can_be_fetched() {
    on_both(async |api| {
        assert_eq!(api.get(&instance("i")).await.status, 404);
        api.put(&instance("i"), &provision()).await;
        let hints = format!("{}?service_id=x&plan_id=y", instance("i"));
        for path in [instance("i"), hints] {
            let fetched = api.get(&path).await;
            let body = json!({"service_id": SERVICE, "plan_id": PLAN, "parameters": {}});
            assert_eq!((fetched.status, fetched.body), (200, body));
        }
    })
    .await;
}

#[actix_web::test]
async fn an_update_is_200_and_a_refused_one_has_a_reason() {
    on_both(async |api| {
        let i = instance("i");
        let body = |plan: &str| json!({"service_id": SERVICE, "plan_id": plan, "parameters": {}});
        assert_eq!(api.patch(&i, &body(PLAN)).await.status, 404);
        api.put(&i, &provision()).await;
        for plan in [PLAN, SECOND_PLAN, SECOND_PLAN, FIXED_PLAN, FIXED_PLAN] {
            let answer = api.patch(&i, &body(plan)).await;
            assert_eq!((answer.status, answer.body), (200, json!({})), "{plan}");
            assert_eq!(api.get(&i).await.body["plan_id"], plan);
        }
        let stuck = api.patch(&i, &body(PLAN)).await;
        assert_eq!(stuck.status, 422);
        assert_eq!(stuck.body["update_repeatable"], false);
        assert!(stuck.description().contains("cannot be changed"));
        let only_service = json!({"service_id": SERVICE});
        assert_eq!(api.patch(&i, &only_service).await.status, 200);
        for (body, named) in [
            (json!({}), "service_id"),
            (json!({"service_id": "unknown"}), "service_id"),
            (json!({"service_id": SERVICE, "plan_id": ""}), "plan_id"),
            (json!({"service_id": SERVICE, "plan_id": "unknown"}), "plan_id"),
            (json!({"service_id": SERVICE, "parameters": {"a": 1}}), "takes"),
            (json!({"service_id": SERVICE, "parameters": 5}), "parameters"),
        ] {
            let answer = api.patch(&i, &body).await;
            assert_eq!(answer.status, 400, "{body}");
            let named = if named == "takes" { "parameter a" } else { named };
            assert!(answer.description().contains(named), "{body}: {answer:?}");
        }
    })
    .await;
}

#[actix_web::test]
async fn the_first_delete_is_200_and_later_ones_are_410() {
    on_both(async |api| {
        let i = instance("i");
        let gone = api.delete(&i).await;
        assert_eq!((gone.status, gone.body), (410, json!({})));
        api.put(&i, &provision()).await;
        api.put(&binding("i", "b"), &bind("app")).await;
        let deleted = api.delete(&i).await;
        assert_eq!((deleted.status, deleted.body), (200, json!({})));
        assert_eq!(api.delete(&i).await.status, 410);
        assert_eq!(api.get(&i).await.status, 404);
        // The bindings of the instance were removed with it.
        assert_eq!(api.get(&binding("i", "b")).await.status, 404);
        assert_eq!(api.put(&i, &provision()).await.status, 201);
    })
    .await;
}

#[actix_web::test]
async fn a_delete_requires_service_id_and_plan_id_even_for_unknown_instances() {
    on_both(async |api| {
        api.put(&instance("known"), &provision()).await;
        for id in ["known", "unknown"] {
            for (query, named) in [
                ("", "service_id"),
                ("?plan_id=p", "service_id"),
                ("?service_id=s", "plan_id"),
                ("?service_id=&plan_id=p", "service_id"),
                ("?service_id=s&plan_id=%00", "plan_id"),
            ] {
                let path = format!("{}{query}", instance(id));
                let answer = send_request(api.request("DELETE", &path), None).await;
                assert_eq!(answer.status, 400, "{path}");
                assert!(answer.description().starts_with(named), "{path} {answer:?}");
            }
        }
        // The plan can be that from before an update whose response was lost.
        let path = format!("{}?service_id={SERVICE}&plan_id={SECOND_PLAN}", instance("known"));
        assert_eq!(send_request(api.request("DELETE", &path), None).await.status, 200);
    })
    .await;
}

#[actix_web::test]
async fn the_last_operation_of_an_instance_is_succeeded_or_404() {
    on_both(async |api| {
        let path = |id: &str, operation: &str| {
            format!("{}/last_operation?service_id=x&operation={operation}", instance(id))
        };
        api.put(&instance("i"), &provision()).await;
        for operation in ["", "op-1", "provision"] {
            let answer = api.get(&path("i", operation)).await;
            assert_eq!((answer.status, answer.body), (200, json!({"state": "succeeded"})));
            assert_eq!(api.get(&path("unknown", operation)).await.status, 404);
        }
        let gone = api.get(&path("unknown", "deprovision")).await;
        assert_eq!((gone.status, gone.body), (410, json!({})));
    })
    .await;
}

#[actix_web::test]
async fn any_printable_id_is_accepted() {
    on_both(async |api| {
        let long = "x".repeat(255);
        for id in ["a%2Fb", "a%20b", "%C3%BC", "..%2F..", "%2e%2e", "a%2541", "a+b", "a;b=c", &long]
        {
            let (i, b) = (instance(id), binding(id, id));
            assert_eq!(api.put(&i, &provision()).await.status, 201, "{id}");
            assert_eq!(api.put(&b, &bind("app")).await.status, 201, "{id}");
            assert_eq!(api.get(&b).await.status, 200, "{id}");
            assert_eq!(api.delete(&b).await.status, 200, "{id}");
            assert_eq!(api.delete(&i).await.status, 200, "{id}");
        }
        // Percent-encoded and plain IDs are the same.
        assert_eq!(api.put(&instance("%61b"), &provision()).await.status, 201);
        assert_eq!(api.get(&instance("ab")).await.status, 200);
        let too_long = "x".repeat(256);
        for id in ["", "%00", "a%0Ab", "%7F", "%C2%85", "%FF", "%C3", &too_long] {
            for (method, body) in [("PUT", Some(provision())), ("GET", None), ("DELETE", None)] {
                let path = format!("{}?service_id=s&plan_id=p", instance(id));
                let answer = send_request(api.request(method, &path), body.as_ref()).await;
                assert_eq!(answer.status, 400, "{method} {id:?} {answer:?}");
            }
            assert_eq!(api.get(&binding("i", id)).await.status, 400, "{id:?}");
        }
    })
    .await;
}

#[actix_web::test]
async fn names_with_any_characters_are_stored() {
    on_both(async |api| {
        let context = json!({
            "platform": "cloudfoundry",
            "organization_name": "a\u{0}b\u{1b}[31m",
            "space_name": "ü".repeat(10_000),
            "instance_name": "",
            "instance_annotations": {"x/y": "z"},
        });
        let body = with(provision(), "context", context);
        assert_eq!(api.put(&instance("i"), &body).await.status, 201);
        let renamed = json!({"service_id": SERVICE, "context": {"instance_name": "new\u{0}"}});
        assert_eq!(api.patch(&instance("i"), &renamed).await.status, 200);
        let unknown = with(provision(), "x_vendor", Value::from(vec![1, 2]));
        assert_eq!(
            api.put(&instance("i"), &unknown).await.status,
            200,
            "unknown fields are ignored"
        );
    })
    .await;
}
