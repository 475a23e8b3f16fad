//! Requests that deliver nothing, and clients that must not take what others have to get.

use super::*;
use std::process::Command;

/// Asserts that the scraper `127.0.0.2`, which was registered before, still gets these values.
async fn assert_gets(scraper: &mut TestScraper, expected: &[&str]) {
    assert_eq!(values(&scraper.scrape("/metrics").await.unwrap()), expected);
}

#[actix_web::test]
async fn looking_at_events_delivers_nothing_and_registers_nothing() {
    let app = EventsApp::start(&[]).await;
    let mut scraper = TestScraper::connect_from("127.0.0.2", app.events).await;
    assert_gets(&mut scraper, &[]).await;
    app.post("id=1&value=7").await;
    let html = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let fetch = ("Sec-Fetch-Mode", "navigate");
    let forged = ("X-Real-Ip", "127.0.0.2");
    let login = operator();
    let login = ("Authorization", &*login);
    let events = |path| app.url(path);
    let main = |path| app.app.url(path);
    for (method, url, headers, shows) in [
        ("HEAD", events("/metrics"), &[][..], false),
        ("HEAD", events("/metrics"), &[forged], false),
        ("GET", events("/metrics"), &[html], true),
        ("GET", events("/metrics"), &[fetch], true),
        ("GET", events("/metrics?peek"), &[], true),
        ("GET", events("/metrics?peek&scraper=127.0.0.2"), &[], true),
        ("HEAD", main("/v1/events/metrics"), &[login], false),
        ("GET", main("/v1/events/metrics?peek"), &[login], true),
        ("GET", main("/v1/events/metrics"), &[login, html], true),
        ("GET", main("/v1/events"), &[login], true),
        ("GET", main("/v1/events?peek"), &[login], true),
        ("HEAD", main("/v1/events"), &[login], false),
        ("GET", main("/v1/events/1"), &[login], true),
        ("GET", main("/v1/events/annotations"), &[login], true),
        ("GET", main("/events"), &[login, html], true),
    ] {
        let answer = send(method, &url, headers, None).await;
        assert_eq!(answer.status, 200, "{method} {url}: {}", answer.text());
        assert_eq!(answer.text().contains('7'), shows, "{method} {url}: {}", answer.text());
    }
    let timeline = app.timeline("").await;
    assert_eq!(timeline["scrapers"].as_array().unwrap().len(), 1, "{timeline}");
    assert_eq!(timeline["scrapers"][0]["pending"], 1, "{timeline}");
    assert_gets(&mut scraper, &["7"]).await;
    assert_gets(&mut scraper, &[]).await;
}

/// curl closes its connection, so there is no evidence that it has read the response.
#[actix_web::test]
async fn curl_takes_nothing_from_a_scraper_with_its_address() {
    for mode in ["scrape", "explicit"] {
        let app = EventsApp::start(&[("EVENTS__TIMESTAMPS", mode)]).await;
        let mut scraper = TestScraper::connect(app.events).await;
        assert_gets(&mut scraper, &[]).await;
        app.post("id=1&value=7").await;
        for _ in 0..2 {
            let url = app.url("/metrics");
            let curl = move || Command::new("curl").args(["-sS", &url]).output().unwrap();
            let output = tokio::task::spawn_blocking(curl).await.unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains("events_to_metrics{id=\"1\"} 7"), "{text}");
        }
        // Until the end of curl's connection is noticed, its response may be in flight.
        let got = eventually(async || {
            let got = values(&scraper.scrape("/metrics").await.unwrap());
            (!got.is_empty()).then_some(got)
        })
        .await;
        assert!(got.len() == 1 && got[0].starts_with('7'), "{mode}: {got:?}");
    }
}

#[actix_web::test]
async fn forged_headers_take_nothing_from_other_scrapers() {
    let app = EventsApp::start(&[]).await;
    let mut scraper = TestScraper::connect_from("127.0.0.2", app.events).await;
    assert_gets(&mut scraper, &[]).await;
    let mut thief = TestScraper::connect(app.events)
        .await
        .with_header("X-Real-Ip", "127.0.0.2")
        .with_header("X-Forwarded-For", "127.0.0.2")
        .with_header("Forwarded", "for=127.0.0.2");
    assert_gets(&mut thief, &[]).await;
    app.post("id=1&value=7").await;
    assert_gets(&mut thief, &["7"]).await;
    assert_gets(&mut thief, &[]).await;
    assert_gets(&mut scraper, &["7"]).await;
    assert_eq!(app.pending("127.0.0.1").await, Some(0));
}
