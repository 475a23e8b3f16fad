//! A replay of recorded requests of Tsuru.

use super::client::*;
use serde_json::Value;

#[actix_web::test]
async fn recorded_requests_of_tsuru_are_served() {
    let calls: Vec<Value> =
        serde_json::from_str(include_str!("../../fixtures/tsuru_service_requests.json")).unwrap();
    on_both(async |api| {
        for call in &calls {
            let name = call["call"].as_str().unwrap();
            let answer = send(&api, call).await;
            assert_eq!(Value::from(answer.status), call["expect"], "{name} {answer:?}");
            if let Some(body) = call["expect_body"].as_str() {
                assert!(answer.text.contains(body), "{name} {answer:?}");
            }
        }
    })
    .await;
}

/// Each request is repeated, as after a lost response, and succeeds again.
#[actix_web::test]
async fn repeated_recorded_requests_of_tsuru_succeed() {
    let calls: Vec<Value> =
        serde_json::from_str(include_str!("../../fixtures/tsuru_service_requests.json")).unwrap();
    on_both(async |api| {
        for call in &calls {
            let (first, again) = (send(&api, call).await, send(&api, call).await);
            let ok = first.status < 300;
            assert_eq!(ok, again.status < 300, "{} {first:?} {again:?}", call["call"]);
        }
    })
    .await;
}

async fn send(api: &Api, call: &Value) -> ServiceResponse {
    let text = |key: &str| call[key].as_str().unwrap();
    let path = format!("/metrics{}", text("path"));
    let mut request = api.bare(text("method"), &path).basic_auth("metrics", "secret");
    for (name, value) in call["headers"].as_object().unwrap() {
        if name != "Authorization" {
            request = request.insert_header((name.as_str(), value.as_str().unwrap()));
        }
    }
    let body = match &call["body"] {
        Value::Null => String::new(),
        Value::String(form) => form.clone(),
        json => json.to_string(),
    };
    send_request(request, body).await
}
