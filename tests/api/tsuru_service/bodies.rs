//! Invalid bodies: the response is a 4xx with a message, and nothing is changed.

use super::client::*;
use actix_web::web::Bytes;

const M: &str = "/metrics/resources/m";

#[actix_web::test]
async fn an_invalid_body_is_400() {
    on_sqlite(async |api| {
        let deep = format!("name=m&team=t&parameters{}=1", ".a".repeat(200_000));
        let deep_json =
            format!("{{\"parameters\": {}1{}}}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
        let json = "application/json";
        let own_json = |json: &str| json.replacen('{', &format!("{{\"eventID\": \"{EVENT}\","), 1);
        for (content_type, body) in [
            (FORM, "name=%ff&team=t"),
            (FORM, "name=m&team=t&parameters.a=1&parameters.a=2"),
            (FORM, &deep),
            (json, "{"),
            (json, "[]"),
            (json, "null"),
            (json, "name=m&team=t"),
            (json, &own_json("{\"name\": 5, \"team\": \"t\"}")),
            (json, &own_json("{\"name\": \"m\", \"team\": {}}")),
            (json, &own_json("{\"name\": \"m\", \"team\": \"t\", \"parameters\": []}")),
            (json, &deep_json),
            ("text/plain", "name=m&team=t"),
            ("nonsense", "name=m&team=t"),
        ] {
            let request = api.own("POST", "/metrics/resources");
            let answer =
                send_request(request.insert_header(("Content-Type", content_type)), body).await;
            let start = body.get(..40).unwrap_or(body);
            assert_eq!(answer.status, 400, "{content_type} {start} {}", answer.text);
            assert!(!answer.text.is_empty() && answer.text.len() < 300, "{}", answer.text.len());
        }
        assert_eq!(api.get(M).await.status, 404, "no instance was created");
    })
    .await;
}

#[actix_web::test]
async fn only_the_content_types_of_tsuru_are_accepted() {
    on_sqlite(async |api| {
        let form = format!("name=m&team=t&eventid={EVENT}");
        let json = format!("{{\"name\": \"m\", \"team\": \"t\", \"eventID\": \"{EVENT}\"}}");
        let charset = format!("{FORM}; charset=utf-8");
        // With these content types, Tsuru would forward a body without parsing it.
        for (content_types, body) in [
            (vec![], &form),
            (vec![charset.as_str()], &form),
            (vec!["text/json"], &json),
            (vec!["application/JSON"], &json),
            (vec!["application/json;"], &json),
            (vec!["application/x-json"], &json),
            (vec!["application/json", "text/plain"], &json),
            (vec!["text/plain", "application/json"], &json),
        ] {
            let mut request = api.own("POST", "/metrics/resources");
            for content_type in &content_types {
                request = request.append_header(("Content-Type", *content_type));
            }
            let answer = send_request(request, body.as_str()).await;
            assert_eq!(answer.status, 400, "{content_types:?} {}", answer.text);
            assert!(answer.text.contains("Content-Type must be"), "{}", answer.text);
        }
        assert_eq!(api.get(M).await.status, 404, "no instance was created");
    })
    .await;
}

#[actix_web::test]
async fn a_body_of_more_than_a_mebibyte_is_413_even_for_a_delete() {
    on_sqlite(async |api| {
        api.created("m").await;
        let large = format!("name=m&x={}", "x".repeat(1 << 20));
        for (method, path) in [("POST", "/metrics/resources"), ("DELETE", M)] {
            let sent = api.form(method, path, &large).await;
            let expected = (413, "the body is larger than 1048576 bytes");
            assert_eq!((sent.status, &*sent.text), expected, "{method}");
        }
        // A chunked body has no announced length.
        let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(large))]);
        let response = api.request("DELETE", M).send_stream(chunks).await.unwrap();
        assert_eq!(response.status(), 413);
        assert_eq!(api.get(M).await.status, 200, "the instance still exists");
    })
    .await;
}

#[actix_web::test]
async fn json_and_forms_are_equivalent() {
    on_sqlite(async |api| {
        let json = async |method, path: &str, body: serde_json::Value| {
            let request = api.own(method, path).content_type("application/json");
            let mut body = body;
            body["eventID"] = EVENT.into();
            send_request(request, body.to_string()).await
        };
        let create = serde_json::json!({
            "name": "m", "team": "checkout", "plan": "small", "tags": ["a"], "description": "",
            "parameters": {"limits": {"series": "5000"}, "paths": ["/a"]},
        });
        assert_eq!(json("POST", "/metrics/resources", create).await.status, 201);
        let form = "name=m&team=checkout&plan=small&parameters.limits.series=5000&parameters.paths.0=/a";
        assert_eq!(api.post("/metrics/resources", form).await.status, 200);
        let bind = serde_json::json!({
            "appName": "shop", "appHosts": ["a", "b"], "appInternalHosts": ["tcp://c:1"],
            "appPoolName": "pool-a", "appPoolProvisioner": "kubernetes", "appClusterAddresses": ["x"],
            "parameters": {"sample_limit": 7},
        });
        let bound = json("POST", &format!("{M}/bind-app"), bind).await;
        assert_eq!(bound.status, 201, "{}", bound.text);
        assert_eq!(api.hosts("shop").unwrap(), ["a", "b", "tcp://c:1"]);
        assert_eq!(api.broker.binding_table().tsuru_apps()[0].pool, "pool-a");
        let job = serde_json::json!({"jobName": "nightly", "jobPoolName": "pool-a"});
        assert_eq!(json("PUT", &format!("{M}/binds/jobs/nightly"), job).await.status, 201);
        let unbind = serde_json::json!({"appName": "shop", "appHosts": null});
        assert_eq!(json("DELETE", &format!("{M}/bind-app"), unbind).await.status, 200);
        assert_eq!(api.hosts("shop"), None);
        let update = serde_json::json!({"description": null, "plan": "large", "team": "checkout"});
        assert_eq!(json("PUT", M, update).await.status, 200);
        assert_eq!(json("DELETE", M, serde_json::json!({"user": "u"})).await.status, 200);
        assert_eq!(api.get(M).await.status, 404);
    })
    .await;
}

#[actix_web::test]
async fn errors_do_not_contain_values_of_secrets() {
    on_sqlite(async |api| {
        api.created("m").await;
        for form in [
            "app-name=a&parameters.bearer_token=hunter2%0A",
            "app-name=a&parameters.headers.X.0=hunter2",
            "app-name=a&parameters.basic_auth=hunter2",
            "app-name=a&parameters.basic_auth.password=hunter2&parameters.basic_auth=hunter2",
        ] {
            let answer = api.post(&format!("{M}/bind-app"), form).await;
            assert_eq!(answer.status, 400, "{form} {}", answer.text);
            assert!(!answer.text.contains("hunter2"), "{}", answer.text);
        }
    })
    .await;
}
