//! Delivery without faults, to real Prometheus servers.

use super::*;
use futures_util::future::join_all;

#[actix_web::test]
async fn each_event_is_stored_once_with_the_time_of_the_scrape() {
    let app = EventsApp::start(&[]).await;
    let prometheus = Prometheus::start(&scrape_config(app.events, ""));
    registered(&app, &["127.0.0.1"]).await;
    let oracle = Oracle::default();
    post_distinct(&app, &oracle, 100).await;
    all_delivered(&app, &["127.0.0.1"]).await;
    oracle.assert_delivered(stored_values(&prometheus).await, Guarantee::Once);
    // Without timestamps a series ends at the next scrape.
    tokio::time::sleep(TWO_SCRAPES).await;
    let path = "/api/v1/query?query=events_to_metrics";
    let answer = send("GET", &format!("http://{}{path}", prometheus.address), &[], None).await;
    assert_eq!(answer.json()["data"]["result"], serde_json::json!([]));
}

#[actix_web::test]
async fn each_event_is_stored_once_with_its_own_time() {
    let settings = [("EVENTS__TIMESTAMPS", "explicit"), ("EVENTS__HOLD", "3s")];
    let app = EventsApp::start(&settings).await;
    let prometheus = Prometheus::start(&scrape_config(app.events, ""));
    registered(&app, &["127.0.0.1"]).await;
    let oracle = Oracle::default();
    post_distinct(&app, &oracle, 100).await;
    all_delivered(&app, &["127.0.0.1"]).await;
    let stored = prometheus.range("events_to_metrics", 600).await;
    oracle.assert_delivered(stored.iter().map(|it| it.value), Guarantee::Once);
    let timeline = app.timeline("?limit=1000").await;
    for event in timeline["events"].as_array().unwrap() {
        let id = event["labels"]["id"].as_str().unwrap();
        let sample = stored.iter().find(|it| it.labels["id"] == id).unwrap();
        let time = humantime::parse_rfc3339(event["time"].as_str().unwrap()).unwrap();
        let time = time.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        assert_eq!(u128::try_from(sample.timestamp).unwrap(), time);
    }
}

/// Two servers with one address and names of their own, and without names.
#[actix_web::test]
async fn two_servers_behind_one_address_get_each_event_each() {
    for mode in ["scrape", "explicit"] {
        let app = EventsApp::start(&[("EVENTS__TIMESTAMPS", mode)]).await;
        let named = |name: &str| format!("params: {{scraper: [{name}]}}");
        let (a, b) = match mode {
            "scrape" => (named("a"), named("b")),
            _ => (String::new(), String::new()),
        };
        let servers = [a, b].map(|extra| Prometheus::start(&scrape_config(app.events, &extra)));
        let names = if mode == "scrape" { &["a", "b"][..] } else { &["127.0.0.1"] };
        registered(&app, names).await;
        tokio::time::sleep(TWO_SCRAPES).await;
        let oracle = Oracle::default();
        post_distinct(&app, &oracle, 40).await;
        all_delivered(&app, names).await;
        // The second server gets what the first one acknowledged.
        tokio::time::sleep(TWO_SCRAPES).await;
        for server in &servers {
            oracle.assert_delivered(stored_values(server).await, Guarantee::Once);
        }
    }
}

#[actix_web::test]
async fn counters_show_each_event_as_an_increase() {
    let app = EventsApp::start(&[("EVENTS__COUNTERS", "true")]).await;
    let prometheus = Prometheus::start(&scrape_config(app.events, ""));
    registered(&app, &["127.0.0.1"]).await;
    for _ in 0..7 {
        app.post("type=deploy").await;
    }
    app.post("type=restart").await;
    let samples = eventually(async || {
        let samples = prometheus.range("events_to_metrics_events_total{type='deploy'}", 600).await;
        (samples.last()?.value == 7.0).then_some(samples)
    })
    .await;
    assert_eq!(samples[0].value, 0.0, "the first event is visible as an increase");
    let restart = eventually(async || {
        let samples = prometheus.range("events_to_metrics_events_total{type='restart'}", 600).await;
        (samples.last()?.value == 1.0).then_some(samples)
    })
    .await;
    assert_eq!(restart[0].value, 0.0);
}

#[actix_web::test]
async fn a_burst_of_ten_thousand_events_is_stored_once() {
    let settings = [("EVENTS__TIMESTAMPS", "explicit"), ("EVENTS__HOLD", "10s")];
    let app = EventsApp::start(&settings).await;
    let prometheus = Prometheus::start(&scrape_config(app.events, ""));
    registered(&app, &["127.0.0.1"]).await;
    let oracle = Oracle::default();
    let connections = (0..50).map(async |_| {
        let mut poster = Poster::new(app.events);
        for _ in 0..200 {
            let path = |value| format!("/event?id={value}&value={value}");
            assert!(oracle.post(&mut poster, path).await);
        }
    });
    join_all(connections).await;
    assert_eq!(oracle.accepted(), 10_000);
    all_delivered(&app, &["127.0.0.1"]).await;
    oracle.assert_delivered(stored_values(&prometheus).await, Guarantee::Once);
}

/// 50 events with one label set within a second.
#[actix_web::test]
async fn equal_label_sets_are_handled_as_configured() {
    let sum: f64 = (1..=50).map(f64::from).sum();
    for (settings, samples, total) in [
        (&[("EVENTS__TIMESTAMPS", "explicit")][..], 50, sum),
        (&[("EVENTS__COLLISION", "defer")], 11, sum),
        (&[("EVENTS__COLLISION", "sum")], 1, sum),
        (&[("EVENTS__COLLISION", "last")], 1, 50.0),
        (&[("EVENTS__COLLISION", "ordinal")], 50, sum),
    ] {
        let app = EventsApp::start(settings).await;
        let mut scraper = TestScraper::connect(app.events).await;
        scraper.scrape("/metrics").await.unwrap();
        let mut poster = Poster::new(app.events);
        for value in 1..=50 {
            let path = format!("/event?type=deploy&value={value}");
            assert_eq!(poster.post(&path).await.unwrap().status, 200);
        }
        let (mut got, mut rounds) = (Vec::new(), 0);
        while app.pending("127.0.0.1").await != Some(0) {
            let response = scraper.scrape("/metrics").await.unwrap();
            let (code, findings) = promtool::check(&response.body);
            assert_ne!(code, Some(1), "{findings}");
            if settings[0].1 != "explicit" || rounds == 0 {
                got.extend(values(&response));
            }
            rounds += 1;
            assert!(rounds < 20, "{settings:?}: {got:?}");
        }
        let value = |text: &String| text.split(' ').next().unwrap().parse::<f64>().unwrap();
        assert_eq!(got.len(), samples, "{settings:?}: {got:?}");
        assert_eq!(got.iter().map(value).sum::<f64>(), total, "{settings:?}: {got:?}");
    }
}

#[actix_web::test]
async fn hostile_values_reach_prometheus_unchanged() {
    let app = EventsApp::start(&[]).await;
    let prometheus = Prometheus::start(&scrape_config(app.events, ""));
    registered(&app, &["127.0.0.1"]).await;
    let texts = ["a \"quoted\" one", "ends with \\", "two\nlines", "tab\tand é", "{}=,#"];
    for (index, text) in texts.iter().enumerate() {
        let body = serde_json::json!({"labels": {"index": index, "text": text}, "value": 1e-9});
        let headers = [("Content-Type", "application/json")];
        let answer = send("POST", &app.url("/event"), &headers, Some(body.to_string())).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    app.post("index=5&value=1e300").await;
    app.post("index=6&value=NaN").await;
    app.post("index=7&value=-Inf").await;
    all_delivered(&app, &["127.0.0.1"]).await;
    let stored = prometheus.range("events_to_metrics", 600).await;
    assert_eq!(stored.len(), 8);
    for sample in stored {
        let index: usize = sample.labels["index"].parse().unwrap();
        match texts.get(index) {
            Some(text) => assert_eq!((&*sample.labels["text"], sample.value), (*text, 1e-9)),
            None if index == 5 => assert_eq!(sample.value, 1e300),
            None if index == 6 => assert!(sample.value.is_nan()),
            None => assert_eq!(sample.value, f64::NEG_INFINITY),
        }
    }
}
