//! The interface of oneShotMetricsServer, and its documented examples.

use super::*;
use std::process::Command;

#[actix_web::test]
async fn the_listener_has_the_paths_of_one_shot_metrics_server() {
    let app = EventsApp::start(&[]).await;
    for (method, path, status, body) in [
        ("GET", "/", 200, "Welcome to Events-to-metrics!"),
        ("GET", "/healthz", 200, "I'm not quite dead!"),
        ("HEAD", "/healthz", 200, ""),
        ("HEAD", "/metrics", 200, ""),
        ("POST", "/event?type=deploy", 200, ""),
        ("POST", "/event", 200, ""),
        ("GET", "/event", 405, "This method is not supported here: use POST.\n"),
        ("POST", "/metrics", 405, "This can only be read: use GET or HEAD.\n"),
        (
            "GET",
            "/other",
            404,
            "There is nothing at this path: use POST /event and GET /metrics.\n",
        ),
    ] {
        let answer = send(method, &app.url(path), &[], None).await;
        assert_eq!((answer.status, answer.text()), (status, body.to_owned()), "{method} {path}");
    }
    let answer = send("GET", &app.url("/event"), &[], None).await;
    assert_eq!(answer.headers["allow"], "POST");
}

#[actix_web::test]
async fn a_scrape_has_the_three_families() {
    let app = EventsApp::start(&[]).await;
    let mut scraper = TestScraper::connect(app.events).await;
    let first = scraper.scrape("/metrics").await.unwrap();
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(values(&first), [""; 0]);
    app.post("type=deploy&app=a&value=2").await;
    let second = scraper.scrape("/metrics").await.unwrap();
    let text = second.text();
    let expected = "\
        # HELP events_to_metrics_event_count Events accepted by this queue.\n\
        # TYPE events_to_metrics_event_count counter\n\
        events_to_metrics_event_count 1\n\
        # HELP events_to_metrics_scraper_counts Events that a scraper has to get, before this scrape.\n\
        # TYPE events_to_metrics_scraper_counts gauge\n\
        events_to_metrics_scraper_counts{scraper=\"127.0.0.1\"} 1\n\
        # HELP events_to_metrics Posted events. Each scraper gets an event once.\n\
        # TYPE events_to_metrics gauge\n\
        events_to_metrics{app=\"a\",type=\"deploy\"} 2\n";
    assert_eq!(text, expected);
    assert_eq!(second.headers["content-length"], text.len().to_string());
    let third = scraper.scrape("/metrics").await.unwrap();
    assert_eq!(values(&third), [""; 0], "the connection was used again");
}

#[actix_web::test]
async fn variables_of_one_shot_metrics_server_are_settings() {
    let load = |variables: &[(&str, &str)]| {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        scrapebroker::config::Config::load(None, variables.iter().map(own)).unwrap()
    };
    use scrapebroker::events::Timestamps;
    let listen = ("SCRAPEBROKER__EVENTS__LISTEN", "127.0.0.1:8090");
    let variables = [("USE_EXPLICIT_TIMESTAMPS", "True"), ("LOG_LEVEL", "WARN")];
    let config = load(&[listen, variables[0], variables[1]]);
    assert_eq!(config.events.settings.timestamps, Timestamps::Explicit);
    assert_eq!(config.log.level, "warn");
    let config = load(&variables);
    assert_eq!(config.events.settings.timestamps, Timestamps::Scrape);
    assert_eq!(config.log.level, "info", "without the listener they are those of other programs");
    let own = ("SCRAPEBROKER__EVENTS__TIMESTAMPS", "scrape");
    let config = load(&[listen, variables[0], own]);
    assert_eq!(config.events.settings.timestamps, Timestamps::Scrape);
}

/// The loop of its README, with the address of this test.
#[actix_web::test]
async fn the_example_of_its_readme_works() {
    let app = EventsApp::start(&[]).await;
    let prometheus = Prometheus::start(&scrape_config(app.events, ""));
    eventually(async || app.pending("127.0.0.1").await).await;
    let script = format!(
        "HOSTNAME=127.0.0.1; for round in 1 2 3; do curl -fsS -X POST \
         \"http://$HOSTNAME:{}/event?type=test&seconds=$(date +%S)$round\" || exit 1; done",
        app.events.port()
    );
    // The program runs on this thread too.
    let run = move || Command::new("sh").args(["-c", &script]).status().unwrap();
    assert!(tokio::task::spawn_blocking(run).await.unwrap().success());
    let stored = eventually(async || {
        let stored = prometheus.range("events_to_metrics", 600).await;
        (stored.len() >= 3).then_some(stored)
    })
    .await;
    assert_eq!(stored.len(), 3);
    assert!(stored.iter().all(|it| it.labels["type"] == "test" && it.value == 1.0));
}
