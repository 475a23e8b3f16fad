//! A replay of recorded requests of Cloud Controller, from the catalog request to the last delete.

use super::client::*;
use serde_json::Value;

#[actix_web::test]
async fn recorded_requests_of_cloud_controller_are_served() {
    let requests: Vec<Value> =
        serde_json::from_str(include_str!("../../fixtures/cf_osb_requests.json")).unwrap();
    on_both(async |api| {
        for sent in &requests {
            let text = |key: &str| sent[key].as_str().unwrap();
            let mut request = api.bare(text("method"), text("path")).basic_auth("broker", "secret");
            for (name, value) in sent["headers"].as_object().unwrap() {
                request = request.insert_header((name.as_str(), value.as_str().unwrap()));
            }
            let body = (!sent["body"].is_null()).then_some(&sent["body"]);
            let answer = send_request(request, body).await;
            assert_eq!(Value::from(answer.status), sent["expect"], "{} {answer:?}", sent["cli"]);
            let identity = sent["headers"]["X-Broker-API-Request-Identity"].as_str();
            assert_eq!(answer.header("X-Broker-API-Request-Identity"), identity);
        }
    })
    .await;
}
