//! Effects of bindings on scrapes. The module `osb` tests the broker API itself.

use crate::test_app::*;
use serde_json::json;
use support::*;

#[actix_web::test]
async fn a_binding_applies_to_the_next_scrape_and_unbinding_restores_the_previous_one() {
    let instance = Instance::start(|seen| {
        Reply::Metrics(format!(
            "requested{{path=\"{}\"}} 1\n",
            seen.line.split(' ').nth(1).unwrap()
        ))
    })
    .await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let path = async || {
        let answer = app.get("/v1/apps/app-guid/metrics").await;
        let line = answer.lines("requested{").pop().unwrap_or_else(|| panic!("{}", answer.text()));
        line.split('"').nth(1).unwrap().to_owned()
    };
    assert_eq!(path().await, "/metrics");
    assert_eq!(app.bind("b1", "app-guid", json!({"endpoint": "/first"})).await.status, 201);
    assert_eq!(path().await, "/first");
    let second = json!({"endpoint": "/second?x=1", "params": {"y": "2 3"}});
    assert_eq!(app.bind("b2", "app-guid", second).await.status, 201);
    assert_eq!(path().await, "/second?x=1&y=2%203");
    assert_eq!(app.unbind("b2").await.status, 200);
    assert_eq!(path().await, "/first");
    assert_eq!(app.unbind("b1").await.status, 200);
    assert_eq!(path().await, "/metrics");
    assert_eq!(app.unbind("b1").await.status, 410);
}

#[actix_web::test]
async fn the_path_of_a_request_overrides_that_of_the_binding() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let bound = json!({"endpoint": "/bound?x=1", "params": {"y": "2 3"}});
    let bound = app.bind("b1", "app-guid", bound).await.json();
    let token = format!("Bearer {}", bound["credentials"]["token"].as_str().unwrap());
    let path = "/v1/apps/app-guid/metrics?metric_path=/own&z=4";
    app.get_with(path, &[("Authorization", &token)]).await;
    // With the token of the binding, the query parameters of the binding are added. Without the
    // token they are not sent, because they can contain credentials.
    assert_eq!(instance.requests()[0].line, "GET /own?y=2%203&z=4 HTTP/1.1");
    app.get(path).await;
    assert_eq!(instance.requests()[1].line, "GET /own?z=4 HTTP/1.1");
}

#[actix_web::test]
async fn parameters_of_a_binding_apply_to_requests_and_samples() {
    let instance = Instance::with_metrics("a{team=\"own\"} 1\nb 2\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let parameters = json!({
        "headers": {"X-Api-Key": "k"}, "basic_auth": {"username": "u", "password": "p"},
        "labels": {"team": "checkout"},
    });
    assert_eq!(app.bind("b1", "app-guid", parameters).await.status, 201);
    let scraper = [("Authorization", "Bearer of-the-scraper"), ("X-Api-Key", "of-the-scraper")];
    let answer = app.get_with("/v1/apps/app-guid/metrics", &scraper).await;
    let seen = &instance.requests()[0];
    assert_eq!(seen.headers["authorization"], basic("u", "p"));
    assert_eq!(seen.headers["x-api-key"], "k");
    let labels = labels(0, instance.address);
    assert_eq!(
        answer.lines("a{"),
        [format!("a{{exported_team=\"own\",{labels},team=\"checkout\"}} 1")]
    );

    let limited = json!({"sample_limit": 1});
    assert_eq!(app.bind("b2", "app-guid", limited).await.status, 201);
    let answer = app.get("/v1/apps/app-guid/metrics").await;
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("limit"), "{}", answer.text());

    let workers = json!({"process_types": ["worker"]});
    assert_eq!(app.bind("b3", "app-guid", workers).await.status, 201);
    let answer = app.get("/v1/apps/app-guid/metrics").await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("worker"), "{}", answer.text());
}

#[actix_web::test]
async fn binding_tokens_are_not_forwarded_to_apps() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let bound = app.bind("b1", "app-guid", json!({})).await.json();
    let token = bound["credentials"]["token"].as_str().unwrap().to_owned();
    for authorization in [format!("Bearer {token}"), basic("anyone", &token)] {
        let headers = [("Authorization", authorization.as_str())];
        app.get_with("/v1/apps/app-guid/metrics", &headers).await;
    }
    assert_eq!(instance.requests().len(), 2);
    assert!(instance.requests().iter().all(|seen| !seen.headers.contains_key("authorization")));
}

#[actix_web::test]
async fn scrapes_use_the_last_known_bindings_while_the_database_is_unavailable() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let folder = tempfile::tempdir().unwrap();
    let (file, moved) = (folder.path().join("kept.db"), folder.path().join("moved.db"));
    let database = ("DATABASE_URL", format!("sqlite://{}", file.display()));
    let app = spawn_app(&[routes.setting(), database]).await;
    assert_eq!(app.bind("b1", "app-guid", json!({"endpoint": "/kept"})).await.status, 201);

    std::fs::rename(&file, &moved).unwrap();
    let refused = app.unbind("b1").await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(!refused.json()["description"].as_str().unwrap().is_empty());
    assert_eq!(app.get("/v1/apps/app-guid/metrics").await.status, 200);
    assert_eq!(instance.requests()[0].line, "GET /kept HTTP/1.1");
    // The program stays ready, so that load balancers keep it. The status page shows the problem.
    assert_eq!(app.get("/-/ready").await.status, 200);
    eventually(async || {
        let page = app.status_page().await.text();
        (page.contains("The database is not available") && page.contains("Bindings as they were"))
            .then_some(())
    })
    .await;

    std::fs::rename(&moved, &file).unwrap();
    eventually(async || (app.unbind("b1").await.status == 200).then_some(())).await;
    app.get("/v1/apps/app-guid/metrics").await;
    assert_eq!(instance.requests()[1].line, "GET /metrics HTTP/1.1");
}

#[actix_web::test]
async fn bindings_persist_across_a_restart() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let folder = tempfile::tempdir().unwrap();
    let database = ("DATABASE_URL", format!("sqlite://{}/kept.db", folder.path().display()));
    let mut app = spawn_app(&[routes.setting(), database.clone()]).await;
    assert_eq!(app.bind("b1", "app-guid", json!({"endpoint": "/kept"})).await.status, 201);
    app.stop(scrapebroker::app::Stop::Graceful).await.unwrap();
    let app = spawn_app(&[routes.setting(), database]).await;
    app.get("/v1/apps/app-guid/metrics").await;
    assert_eq!(instance.requests()[0].line, "GET /kept HTTP/1.1");
}

#[actix_web::test]
async fn without_credentials_the_broker_names_the_missing_settings() {
    let nothing = |key| (key, String::new());
    let app = spawn_app(&[nothing("BROKER__USERNAME"), nothing("BROKER__PASSWORD")]).await;
    let answer = app.broker("GET", "/v2/catalog", None).await;
    assert_eq!(answer.status, 503);
    assert!(answer.json()["description"].as_str().unwrap().contains("broker.username"));
    assert_eq!(app.get("/routes").await.status, 503);
}
