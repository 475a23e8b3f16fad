//! Each page has a JSON twin at the same path, and both are only read.

use super::site::{PAGES, SECRETS, Site};
use crate::test_app::*;
use support::*;

const JSON: (&str, &str) = ("Accept", "application/json");
const HTML: (&str, &str) = ("Accept", "text/html,application/xhtml+xml;q=0.9");

#[actix_web::test]
async fn every_page_has_a_json_twin_and_is_not_cached() {
    let site = Site::start("shop", &[]).await;
    let app = &site.fixture.app;
    let operator = basic(USER, PASSWORD);
    let authorization = ("Authorization", operator.as_str());
    for path in PAGES.into_iter().filter(|path| *path != "/doc") {
        for (accept, content_type) in [(JSON, "application/json"), (HTML, "text/html")] {
            let response = app.get_with(path, &[authorization, accept]).await;
            assert_eq!(response.status, 200, "{path}: {}", response.text());
            assert!(response.headers["content-type"].starts_with(content_type), "{path}");
            assert_eq!(response.headers["cache-control"], "no-store", "{path}");
            assert_eq!(response.headers["vary"], "Accept, Authorization", "{path}");
            let text = response.text();
            for secret in SECRETS {
                assert!(!text.contains(secret), "{path}: {secret} in {text}");
            }
            let head = send("HEAD", &app.url(path), &[authorization, accept], None).await;
            assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        }
        assert!(app.get_with(path, &[authorization, JSON]).await.json().is_object(), "{path}");
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let response = send(method, &app.url(path), &[authorization], None).await;
            assert_eq!(response.status, 405, "{method} {path}");
        }
    }
}

#[actix_web::test]
async fn wrong_parameters_are_refused_with_the_name_of_the_parameter() {
    let site = Site::start("shop", &[]).await;
    let operator = basic(USER, PASSWORD);
    let long = format!("/apps?q={}", "a".repeat(201));
    for (path, name) in [
        ("/apps?state=x", "state"),
        ("/apps?sort=x", "sort"),
        ("/apps?order=x", "order"),
        ("/apps?page=0", "page"),
        (&*long, "q"),
        ("/apps/app-guid/metrics?interval=x", "interval"),
        ("/apps/app-guid/metrics?sort=x", "sort"),
        ("/apps/app-guid?state=x", "state"),
        ("/apps/app-guid?page=0", "page"),
        ("/prometheus?state=x", "state"),
        ("/prometheus?page=-1", "page"),
        ("/prometheus/own/?metric=a%20b", "metric"),
        ("/prometheus/own/?state=x", "state"),
        ("/events?limit=x", "limit"),
    ] {
        let headers = [("Authorization", operator.as_str()), HTML];
        let response = site.fixture.app.get_with(path, &headers).await;
        assert_eq!(response.status, 400, "{path}");
        assert!(response.text().contains(&format!(">{name}")), "{path}: {}", response.text());
        let headers = [("Authorization", operator.as_str()), JSON];
        let response = site.fixture.app.get_with(path, &headers).await;
        assert_eq!(response.status, 400, "{path}");
        let error = response.json()["error"].as_str().unwrap().to_owned();
        assert!(error.starts_with(name), "{path}: {error}");
    }
}

#[actix_web::test]
async fn errors_are_pages_or_json_or_text_as_the_client_prefers() {
    let site = Site::start("shop", &[]).await;
    let app = &site.fixture.app;
    for (path, status) in [("/apps", 401), ("/prometheus", 401), ("/events", 401), ("/nope", 404)] {
        let response = app.get_with(path, &[JSON]).await;
        assert_eq!((response.status, &*response.headers["vary"]), (status, "Accept"), "{path}");
        let error = response.json()["error"].as_str().unwrap().to_owned();
        let page = app.get_with(path, &[HTML]).await.text();
        assert!(!page.contains('`'), "{page}");
        if status == 401 {
            let login = "Log in with an operator's user name and password, or with any user name and a token as password.";
            assert!(error.contains(login), "{path}: {error}");
            assert!(page.contains(&login.replace('\'', "&#39;")), "{path}: {page}");
            assert!(page.contains("<code>Authorization: Bearer TOKEN</code>"), "{path}: {page}");
        }
        let text = app.get_with(path, &[]).await;
        assert_eq!(text.headers["content-type"], "text/plain; charset=utf-8", "{path}");
        assert_eq!(text.text().trim_end(), error, "{path}");
    }
}

#[actix_web::test]
async fn the_form_of_events_keeps_what_was_entered() {
    let site = Site::start("shop", &[]).await;
    let operator = basic(USER, PASSWORD);
    let headers = [("Authorization", operator.as_str()), HTML];
    let query = "label=type%3Ddeploy&label=detail%3Dshop&limit=7&to=2031-01-31T12%3A00%3A00Z";
    for (from, status) in [("2026-01-31T12:00:00Z", 200), ("yesterday", 400)] {
        let from_query = from.replace(':', "%3A");
        let path = format!("/events?queue=q1&{query}&from={from_query}");
        let response = site.fixture.app.get_with(&path, &headers).await;
        assert_eq!(response.status, status, "{}", response.text());
        let page = response.text();
        for value in ["type=deploy", "detail=shop", "7", "2031-01-31T12:00:00Z", from, "q1"] {
            assert!(page.contains(&format!("value=\"{value}\"")), "{value}: {page}");
        }
        assert_eq!(page.contains("from: is neither"), status == 400, "{page}");
    }
}

#[actix_web::test]
async fn events_without_a_scraper_are_said_to_have_none() {
    let site = Site::start("shop", &[]).await;
    let operator = basic(USER, PASSWORD);
    let get = async |path: &str, accept| {
        site.fixture.app.get_with(path, &[("Authorization", operator.as_str()), accept]).await
    };
    // The queue of the installation was scraped once.
    let twin = eventually(async || {
        let twin = get("/events", JSON).await.json();
        (twin["queues"][0]["queue"] == "q1").then_some(twin)
    })
    .await;
    assert_ne!(twin["events"][0]["state"], "no_scraper", "{twin}");
    assert!(!get("/events", HTML).await.text().contains("This queue has no scraper"));
    let bound = get("/events?queue=q1", JSON).await.json();
    assert_eq!(bound["events"][0]["state"], "no_scraper", "{bound}");
    let page = get("/events?queue=q1", HTML).await.text();
    assert!(page.contains("This queue has no scraper"), "{page}");
    assert_eq!(page.matches("</span> no scraper</span>").count(), 1, "{page}");
    let token = basic("x", &site.tokens.events);
    let own = site.fixture.app.get_with("/events", &[("Authorization", &token), JSON]).await.json();
    assert_eq!(own["queues"], serde_json::json!([]), "{own}");
}
