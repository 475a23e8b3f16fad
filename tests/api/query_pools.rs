//! Query pools in front of fake and real Prometheus servers: selection, failover, affinity, limits
//! and the paths of the listener.

mod gaps;
mod probes;
mod requests;

use crate::test_app::*;
use serde_json::Value;
use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};
use support::{
    Instance, Reply, Response, basic, closed_address, eventually,
    programs::{Process, free_address, start},
};

const QUERY: &str = "/api/v1/query?query=up";

/// A server that is ready, has these metrics, and responds to queries with its name.
pub(crate) async fn server(name: &'static str, metrics: String) -> Instance {
    Instance::start(move |request| respond(&request.line, name, &metrics)).await
}

fn respond(line: &str, name: &str, metrics: &str) -> Reply {
    let path = line.split(' ').nth(1).unwrap_or_default();
    match path.split('?').next().unwrap_or_default().trim_start_matches("/prom") {
        "/-/ready" => Reply::Http(200, vec![], b"ready".to_vec()),
        "/metrics" => Reply::Http(200, vec![], metrics.as_bytes().to_vec()),
        _ => Reply::Http(200, vec![], name.into()),
    }
}

fn unix_time() -> f64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

/// Metrics of a server whose oldest sample has this age.
pub(crate) fn history(age: Duration) -> String {
    metrics(age, Duration::ZERO)
}

fn metrics(oldest: Duration, newest: Duration) -> String {
    let now = unix_time();
    let (oldest, newest) = (now - oldest.as_secs_f64(), now - newest.as_secs_f64());
    format!(
        "prometheus_tsdb_lowest_timestamp_seconds {oldest}\n\
         prometheus_tsdb_head_max_time_seconds {newest}\n\
         prometheus_tsdb_head_samples_appended_total{{type=\"float\"}} 1000\n"
    )
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// The settings of one pool, in JSON.
fn pool(urls: &[String], more: &str) -> String {
    let urls = serde_json::to_string(urls).unwrap();
    format!(
        r#"[{{"name":"main","selection_interval":"300ms",{more}"locators":[{{"static":{urls}}}]}}]"#
    )
}

async fn start_pool(servers: &[&Instance], more: &str) -> TestApp {
    let urls: Vec<_> = servers.iter().map(|it| url(it.address)).collect();
    start_with(&pool(&urls, more), &[]).await
}

async fn start_with(pools: &str, settings: &[(&str, String)]) -> TestApp {
    let own = [("QUERY__LISTEN", "127.0.0.1:0".to_owned()), ("QUERY__POOLS", pools.to_owned())];
    spawn_app(&[&own, settings].concat()).await
}

impl TestApp {
    async fn query(&self, path: &str) -> Response {
        self.query_with(path, &[]).await
    }

    pub(crate) async fn query_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let url = format!("http://{}{path}", self.query_address.unwrap());
        support::send("GET", &url, headers, None).await
    }

    /// The status of the default pool.
    async fn pool_status(&self) -> Value {
        let response = self.query_with("/mpp/status", &[("Accept", "application/json")]).await;
        serde_json::from_str(&response.text()).unwrap()
    }

    async fn has_healthy_replicas(&self, count: usize) {
        eventually(async || {
            let status = self.pool_status().await;
            let replicas = status["replicas"].as_array()?.clone();
            let is_healthy = |it: &Value| it["health"] == "healthy";
            (replicas.len() == count && replicas.iter().all(is_healthy)).then_some(())
        })
        .await;
    }

    /// Waits until the first replica is the server at this address.
    async fn selects(&self, server: SocketAddr) {
        eventually(async || {
            let status = self.pool_status().await;
            (status["replicas"][0]["url"] == url(server)).then_some(())
        })
        .await;
    }
}

#[actix_web::test]
async fn the_replica_with_the_longest_history_is_selected() {
    let hour = Duration::from_secs(3600);
    let short = server("short", history(hour)).await;
    let long = server("long", history(hour * 100)).await;
    let app = start_pool(&[&short, &long], "").await;
    app.selects(long.address).await;
    let response = app.query(QUERY).await;
    assert_eq!((response.status, &*response.text()), (200, "long"));
    assert_eq!(response.headers["x-scrapebroker-replica"], long.address.to_string());
    assert!(!response.headers.contains_key("set-cookie"), "only one replica is selected");
    let status = app.pool_status().await;
    assert_eq!(status["replicas"][1]["reason"], "another replica has more data, or as much");
    assert_eq!(status["replicas"][0]["history_seconds"].as_u64().unwrap() / 3600, 100);
    let first = app.pool_status().await["selections"].clone();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(app.pool_status().await["selections"], first, "the selection does not alternate");
}

#[actix_web::test]
async fn the_listener_responds_to_paths_of_prometheus_and_of_mpp() {
    let hour = Duration::from_secs(3600);
    let only = server("only", history(hour)).await;
    let app = start_pool(&[&only], "").await;
    app.selects(only.address).await;
    for (path, status, text) in [
        ("/", 200, "only"),
        ("/api/v1/labels", 200, "only"),
        ("/graph", 200, "only"),
        ("/pools/main/api/v1/query?query=up", 200, "only"),
        ("/-/healthy", 200, "healthy\n"),
        ("/-/ready", 200, "ready\n"),
        ("/pools/main/-/ready", 200, "ready\n"),
        ("/mpp/health", 200, "OK"),
        ("/api/v1/notifications/live", 204, ""),
    ] {
        let response = app.query(path).await;
        assert_eq!((response.status, &*response.text()), (status, text), "{path}");
    }
    for path in [
        "/api/v1/write",
        "/api/v1/admin/tsdb/snapshot",
        "/-/quit",
        "/-/reload",
        "/metrics",
        "/pools/other/api/v1/query",
        "//api/v1/query",
    ] {
        let response = app.query(path).await;
        assert_eq!(response.status, 404, "{path}");
    }
    let metrics = app.query("/mpp/metrics").await.text();
    for line in ["mpp_selected_backends 1", "mpp_selection_events 1"] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }
    let backend = format!("mpp_requests{{backend=\"{}\"}} 4", url(only.address));
    assert!(metrics.contains(&backend), "{metrics}");
    let page = app.query("/mpp/status").await;
    assert!(page.headers["content-type"].starts_with("text/html"));
    assert!(page.text().contains("it has the most data"), "{}", page.text());
    assert_eq!(app.query("/style.css").await.status, 200);

    let own = app.get("/metrics").await.text();
    let replica = format!("pool=\"main\",replica=\"{}\"", only.address);
    for line in [
        format!("scrapebroker_query_replica_healthy{{{replica}}} 1"),
        format!("scrapebroker_query_replica_selected{{{replica}}} 1"),
        format!("scrapebroker_query_replica_queries_total{{{replica}}} 4"),
        format!("scrapebroker_query_replica_retries_total{{{replica}}} 0"),
        format!("scrapebroker_query_replica_hedges_total{{{replica}}} 0"),
        format!("scrapebroker_query_replica_duration_seconds_count{{{replica}}} 4"),
        "scrapebroker_query_pool_requests_total{pool=\"main\",code=\"2xx\"} 4".to_owned(),
    ] {
        assert!(own.lines().any(|it| it == line), "{line}\n{own}");
    }
}

#[actix_web::test]
async fn pools_on_the_main_listener_are_for_operators() {
    let only = server("only", history(Duration::from_secs(3600))).await;
    let app = start_pool(&[&only], "").await;
    app.selects(only.address).await;
    let operator = basic(USER, PASSWORD);
    let operator = [("Authorization", &*operator)];
    let path = format!("/pools/main{QUERY}");
    assert_eq!(app.get(&path).await.status, 401);
    assert_eq!(app.get("/pools/main/").await.status, 401);
    assert_eq!(app.get_with("/pools/other/", &operator).await.status, 404);
    let response = app.get_with(&path, &operator).await;
    assert_eq!((response.status, &*response.text()), (200, "only"));
    let received = only.requests();
    let received = received.iter().find(|it| it.line.contains("/api/v1/query")).unwrap();
    assert!(!received.headers.contains_key("authorization"), "it is Scrapebroker's password");
    let page = app.get_with("/pools/main/", &operator).await;
    assert!(page.status == 200 && page.text().contains("Query pool main"));

    let urls = [url(only.address)];
    let protected = [("QUERY__ACCESS", "operators".to_owned())];
    let app = start_with(&pool(&urls, ""), &protected).await;
    assert_eq!(app.query(QUERY).await.status, 401);
    assert_eq!(app.query("/mpp/status").await.status, 401);
    assert_eq!(app.query("/static/x/-/ready").await.status, 401);
    assert_eq!(app.query("/pools/other/-/ready").await.status, 401);
    assert_eq!(app.query("/pools/main/-/ready").await.status, 200, "for load balancers");
    assert_eq!(app.query("/-/healthy").await.status, 200, "for load balancers");
    assert_eq!(app.query_with(QUERY, &operator).await.status, 200);
}

#[actix_web::test]
async fn credentials_and_path_prefixes_of_replicas_are_used() {
    let replica = server("only", history(Duration::from_secs(3600))).await;
    let urls = [format!("{}/prom/", url(replica.address))];
    let login = r#""basic_auth":{"username":"u","password":"p"},"#;
    let app = start_with(&pool(&urls, login), &[]).await;
    eventually(async || (app.query("/-/ready").await.status == 200).then_some(())).await;
    let user = basic("grafana", "secret");
    let response = app.query_with(QUERY, &[("Authorization", &user)]).await;
    assert_eq!(response.text(), "only");
    let requests = replica.requests();
    assert!(requests.iter().all(|it| it.headers["authorization"] == basic("u", "p")));
    assert!(requests.iter().all(|it| it.line.starts_with("GET /prom/")));
}

#[actix_web::test]
async fn a_pool_without_usable_replicas_is_not_ready_but_tries_them() {
    let starting = Instance::start(|request| match request.line.contains("/-/ready") {
        true => Reply::Http(503, vec![], b"Service Unavailable".to_vec()),
        false => Reply::Http(200, vec![], b"started just now".to_vec()),
    })
    .await;
    let urls = [url(closed_address()), url(starting.address)];
    let app = start_with(&pool(&urls, ""), &[]).await;
    app.selects(starting.address).await;
    let ready = app.query("/-/ready").await;
    assert_eq!((ready.status, &*ready.text()), (503, "not ready: no replica is ready\n"));
    assert_eq!(app.query(QUERY).await.text(), "started just now");
    let status = app.pool_status().await;
    let health = status["replicas"].as_array().unwrap().iter().map(|it| it["health"].clone());
    assert_eq!(health.collect::<Vec<_>>(), ["not ready", "unreachable"]);
    let reason = status["replicas"][0]["reason"].as_str().unwrap();
    assert_eq!(reason, "it is starting or stopping; selected because no replica is better");
}

#[actix_web::test]
async fn cookies_keep_a_client_on_its_replica() {
    let hour = Duration::from_secs(3600);
    let servers = [server("a", history(hour)).await, server("b", history(hour)).await];
    let app = start_pool(&[&servers[0], &servers[1]], r#""strategy":"random","#).await;
    eventually(async || {
        let status = app.pool_status().await;
        (status["replicas"][1]["selected"] == true).then_some(())
    })
    .await;
    let first = app.query(QUERY).await;
    let cookie = first.headers["set-cookie"].clone();
    for attribute in ["; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=3600"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("127.0.0.1") && !cookie.contains("Secure"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    for _ in 0..20 {
        let next = app.query_with(QUERY, &[("Cookie", pair)]).await;
        assert_eq!(next.text(), first.text());
        assert!(!next.headers.contains_key("set-cookie"), "it is valid for long enough");
    }
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let forged = [("Cookie", "scrapebroker-replica-main=9999999999.Zm9yZ2Vk")];
        let response = app.query_with(QUERY, &forged).await;
        assert!(response.headers.contains_key("set-cookie"), "a forged cookie is replaced");
        names.insert(response.text());
    }
    assert_eq!(names.len(), 2, "without a cookie each replica gets queries");
    // The cookie is not sent to replicas.
    let requests = servers.iter().flat_map(Instance::requests);
    assert!(requests.into_iter().all(|it| !it.headers.contains_key("cookie")));
}

#[actix_web::test]
async fn client_addresses_keep_their_replica() {
    let hour = Duration::from_secs(3600);
    let servers = [server("a", history(hour)).await, server("b", history(hour)).await];
    let more = r#""strategy":"random","affinity":["source-ip"],"trusted_proxies":["127.0.0.0/8"],"#;
    let app = start_pool(&[&servers[0], &servers[1]], more).await;
    eventually(async || {
        let status = app.pool_status().await;
        (status["replicas"][1]["selected"] == true).then_some(())
    })
    .await;
    let mut names = std::collections::BTreeSet::new();
    for client in 0..30 {
        let forwarded = format!("9.9.9.9, 2001:db8::{client}");
        let headers = [("X-Forwarded-For", &*forwarded)];
        let first = app.query_with(QUERY, &headers).await;
        assert!(!first.headers.contains_key("set-cookie"));
        for _ in 0..3 {
            assert_eq!(app.query_with(QUERY, &headers).await.text(), first.text());
        }
        names.insert(first.text());
    }
    assert_eq!(names.len(), 2);
    let status = app.pool_status().await;
    let clients = status["replicas"].as_array().unwrap().iter();
    let clients: u64 = clients.map(|it| it["affinity_clients"].as_u64().unwrap()).sum();
    assert_eq!(clients, 30);
}

#[actix_web::test]
async fn too_many_queries_get_429() {
    let slow = Instance::start(|request| match request.line.contains("/api/") {
        true => Reply::Hang,
        false => respond(&request.line, "", &history(Duration::from_secs(3600))),
    })
    .await;
    let app = start_pool(&[&slow], r#""max_concurrent":1,"hedge":"off","#).await;
    app.selects(slow.address).await;
    let url = format!("http://{}{QUERY}&first", app.query_address.unwrap());
    let running = actix_web::rt::spawn(async move { support::send("GET", &url, &[], None).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let rejected = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = Instant::now();
        let rejected = app.query(&format!("{QUERY}&third")).await;
        assert!(began.elapsed() < Duration::from_secs(3), "the queue is full");
        rejected
    };
    let (waited, rejected) = tokio::join!(app.query(QUERY), rejected);
    for response in [waited, rejected] {
        assert_eq!(response.status, 429);
        assert_eq!(response.headers["retry-after"], "5");
        assert!(response.text().contains("limit of this pool"), "{}", response.text());
    }
    // A client that disconnects frees its place, and its query is canceled.
    running.abort();
    let more = actix_web::rt::spawn({
        let url = format!("http://{}{QUERY}", app.query_address.unwrap());
        async move { support::send("GET", &url, &[], None).await }
    });
    eventually(async || (queries(&slow) == 2).then_some(())).await;
    more.abort();
    eventually(async || (slow.open_connections() <= 1).then_some(())).await;
}

/// A server that responds to queries after half a second with a body of this length.
async fn late_server(length: usize) -> Instance {
    Instance::start(move |request| match request.line.contains("/api/") {
        true => {
            let body = Reply::Http(200, vec![], vec![b'x'; length]);
            Reply::Late(Duration::from_millis(500), Box::new(body))
        }
        false => respond(&request.line, "", &history(Duration::from_secs(3600))),
    })
    .await
}

fn queries(server: &Instance) -> usize {
    server.requests().iter().filter(|it| it.line.contains("/api/")).count()
}

#[actix_web::test]
async fn identical_queries_in_progress_are_sent_once() {
    let server = late_server(100).await;
    let app = start_pool(&[&server], r#""hedge":"off","#).await;
    app.selects(server.address).await;
    let all = (0..10).map(|_| app.query(QUERY));
    for response in futures_util::future::join_all(all).await {
        assert_eq!((response.status, response.body.len()), (200, 100));
        assert_eq!(response.headers["x-scrapebroker-replica"], server.address.to_string());
    }
    assert_eq!(queries(&server), 1);
    let metrics = app.get("/metrics").await.text();
    let line = "scrapebroker_query_pool_coalesced_total{pool=\"main\"} 9";
    assert!(metrics.lines().any(|it| it == line), "{metrics}");

    let others = [
        (format!("{QUERY}&time=1"), ("Accept", "application/json")),
        (QUERY.to_owned(), ("Accept", "text/html")),
        (QUERY.to_owned(), ("If-None-Match", "\"1\"")),
        ("/graph".to_owned(), ("Accept", "text/html")),
        ("/graph".to_owned(), ("Accept", "text/html")),
    ];
    let different =
        others.iter().map(|(path, header)| app.query_with(path, std::slice::from_ref(header)));
    assert_eq!(futures_util::future::join_all(different).await.len(), 5);
    assert_eq!(queries(&server), 4, "these are different");
}

#[actix_web::test]
async fn long_responses_are_not_copied() {
    let server = late_server(1 << 20).await;
    let app = start_pool(&[&server], r#""hedge":"off","#).await;
    app.selects(server.address).await;
    let all = (0..3).map(|_| app.query(QUERY));
    for response in futures_util::future::join_all(all).await {
        assert_eq!((response.status, response.body.len()), (200, 1 << 20));
    }
    assert_eq!(queries(&server), 3);
}

#[actix_web::test]
async fn another_request_takes_over_if_the_first_client_disconnects() {
    let server = late_server(100).await;
    let app = start_pool(&[&server], r#""hedge":"off","#).await;
    app.selects(server.address).await;
    let url = format!("http://{}{QUERY}", app.query_address.unwrap());
    let first = actix_web::rt::spawn(async move { support::send("GET", &url, &[], None).await });
    eventually(async || (queries(&server) == 1).then_some(())).await;
    let leave = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        first.abort();
    };
    let (second, third, ()) = tokio::join!(app.query(QUERY), app.query(QUERY), leave);
    assert_eq!((second.status, third.status), (200, 200));
    assert_eq!(queries(&server), 2);
}

#[actix_web::test]
async fn an_endpoints_file_is_read_again_and_an_empty_one_changes_nothing() {
    let hour = Duration::from_secs(3600);
    let (first, second) =
        (server("first", history(hour)).await, server("second", history(hour * 9)).await);
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("endpoints.txt");
    fs::write(&file, format!("# one\r\n{0}\r\n{0}\r\n", url(first.address))).unwrap();
    let pools = format!(
        r#"[{{"name":"main","selection_interval":"300ms","locators":[{{"endpoints_file":"{}"}}]}}]"#,
        file.display()
    );
    let app = start_with(&pools, &[]).await;
    app.selects(first.address).await;
    assert_eq!(app.pool_status().await["replicas"].as_array().unwrap().len(), 1);
    fs::write(&file, format!("{}\n{}\n", url(first.address), url(second.address))).unwrap();
    app.selects(second.address).await;
    for (text, error) in
        [("", "contains no URLs"), ("http://a\nnonsense\n", "line 2: is not a URL")]
    {
        fs::write(&file, text).unwrap();
        eventually(async || {
            let status = app.pool_status().await;
            let found = status["locators"][0]["error"].as_str().unwrap_or_default().to_owned();
            found.starts_with(error).then_some(())
        })
        .await;
        let status = app.pool_status().await;
        assert_eq!(status["replicas"].as_array().unwrap().len(), 2, "{text}");
        assert_eq!(status["locators"][0]["replicas"], 2);
        assert!(status["locators"][0]["age_seconds"].is_u64());
        assert_eq!(app.query(QUERY).await.text(), "second");
    }
}

#[actix_web::test]
async fn an_idle_connection_that_was_closed_fails_no_query() {
    let only = server("only", history(Duration::from_secs(3600))).await;
    let app = start_pool(&[&only], r#""hedge":"off","#).await;
    app.selects(only.address).await;
    for _ in 0..20 {
        assert_eq!(app.query(QUERY).await.status, 200);
    }
    let queries = only.requests().into_iter().filter(|it| it.line.contains("/api/v1/query"));
    let reused = queries.filter(|it| it.nth > 1).count();
    assert!(reused >= 15, "connections are reused: {reused}");
    // A restart closes the idle connections.
    let address = only.address.to_string();
    drop(only);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let text = history(Duration::from_secs(3600));
    let restarted =
        Instance::start_on(&address, move |request| respond(&request.line, "restarted", &text));
    let _restarted = restarted.await;
    assert_eq!(app.query(QUERY).await.text(), "restarted");
}

/// A server like VictoriaMetrics: it does not export the times of its samples, and has samples of
/// this age.
async fn server_without_metrics(name: &'static str, metrics: &'static str, age: f64) -> Instance {
    Instance::start(move |request| {
        let path = request.line.split(' ').nth(1).unwrap_or_default();
        let time = path.split_once("&time=").map_or(unix_time(), |(_, it)| it.parse().unwrap());
        let vector = |found: bool| {
            let sample = format!(r#"{{"metric":{{}},"value":[{time},"{}"]}}"#, unix_time());
            let samples = if found { sample } else { String::new() };
            let data = format!(r#"{{"resultType":"vector","result":[{samples}]}}"#);
            Reply::Http(200, vec![], format!(r#"{{"status":"success","data":{data}}}"#).into())
        };
        match path {
            "/-/ready" => Reply::Http(200, vec![], b"OK".to_vec()),
            "/metrics" if metrics.is_empty() => Reply::Http(404, vec![], vec![]),
            "/metrics" => Reply::Http(200, vec![], metrics.into()),
            _ if path.contains("count") || path.contains("max") => {
                vector(time >= unix_time() - age)
            }
            _ => Reply::Http(200, vec![], name.into()),
        }
    })
    .await
}

#[actix_web::test]
async fn the_history_of_servers_without_metrics_is_found_by_queries() {
    let (hour, day) = (3600.0, 86_400.0);
    let version1 = "prometheus_local_storage_ingested_samples_total 42\n";
    let short = server_without_metrics("short", "", 2.0 * hour).await;
    let long = server_without_metrics("long", version1, 8.0 * day).await;
    let app = start_pool(&[&short, &long], "").await;
    app.selects(long.address).await;
    let status = app.pool_status().await;
    let history = |index: usize| status["replicas"][index]["history_seconds"].as_f64().unwrap();
    let is_close = |found: f64, expected: f64| (found - expected).abs() < 60.0;
    assert!(is_close(history(0), 7.0 * day) && is_close(history(1), hour), "{status}");
    assert_eq!(app.query(QUERY).await.text(), "long");

    let app = start_pool(&[&short, &long], r#""strategy":"minimum-history:24h","#).await;
    app.selects(long.address).await;
    let status = app.pool_status().await;
    assert_eq!(status["is_fallback"], false);
    assert_eq!(status["replicas"][1]["reason"], "its history is shorter than the minimum");
}

#[actix_web::test]
async fn a_replica_with_a_fault_costs_no_query() {
    let good = server("good", history(Duration::from_secs(3600))).await;
    let html = Reply::Http(200, vec![("Content-Type", "text/html".into())], b"<html>".to_vec());
    let elsewhere = vec![("Location", "http://login.example.com/".to_owned())];
    let faults: [(&str, Reply); 7] = [
        ("hangs", Reply::Hang),
        ("closes", Reply::Close),
        ("garbage", Reply::Raw(b"\0\x01\x02 nonsense\r\n\r\n".to_vec())),
        ("cut", Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx".to_vec())),
        ("redirects", Reply::Http(302, elsewhere, vec![])),
        ("html", html),
        ("fails", Reply::Http(500, vec![], b"internal error".to_vec())),
    ];
    for (fault, reply) in faults {
        let bad = Instance::start(move |_| reply.clone()).await;
        // Its URL is the first one, so that it is selected until it is probed.
        let app = start_pool(&[&bad, &good], "").await;
        eventually(async || {
            let status = app.pool_status().await;
            let first = status["replicas"][0].clone();
            (first["url"] == url(good.address)).then_some(())
        })
        .await;
        for _ in 0..5 {
            let response = app.query(QUERY).await;
            assert_eq!((response.status, &*response.text()), (200, "good"), "{fault}");
        }
        let queries = bad.requests().into_iter().filter(|it| it.line.contains(QUERY));
        assert_eq!(queries.count(), 0, "{fault}");
    }
}

#[actix_web::test]
async fn oversized_and_invalid_requests_get_a_4xx() {
    let only = server("only", history(Duration::from_secs(3600))).await;
    let app = start_pool(&[&only], "").await;
    app.selects(only.address).await;
    let long = format!("/api/v1/query?query={}", "x".repeat(1 << 20));
    assert_eq!(app.query(&long).await.status, 431);
    let url = format!("http://{}/api/v1/query", app.query_address.unwrap());
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let body = |length: usize| Some(format!("query={}", "x".repeat(length)));
    let send =
        async |headers: &[(&str, &str)], body| support::send("POST", &url, headers, body).await;
    assert_eq!(send(&form, body(2 << 20)).await.text(), "only");
    assert_eq!(send(&[("Content-Type", "text/plain")], body(1)).await.status, 415);
    assert_eq!(send(&form, body(100 << 10)).await.text(), "only");
    let labels = format!("http://{}/api/v1/label/job/values", app.query_address.unwrap());
    assert_eq!(support::send("POST", &labels, &form, body(1)).await.status, 405);
    assert_eq!(support::send("DELETE", &url, &[], None).await.status, 405);
    let forwarded = vec!["10.0.0.1"; 2000].join(",");
    let response = app.query_with(QUERY, &[("X-Forwarded-For", &forwarded)]).await;
    assert_eq!((response.status, &*response.text()), (200, "only"));
    assert_eq!(queries(&only), 3, "nothing else was forwarded");
}

/// A server that is ready, and responds to queries with this status.
async fn server_with_status(status: u16, body: &'static str) -> Instance {
    let metrics = history(Duration::from_secs(3600));
    Instance::start(move |request| match request.line.contains("/api/") {
        true => Reply::Http(status, vec![], body.into()),
        false => respond(&request.line, "", &metrics),
    })
    .await
}

fn replica_metric(name: &str, pool: &str, server: &Instance, value: u64) -> String {
    let name = format!("scrapebroker_query_replica_{name}");
    format!("{name}{{pool=\"{pool}\",replica=\"{}\"}} {value}", server.address)
}

#[actix_web::test]
async fn a_replica_that_rejects_the_credentials_costs_no_query() {
    let refusing = server_with_status(401, "Unauthorized").await;
    let good = server("good", history(Duration::from_secs(3600))).await;
    let app = start_pool(&[&refusing, &good], r#""strategy":"random","#).await;
    eventually(async || {
        let status = app.pool_status().await;
        (status["replicas"][1]["selected"] == true).then_some(())
    })
    .await;
    for _ in 0..20 {
        let response = app.query(QUERY).await;
        assert_eq!((response.status, &*response.text()), (200, "good"));
    }
    assert!(queries(&refusing) >= 3, "it is queried until its breaker opens");
    let metrics = app.get("/metrics").await;
    let refused = metrics.lines("scrapebroker_query_retries_total{reason=\"refused\"} ");
    assert!(refused.len() == 1 && !refused[0].ends_with(" 0"), "{refused:?}");
    let opened = metrics.lines("scrapebroker_query_breakers_opened_total ");
    assert_eq!(opened, ["scrapebroker_query_breakers_opened_total 1"]);

    let other = server_with_status(401, "Unauthorized").await;
    let app = start_pool(&[&refusing, &other], "").await;
    eventually(async || (app.query("/-/ready").await.status == 200).then_some(())).await;
    let response = app.query(QUERY).await;
    assert_eq!(response.status, 502);
    assert!(response.text().contains("rejects Scrapebroker's password"), "{}", response.text());
    // Another failure is the reason if there is one.
    let starting = server_with_status(503, "starting").await;
    let app = start_pool(&[&starting, &refusing], "").await;
    eventually(async || (app.query("/-/ready").await.status == 200).then_some(())).await;
    assert_eq!(app.query(QUERY).await.status, 503);
}

#[actix_web::test]
async fn pools_with_the_same_replica_share_no_state() {
    let metrics = history(Duration::from_secs(3600));
    let login = basic("u", "right");
    let only = Instance::start(move |request| {
        let is_right = request.headers.get("authorization") == Some(&login);
        match request.line.contains("/api/") && !is_right {
            true => Reply::Http(503, vec![], b"overloaded".to_vec()),
            false => respond(&request.line, "only", &metrics),
        }
    })
    .await;
    let pool = |name: &str, password: &str| {
        format!(
            r#"{{"name":"{name}","selection_interval":"300ms","hedge":"off","locators":[{{"static":["{}"]}}],
               "basic_auth":{{"username":"u","password":"{password}"}}}}"#,
            url(only.address)
        )
    };
    let pools = format!("[{},{}]", pool("good", "right"), pool("bad", "wrong"));
    let default = [("QUERY__DEFAULT_POOL", "bad".to_owned())];
    let app = start_with(&pools, &default).await;
    app.selects(only.address).await;
    eventually(async || (app.query("/pools/good/-/ready").await.status == 200).then_some(())).await;
    for _ in 0..4 {
        assert_eq!(app.query(QUERY).await.status, 503);
        assert_eq!(app.query(&format!("/pools/good{QUERY}")).await.text(), "only");
    }
    let metrics = app.get("/metrics").await.text();
    for line in [
        replica_metric("queries_total", "bad", &only, 4),
        replica_metric("failures_total", "bad", &only, 4),
        replica_metric("queries_total", "good", &only, 4),
        replica_metric("failures_total", "good", &only, 0),
        replica_metric("breaker_open", "good", &only, 0),
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}\n{metrics}");
    }
    // After its pause, the next query is a trial.
    eventually(async || {
        let status = app.pool_status().await;
        (status["replicas"][0]["breaker"] == "half-open").then_some(())
    })
    .await;
    let metrics = app.get("/metrics").await.text();
    for line in [
        replica_metric("breaker_open", "bad", &only, 0),
        replica_metric("breaker_half_open", "bad", &only, 1),
        replica_metric("breaker_half_open", "good", &only, 0),
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}\n{metrics}");
    }
    let page = app.query_with("/mpp/status", &[]).await.text();
    assert!(page.contains("half-open</span>: it failed repeatedly and gets one query"), "{page}");
}

/// Real servers that scrape each other each second.
struct Replicas {
    addresses: Vec<SocketAddr>,
    processes: Vec<Option<Process>>,
    folder: tempfile::TempDir,
}

impl Replicas {
    fn start(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let addresses: Vec<_> = (0..count).map(|_| free_address()).collect();
        let targets = addresses.iter().map(|it| format!("'{it}'")).collect::<Vec<_>>().join(", ");
        let configuration = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 500ms}}\nscrape_configs:\n- job_name: self\n  static_configs: \
             [{{targets: [{targets}]}}]\n"
        );
        fs::write(folder.path().join("prometheus.yml"), configuration).unwrap();
        let processes = (0..count).map(|_| None).collect();
        let mut replicas = Self { addresses, processes, folder };
        (0..count).for_each(|number| replicas.start_one(number));
        replicas
    }

    fn start_one(&mut self, number: usize) {
        let folder = self.folder.path().display();
        self.processes[number] = Some(start(
            "prometheus",
            &[
                format!("--config.file={folder}/prometheus.yml"),
                format!("--storage.tsdb.path={folder}/data{number}"),
                format!("--web.listen-address={}", self.addresses[number]),
            ],
        ));
    }

    fn signal(&self, number: usize, signal: &str) {
        let id = self.processes[number].as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

/// Sends queries until `end`, and returns the slowest latency. None of them may fail.
async fn queries_without_failure(app: &TestApp, end: Instant) -> Duration {
    let mut slowest = Duration::ZERO;
    while Instant::now() < end {
        let began = Instant::now();
        let response = app.query(QUERY).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let json: Value = serde_json::from_str(&response.text()).unwrap();
        assert_eq!(json["status"], "success");
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

#[actix_web::test]
async fn real_replicas_that_are_killed_stopped_and_restarted_fail_no_query() {
    let mut replicas = Replicas::start(2);
    let urls: Vec<_> = replicas.addresses.iter().copied().map(url).collect();
    let app = start_with(&pool(&urls, ""), &[]).await;
    app.has_healthy_replicas(2).await;
    let status = app.pool_status().await;
    assert!(status["replicas"][0]["version"].as_str().unwrap().starts_with("2."), "{status}");
    for number in [0, 1, 0] {
        let work = queries_without_failure(&app, Instant::now() + Duration::from_secs(3));
        let faults = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            replicas.signal(number, "-STOP");
            tokio::time::sleep(Duration::from_millis(1500)).await;
            replicas.signal(number, "-CONT");
        };
        tokio::join!(work, faults);
        let work = queries_without_failure(&app, Instant::now() + Duration::from_secs(4));
        let faults = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            replicas.processes[number] = None;
            tokio::time::sleep(Duration::from_secs(1)).await;
            replicas.start_one(number);
        };
        tokio::join!(work, faults);
        app.has_healthy_replicas(2).await;
    }
}
