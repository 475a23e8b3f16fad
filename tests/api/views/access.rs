//! Who may open which page, in both modes of access.

use super::site::{SECRETS, Site};
use crate::test_app::*;
use support::*;

/// Credentials in the order of the columns of the table.
const CALLERS: [&str; 8] =
    ["none", "wrong", "operator", "app", "other app", "space", "prometheus", "events"];

type Row = (&'static str, [u16; 8]);

/// Pages whose access does not depend on the mode.
const BOTH: &[Row] = &[
    ("/doc", [200, 200, 200, 200, 200, 200, 200, 200]),
    ("/", [200, 401, 200, 200, 200, 200, 200, 200]),
    ("/?details", [401, 401, 200, 403, 403, 403, 403, 403]),
    ("/apps", [401, 401, 200, 200, 200, 200, 403, 403]),
    ("/prometheus", [401, 401, 200, 403, 403, 403, 200, 403]),
    ("/prometheus/own/", [401, 401, 200, 401, 401, 401, 200, 401]),
    ("/prometheus/none/", [401, 401, 404, 401, 401, 401, 401, 401]),
    ("/pools", [401, 401, 200, 403, 403, 403, 403, 403]),
    ("/pools/main/", [401, 401, 200, 403, 403, 403, 403, 403]),
    ("/pools/none/", [401, 401, 404, 403, 403, 403, 403, 403]),
    ("/events?queue=q1", [401, 401, 200, 403, 403, 403, 403, 200]),
];

const OPEN: &[Row] = &[
    ("/apps/app-guid", [200, 200, 200, 200, 200, 200, 200, 200]),
    ("/apps/app-guid/metrics", [200, 200, 200, 200, 200, 200, 200, 200]),
    ("/apps/none", [404, 404, 404, 404, 404, 404, 404, 404]),
];

const TOKEN: &[Row] = &[
    ("/apps/app-guid", [401, 401, 200, 200, 403, 200, 403, 403]),
    ("/apps/app-guid/metrics", [401, 401, 200, 200, 403, 200, 403, 403]),
    ("/apps/none", [401, 401, 404, 404, 404, 404, 404, 404]),
];

async fn pages_require(mode: &str, rows: impl Iterator<Item = &Row>) {
    let site = Site::start("shop", &[("SCRAPE__ACCESS", mode.to_owned())]).await;
    let tokens = &site.tokens;
    let tokens =
        [&tokens.app, &tokens.other_app, &tokens.space, &tokens.prometheus, &tokens.events];
    let tokens = tokens.map(|token| Some(basic("anyone", token)));
    let first = [None, Some(basic("x", "sbt_wrong")), Some(basic(USER, PASSWORD))];
    let credentials: Vec<_> = first.into_iter().chain(tokens).collect();
    for (path, statuses) in rows {
        for accept in ["text/html", "application/json", "*/*"] {
            let mut found = Vec::new();
            for authorization in &credentials {
                let authorization = authorization.as_ref().map(|it| ("Authorization", it.as_str()));
                let headers: Vec<_> =
                    authorization.into_iter().chain([("Accept", accept)]).collect();
                let response = site.fixture.app.get_with(path, &headers).await;
                for secret in SECRETS {
                    assert!(!response.text().contains(secret), "{path}: {}", response.text());
                }
                if response.status == 401 {
                    assert!(response.headers.contains_key("www-authenticate"), "{path}");
                }
                found.push(response.status);
            }
            assert_eq!(found, statuses, "{path} of {CALLERS:?} in the mode {mode}");
        }
    }
}

#[actix_web::test]
async fn pages_require_credentials_if_access_is_open() {
    pages_require("open", BOTH.iter().chain(OPEN)).await;
}

#[actix_web::test]
async fn pages_require_credentials_if_a_token_is_required() {
    pages_require("token", BOTH.iter().chain(TOKEN)).await;
}

#[actix_web::test]
async fn the_address_of_a_scraper_is_for_those_who_are_authorized_for_the_app() {
    let site = Site::start("shop", &[]).await;
    for (authorization, is_shown) in [
        (None, false),
        (Some(basic("x", &site.tokens.other_app)), false),
        (Some(basic("x", &site.tokens.app)), true),
        (Some(basic(USER, PASSWORD)), true),
    ] {
        let authorization = authorization.as_ref().map(|it| ("Authorization", it.as_str()));
        let json = ("Accept", "application/json");
        let headers: Vec<_> = authorization.into_iter().chain([json]).collect();
        let page = site.fixture.app.get_with("/apps/app-guid", &headers).await.json();
        let scraped_by = &page["scraped_by"];
        assert_eq!(scraped_by["agent"], "shop", "{page}");
        assert_eq!(!scraped_by["address"].is_null(), is_shown, "{authorization:?}: {scraped_by}");
    }
}
