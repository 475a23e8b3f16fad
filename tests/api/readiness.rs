//! Readiness, and responses while the routes are unknown.

use crate::test_app::*;
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use support::*;

/// A fake of gorouter's routes listener.
async fn gorouter(table: Value) -> Instance {
    Instance::start(move |seen| match seen.headers.get("authorization") {
        Some(given) if *given == basic("router-status", "right") => {
            Reply::Http(200, vec![], table.to_string().into_bytes())
        }
        _ => Reply::Http(401, vec![], vec![]),
    })
    .await
}

fn table_of(instance: &Instance) -> Value {
    json!({ "app.example.com": [endpoint("app", 0, instance.address)] })
}

fn routers(routers: &[(SocketAddr, &str)]) -> (&'static str, String) {
    let router = |(address, password): &(SocketAddr, &str)| {
        json!({
            "url": format!("http://{address}/routes"),
            "username": "router-status", "password": password,
        })
    };
    ("ROUTES__GOROUTERS", Value::Array(routers.iter().map(router).collect()).to_string())
}

fn short_ages() -> [(&'static str, String); 2] {
    [("ROUTES__STALE_AFTER", "600ms".to_owned()), ("ROUTES__KEEP", "1h".to_owned())]
}

async fn sd(app: &TestApp) -> Response {
    app.get_with("/sd", &[("Authorization", &basic(USER, PASSWORD))]).await
}

#[actix_web::test]
async fn without_a_route_table_no_app_is_reported_as_unknown() {
    let instance = Instance::with_metrics("a 1\n").await;
    let router = gorouter(table_of(&instance)).await;
    let mut settings = short_ages().to_vec();
    settings.push(routers(&[(router.address, "wrong")]));
    let app = spawn_app(&settings).await;
    eventually(async || (!router.requests().is_empty()).then_some(())).await;
    // This is longer than `routes.stale_after`.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ready = app.get("/-/ready").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.text(), "waiting for the first route table of: routes.gorouters[0]\n");
    for path in ["/v1/apps/app-guid/metrics", "/v1/apps/metrics?route_url=nowhere.example.com"] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 503, "{path}");
        assert!(answer.text().contains("routes.gorouters[0]"), "{}", answer.text());
        assert_eq!(answer.headers["retry-after"], "5");
    }
    let list = sd(&app).await;
    assert_eq!(list.status, 503);
    assert!(list.text().contains("routes.gorouters[0]"), "{}", list.text());
}

#[actix_web::test]
async fn unreachable_gorouters_do_not_affect_readiness() {
    let instance = Instance::with_metrics("a 1\n").await;
    let router = gorouter(table_of(&instance)).await;
    // One router refuses connections. The other accepts connections and never responds.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = [closed_address(), silent.local_addr().unwrap()];
    let list = [(dead[0], "x"), (router.address, "right"), (dead[1], "x")];
    let app = spawn_app(&[routers(&list)]).await;
    let ready = eventually(async || {
        let ready = app.get("/-/ready").await;
        (ready.status == 200).then_some(ready)
    })
    .await;
    let expected =
        "ready\nwarning: no route table yet of: routes.gorouters[0], routes.gorouters[2]\n";
    assert_eq!(ready.text(), expected);
    let list = sd(&app).await;
    assert_eq!(list.status, 200, "{}", list.text());
    assert_eq!(list.json().as_array().unwrap().len(), 1);
    assert_eq!(app.get("/v1/apps/app-guid/metrics").await.status, 200);
    assert_eq!(app.get("/v1/apps/other-guid/metrics").await.status, 404);
}

/// The route sources are a gorouter and the NATS of another foundation. Only target lists that may
/// contain apps of that foundation are unavailable.
#[actix_web::test]
async fn an_unavailable_source_blocks_only_lists_that_may_contain_its_apps() {
    let instance = Instance::with_metrics("a 1\n").await;
    let router = gorouter(table_of(&instance)).await;
    let nats = json!([format!("nats://{}", closed_address())]).to_string();
    let mut settings = short_ages().to_vec();
    settings.extend([routers(&[(router.address, "right")]), ("ROUTES__NATS__SERVERS", nats)]);
    let app = spawn_app(&settings).await;
    eventually(async || (app.get("/-/ready").await.status == 200).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let everything = sd(&app).await;
    assert_eq!(everything.status, 503);
    assert!(everything.text().contains("routes.nats"), "{}", everything.text());

    let token = |answer: &Response| {
        let token = answer.json()["credentials"]["token"].as_str().unwrap().to_owned();
        format!("Bearer {token}")
    };
    let known = app.bind("b1", "app-guid", json!({})).await;
    let unknown = app.bind("b2", "other-guid", json!({})).await;
    let known = app.get_with("/sd", &[("Authorization", &token(&known))]).await;
    assert_eq!(known.status, 200, "{}", known.text());
    assert_eq!(known.json().as_array().unwrap().len(), 1);
    let unknown = app.get_with("/sd", &[("Authorization", &token(&unknown))]).await;
    assert_eq!(unknown.status, 503, "{}", unknown.text());

    assert_eq!(app.get("/v1/apps/app-guid/metrics").await.status, 200);
    let other = app.get("/v1/apps/other-guid/metrics").await;
    assert_eq!(other.status, 503);
    assert!(other.text().contains("routes.nats"), "{}", other.text());
    // A Tsuru app cannot be in either source.
    assert_eq!(app.get("/v1/apps/tsuru:shop/metrics").await.status, 404);
}

#[actix_web::test]
async fn an_unavailable_tsuru_blocks_only_lists_of_tsuru_apps() {
    let instance = Instance::with_metrics("a 1\n").await;
    let router = gorouter(table_of(&instance)).await;
    let app = spawn_app(&[
        routers(&[(router.address, "right")]),
        ("ROUTES__TSURU__API_URL", format!("http://{}", closed_address())),
        ("ROUTES__TSURU__TOKEN", "token".to_owned()),
    ])
    .await;
    eventually(async || (app.get("/-/ready").await.status == 200).then_some(())).await;
    let bound = app.bind("b1", "app-guid", json!({})).await;
    let token = bound.json()["credentials"]["token"].as_str().unwrap().to_owned();
    let list = app.get_with("/sd", &[("Authorization", &format!("Bearer {token}"))]).await;
    assert_eq!(list.status, 200, "{}", list.text());
}

/// Target lists are unavailable when a kind of route source fails for so long that its apps were
/// dropped.
#[actix_web::test]
async fn target_lists_are_unavailable_after_apps_of_a_failed_source_were_dropped() {
    let instance = Instance::with_metrics("a 1\n").await;
    let other = Instance::with_metrics("a 1\n").await;
    let file = RouteFile::new(&json!({ "b.example.com": [endpoint("b", 0, other.address)] }));
    let router = gorouter(table_of(&instance)).await;
    let mut settings = short_ages().to_vec();
    settings.extend([routers(&[(router.address, "right")]), file.setting()]);
    let app = spawn_app(&settings).await;
    let both = eventually(async || {
        let list = sd(&app).await;
        (list.status == 200).then_some(list)
    })
    .await;
    assert_eq!(both.json().as_array().unwrap().len(), 2);
    drop(router);
    let lost = eventually(async || {
        let list = sd(&app).await;
        let is_whole = || list.json().as_array().unwrap().len() == 2;
        // The rate limit returns 429.
        assert!([429, 503].contains(&list.status) || is_whole());
        (list.status == 503).then_some(list)
    })
    .await;
    assert!(lost.text().contains("routes.gorouters"), "{}", lost.text());
    assert_eq!(
        app.get("/-/ready").await.status,
        200,
        "readiness is kept after the first complete route table"
    );
}
