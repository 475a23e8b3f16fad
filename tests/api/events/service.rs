//! Events as a service: queues of bindings.

use super::*;
use crate::{
    dedicated_prometheus::{HA, INSTANCE, InstanceDirs, SERVICE_ID, credentials},
    tsuru_binding::{table_of_shop, tsuru_request},
};
use serde_json::json;

const EVENTS_SERVICE: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a03";
const EVENTS_PLAN: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a31";

impl EventsApp {
    /// Binds the app, or makes a service key. Returns the credentials.
    async fn bind_events(&self, binding: &str, app: Option<&str>, parameters: Value) -> Response {
        let ids = json!({"service_id": EVENTS_SERVICE, "plan_id": EVENTS_PLAN});
        let mut provision = ids.clone();
        provision["organization_guid"] = "org-guid".into();
        provision["space_guid"] = "space-guid".into();
        let answer = self.app.broker("PUT", "/v2/service_instances/e1", Some(provision)).await;
        assert!([200, 201].contains(&answer.status), "{}", answer.text());
        let mut bind = ids;
        if let Some(app) = app {
            bind["bind_resource"] = json!({"app_guid": app});
        }
        bind["parameters"] = parameters;
        let path = format!("/v2/service_instances/e1/service_bindings/{binding}");
        self.app.broker("PUT", &path, Some(bind)).await
    }

    async fn with_token(&self, method: &str, path: &str, token: &str) -> Response {
        let bearer = format!("Bearer {token}");
        send(method, &self.app.url(path), &[("Authorization", &bearer)], None).await
    }
}

fn token(bound: &Response) -> String {
    assert_eq!(bound.status, 201, "{}", bound.text());
    bound.json()["credentials"]["token"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn a_binding_has_its_own_queue_and_the_labels_of_its_app() {
    let instance = Instance::with_metrics("shop_orders_total 7\n").await;
    let routes = RouteFile::of_app([&instance]);
    let (name, file) = routes.setting();
    let app = EventsApp::start(&[(name, &file)]).await;
    let bound = app.bind_events("b1", Some("app-guid"), json!({})).await;
    let given = bound.json()["credentials"].clone();
    assert!(given["EVENTS_URL"].as_str().unwrap().ends_with("/v1/events"), "{given}");
    assert_eq!((&given["url"], &given["EVENTS_TOKEN"]), (&given["EVENTS_URL"], &given["token"]));
    let (token, key) = (token(&bound), app.bind_events("k1", None, json!({})).await);

    let posted = app.with_token("POST", "/v1/events?type=deploy&app_name=other", &token).await;
    assert_eq!(posted.json(), json!({"seq": 1, "count": 1, "repeated": false}));
    let timeline = app.with_token("GET", "/v1/events", &token).await.json();
    let labels = &timeline["events"][0]["labels"];
    assert_eq!((&labels["app_name"], &labels["app_id"]), (&json!("app"), &json!("app-guid")));
    assert_eq!(labels["exported_app_name"], "other");
    assert_eq!(timeline["queue"], "b1");
    assert_eq!(app.timeline("?queue=b1").await["events"][0]["labels"], *labels);
    assert_eq!(app.timeline("").await["last_seq"], 0, "the queue of the installation");
    let operator = operator();
    let headers = [("Authorization", operator.as_str())];
    let url = app.app.url("/v1/events?queue=b1&type=audit");
    assert_eq!(send("POST", &url, &headers, None).await.status, 200);
    let audit = app.timeline("?queue=b1&limit=1").await["events"][0]["labels"].clone();
    assert_eq!((&audit["type"], &audit["queue"]), (&json!("audit"), &Value::Null));
    let url = app.url("/event?queue=b1&type=audit");
    assert_eq!(send("POST", &url, &headers, None).await.status, 200, "a label of the listener");
    assert_eq!(app.timeline("").await["events"][0]["labels"]["queue"], "b1");
    let other = app.with_token("GET", "/v1/events", &super::service::token(&key)).await.json();
    assert_eq!(other["last_seq"], 0);

    let path = "/v1/events/metrics";
    let scraped = app.with_token("GET", path, &token).await;
    assert_eq!(scraped.status, 200, "{}", scraped.text());
    assert_eq!(values(&scraped).len(), 2, "{}", scraped.text());
    assert!(scraped.text().contains("\nevents_to_metrics_events_total{"), "{}", scraped.text());
    assert_eq!(app.with_token("GET", "/sd", &token).await.status, 403);
    assert_eq!(app.with_token("GET", "/v1/apps/app-guid/metrics", &token).await.status, 200);
}

#[actix_web::test]
async fn an_unbind_removes_the_queue() {
    let app = EventsApp::start(&[]).await;
    let first = token(&app.bind_events("b1", Some("app-guid"), json!({})).await);
    assert_eq!(app.with_token("POST", "/v1/events?a=1", &first).await.status, 200);
    let path = "/v2/service_instances/e1/service_bindings/b1";
    let path = format!("{path}?service_id={EVENTS_SERVICE}&plan_id={EVENTS_PLAN}");
    assert_eq!(app.app.broker("DELETE", &path, None).await.status, 200);
    assert_eq!(app.with_token("POST", "/v1/events?a=1", &first).await.status, 401);
    let second = token(&app.bind_events("b1", Some("app-guid"), json!({})).await);
    assert_ne!(first, second);
    let timeline = app.with_token("GET", "/v1/events", &second).await.json();
    assert_eq!(timeline["last_seq"], 0);
}

#[actix_web::test]
async fn a_binding_of_events_does_not_change_how_the_app_is_scraped() {
    let instance = Instance::with_metrics("shop_orders_total 7\n").await;
    let routes = RouteFile::of_app([&instance]);
    let (name, file) = routes.setting();
    let app = EventsApp::start(&[(name, &file)]).await;
    let bound = app.app.bind("m1", "app-guid", json!({"endpoint": "/own"})).await;
    assert_eq!(bound.status, 201, "{}", bound.text());
    app.bind_events("b1", Some("app-guid"), json!({})).await;
    assert_eq!(app.app.get("/v1/apps/app-guid/metrics").await.status, 200);
    let requests = instance.requests();
    assert!(requests[0].line.starts_with("GET /own "), "{}", requests[0].line);
    let refused = app.bind_events("b2", Some("app-guid"), json!({"endpoint": "/x"})).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("takes no parameters"), "{}", refused.text());
}

#[actix_web::test]
async fn the_prometheus_of_the_space_scrapes_the_queue_by_itself() {
    let (dirs, instance) = (InstanceDirs::new(), Instance::with_metrics("x 1\n").await);
    let routes = RouteFile::of_app([&instance]);
    let mut settings = dirs.settings();
    settings.push(routes.setting());
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, &**value)).collect();
    let app = EventsApp::start(&settings).await;
    let provision = json!({
        "service_id": SERVICE_ID, "plan_id": HA, "organization_guid": "org-guid",
        "space_guid": "space-guid", "parameters": {"scrape_interval": "1s"},
    });
    let path = format!("{INSTANCE}?accepts_incomplete=true");
    assert_eq!(app.app.broker("PUT", &path, Some(provision)).await.status, 202);
    assert_eq!(app.app.end_of_operation().await, "succeeded");
    let key = json!({"service_id": SERVICE_ID, "plan_id": HA});
    let key = app.app.broker("PUT", &format!("{INSTANCE}/service_bindings/q"), Some(key)).await;
    let login = credentials(&key.json()["credentials"], "username", "password");

    let token = token(&app.bind_events("b1", Some("app-guid"), json!({})).await);
    let posted = app.with_token("POST", "/v1/events?type=deploy", &token).await;
    assert_eq!(posted.status, 200, "{}", posted.text());
    let query = "/api/v1/query?query=count_over_time(events_to_metrics[10m])";
    let series = eventually(async || {
        let answer = app.app.query_api("own", &login, query).await;
        answer.json()["data"]["result"].as_array()?.first().cloned()
    })
    .await;
    assert_eq!(series["value"][1], "1", "{series}");
    assert_eq!(series["metric"]["app_name"], "app", "{series}");
    // Both replicas of the plan `ha` have the same address and token.
    let timeline = eventually(async || {
        let timeline = app.timeline("?queue=b1").await;
        (timeline["scrapers"][0]["pending"] == 0).then_some(timeline)
    })
    .await;
    assert_eq!(timeline["scrapers"].as_array().unwrap().len(), 1, "{timeline}");
}

#[actix_web::test]
async fn a_bound_app_of_tsuru_posts_to_its_own_queue() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::new(&table_of_shop([&instance]));
    let (name, file) = routes.setting();
    let app = EventsApp::start(&[(name, &file)]).await;
    let send_request = async |method, path, form| {
        tsuru_request(app.app.address, "events", method, path, form).await.unwrap()
    };
    assert_eq!(send_request("POST", "", "name=e&team=checkout").await.status, 201);
    let form = "app-name=shop&app-hosts=shop.tsuru.example.com&app-pool-name=pool-a";
    let bound = send_request("POST", "/e/bind-app", form).await;
    assert_eq!(bound.status, 201, "{}", bound.text());
    let variables = bound.json();
    assert!(variables["EVENTS_URL"].as_str().unwrap().ends_with("/v1/events"), "{variables}");
    assert!(variables["EVENTS_METRICS_URL"].as_str().unwrap().ends_with("/v1/events/metrics"));
    let token = variables["EVENTS_TOKEN"].as_str().unwrap();
    let posted = app.with_token("POST", "/v1/events?type=deploy", token).await;
    assert_eq!(posted.status, 200, "{}", posted.text());
    let timeline = app.with_token("GET", "/v1/events", token).await.json();
    let labels = &timeline["events"][0]["labels"];
    let expected = [("app_name", "shop"), ("space_name", "pool-a"), ("type", "deploy")];
    for (name, value) in expected {
        assert_eq!(labels[name], value, "{labels}");
    }
    assert_eq!(send_request("DELETE", "/e/bind-app", "app-name=shop").await.status, 200);
    assert_eq!(app.with_token("POST", "/v1/events?a=1", token).await.status, 401);
}
