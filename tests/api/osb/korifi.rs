//! Requests in the form that Korifi sends: optional fields are `null` or empty, and a PUT is
//! repeated after a 202.

use super::{client::*, fake_provisioner::*};
use serde_json::{Value, json};

/// Adds optional fields with the value `empty`, like a Go client that does not omit empty fields.
fn without_values(mut body: Value, empty: &Value) -> Value {
    for field in [
        "parameters",
        "context",
        "maintenance_info",
        "previous_values",
        "app_guid",
        "bind_resource",
        "predecessor_binding_id",
    ] {
        body[field] = empty.clone();
    }
    body
}

#[actix_web::test]
async fn null_and_empty_optional_fields_are_absent() {
    on_both(async |api| {
        for (number, empty) in [json!(null), json!("")].iter().enumerate() {
            let (i, b) = (instance(&format!("i{number}")), format!("b{number}"));
            let b = binding(&format!("i{number}"), &b);
            let ids = json!({"service_id": SERVICE, "plan_id": PLAN});
            let body = without_values(provision(), empty);
            assert_eq!(api.put(&i, &body).await.status, 201, "{body}");
            assert_eq!(api.put(&i, &provision()).await.status, 200, "{body}");
            let body = without_values(ids.clone(), empty);
            assert_eq!(api.patch(&i, &body).await.status, 200, "{body}");
            let bound = api.put(&b, &body).await;
            assert_eq!(bound.status, 201, "{body} {bound:?}");
            let is_key = bound.body["credentials"]["scope"]["space_guid"] == "s";
            assert!(is_key, "no app is named: {bound:?}");
            let query = "?operation=&accepts_incomplete=";
            for path in [&i, &b] {
                for path in [format!("{path}{query}"), format!("{path}/last_operation{query}")] {
                    assert_eq!(api.get(&path).await.status, 200, "{path}");
                }
            }
            for path in [&b, &i] {
                let path = format!("{path}{query}&service_id={SERVICE}&plan_id={PLAN}");
                let answer = send_request(api.request("DELETE", &path), None).await;
                assert_eq!(answer.status, 200, "{path}");
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn empty_fields_of_optional_objects_are_absent() {
    on_both(async |api| {
        api.put(&instance("i"), &provision()).await;
        for empty in [json!(null), json!("")] {
            let body = json!({
                "service_id": SERVICE, "plan_id": PLAN,
                "context": {"organization_name": empty, "space_name": empty, "instance_name": empty},
                "maintenance_info": {"version": empty},
                "previous_values": {
                    "plan_id": empty, "organization_id": empty, "space_id": empty,
                },
            });
            assert_eq!(api.patch(&instance("i"), &body).await.status, 200, "{body}");
            let mut body = provision();
            body["context"] = json!({"space_name": empty});
            body["maintenance_info"] = json!({"version": empty});
            assert_eq!(api.put(&instance("i"), &body).await.status, 200, "{body}");
            let key = json!({
                "service_id": SERVICE, "plan_id": PLAN, "parameters": null, "app_guid": empty,
                "bind_resource": {"app_guid": empty, "route": empty, "space_guid": empty},
            });
            let made = api.put(&binding("i", &format!("key-{empty}")), &key).await;
            assert_eq!(made.status, 201, "{key} {made:?}");
            let bind = json!({
                "service_id": SERVICE, "plan_id": PLAN, "app_guid": empty,
                "bind_resource": {"app_guid": "app"},
            });
            let made = api.put(&binding("i", &format!("bind-{empty}")), &bind).await;
            assert!(made.body["credentials"]["url"].is_string(), "{bind} {made:?}");
        }
    })
    .await;
}

#[actix_web::test]
async fn empty_service_and_plan_ids_are_refused_by_every_request() {
    on_both(async |api| {
        api.put(&instance("i"), &provision()).await;
        api.put(&binding("i", "b"), &bind("app")).await;
        let good = format!("service_id={SERVICE}&plan_id={PLAN}");
        for name in ["service_id", "plan_id"] {
            for (method, path, body) in [
                ("PUT", instance("i"), provision()),
                ("PUT", instance("new"), provision()),
                ("PATCH", instance("i"), json!({"service_id": SERVICE})),
                ("PUT", binding("i", "b"), bind("app")),
                ("PUT", binding("i", "new"), bind("app")),
            ] {
                let body = with(body, name, json!(""));
                let answer = send_request(api.request(method, &path), Some(&body)).await;
                assert_eq!(answer.status, 400, "{method} {path} {name}");
                assert_eq!(answer.description(), format!("{name} must not be empty"));
            }
            for (method, path) in [
                ("GET", instance("i")),
                ("GET", format!("{}/last_operation", instance("i"))),
                ("GET", binding("i", "b")),
                ("GET", format!("{}/last_operation", binding("i", "b"))),
                ("DELETE", binding("i", "b")),
                ("DELETE", instance("i")),
            ] {
                let path = format!("{path}?{name}=&{good}");
                let answer = send_request(api.request(method, &path), None).await;
                assert_eq!(answer.status, 400, "{method} {path}");
                assert_eq!(answer.description(), format!("{name} in the query must not be empty"));
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn a_put_repeated_after_a_202_is_200_with_the_credentials() {
    on_both_fixtures(async |fixture| {
        let ids = json!({"service_id": PROMETHEUS, "plan_id": STANDARD});
        let mut provision = ids.clone();
        provision["organization_guid"] = json!("o");
        provision["space_guid"] = json!("s");
        provision["parameters"] = json!(null);
        let path = accepting_incomplete(&instance("i"));
        assert_eq!(fixture.api.put(&path, &provision).await.status, 202);
        assert_eq!(fixture.end_of("i").await, "succeeded");
        let again = fixture.api.put(&path, &provision).await;
        assert_eq!(again.status, 200, "{again:?}");
        assert_eq!(again.body["dashboard_url"], format!("{BASE_URL}/prometheus/i/"));

        let mut key = ids;
        key["parameters"] = json!(null);
        key["app_guid"] = json!("");
        key["bind_resource"] = json!({"app_guid": ""});
        let path = accepting_incomplete(&binding("i", "key"));
        let made = fixture.api.put(&path, &key).await;
        assert_eq!(made.status, 201, "{made:?}");
        let again = fixture.api.put(&path, &key).await;
        assert_eq!((again.status, &again.body), (200, &made.body));
        assert!(made.body["credentials"]["password"].as_str().unwrap().starts_with("sbt_"));
        let last = fixture.api.get(&format!("{}/last_operation", binding("i", "key"))).await;
        assert_eq!(last.body, json!({"state": "succeeded"}));
    })
    .await;
}
