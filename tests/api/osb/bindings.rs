//! Service bindings and service keys: sections "Binding", "Fetching a Service Binding" and
//! "Unbinding" of the Open Service Broker API 2.17.

use super::client::*;
use scrapebroker::broker::Scope;
use serde_json::json;

#[actix_web::test]
async fn a_repeated_bind_is_200_with_the_same_body_and_a_different_one_409() {
    on_both(async |api| {
        api.put(&instance("i"), &provision()).await;
        api.put(&instance("j"), &provision()).await;
        let b = binding("i", "b");
        let body = with(bind("app/1"), "parameters", json!({"endpoint": "/prom"}));
        let created = api.put(&format!("{b}?accepts_incomplete=true"), &body).await;
        assert_eq!(created.status, 201);
        let credentials = &created.body["credentials"];
        assert_eq!(credentials["url"], format!("{BASE_URL}/v1/apps/app%2F1/metrics"));
        let only = format!("{BASE_URL}/v1/apps/app%2F1/only-app-metrics");
        assert_eq!(credentials["only_app_metrics_url"], only);
        assert!(credentials["token"].as_str().unwrap().starts_with("sbt_"));
        assert_eq!(credentials["password"], credentials["token"]);
        let again = api.put(&b, &body).await;
        assert_eq!((again.status, &again.body), (200, &created.body));

        for (key, other) in [
            ("plan_id", json!(SECOND_PLAN)),
            ("plan_id", json!("unknown")),
            ("service_id", json!("unknown")),
            ("bind_resource", json!({"app_guid": "other"})),
            ("bind_resource", json!({})),
            ("parameters", json!({"endpoint": "/other"})),
            ("parameters", json!({"no": "such"})),
            ("parameters", json!({})),
        ] {
            let different = api.put(&b, &with(body.clone(), key, other.clone())).await;
            assert_eq!(different.status, 409, "{key} {other}");
            assert!(different.description().contains("different attributes"));
        }
        assert_eq!(api.put(&binding("j", "b"), &body).await.status, 409);
        assert_eq!(api.get(&b).await.body["credentials"], *credentials);
    })
    .await;
}

#[actix_web::test]
async fn a_bind_without_a_required_field_is_400_and_names_the_field() {
    on_both(async |api| {
        api.put(&instance("i"), &provision()).await;
        let b = binding("i", "b");
        for key in ["service_id", "plan_id"] {
            for wrong in [json!(null), json!(""), json!(5), json!("unknown")] {
                let answer = api.put(&b, &with(bind("app"), key, wrong.clone())).await;
                assert_eq!(answer.status, 400, "{key} {wrong}");
                assert!(answer.description().starts_with(key), "{key} {answer:?}");
            }
        }
        for (key, wrong, named) in [
            ("plan_id", json!(SECOND_PLAN), "plan_id"),
            ("app_guid", json!("other"), "app_guid"),
            ("app_guid", json!(5), "app_guid"),
            ("bind_resource", json!("app"), "bind_resource"),
            ("bind_resource", json!({"route": "shop.example.com/api"}), "bind_resource.route"),
            ("parameters", json!({"metrics_path": "/x"}), "metrics_path is unknown; known are"),
            ("parameters", json!({"endpoint": "//evil"}), "endpoint"),
            ("parameters", json!({"headers": {"X": "a\r\nb"}}), "headers.X"),
            ("parameters", json!({"labels": {"app_id": "x"}}), "labels.app_id"),
            ("parameters", json!({"basic_auth": {"username": "u"}}), "basic_auth.password"),
            ("parameters", json!([]), "parameters"),
            ("predecessor_binding_id", json!("unknown"), "predecessor_binding_id"),
        ] {
            let answer = api.put(&b, &with(bind("app"), key, wrong.clone())).await;
            assert_eq!(answer.status, 400, "{key} {wrong}");
            assert!(answer.description().contains(named), "{key} {answer:?}");
        }
        let key = with(bind("app"), "bind_resource", json!({}));
        let answer = api.put(&b, &with(key, "parameters", json!({"endpoint": "/x"}))).await;
        assert_eq!(answer.status, 400);
        assert_eq!(api.put(&binding("unknown", "b"), &bind("app")).await.status, 404);
        assert_eq!(api.delete(&b).await.status, 410, "no instance was created");
    })
    .await;
}

#[actix_web::test]
async fn both_fields_for_the_app_guid_are_accepted() {
    on_both(async |api| {
        api.put(&instance("i"), &provision()).await;
        let deprecated = json!({"service_id": SERVICE, "plan_id": PLAN, "app_guid": "app"});
        assert_eq!(api.put(&binding("i", "b"), &deprecated).await.status, 201);
        let both = with(bind("app"), "app_guid", json!("app"));
        assert_eq!(api.put(&binding("i", "b"), &both).await.status, 200);
        assert_eq!(api.put(&binding("i", "b"), &bind("app")).await.status, 200);
        assert!(api.broker.binding_table().binding_for("app").is_some());
    })
    .await;
}

#[actix_web::test]
async fn the_scope_of_a_service_key_is_the_space_of_its_instance() {
    on_both(async |api| {
        api.put(&instance("i"), &provision()).await;
        let body = json!({
            "service_id": SERVICE, "plan_id": PLAN,
            "bind_resource": {"credential_client_id": "cc_service_key_client"},
        });
        let created = api.put(&binding("i", "k"), &body).await;
        assert_eq!(created.status, 201);
        let credentials = &created.body["credentials"];
        assert_eq!(credentials["scope"], json!({"space_guid": "s"}));
        let urls = credentials["urls"].as_object().unwrap();
        assert_eq!(urls["app_guid"], format!("{BASE_URL}/v1/apps/{{app_guid}}/metrics"));
        assert!(urls.contains_key("app_name") && urls.contains_key("route"));
        let scope =
            api.broker.binding_table().scope_of_token(credentials["token"].as_str().unwrap());
        assert_eq!(scope, Some(Scope::Space("s".parse().unwrap())));
        assert_eq!(api.put(&binding("i", "k"), &body).await.body, created.body);
    })
    .await;
}

#[actix_web::test]
async fn a_binding_is_fetched_with_its_credentials_and_without_its_secrets() {
    on_both(async |api| {
        api.put(&instance("i"), &provision()).await;
        api.put(&instance("j"), &provision()).await;
        let parameters = json!({
            "endpoint": "/prom", "labels": {"team": "checkout"},
            "headers": {"X-Key": "hunter2"}, "bearer_token": "hunter2",
        });
        let created =
            api.put(&binding("i", "b"), &with(bind("app"), "parameters", parameters)).await;
        assert!(!created.body.to_string().contains("hunter2"));
        let fetched = api.get(&binding("i", "b")).await;
        assert_eq!(fetched.status, 200);
        assert_eq!(fetched.body["credentials"], created.body["credentials"]);
        let shown = json!({"endpoint": "/prom", "labels": {"team": "checkout"}});
        assert_eq!(fetched.body["parameters"], shown);
        for path in [binding("i", "c"), binding("j", "b"), binding("unknown", "b")] {
            assert_eq!(api.get(&path).await.status, 404, "{path}");
        }
        // A binding without parameters can be fetched as well.
        api.put(&binding("i", "plain"), &bind("app")).await;
        assert_eq!(api.get(&binding("i", "plain")).await.body["parameters"], json!({}));
    })
    .await;
}

#[actix_web::test]
async fn the_first_unbind_is_200_and_later_ones_are_410() {
    on_both(async |api| {
        api.put(&instance("i"), &provision()).await;
        api.put(&instance("j"), &provision()).await;
        let b = binding("i", "b");
        api.put(&b, &bind("app")).await;
        assert_eq!(
            api.delete(&binding("j", "b")).await.status,
            410,
            "the binding belongs to another instance"
        );
        for query in ["", "?service_id=s", "?plan_id=p", "?service_id=&plan_id=p"] {
            let known = send_request(api.request("DELETE", &format!("{b}{query}")), None).await;
            assert_eq!(known.status, 400, "{query}");
            let path = format!("{}{query}", binding("i", "unknown"));
            let unknown = send_request(api.request("DELETE", &path), None).await;
            assert_eq!((unknown.status, unknown.body), (410, json!({})), "{query}");
        }
        let deleted = api.delete(&b).await;
        assert_eq!((deleted.status, deleted.body), (200, json!({})));
        let gone = api.delete(&b).await;
        assert_eq!((gone.status, gone.body), (410, json!({})));
        assert_eq!(api.put(&b, &bind("app")).await.status, 201);
    })
    .await;
}

#[actix_web::test]
async fn removing_the_second_binding_of_an_app_reactivates_the_first() {
    on_both(async |api| {
        api.put(&instance("i"), &provision()).await;
        for (id, endpoint) in [("b1", "/1"), ("b2", "/2")] {
            let body = with(bind("app"), "parameters", json!({"endpoint": endpoint}));
            assert_eq!(api.put(&binding("i", id), &body).await.status, 201);
        }
        let active_endpoint = || {
            let binding = api.broker.binding_table().binding_for("app")?;
            Some(binding.options.endpoint.as_ref()?.as_str().to_owned())
        };
        assert_eq!(active_endpoint().as_deref(), Some("/2"));
        assert_eq!(api.delete(&binding("i", "b2")).await.status, 200);
        assert_eq!(active_endpoint().as_deref(), Some("/1"));
        assert_eq!(api.delete(&binding("i", "b1")).await.status, 200);
        assert_eq!(active_endpoint(), None);
    })
    .await;
}

#[actix_web::test]
async fn a_rotated_binding_has_a_new_token() {
    on_both(async |api| {
        api.put(&instance("i"), &provision()).await;
        let body = with(bind("app"), "parameters", json!({"endpoint": "/prom"}));
        let old = api.put(&binding("i", "old"), &body).await;
        let rotate = json!({"predecessor_binding_id": "old"});
        let new = api.put(&binding("i", "new"), &rotate).await;
        assert_eq!(new.status, 201);
        assert_eq!(new.body["credentials"]["url"], old.body["credentials"]["url"]);
        assert_ne!(new.body["credentials"]["token"], old.body["credentials"]["token"]);
        assert_eq!(api.get(&binding("i", "new")).await.body["parameters"]["endpoint"], "/prom");
        assert_eq!(api.delete(&binding("i", "old")).await.status, 200);
        let again = api.put(&binding("i", "new"), &rotate).await;
        assert_eq!((again.status, again.body), (200, new.body));
        let gone = api.put(&binding("i", "newer"), &rotate).await;
        assert_eq!(gone.status, 400);
        assert!(gone.description().contains("predecessor_binding_id"));
        assert_eq!(
            api.put(&binding("i", "new"), &body).await.status,
            200,
            "the attributes are equal"
        );
    })
    .await;
}

#[actix_web::test]
async fn the_last_operation_of_a_binding_is_succeeded_or_404() {
    on_both(async |api| {
        api.put(&instance("i"), &provision()).await;
        api.put(&binding("i", "b"), &bind("app")).await;
        let path = |id: &str| format!("{}/last_operation", binding("i", id));
        let known = api.get(&path("b")).await;
        assert_eq!((known.status, known.body), (200, json!({"state": "succeeded"})));
        assert_eq!(api.get(&path("unknown")).await.status, 404);
        let unbind = format!("{}?operation=unbind", path("unknown"));
        assert_eq!(api.get(&unbind).await.status, 410);
    })
    .await;
}
