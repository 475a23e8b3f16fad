//! Events where people look: Grafana and the page.

use super::*;
use serde_json::json;

#[actix_web::test]
async fn events_are_annotations_of_grafana() {
    let app = EventsApp::start(&[]).await;
    app.post("type=deploy&app=shop&value=2").await;
    app.post("type=restart&app=cart").await;
    let operator = operator();
    let headers = [("Authorization", operator.as_str())];
    let get = async |query: &str| {
        app.app.get_with(&format!("/v1/events/annotations{query}"), &headers).await
    };
    let all = get("").await.json();
    let titles: Vec<_> = all.as_array().unwrap().iter().map(|it| it["title"].clone()).collect();
    assert_eq!(titles, ["restart", "deploy"]);
    let one = get("?tags=type:deploy,app:shop").await.json();
    let time = one[0]["time"].as_i64().unwrap();
    let expected = json!([{
        "time": time, "title": "deploy", "text": "app=shop",
        "tags": ["app:shop", "type:deploy"], "value": "2",
    }]);
    assert_eq!(one, expected);
    assert_eq!(get("?label=app=nothing").await.json(), json!([]));
    assert_eq!(get(&format!("?from=0&to={}", time - 1)).await.json(), json!([]));
    assert_eq!(get("?from=yesterday").await.status, 400);

    let search = json!({
        "range": {"from": "2020-01-01T00:00:00.000Z", "to": "2100-01-01T00:00:00.000Z"},
        "annotation": {"query": "type=deploy"},
    });
    let url = app.app.url("/v1/events/annotations");
    let answer = send("POST", &url, &headers, Some(search.to_string())).await;
    assert_eq!(answer.json(), expected, "{}", answer.text());
    assert_eq!(send("POST", &url, &headers, Some("{".to_owned())).await.status, 400);
}

/// The query that docs/OPERATIONS.md gives for annotations, with the interval of a graph.
#[actix_web::test]
async fn the_annotation_query_of_prometheus_works() {
    let app = EventsApp::start(&[]).await;
    let prometheus = Prometheus::start(&scrape_config(app.events, ""));
    eventually(async || app.pending("127.0.0.1").await).await;
    app.post("type=deploy&app=shop").await;
    let query = "last_over_time(events_to_metrics[60s])";
    let series = prometheus.query(query).await;
    assert_eq!(series[0]["metric"]["type"], "deploy");
    // A graph with steps of a minute finds an event of one second.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let (start, end) = (now.as_secs() - 60, now.as_secs() + 60);
    let path = format!("/api/v1/query_range?query={query}&start={start}&end={end}&step=60");
    let answer = send("GET", &format!("http://{}{path}", prometheus.address), &[], None).await;
    let points = answer.json()["data"]["result"][0]["values"].as_array().unwrap().len();
    assert!(points >= 1, "{}", answer.text());
}

#[actix_web::test]
async fn the_page_shows_the_timeline_and_hostile_text_stays_text() {
    let app = EventsApp::start(&[]).await;
    app.post("type=deploy&text=%3Cscript%3Ealert(1)%3C/script%3E").await;
    app.post("type=restart").await;
    let operator = operator();
    let headers = [("Authorization", operator.as_str()), ("Accept", "text/html")];
    let page = app.app.get_with("/events?label=type%3Ddeploy", &headers).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let text = page.text();
    assert!(text.contains("<code><bdi>type=deploy</bdi></code>"), "{text}");
    assert!(!text.contains("type=restart") && !text.contains("<script>"), "{text}");
    assert_eq!(text.matches("<script").count(), 1, "the script of all pages");
    assert!(page.headers["content-security-policy"].contains("form-action 'self'"));
    let json = [("Authorization", operator.as_str()), ("Accept", "application/json")];
    let twin = app.app.get_with("/events?label=type%3Ddeploy", &json).await.json();
    assert_eq!(twin["events"][0]["labels"]["type"], "deploy");

    let event = app.app.get_with("/v1/events/1", &headers).await.json();
    assert_eq!((&event["state"], &event["scrapers"]), (&json!("no_scraper"), &json!({})));
    assert_eq!(app.app.get_with("/v1/events/9", &headers).await.status, 404);
    let mut scraper = TestScraper::connect(app.events).await;
    scraper.scrape("/metrics").await.unwrap();
    app.post("type=third").await;
    scraper.scrape("/metrics").await.unwrap();
    let event = app.app.get_with("/v1/events/3", &headers).await.json();
    assert_eq!(event["scrapers"], json!({"127.0.0.1": "in_flight"}));
    scraper.scrape("/metrics").await.unwrap();
    let event = app.app.get_with("/v1/events/3", &headers).await.json();
    assert_eq!(event["scrapers"], json!({"127.0.0.1": "acknowledged"}));
}
