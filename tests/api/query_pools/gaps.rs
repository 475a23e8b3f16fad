//! Gaps of replicas: which replicas answer, and that the results are those of a replica without gaps.

use super::*;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use url::form_urlencoded;

/// Scrape interval of the fake servers, seconds.
const INTERVAL: f64 = 15.0;

/// A server that scrapes 100 targets, except in its gaps: `(start, end]`, seconds since 1970.
async fn server_with_gaps(name: &'static str, gaps: Vec<(f64, f64)>) -> Instance {
    Instance::start(move |request| {
        let path = request.line.split(' ').nth(1).unwrap_or_default();
        answer(name, path, &request.body, &gaps)
    })
    .await
}

fn answer(name: &str, target: &str, form: &str, gaps: &[(f64, f64)]) -> Reply {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let decoded =
        |text: &str| form_urlencoded::parse(text.as_bytes()).into_owned().collect::<Vec<_>>();
    let pairs: BTreeMap<_, _> = decoded(query).into_iter().chain(decoded(form)).collect();
    let data = match path {
        "/-/ready" => return Reply::Http(200, vec![], b"ready".to_vec()),
        "/metrics" => {
            let interval = format!(
                "prometheus_target_interval_length_seconds{{interval=\"{INTERVAL}s\",quantile=\"0.5\"}} 15\n"
            );
            let metrics = history(Duration::from_secs(7200)) + &interval;
            return Reply::Http(200, vec![], metrics.into_bytes());
        }
        "/api/v1/query_range" => {
            let number = |name: &str| pairs[name].parse::<f64>().unwrap();
            let (start, end, step) = (number("start"), number("end"), number("step"));
            let count = ((end - start) / step).floor();
            let times = (0..=count as u32).map(|it| start + f64::from(it) * step);
            let times: Vec<_> = times.collect();
            if pairs["query"].contains("count_over_time(up[30000ms])") {
                let series = |name: &str| {
                    let values = times.iter().map(|it| json!([it, scrapes(*it, gaps).to_string()]));
                    json!({ "metric": { "scrapes": name }, "values": values.collect::<Vec<_>>() })
                };
                json!({ "resultType": "matrix", "result": [series("all"), series("successful")] })
            } else {
                let values: Vec<_> = times.iter().map(|it| json!([it, name])).collect();
                json!({ "resultType": "matrix", "result": [{ "metric": {}, "values": values }] })
            }
        }
        "/api/v1/query" => json!({ "resultType": "vector", "result": [name] }),
        "/api/v1/series" => json!([{ "__name__": "up" }, { "from": name }]),
        _ => json!(["all", name]),
    };
    let body = json!({ "status": "success", "data": data }).to_string();
    Reply::Http(200, vec![("Content-Type", "application/json".to_owned())], body.into_bytes())
}

/// Scrapes of 100 targets in the 30 s before `time`. Each target has its own phase.
fn scrapes(time: f64, gaps: &[(f64, f64)]) -> usize {
    let of_target = |target: u32| {
        let phase = INTERVAL * f64::from(target) / 100.0;
        let last = ((time - phase) / INTERVAL).floor();
        let both = [last, last - 1.0].map(|it| it * INTERVAL + phase);
        both.iter().filter(|at| !gaps.iter().any(|gap| gap.0 < **at && **at <= gap.1)).count()
    };
    (0..100).map(of_target).sum()
}

/// A pool of servers whose gaps are all known.
async fn start_with_gaps(servers: &[&Instance], known: usize) -> TestApp {
    let app = start_pool(servers, "").await;
    eventually(async || {
        let status = app.pool_status().await;
        let replicas = status["replicas"].as_array()?.clone();
        let is_known = |it: &Value| it["gaps_known_until"].is_string();
        let count: usize = replicas.iter().map(|it| it["gaps"].as_array().unwrap().len()).sum();
        (replicas.iter().all(is_known) && count == known).then_some(())
    })
    .await;
    app
}

fn names(response: &Response) -> Vec<String> {
    let values = &response.json()["data"]["result"][0]["values"];
    let values = values.as_array().unwrap().iter().map(|it| it[1].as_str().unwrap().to_owned());
    values.collect()
}

#[actix_web::test]
async fn a_range_query_is_answered_in_slices_by_replicas_that_are_complete() {
    let now = unix_time().floor();
    let a = server_with_gaps("a", vec![(now - 3000.0, now - 2900.0)]).await;
    let b = server_with_gaps("b", vec![(now - 1000.0, now - 900.0)]).await;
    let app = start_with_gaps(&[&a, &b], 2).await;
    let range = |query: &str, from: f64, to: f64| {
        let (start, end) = (now - from, now - to);
        format!("/api/v1/query_range?query={query}&start={start}&end={end}&step=60")
    };
    // One replica is complete.
    for (from, to, expected) in [(3600.0, 2400.0, "b"), (2400.0, 600.0, "a")] {
        let response = app.query(&range("rate(x[1m])", from, to)).await;
        assert!(names(&response).iter().all(|it| it == expected), "{}", response.text());
        assert!(response.json().get("warnings").is_none());
    }
    // None is.
    let both = range("rate(x[1m])", 3600.0, 600.0);
    let response = app.query(&both).await;
    let found = names(&response);
    assert_eq!(found.len(), 51, "each step once");
    for (step, name) in found.iter().enumerate() {
        let time = now - 3600.0 + step as f64 * 60.0;
        let reads = |gap: f64| time > gap - 20.0 && time - 60.0 < gap + 120.0;
        assert!(name == "b" || !reads(now - 3000.0), "{step}: {name}");
        assert!(name == "a" || !reads(now - 1000.0), "{step}: {name}");
    }
    let times = response.json()["data"]["result"][0]["values"].as_array().unwrap().clone();
    let times: Vec<_> = times.iter().map(|it| it[0].as_f64().unwrap()).collect();
    assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - 60.0).abs() < 0.01), "{times:?}");
    let replicas: BTreeSet<_> = response.headers["x-scrapebroker-replica"].split(", ").collect();
    let addresses = [a.address.to_string(), b.address.to_string()];
    assert_eq!(replicas, addresses.iter().map(|it| &**it).collect());
    assert!(response.json().get("warnings").is_none());

    // The same as a form.
    let (path, form) = both.split_once('?').unwrap();
    let url = format!("http://{}{path}", app.query_address.unwrap());
    let form_type = [("Content-Type", "application/x-www-form-urlencoded")];
    let response = support::send("POST", &url, &form_type, Some(form.to_owned())).await;
    assert_eq!(names(&response), found);

    // A query whose value depends on all steps is not split.
    let response = app.query(&range("x%20%40%20end()", 3600.0, 600.0)).await;
    assert_eq!(names(&response).iter().collect::<BTreeSet<_>>().len(), 1);

    let own = app.get("/metrics").await.text();
    let several = "scrapebroker_query_pool_gaps_total{pool=\"main\",result=\"several_replicas\"} 2";
    assert!(own.contains(several), "{own}");
    assert!(own.contains("scrapebroker_query_replica_gaps{pool=\"main\""), "{own}");
    let page = app.query("/mpp/status").await.text();
    assert_eq!(page.matches("1 gap").count(), 2, "{page}");
}

#[actix_web::test]
async fn an_instant_query_goes_to_a_replica_that_has_all_samples_it_reads() {
    let now = unix_time().floor();
    let a = server_with_gaps("a", vec![(now - 3000.0, now - 2900.0), (now - 1000.0, now - 900.0)])
        .await;
    let b =
        server_with_gaps("b", vec![(now - 1000.0, now - 900.0), (now - 600.0, now - 500.0)]).await;
    let app = start_with_gaps(&[&a, &b], 4).await;
    for (query, age, expected, is_complete) in [
        ("up", 2850.0, "b", true),
        ("rate(x[1m])", 540.0, "a", true),
        ("rate(x[1m]%20offset%2040m)", 540.0, "b", true),
        ("max_over_time(rate(x[1m])[5m:])", 400.0, "a", true),
        ("rate(x[1m])", 950.0, "", false),
    ] {
        let time = now - age;
        let response = app.query(&format!("/api/v1/query?query={query}&time={time}")).await;
        let found = response.json();
        let name = &found["data"]["result"][0];
        assert!(expected.is_empty() || name == expected, "{query} {age}: {found}");
        assert_eq!(found.get("warnings").is_none(), is_complete, "{query} {age}: {found}");
        assert_eq!(found["status"], "success");
    }
    let received = [a.requests(), b.requests()].concat();
    let warned = received.iter().find(|it| it.line.contains("time=")).unwrap();
    assert!(!warned.headers.contains_key("accept-encoding"), "a warning may have to be added");
    // What is not understood is passed on.
    let response = app.query("/api/v1/query?query=sum(&time=5").await;
    assert_eq!(response.status, 200);
}

#[actix_web::test]
async fn lists_are_united_if_no_replica_is_complete() {
    let now = unix_time().floor();
    let a = server_with_gaps("a", vec![(now - 3000.0, now - 2900.0)]).await;
    let b = server_with_gaps("b", vec![(now - 1000.0, now - 900.0)]).await;
    let app = start_with_gaps(&[&a, &b], 2).await;
    let data = async |path: &str| app.query(path).await.json()["data"].clone();
    assert_eq!(data("/api/v1/labels").await, json!(["a", "all", "b"]));
    assert_eq!(data("/api/v1/label/job/values").await, json!(["a", "all", "b"]));
    let series = json!([{ "__name__": "up" }, { "from": "a" }, { "from": "b" }]);
    assert_eq!(data("/api/v1/series?match[]=up").await, series);
    assert_eq!(data("/api/v1/labels?limit=2").await, json!(["a", "all"]));
    let (start, end) = (now - 3600.0, now - 2000.0);
    let path = format!("/api/v1/labels?start={start}&end={end}");
    assert_eq!(data(&path).await, json!(["all", "b"]), "one replica is complete");
}

#[actix_web::test]
async fn gaps_can_be_ignored() {
    let now = unix_time().floor();
    let a = server_with_gaps("a", vec![(now - 3000.0, now - 2900.0)]).await;
    let b = server_with_gaps("b", vec![(now - 1000.0, now - 900.0)]).await;
    let app = start_pool(&[&a, &b], r#""gaps":"off","#).await;
    app.has_healthy_replicas(2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let counted = |it: &Instance| it.requests().iter().any(|it| it.line.contains("sum_over_time"));
    assert!(!counted(&a) && !counted(&b));
    let (start, end) = (now - 3600.0, now);
    let path = format!("/api/v1/query_range?query=x&start={start}&end={end}&step=60");
    assert_eq!(names(&app.query(&path).await).iter().collect::<BTreeSet<_>>().len(), 1);
}

/// Times and values by series.
type Matrix = BTreeMap<String, Vec<(f64, f64)>>;

/// The result of a range query, and its warnings.
async fn values(url: &str) -> (Matrix, Value) {
    let found = support::send("GET", url, &[], None).await.json();
    let series = found["data"]["result"].as_array().unwrap().iter().map(|series| {
        let values = series["values"].as_array().unwrap().iter();
        let values = values
            .map(|it| (it[0].as_f64().unwrap(), it[1].as_str().unwrap().parse::<f64>().unwrap()));
        (series["metric"].to_string(), values.collect())
    });
    (series.collect(), found["warnings"].clone())
}

/// The third server is not in the pool and undisturbed. Results may differ by one scrape, because
/// servers scrape at different moments.
#[actix_web::test]
async fn results_over_gaps_are_those_of_a_real_replica_without_gaps() {
    let mut replicas = Replicas::start(3);
    let urls: Vec<_> = replicas.addresses.iter().copied().map(url).collect();
    let app = start_with(&pool(&urls[..2], ""), &[]).await;
    app.has_healthy_replicas(2).await;
    let seconds = |count| tokio::time::sleep(Duration::from_secs(count));
    seconds(8).await;
    let start = unix_time() - 4.0;
    replicas.signal(0, "-STOP");
    seconds(6).await;
    replicas.signal(0, "-CONT");
    // Until it has scraped for long enough to be complete again.
    seconds(14).await;
    replicas.processes[1] = None;
    seconds(5).await;
    replicas.start_one(1);
    app.has_healthy_replicas(2).await;
    seconds(8).await;
    let end = unix_time() - 3.0;
    eventually(async || {
        let status = app.pool_status().await;
        let closed = |it: &Value| {
            let gaps = it["gaps"].as_array().unwrap();
            !gaps.is_empty() && gaps.iter().all(|gap| gap["end"].is_string())
        };
        status["replicas"].as_array()?.iter().all(closed).then_some(())
    })
    .await;

    for query in ["count_over_time(up[5s])", "sum(count_over_time(up[4s]))"] {
        let path = format!("/api/v1/query_range?query={query}&start={start}&end={end}&step=1");
        let (found, warnings) =
            values(&format!("http://{}{path}", app.query_address.unwrap())).await;
        let (expected, _) = values(&format!("{}{path}", urls[2])).await;
        let replicas = &app.pool_status().await["replicas"];
        let gaps = (&replicas[0]["gaps"], &replicas[1]["gaps"]);
        assert!(warnings.is_null(), "{query}: {warnings} {gaps:?}");
        let tolerance = if query.starts_with("sum") { 3.0 } else { 1.0 };
        assert_eq!(difference(&found, &expected, tolerance), None, "{query}");
        for one in &urls[..2] {
            let (one, _) = values(&format!("{one}{path}")).await;
            assert_ne!(difference(&one, &expected, tolerance), None, "{query}: it has no gap");
        }
    }
}

/// The first difference between two results.
fn difference(found: &Matrix, expected: &Matrix, tolerance: f64) -> Option<String> {
    for (series, expected) in expected {
        let Some(found) = found.get(series) else { return Some(series.clone()) };
        if found.len() != expected.len() {
            return Some(format!("{series}: {} steps of {}", found.len(), expected.len()));
        }
        for (found, expected) in found.iter().zip(expected) {
            if (found.0 - expected.0).abs() > 0.01 || (found.1 - expected.1).abs() > tolerance {
                return Some(format!("{series}: {found:?} {expected:?}"));
            }
        }
    }
    None
}
