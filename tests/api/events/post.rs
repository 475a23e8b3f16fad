//! Posts: bodies, keys, and what is refused.

use super::*;
use serde_json::json;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const LINES: (&str, &str) = ("Content-Type", "application/x-ndjson");

impl EventsApp {
    async fn post_body(&self, headers: &[(&str, &str)], query: &str, body: &str) -> Response {
        let operator = operator();
        let mut all = vec![("Authorization", operator.as_str())];
        all.extend(headers);
        let url = self.app.url(&format!("/v1/events{query}"));
        send("POST", &url, &all, Some(body.to_owned())).await
    }

    /// Labels and values of the last events, the oldest first.
    async fn labels(&self) -> Vec<(Value, String)> {
        let timeline = self.timeline("").await;
        let events = timeline["events"].as_array().unwrap().iter().rev();
        events.map(|it| (it["labels"].clone(), it["value"].as_str().unwrap().to_owned())).collect()
    }
}

#[actix_web::test]
async fn events_are_posted_as_query_form_json_and_lines() {
    let app = EventsApp::start(&[]).await;
    let url = app.url("/event?a=query&q=1");
    let answer = send("POST", &url, &[FORM], Some("a=body&my+app=x&value=3".to_owned())).await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    assert_eq!(answer.headers["x-scrapebroker-event"], "1");
    let answer = app.post_body(&[JSON], "?app=shop", r#"{"labels":{"n":1},"value":1e-9}"#).await;
    assert_eq!(answer.json(), json!({"seq": 2, "count": 1, "repeated": false}));
    let answer = app.post_body(&[JSON], "", r#"[{"labels":{"a":"x"}},{"value":"NaN"}]"#).await;
    assert_eq!(answer.json(), json!({"seq": 3, "count": 2, "repeated": false}));
    let answer = app.post_body(&[LINES], "", "{\"value\":1e300}\n\n{\"value\":2}\n").await;
    assert_eq!(answer.json(), json!({"seq": 5, "count": 2, "repeated": false}));
    let expected = [
        (json!({"a": "body", "my_app": "x", "q": "1"}), "3"),
        (json!({"app": "shop", "n": "1"}), "1e-9"),
        (json!({"a": "x"}), "1"),
        (json!({}), "NaN"),
        (json!({}), "1e300"),
        (json!({}), "2"),
    ];
    assert_eq!(app.labels().await, expected.map(|(labels, value)| (labels, value.to_owned())));
}

#[actix_web::test]
async fn posts_that_cannot_be_exposed_are_refused() {
    let app = EventsApp::start(&[]).await;
    let long = "x".repeat(257);
    let many: Vec<_> = (0..21).map(|index| format!("l{index}=x")).collect();
    for (query, status, text) in [
        ("bad-name=1", 422, "label `bad-name`: use letters, digits and _"),
        ("__name__=x", 422, "label `__name__` is reserved"),
        ("le=1", 422, "label `le` is reserved"),
        (&*format!("a={long}"), 422, "the value is longer than 256 bytes"),
        (&*many.join("&"), 422, "21 labels: at most 20 are allowed"),
        ("a=%00", 422, "contains a control character"),
        ("a=%zz", 400, "write `%25` for a percent sign"),
        ("a=%FF", 400, "is not UTF-8"),
    ] {
        let answer = app.post(query).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
        assert!(answer.text().contains(text), "{query}: {}", answer.text());
    }
    for (headers, body, status, text) in [
        (&[JSON][..], "{", 400, "the JSON is malformed: EOF"),
        (&[JSON], r#"{"label": 1}"#, 422, "unknown field `label`"),
        (&[JSON], r#"[{}, {"labels": {"a-b": "x"}}]"#, 422, "event 1: label `a-b`"),
        (&[JSON], r#"{"time": 1}"#, 422, "the time is more than 55 minutes ago"),
        (&[JSON], "[]", 422, "the request has no events"),
        (&[LINES], "{}\nx", 400, "line 2: "),
        (&[("Content-Type", "text/xml")], "<a/>", 415, "text/xml: send a form"),
        (&[FORM], &*"x".repeat(65 << 10), 413, "the body is larger than 65536 bytes"),
        (&[JSON], &*" ".repeat(2 << 20), 413, "the body is larger than 1048576 bytes"),
        (&[JSON, ("Idempotency-Key", "a b")], "{}", 400, "Idempotency-Key: must have 1 to 255"),
    ] {
        let answer = app.post_body(headers, "", body).await;
        let start = &body[..body.len().min(40)];
        assert_eq!(answer.status, status, "{start}: {}", answer.text());
        assert!(answer.text().contains(text), "{start}: {}", answer.text());
    }
    let answer = app.post_body(&[JSON, ("Accept", "application/json")], "", "{").await;
    assert!(answer.json()["error"].as_str().unwrap().contains("malformed"));
    assert_eq!(app.timeline("").await["last_seq"], 0, "nothing was stored");
}

#[actix_web::test]
async fn a_repeated_request_is_stored_once() {
    let app = EventsApp::start(&[]).await;
    let key = ("Idempotency-Key", "deploy-17");
    let post = async |body: &str| app.post_body(&[JSON, key], "", body).await;
    assert_eq!(post(r#"{"value":1}"#).await.json()["repeated"], false);
    let again = post(r#"{"value":1}"#).await;
    assert_eq!(again.json(), json!({"seq": 1, "count": 1, "repeated": true}));
    let other = post(r#"{"value":2}"#).await;
    assert_eq!(other.status, 422, "{}", other.text());
    assert_eq!(app.timeline("").await["last_seq"], 1);
}

#[actix_web::test]
async fn credentials_are_required_where_they_are_configured() {
    let app = EventsApp::start(&[("EVENTS__ACCESS", "token")]).await;
    assert_eq!(app.post("a=1").await.status, 401);
    assert_eq!(send("GET", &app.url("/metrics"), &[], None).await.status, 401);
    assert_eq!(send("GET", &app.url("/healthz"), &[], None).await.status, 200);
    let operator = operator();
    let headers = [("Authorization", operator.as_str())];
    assert_eq!(send("POST", &app.url("/event?a=1"), &headers, None).await.status, 200);

    let open = EventsApp::start(&[]).await;
    for path in ["/v1/events", "/v1/events/metrics", "/v1/events/annotations", "/events"] {
        assert_eq!(open.app.get(path).await.status, 401, "{path}");
    }
    let wrong = [("Authorization", "Bearer sbt_wrong")];
    let answer = send("POST", &open.url("/event?a=1"), &wrong, None).await;
    assert_eq!(answer.status, 401, "a revoked token must not post to another queue");
    let foreign = [("Authorization", "Bearer of-a-proxy")];
    assert_eq!(send("POST", &open.url("/event?a=1"), &foreign, None).await.status, 200);
    let cross_site = [("Sec-Fetch-Site", "cross-site")];
    assert_eq!(send("POST", &open.url("/event?a=1"), &cross_site, None).await.status, 403);
}
