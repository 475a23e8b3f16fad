//! Changes of routes while scrapes are running, with working and failing gorouters.

use crate::test_app::*;
use serde_json::{Value, json};
use std::{cell::RefCell, rc::Rc};
use support::*;

/// A fake gorouter with basic authentication. Tests can set its response.
async fn gorouter(reply: Reply) -> (Instance, Rc<RefCell<Reply>>) {
    let reply = Rc::new(RefCell::new(reply));
    let now = Rc::clone(&reply);
    let instance = Instance::start(move |seen| {
        let authorized =
            seen.headers.get("authorization") == Some(&basic("router-status", "s3cret"));
        match authorized && seen.line.starts_with("GET /routes ") {
            true => now.borrow().clone(),
            false => Reply::Http(401, vec![], b"401 Unauthorized\n".to_vec()),
        }
    })
    .await;
    (instance, reply)
}

fn table(table: &Value) -> Reply {
    let json_type = ("Content-Type", "application/json".to_owned());
    Reply::Http(200, vec![json_type], table.to_string().into_bytes())
}

fn gorouters<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> (&'static str, String) {
    let list: Vec<_> = instances
        .into_iter()
        .map(|instance| {
            json!({
                "url": format!("http://{}/routes", instance.address),
                "username": "router-status", "password": "s3cret",
            })
        })
        .collect();
    ("ROUTES__GOROUTERS", json!(list).to_string())
}

#[actix_web::test]
async fn new_instances_of_a_scaled_app_are_scraped() {
    let (zero, one) =
        (Instance::with_metrics("a 1\n").await, Instance::with_metrics("a 2\n").await);
    let routes = RouteFile::of_app([&zero]);
    let app = spawn_app(&[routes.setting()]).await;
    let count = async || app.get("/v1/apps/app-guid/metrics").await.lines("a{").len();
    assert_eq!(count().await, 1);
    routes.write(&json!({
        "app.example.com": [endpoint("app", 0, zero.address), endpoint("app", 1, one.address)]
    }));
    eventually(async || (count().await == 2).then_some(())).await;
    routes.write(&json!({ "app.example.com": [endpoint("app", 1, one.address)] }));
    eventually(async || (count().await == 1).then_some(())).await;
    routes.write(&json!({}));
    eventually(async || (app.get("/v1/apps/app-guid/metrics").await.status == 404).then_some(()))
        .await;
}

#[actix_web::test]
async fn routes_of_gorouters_are_merged_and_a_failing_one_hides_no_routes() {
    let (a, b) = (Instance::with_metrics("a 1\n").await, Instance::with_metrics("a 2\n").await);
    let (first, _) =
        gorouter(table(&json!({ "a.example.com": [endpoint("a", 0, a.address)] }))).await;
    let (second, _) =
        gorouter(table(&json!({ "b.example.com": [endpoint("b", 0, b.address)] }))).await;
    let html = Reply::Http(200, vec![], b"<html>It works!</html>".to_vec());
    let (broken, _) = gorouter(html).await;
    let app = spawn_app(&[gorouters([&broken, &first, &second])]).await;
    for key in ["a-guid", "b-guid"] {
        eventually(async || {
            let answer = app.get(&format!("/v1/apps/{key}/metrics")).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
    eventually(async || {
        let own = app.get("/metrics").await;
        let failed = own.lines("promfetch_scrape_route_failed_total ").pop()?;
        (!failed.ends_with(" 0")).then_some(())
    })
    .await;
    let page = app.status_page().await.text();
    assert!(page.contains(&broken.address.to_string()), "{page}");
    assert!(!page.contains("s3cret"), "{page}");
}

#[actix_web::test]
async fn routes_of_a_failing_gorouter_are_kept() {
    let a = Instance::with_metrics("a 1\n").await;
    let good = table(&json!({ "a.example.com": [endpoint("a", 0, a.address)] }));
    let (router, reply) = gorouter(good).await;
    let app = spawn_app(&[gorouters([&router])]).await;
    let scrape = async || app.get("/v1/apps/a-guid/metrics").await.status;
    eventually(async || (scrape().await == 200).then_some(())).await;
    for fault in [
        Reply::Close,
        Reply::Http(500, vec![], vec![]),
        Reply::Http(200, vec![], b"{\"a.example.com\": [{\"addr".to_vec()),
        Reply::Http(302, vec![("Location", "http://169.254.169.254/".to_owned())], vec![]),
    ] {
        *reply.borrow_mut() = fault;
        let polled = router.requests().len();
        eventually(async || (router.requests().len() >= polled + 2).then_some(())).await;
        assert_eq!(scrape().await, 200);
    }
    // After a restart the route table of the gorouter is empty.
    *reply.borrow_mut() = table(&json!({}));
    let polled = router.requests().len();
    eventually(async || (router.requests().len() >= polled + 2).then_some(())).await;
    assert_eq!(scrape().await, 200);
}

#[actix_web::test]
async fn the_recorded_route_table_of_a_gorouter_is_parsed() {
    let captured = std::fs::read_to_string("tests/fixtures/routes/captured.json").unwrap();
    let (router, _) = gorouter(table(&serde_json::from_str(&captured).unwrap())).await;
    let app = spawn_app(&[gorouters([&router])]).await;
    let answer = eventually(async || {
        let answer = app.get("/v1/apps/621617db-9dd9-4211-8848-b245f3ea16b2").await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    let described = &answer.json()["apps"][0];
    assert_eq!(described["app_name"], "app");
    assert_eq!(described["space_name"], "tools");
    assert_eq!(described["instances"].as_array().unwrap().len(), 2);
}

#[actix_web::test]
async fn routes_of_an_unavailable_gorouter_are_dropped_when_they_are_stale() {
    let (a, b) = (Instance::with_metrics("a 1\n").await, Instance::with_metrics("a 2\n").await);
    let (first, reply) =
        gorouter(table(&json!({ "a.example.com": [endpoint("a", 0, a.address)] }))).await;
    let (second, _) =
        gorouter(table(&json!({ "b.example.com": [endpoint("b", 0, b.address)] }))).await;
    let stale = ("ROUTES__STALE_AFTER", "3s".to_owned());
    let app = spawn_app(&[gorouters([&first, &second]), stale]).await;
    let status = async |app_id: &str| app.get(&format!("/v1/apps/{app_id}/metrics")).await.status;
    for app_id in ["a-guid", "b-guid"] {
        eventually(async || (status(app_id).await == 200).then_some(())).await;
    }
    *reply.borrow_mut() = Reply::Http(502, vec![], vec![]);
    eventually(async || (status("a-guid").await == 404).then_some(())).await;
    assert_eq!(status("b-guid").await, 200);
}

#[actix_web::test]
async fn instances_of_a_route_with_capital_letters_are_removed() {
    let (zero, one) =
        (Instance::with_metrics("a 1\n").await, Instance::with_metrics("a 2\n").await);
    let of = |instances: &[&Instance]| {
        let endpoints =
            (0..).zip(instances).map(|(index, instance)| endpoint("app", index, instance.address));
        json!({ "App.Example.com/API/": Value::from_iter(endpoints) })
    };
    let routes = RouteFile::new(&of(&[&zero, &one]));
    let app = spawn_app(&[routes.setting()]).await;
    let shown = async || {
        let answer = app.get("/v1/apps/metrics?route_url=app.EXAMPLE.com/api").await;
        (answer.status, answer.lines("a{").len())
    };
    assert_eq!(shown().await, (200, 2));
    for (left, expected) in [(vec![&one], (200, 1)), (vec![], (404, 0)), (vec![&zero], (200, 1))] {
        routes.write(&of(&left));
        eventually(async || (shown().await == expected).then_some(())).await;
    }
}
