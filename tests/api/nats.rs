//! Routes from a real NATS server.

use crate::test_app::*;
use serde_json::json;
use support::{
    nats::{TestServer, instance, publish},
    *,
};

#[actix_web::test]
async fn instances_registered_over_nats_are_scraped_until_they_are_unregistered() {
    let server = TestServer::start("").await;
    let good = Instance::with_metrics("a 1\n").await;
    let settings = [
        ("ROUTES__NATS__SERVERS", json!([server.address()]).to_string()),
        ("ROUTES__STALE_AFTER", "4s".to_owned()),
    ];
    let app = spawn_app(&settings).await;
    let emitter = server.emitter().await;
    let mut message = instance("shop", good.address.port());
    message["host"] = json!(good.address.ip());
    let page = eventually(async || {
        publish(&emitter, "router.register", &message).await;
        let page = app.get("/v1/apps/metrics?route_url=Shop.test/").await;
        (page.status == 200).then_some(page)
    })
    .await;
    assert_eq!(page.lines("a{").len(), 1, "{}", page.text());
    eventually(async || (app.get("/-/ready").await.status == 200).then_some(())).await;
    let name = format!("nats {}", server.address());
    let authorization = basic(USER, PASSWORD);
    let page = app.get_with("/", &[("Authorization", &authorization)]).await.text();
    assert!(page.contains(&name), "{page}");
    let own = app.get("/metrics").await;
    let endpoints = format!("scrapebroker_route_source_endpoints{{source=\"{name}\"}} 1");
    assert_eq!(own.lines(&endpoints).len(), 1, "{}", own.text());
    let listed = app.get_with("/routes", &[("Authorization", &authorization)]).await.json();
    assert_eq!(listed["shop.test"][0]["tags"]["app_id"], "shop");

    message["uris"] = json!(["SHOP.test//"]);
    publish(&emitter, "router.unregister", &message).await;
    eventually(async || {
        let page = app.get("/v1/apps/metrics?route_url=shop.test").await;
        (page.status == 404).then_some(())
    })
    .await;
}
