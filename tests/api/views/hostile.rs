//! Texts that apps, scrapers, events and Prometheus servers choose stay texts.

use super::site::{PAGES, Site};
use crate::test_app::*;
use serde_json::json;
use support::browser::{Browser, Scheme};

const MARKUP: &str = "\"'><img src=x onerror=alert(1)></script><script>alert(2)</script>{{ 7*7 }}";

/// What a page may contain: no image, the script of the pages, and no attribute that runs one.
const ELEMENTS: &str = r#"
    const links = [...document.querySelectorAll("[href], [src], [action]")].filter(element =>
        /^\s*javascript:/i.test(element.getAttribute("href") ?? element.getAttribute("src") ?? ""));
    const handlers = [...document.querySelectorAll("*")].filter(element =>
        [...element.attributes].some(it => it.name.startsWith("on") || it.name === "style"));
    return [document.images.length, document.scripts.length, links.length, handlers.length]"#;

/// Opens all pages of a site where `text` is everywhere.
async fn stays_text(text: &str, shown: &str) {
    let site = Site::start(text, &[]).await;
    let (app, browser) = (&site.fixture.app, Browser::start().await);
    browser.emulate(390, Scheme::Light).await;
    browser.login(USER, PASSWORD).await;
    let query: String = text.bytes().take(60).map(|byte| format!("%{byte:02X}")).collect();
    let searches = ["/apps?q=", "/apps/", "/prometheus/own/?q=", "/events?label=type%3D"];
    let searches = searches.map(|path| format!("{path}{query}"));
    for path in PAGES.map(str::to_owned).iter().chain(&searches) {
        // A dialog would fail the next command.
        browser.open(&app.url(path)).await;
        assert_eq!(browser.script(ELEMENTS, &[]).await, json!([0, 1, 0, 0]), "{path}");
        assert_eq!(browser.overflow().await, None, "{path}");
        let log = browser.console_errors().await;
        assert!(log.iter().all(|it| it.contains("Failed to load resource")), "{path}: {log:?}");
    }
    for path in ["/apps", "/apps/app-guid", "/prometheus/own/", "/events", "/apps/app-guid/metrics"]
    {
        browser.open(&app.url(path)).await;
        let contains = "return document.querySelector('main').textContent.includes(arguments[0])";
        assert_eq!(browser.script(contains, &[json!(shown)]).await, json!(true), "{path}: {shown}");
    }
}

#[actix_web::test]
async fn markup_stays_text() {
    stays_text(MARKUP, "<script>alert(2)</script>{{ 7*7 }}").await;
}

#[actix_web::test]
async fn addresses_of_scripts_and_characters_for_the_direction_stay_text() {
    stays_text("javascript:alert(1) \u{202e}txt.exe\u{7}", "javascript:alert(1) \u{202e}txt.exe")
        .await;
}

#[actix_web::test]
async fn long_texts_are_cut() {
    stays_text(&"long".repeat(2_000), &format!("{}…", "long".repeat(50))).await;
}
