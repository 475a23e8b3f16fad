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
        ("/prometheus?state=x", "state"),
        ("/prometheus?page=-1", "page"),
        ("/prometheus/own/?metric=a%20b", "metric"),
        ("/prometheus/own/?state=x", "state"),
        ("/events?limit=x", "limit"),
    ] {
        let headers = [("Authorization", operator.as_str()), HTML];
        let response = site.fixture.app.get_with(path, &headers).await;
        assert_eq!(response.status, 400, "{path}");
        assert!(response.text().contains(&format!("<p>{name}")), "{path}: {}", response.text());
    }
}
