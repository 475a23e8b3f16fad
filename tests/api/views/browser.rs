//! Pages in Chromium: accessibility, width, errors and requests, the keyboard, and no scripts.

use super::{
    assert_sound,
    site::{PAGES, Site},
};
use crate::test_app::*;
use serde_json::json;
use support::{
    browser::{Browser, ENTER, Scheme, TAB},
    eventually,
};

/// Responses with an error status. Chromium reports the status on the console.
const ERRORS: [&str; 3] = ["/apps/none", "/prometheus/none/", "/nowhere"];

async fn login(site: &Site) -> Browser {
    let browser = Browser::start().await;
    browser.emulate(1280, Scheme::Light).await;
    browser.login(USER, PASSWORD).await;
    browser.open(&site.fixture.app.url("/")).await;
    browser
}

/// Opens all pages at a width in both color schemes.
async fn every_page_is_sound_at(width: u32) {
    let site = Site::start("shop", &[]).await;
    let (app, browser) = (&site.fixture.app, login(&site).await);
    let host = app.address.to_string();
    for scheme in [Scheme::Light, Scheme::Dark] {
        browser.emulate(width, scheme).await;
        for path in PAGES {
            browser.open(&app.url(path)).await;
            assert_sound(&browser, &host, &format!("{path} at {width} px, {scheme:?}")).await;
        }
        for path in ERRORS {
            browser.open(&app.url(path)).await;
            let log = browser.console_errors().await;
            assert!(log.iter().all(|it| it.contains("Failed to load resource")), "{path}: {log:?}");
            assert_sound(&browser, &host, &format!("{path} at {width} px, {scheme:?}")).await;
        }
    }
}

#[actix_web::test]
async fn every_page_is_sound_on_a_phone() {
    every_page_is_sound_at(390).await;
}

#[actix_web::test]
async fn every_page_is_sound_on_a_tablet() {
    every_page_is_sound_at(800).await;
}

/// Tables have columns from this width on.
#[actix_web::test]
async fn no_page_overflows_where_tables_become_lists() {
    let site = Site::start("shop", &[]).await;
    let (app, browser) = (&site.fixture.app, login(&site).await);
    for width in [768, 769, 895, 896, 900] {
        browser.emulate(width, Scheme::Light).await;
        for path in PAGES {
            browser.open(&app.url(path)).await;
            assert_eq!(browser.overflow().await, None, "{path} at {width} px");
        }
    }
}

#[actix_web::test]
async fn every_page_is_sound_on_a_screen() {
    every_page_is_sound_at(1280).await;
}

#[actix_web::test]
async fn pages_of_anonymous_viewers_are_sound_and_no_page_overflows_at_320_px() {
    let site = Site::start("shop", &[]).await;
    let (app, browser) = (&site.fixture.app, Browser::start().await);
    let host = app.address.to_string();
    browser.emulate(320, Scheme::Light).await;
    for path in ["/", "/doc", "/apps/app-guid", "/apps/app-guid/metrics"] {
        browser.open(&app.url(path)).await;
        assert_sound(&browser, &host, path).await;
    }
    browser.login(USER, PASSWORD).await;
    for path in PAGES {
        browser.open(&app.url(path)).await;
        assert_eq!(browser.overflow().await, None, "{path}");
    }
}

/// The text of the status line. Empty while the page is loading.
async fn status(browser: &Browser) -> String {
    let text = "return document.getElementById('status')?.textContent ?? ''";
    browser.script(text, &[]).await.as_str().unwrap().to_owned()
}

/// Presses Tab until the focused element matches, at most 60 times.
async fn tab_to(browser: &Browser, css: &str) {
    for _ in 0..60 {
        browser.press(TAB).await;
        let found = browser
            .script("return document.activeElement.matches(arguments[0])", &[json!(css)])
            .await;
        if found == json!(true) {
            return;
        }
    }
    panic!("{css} is not reached by Tab");
}

#[actix_web::test]
async fn pages_are_used_by_keyboard_only() {
    let site = Site::start("shop", &[]).await;
    let (app, browser) = (&site.fixture.app, login(&site).await);
    browser.open(&app.url("/apps")).await;
    browser.press(TAB).await;
    let skips = "return document.activeElement.getAttribute('href')";
    assert_eq!(browser.script(skips, &[]).await, "#main", "the first element skips the navigation");

    // The filter is applied while it is typed.
    tab_to(&browser, "input[name=q]").await;
    browser.press("other-guid").await;
    eventually(async || (status(&browser).await == "1 of 2 apps.").then_some(())).await;
    eventually(async || browser.url().await.contains("q=other-guid").then_some(())).await;

    // Headings sort.
    browser.open(&app.url("/apps")).await;
    tab_to(&browser, "th[aria-sort] a[href*='sort=samples']").await;
    browser.press(ENTER).await;
    let sorted = "return document.querySelector('th[aria-sort=descending]')?.textContent";
    eventually(async || (browser.script(sorted, &[]).await == "Samples").then_some(())).await;
    let shown = "return getComputedStyle(document.querySelector('th[aria-sort=descending] a'), '::after').content";
    let shown = browser.script(shown, &[]).await;
    assert!(shown.as_str().unwrap().contains('▼'), "the order is visible: {shown}");

    browser.open(&app.url("/apps/app-guid")).await;
    tab_to(&browser, "form[data-scrape] button").await;
    let before = site.scrapes();
    browser.press(ENTER).await;
    eventually(async || (site.scrapes() > before).then_some(())).await;
    eventually(async || {
        let status = status(&browser).await;
        (status.contains("1 of 2 instances") && !status.contains("Scraping")).then_some(())
    })
    .await;
    browser.open(&app.url("/prometheus/own/")).await;
    tab_to(&browser, "input[name=q]").await;
    browser.press("web/7").await;
    eventually(async || status(&browser).await.contains("1 matches the filter").then_some(()))
        .await;
    tab_to(&browser, "input[name=metric]").await;
    browser.press("queue_length").await;
    assert_eq!(browser.console_errors().await, Vec::<String>::new());
}

#[actix_web::test]
async fn pages_work_without_scripts() {
    let site = Site::start("shop", &[]).await;
    let (app, browser) = (&site.fixture.app, login(&site).await);
    browser.allow_scripts(false).await;
    browser.open(&app.url("/apps")).await;
    tab_to(&browser, "input[name=q]").await;
    browser.press("other-guid").await;
    browser.press(ENTER).await;
    eventually(async || browser.url().await.contains("q=other-guid").then_some(())).await;
    eventually(async || (status(&browser).await == "1 of 2 apps.").then_some(())).await;
    browser.click("tbody th a").await;
    eventually(async || browser.url().await.ends_with("/apps/other-guid").then_some(())).await;

    browser.open(&app.url("/apps/app-guid")).await;
    let before = site.scrapes();
    browser.click("form[data-scrape] button").await;
    eventually(async || (site.scrapes() > before).then_some(())).await;
    eventually(async || status(&browser).await.contains("1 of 2 instances").then_some(())).await;
    assert!(browser.url().await.contains("/apps/app-guid"), "{}", browser.url().await);

    browser.open(&app.url("/prometheus/own/")).await;
    browser.click("input[name=q]").await;
    browser.press("web/7").await;
    browser.press(ENTER).await;
    eventually(async || status(&browser).await.contains("1 matches the filter").then_some(()))
        .await;
}

/// The text of the first element that matches.
async fn text_of(browser: &Browser, css: &str) -> String {
    let text = "return document.querySelector(arguments[0])?.textContent ?? ''";
    browser.script(text, &[json!(css)]).await.as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn copy_says_that_it_copied_and_keeps_the_state_of_the_app() {
    let site = Site::start("shop", &[]).await;
    let (app, browser) = (&site.fixture.app, login(&site).await);
    for path in ["/doc", "/prometheus/own/", "/apps/app-guid"] {
        browser.open(&app.url(path)).await;
        let count = "return ['main pre', 'main pre + button.copy'].map(css => document.querySelectorAll(css).length)";
        let count = browser.script(count, &[]).await;
        assert!(count[0].as_u64().unwrap() >= 5 && count[0] == count[1], "{path}: {count}");
    }
    let before = status(&browser).await;
    tab_to(&browser, "button.copy").await;
    browser.press(ENTER).await;
    eventually(async || (text_of(&browser, "#copied").await == "Copied").then_some(())).await;
    assert!(text_of(&browser, "button.copy").await.starts_with("Copied “In a shell”"));
    assert_eq!(status(&browser).await, before);
    eventually(async || text_of(&browser, "button.copy").await.starts_with("Copy ").then_some(()))
        .await;
    assert_eq!(text_of(&browser, "#copied").await, "");
    assert_sound(&browser, &app.address.to_string(), "after copying").await;
}

#[actix_web::test]
async fn scrape_now_refreshes_everything_that_it_changes_and_keeps_the_list() {
    let site = Site::start("shop", &[]).await;
    let (app, browser) = (&site.fixture.app, login(&site).await);
    browser.open(&app.url("/apps/app-guid?state=failing")).await;
    assert!(text_of(&browser, "#plots").await.contains("Plots appear after the second scrape"));
    // The binding's path has no scrape yet, and points are whole seconds.
    for _ in 0..2 {
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let before = site.scrapes();
        browser.click("form[data-scrape] button").await;
        eventually(async || {
            let enabled = "return !document.querySelector('form[data-scrape] button').disabled";
            let is_done = browser.script(enabled, &[]).await == json!(true);
            (is_done && site.scrapes() > before).then_some(())
        })
        .await;
    }
    assert_eq!(text_of(&browser, ".states [aria-current]").await, "Failing (1)");
    assert_eq!(text_of(&browser, "#instance-list tbody th a").await, "web/1");
    assert!(text_of(&browser, "#last-scrape").await.contains("Last scrape: "));
    assert!(!text_of(&browser, "#plots").await.contains("Plots appear"));
    assert!(text_of(&browser, "#scraped-by").await.contains("Last scraped"));
    assert!(status(&browser).await.contains("1 of 2 instances up"));
    let seconds = "return (Date.now() - Date.parse(document.querySelector('#last-scrape time').dateTime)) / 1000";
    let seconds = browser.script(seconds, &[]).await;
    assert!(seconds.as_f64().unwrap() < 10.0, "the time of the last scrape is new: {seconds}");
    assert!(browser.url().await.ends_with("/apps/app-guid?state=failing"));

    browser.allow_scripts(false).await;
    browser.open(&app.url("/apps/app-guid?state=failing")).await;
    browser.click("form[data-scrape] button").await;
    eventually(async || browser.url().await.ends_with("?state=failing").then_some(())).await;
    assert_eq!(text_of(&browser, ".states [aria-current]").await, "Failing (1)");
}
