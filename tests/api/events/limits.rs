//! Limits: of requests, of what waits for scrapers, of scrapers, of age, and of the database.

use super::{process::EventsProcess, *};
use futures_util::future::join;
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

/// Posts events with these values, which are also their ids.
async fn post_values(address: SocketAddr, values: std::ops::Range<u32>) -> Response {
    let event = |value| json!({"labels": {"id": value}, "value": value});
    let body = Value::from(values.map(event).collect::<Vec<_>>());
    let headers = [("Content-Type", "application/json")];
    send("POST", &format!("http://{address}/event"), &headers, Some(body.to_string())).await
}

#[actix_web::test]
async fn a_queue_is_full_until_its_scrapers_get_events() {
    let app = EventsApp::start(&[("EVENTS__MAX_PENDING", "3")]).await;
    let mut scraper = TestScraper::connect(app.events).await;
    scraper.scrape("/metrics").await.unwrap();
    for value in 1..=3 {
        assert_eq!(app.post(&format!("id={value}&value={value}")).await.status, 200);
    }
    let refused = app.post("id=4&value=4").await;
    assert_eq!((refused.status, &*refused.headers["retry-after"]), (429, "30"));
    assert!(refused.text().starts_with("3 events wait for the scrapers"), "{}", refused.text());
    let several = post_values(app.events, 4..6).await;
    assert_eq!(several.status, 429, "{}", several.text());
    let rejected = "scrapebroker_events_rejected_total{reason=\"pending\"}";
    assert_eq!(app.metric(rejected).await, 2.0);
    let delivered = scraper.scrape("/metrics").await.unwrap();
    assert_eq!(values(&delivered), ["1", "2", "3"]);
    scraper.scrape("/metrics").await.unwrap();
    assert_eq!(app.post("id=4&value=4").await.status, 200);
    assert_eq!(values(&scraper.scrape("/metrics").await.unwrap()), ["4"]);
}

#[actix_web::test]
async fn new_label_sets_and_events_per_second_are_limited() {
    let app = EventsApp::start(&[]).await;
    let (mut next, mut too_fast) = (1, 0);
    let refused = eventually(async || {
        let answer = post_values(app.events, next..next + 1_000).await;
        match answer.status {
            200 => next += 1_000,
            429 => {
                let wait: u32 = answer.headers["retry-after"].parse().unwrap();
                assert!((1..10).contains(&wait), "{wait}");
                too_fast += 1;
            }
            _ => return Some(answer),
        }
        None
    })
    .await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("too many new label sets"), "{}", refused.text());
    assert!(next > 20_000, "{next}");
    assert_eq!(app.timeline("?limit=1").await["last_seq"], next - 1, "posts are stored as a whole");
    let rejected = "scrapebroker_events_rejected_total{reason=\"rate\"}";
    assert_eq!(app.metric(rejected).await, f64::from(too_fast));
    let known = eventually(async || {
        let answer = post_values(app.events, 1..2).await;
        (answer.status != 429).then_some(answer)
    })
    .await;
    assert_eq!(known.status, 200, "{}", known.text());
}

#[actix_web::test]
async fn one_scraper_too_many_is_refused_and_the_others_are_unaffected() {
    let app = EventsApp::start(&[]).await;
    let mut scrapers = Vec::new();
    for index in 0..16 {
        let mut scraper = TestScraper::connect(app.events).await;
        let path = format!("/metrics?scraper=s{index}");
        assert_eq!(scraper.scrape(&path).await.unwrap().status, 200);
        scrapers.push((scraper, path));
    }
    let refused = TestScraper::connect(app.events).await.scrape("/metrics").await.unwrap();
    assert_eq!((refused.status, &*refused.headers["retry-after"]), (429, "600"));
    assert!(refused.text().contains("raise events.max_scrapers"), "{}", refused.text());
    assert_eq!(app.metric("scrapebroker_events_scrapers_refused_total").await, 1.0);
    app.post("value=7").await;
    for (scraper, path) in &mut scrapers {
        assert_eq!(values(&scraper.scrape(path).await.unwrap()), ["events_to_metrics 7"]);
    }
}

/// The scraper does not come back before the events have expired.
#[actix_web::test]
async fn expired_events_are_counted() {
    let expire = async |mode| {
        let settings =
            [("EVENTS__TTL", "1m"), ("EVENTS__HOLD", "30s"), ("EVENTS__TIMESTAMPS", mode)];
        let app = EventsApp::start(&settings).await;
        let mut scraper = TestScraper::connect(app.events).await;
        scraper.scrape("/metrics").await.unwrap();
        for value in 1..=5 {
            app.post(&format!("id={value}&value={value}")).await;
        }
        tokio::time::sleep(Duration::from_mins(1)).await;
        let expired = "scrapebroker_events_expired_total";
        eventually(async || (app.metric(expired).await == 5.0).then_some(())).await;
        assert_eq!(app.pending("127.0.0.1").await, Some(0));
        let event = app.timeline("?limit=1").await["events"][0].clone();
        assert_eq!((&event["seq"], &event["state"]), (&json!(5), &json!("expired")));
        app.post("id=6&value=6").await;
        let response = scraper.scrape("/metrics").await.unwrap();
        let got = values(&response);
        assert!(got.len() == 1 && got[0].starts_with('6'), "{mode}: {got:?}");
    };
    join(expire("scrape"), expire("explicit")).await;
}

#[actix_web::test]
async fn without_its_database_the_program_recovers_and_loses_nothing() {
    for mode in ["scrape", "explicit"] {
        let process = EventsProcess::start(&[("EVENTS__TIMESTAMPS", mode)]);
        let (file, moved) = (process.database(), process.database().with_extension("moved"));
        let mut scraper = TestScraper::connect(process.events).await;
        scraper.scrape("/metrics").await.unwrap();
        let mut poster = Poster::new(process.events);
        let oracle = Oracle::default();
        let path = |value| format!("/event?id={value}&value={value}");
        for _ in 0..5 {
            assert!(oracle.post(&mut poster, path).await);
        }
        std::fs::rename(&file, &moved).unwrap();
        for _ in 0..3 {
            let refused = poster.post(&path(oracle.value())).await.unwrap();
            assert_eq!((refused.status, &*refused.headers["retry-after"]), (503, "1"));
            let failed = scraper.scrape("/metrics").await.unwrap();
            assert_eq!((failed.status, &*failed.headers["retry-after"]), (503, "1"));
        }
        std::fs::rename(&moved, &file).unwrap();
        eventually(async || oracle.post(&mut poster, path).await.then_some(())).await;
        let mut delivered = BTreeSet::new();
        eventually(async || {
            let response = scraper.scrape("/metrics").await.unwrap();
            if response.status == 200 {
                delivered.extend(values(&response));
            }
            (process.pending("127.0.0.1").await? == 0).then_some(())
        })
        .await;
        let number = |text: &String| text.split(' ').next().unwrap().parse().unwrap();
        let delivered: Vec<f64> = delivered.iter().map(number).collect();
        oracle.assert_delivered(delivered, Guarantee::Once);
    }
}

/// Memory of the process that is in use, in bytes.
fn memory(process: &EventsProcess) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

#[actix_web::test]
async fn a_scraper_that_never_returns_costs_little_memory_and_does_not_affect_others() {
    const EVENTS: u32 = 100_000;
    let settings = [("EVENTS__TIMESTAMPS", "explicit"), ("EVENTS__HOLD", "1s")];
    let process = EventsProcess::start(&settings);
    let mut gone = TestScraper::connect_from("127.0.0.2", process.events).await;
    gone.scrape("/metrics").await.unwrap();
    let mut active = TestScraper::connect(process.events).await;
    active.scrape("/metrics").await.unwrap();
    let before = memory(&process);
    let (mut posted, mut delivered) = (0, BTreeSet::new());
    // 5,000 label sets, because new ones are limited.
    let batch = |first: u32| {
        let text = "x".repeat(60);
        let event = move |value: u32| json!({"labels": {"id": value % 5_000, "text": text}, "value": value});
        Value::from((first..first + 1_000).map(event).collect::<Vec<_>>()).to_string()
    };
    let url = format!("http://{}/event", process.events);
    let headers = [("Content-Type", "application/json")];
    while posted < EVENTS {
        let answer = send("POST", &url, &headers, Some(batch(posted))).await;
        match answer.status {
            200 => posted += 1_000,
            // The rate is limited. A slow machine may need more than the timeout of the database.
            429 | 503 => tokio::time::sleep(Duration::from_millis(200)).await,
            _ => panic!("{}", answer.text()),
        }
        delivered.extend(values(&active.scrape("/metrics").await.unwrap()));
    }
    assert!(process.pending("127.0.0.2").await.unwrap() >= i64::from(EVENTS) - 1_000);
    eventually(async || {
        delivered.extend(values(&active.scrape("/metrics").await.unwrap()));
        (process.pending("127.0.0.1").await? == 0).then_some(())
    })
    .await;
    let number = |text: &String| text.split(' ').next().unwrap().parse::<u32>().unwrap();
    let delivered: BTreeSet<_> = delivered.iter().map(number).collect();
    assert!(delivered.into_iter().eq(0..EVENTS), "the other scraper gets each event");
    let used = memory(&process).saturating_sub(before);
    assert!(used < 100_000_000, "{used} bytes");
    let refused = eventually(async || {
        let answer = send("POST", &url, &headers, Some(batch(EVENTS))).await;
        (answer.headers.get("retry-after")? == "30").then_some(answer)
    })
    .await;
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("events wait for the scrapers"), "{}", refused.text());
}
