//! Names of scrapers.

use super::*;

async fn names(app: &EventsApp) -> Vec<String> {
    let timeline = app.timeline("").await;
    let scrapers = timeline["scrapers"].as_array().unwrap().iter();
    scrapers.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn a_trusted_proxy_names_the_address_of_the_scraper() {
    let app = EventsApp::start(&[("EVENTS__TRUSTED_PROXIES", "[\"127.0.0.0/24\"]")]).await;
    let real = ("X-Real-Ip", "192.0.2.7");
    let forwarded = ("X-Forwarded-For", "192.0.2.9, 192.0.2.8, 127.0.0.3");
    for (source, headers, name) in [
        ("127.0.0.1", &[][..], "127.0.0.1"),
        ("127.0.0.1", &[real], "192.0.2.7"),
        ("127.0.0.1", &[forwarded], "192.0.2.8"),
        ("127.0.0.1", &[forwarded, ("X-Real-Ip", "2001:db8::7")], "2001:db8::7"),
        ("127.0.1.1", &[real, forwarded], "127.0.1.1"),
    ] {
        let mut scraper = TestScraper::connect_from(source, app.events).await;
        for (name, value) in headers {
            scraper = scraper.with_header(name, value);
        }
        assert_eq!(scraper.scrape("/metrics").await.unwrap().status, 200);
        assert!(names(&app).await.contains(&name.to_owned()), "{:?}", names(&app).await);
    }
    assert_eq!(names(&app).await.len(), 5);
    // Each of them gets the event.
    app.post("value=7").await;
    let mut scraper = TestScraper::connect(app.events).await.with_header(real.0, real.1);
    assert_eq!(values(&scraper.scrape("/metrics").await.unwrap()), ["events_to_metrics 7"]);
    scraper.scrape("/metrics").await.unwrap();
    assert_eq!(app.pending("192.0.2.7").await, Some(0));
    assert_eq!(app.pending("192.0.2.8").await, Some(1));
}

#[actix_web::test]
async fn scrapers_behind_one_address_can_name_themselves() {
    let app = EventsApp::start(&[("EVENTS__SCRAPER_HEADER", "X-Scraper")]).await;
    let scrape = async |path: &str, header: Option<&str>| {
        let mut scraper = TestScraper::connect(app.events).await;
        if let Some(value) = header {
            scraper = scraper.with_header("X-Scraper", value);
        }
        scraper.scrape(path).await.unwrap()
    };
    let long = "x".repeat(65);
    for (path, header, status) in [
        ("/metrics?scraper=a", None, 200),
        ("/metrics", Some("b"), 200),
        ("/metrics?scraper=a", Some("c"), 200),
        ("/metrics", None, 200),
        ("/metrics?scraper=", None, 422),
        ("/metrics", Some(""), 422),
        (&*format!("/metrics?scraper={long}"), None, 422),
        ("/metrics?scraper=%0A", None, 422),
        ("/metrics?limit=0", None, 400),
        ("/metrics?counters=yes", None, 400),
    ] {
        let answer = scrape(path, header).await;
        assert_eq!(answer.status, status, "{path} {header:?}: {}", answer.text());
    }
    let mut all = names(&app).await;
    all.sort();
    assert_eq!(all, ["127.0.0.1", "a", "b"]);
    app.post("value=7").await;
    for path in ["/metrics?scraper=a", "/metrics?scraper=b"] {
        assert_eq!(values(&scrape(path, None).await), ["events_to_metrics 7"], "{path}");
    }
}

#[actix_web::test]
async fn an_ipv6_address_is_a_name() {
    let app = EventsApp::start(&[("EVENTS__LISTEN", "[::1]:0")]).await;
    let mut scraper = TestScraper::connect(app.events).await;
    scraper.scrape("/metrics").await.unwrap();
    assert_eq!(names(&app).await, ["::1"]);
    app.post("value=7").await;
    assert_eq!(values(&scraper.scrape("/metrics").await.unwrap()), ["events_to_metrics 7"]);
    scraper.scrape("/metrics").await.unwrap();
    assert_eq!(app.pending("::1").await, Some(0), "the state of IPv6 sockets is known");
}

/// The deadline of a scrape decides, not another request.
#[actix_web::test]
async fn deliveries_over_ipv6_are_acknowledged_at_the_deadline() {
    let app = EventsApp::start(&[("EVENTS__LISTEN", "[::1]:0")]).await;
    let mut scraper = TestScraper::connect(app.events).await.with_timeout("0.5");
    scraper.scrape("/metrics").await.unwrap();
    app.post("value=7").await;
    assert_eq!(values(&scraper.scrape("/metrics").await.unwrap()), ["events_to_metrics 7"]);
    eventually(async || (app.pending("::1").await? == 0).then_some(())).await;
}

#[actix_web::test]
async fn scrapers_of_an_operator_are_their_own() {
    let app = EventsApp::start(&[]).await;
    let mut open = TestScraper::connect(app.events).await;
    open.scrape("/metrics").await.unwrap();
    let login = operator();
    let mut own = TestScraper::connect(app.app.address).await.with_header("Authorization", &login);
    assert_eq!(own.scrape("/v1/events/metrics").await.unwrap().status, 200);
    let mut all = names(&app).await;
    all.sort();
    assert_eq!(all, ["127.0.0.1".to_owned(), format!("operator:{USER}@127.0.0.1")]);
    app.post("value=7").await;
    let response = own.scrape("/v1/events/metrics").await.unwrap();
    assert_eq!(values(&response), ["events_to_metrics 7"]);
    own.scrape("/v1/events/metrics").await.unwrap();
    assert_eq!(values(&open.scrape("/metrics").await.unwrap()), ["events_to_metrics 7"]);
}

#[actix_web::test]
async fn the_start_of_a_new_scraper_is_configurable() {
    for (start, expected) in [("latest", 0), ("earliest", 2), ("5m", 2)] {
        let app = EventsApp::start(&[("EVENTS__START", start)]).await;
        app.post("id=1").await;
        app.post("id=2").await;
        let mut scraper = TestScraper::connect(app.events).await;
        let response = scraper.scrape("/metrics").await.unwrap();
        assert_eq!(values(&response).len(), expected, "{start}: {}", response.text());
    }
}
