//! Drain at shutdown: readiness, completed and interrupted scrapes. Also the reload of changed
//! files after SIGHUP.

use crate::{server_process::*, test_app::*};
use scrapebroker::app::Stop;
use serde_json::{Value, json};
use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Duration};
use support::{balancer::Balancer, *};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SCRAPE: &str = "/v1/apps/app-guid/metrics";

/// A drain wait that is longer than any test.
const LONG_DRAIN_WAIT: &str = "10m";

fn long_drain_wait() -> (&'static str, String) {
    ("DRAIN_WAIT", LONG_DRAIN_WAIT.to_owned())
}

async fn slow(delay: Duration) -> Instance {
    Instance::start(move |_| Reply::Late(delay, Box::new(Reply::metrics("a 1\n")))).await
}

#[actix_web::test]
async fn a_graceful_stop_finishes_running_scrapes() {
    let slow = slow(Duration::from_millis(700)).await;
    let routes = RouteFile::of_app([&slow]);
    let mut app = spawn_app(&[routes.setting()]).await;
    let url = app.url(SCRAPE);
    let scrape = actix_web::rt::spawn(async move { send("GET", &url, &[], None).await });
    eventually(async || (slow.open_connections() == 1).then_some(())).await;
    let stopped = app.stop(Stop::Graceful);
    let answer = scrape.await.unwrap();
    assert_eq!(answer.lines("a{").len(), 1, "{}", answer.text());
    stopped.await.unwrap();
    assert!(tokio::net::TcpStream::connect(app.address).await.is_err());
}

#[actix_web::test]
async fn during_the_drain_wait_the_program_is_unready_and_accepts_connections() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let health = ("HEALTH_LISTEN", "127.0.0.1:0".to_owned());
    let cases = [(Stop::Graceful, 200), (Stop::Drain, 503)];
    for (stop, healthy) in cases {
        let settings = [routes.setting(), health.clone(), long_drain_wait()];
        let mut app = spawn_app(&settings).await;
        let _stopped = app.stop(stop);
        let health = format!("http://{}", app.health_address.unwrap());
        let unready = async || send("GET", &format!("{health}/"), &[], None).await.status == 503;
        eventually(async || unready().await.then_some(())).await;
        assert_eq!(app.get("/-/ready").await.status, 503);
        assert_eq!(app.get("/-/healthy").await.status, healthy, "{stop:?}");
        let answer = send("GET", &format!("{health}/-/healthy"), &[], None).await;
        assert_eq!(answer.status, healthy, "{stop:?}");
        assert_eq!(app.get(SCRAPE).await.status, 200);
    }
}

/// Waits until a repeated signal counts as a second stop request.
async fn wait_for_repeat_window() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

#[actix_web::test]
async fn a_repeated_drain_request_changes_only_the_health() {
    let mut app = spawn_app(&[long_drain_wait()]).await;
    let mut stopped = app.stop(Stop::Graceful);
    eventually(async || (app.get("/-/ready").await.status == 503).then_some(())).await;
    assert_eq!(app.get("/-/healthy").await.status, 200);
    app.stop_again(Stop::Drain);
    eventually(async || (app.get("/-/healthy").await.status == 503).then_some(())).await;
    app.stop_again(Stop::Drain);
    assert!(stopped.try_recv().is_err());
    wait_for_repeat_window().await;
    app.stop_again(Stop::Graceful);
    stopped.await.unwrap();
}

#[actix_web::test]
async fn a_kept_connection_is_closed_after_the_next_response() {
    let mut app = spawn_app(&[long_drain_wait()]).await;
    let mut kept = tokio::net::TcpStream::connect(app.address).await.unwrap();
    let request = b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n";
    kept.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ready\n") {
        assert!(kept.read_buf(&mut answer).await.unwrap() > 0);
    }
    let _stopped = app.stop(Stop::Graceful);
    eventually(async || (app.get("/-/ready").await.status == 503).then_some(())).await;
    kept.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    kept.read_to_end(&mut answer).await.unwrap();
    let answer = parse_response(&answer);
    assert_eq!((answer.status, answer.headers["connection"].as_str()), (503, "close"));
}

#[actix_web::test]
async fn scrapes_beyond_the_grace_period_are_interrupted_and_logged() {
    let hanging = Instance::start(|_| Reply::Hang).await;
    let routes = RouteFile::of_app([&hanging]);
    let (_, file) = routes.setting();
    let folder = tempfile::tempdir().unwrap();
    let settings =
        [("SCRAPEBROKER__ROUTES__FILE", &*file), ("SCRAPEBROKER__SHUTDOWN_GRACE", "300ms")];
    let mut server = Server::start_with(folder.path(), &settings);
    let url = format!("http://{}{SCRAPE}?key=hunter2", server.address);
    let ready = format!("http://{}/-/ready", server.address);
    eventually(async || (send("GET", &ready, &[], None).await.status == 200).then_some(())).await;
    let scrape = actix_web::rt::spawn(async move { status_of(&url).await });
    eventually(async || (hanging.open_connections() == 1).then_some(())).await;
    server.signal("TERM");
    assert_eq!(server.exit_code().await, Some(0));
    assert_eq!(scrape.await.unwrap(), None);
    let message = eventually(async || server.logged("request aborted: ").pop()).await;
    assert_eq!(message, format!("request aborted: GET {SCRAPE}?key=…"));
    assert_eq!(server.logged("requests aborted: 1").len(), 1);
}

#[actix_web::test]
async fn a_second_signal_stops_immediately() {
    for second in ["TERM", "INT"] {
        let hanging = Instance::start(|_| Reply::Hang).await;
        let routes = RouteFile::of_app([&hanging]);
        let (_, file) = routes.setting();
        let folder = tempfile::tempdir().unwrap();
        let settings = [
            ("SCRAPEBROKER__ROUTES__FILE", &*file),
            ("SCRAPEBROKER__DRAIN_WAIT", LONG_DRAIN_WAIT),
            ("SCRAPEBROKER__SHUTDOWN_GRACE", LONG_DRAIN_WAIT),
        ];
        let mut server = Server::start_with(folder.path(), &settings);
        let base = format!("http://{}", server.address);
        let status =
            async |path: &str| send("GET", &format!("{base}{path}"), &[], None).await.status;
        eventually(async || (status("/-/ready").await == 200).then_some(())).await;
        let url = format!("{base}{SCRAPE}");
        let scrape = actix_web::rt::spawn(async move { status_of(&url).await });
        eventually(async || (hanging.open_connections() == 1).then_some(())).await;
        server.signal("TERM");
        eventually(async || (status("/-/ready").await == 503).then_some(())).await;
        // A duplicate of the first signal has no effect.
        server.signal(second);
        wait_for_repeat_window().await;
        assert!(!server.exited());
        assert_eq!(status("/-/ready").await, 503);
        server.signal(second);
        assert_eq!(server.exit_code().await, Some(0), "{second}");
        assert_eq!(scrape.await.unwrap(), None);
        let message = eventually(async || server.logged("request aborted: ").pop()).await;
        assert_eq!(message, format!("request aborted: GET {SCRAPE}"));
    }
}

#[actix_web::test]
async fn a_shutdown_longer_than_cloud_foundry_allows_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let platform = ("VCAP_APPLICATION", "{}");
    let server = Server::start_with(folder.path(), &[platform, ("SCRAPEBROKER__DRAIN_WAIT", "2s")]);
    assert!(server.logged("Cloud Foundry kills").is_empty());
    drop(server);
    let server = Server::start_with(folder.path(), &[platform, ("SCRAPEBROKER__DRAIN_WAIT", "3s")]);
    assert_eq!(server.logged("10 s together, and Cloud Foundry kills 10 s after").len(), 1);
}

/// The response status. None if the connection ended without a response.
async fn status_of(url: &str) -> Option<u16> {
    let (host, path) = url.strip_prefix("http://")?.split_once('/')?;
    let mut stream = tokio::net::TcpStream::connect(host).await.ok()?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    (!answer.is_empty()).then(|| parse_response(&answer).status)
}

#[actix_web::test]
async fn no_scrape_fails_during_a_rolling_restart_of_two_replicas() {
    let quick = Instance::with_metrics("a 1\n").await;
    let late = slow(Duration::from_millis(400)).await;
    let routes = RouteFile::of_app([&quick, &late]);
    let (_, file) = routes.setting();
    let settings = [("SCRAPEBROKER__ROUTES__FILE", &*file), ("SCRAPEBROKER__DRAIN_WAIT", "3s")];
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let balancer = Balancer::start().await;
    let start = async |folder: &tempfile::TempDir| {
        let server = Server::start_with(folder.path(), &settings);
        balancer.add(server.address);
        eventually(async || balancer.is_ready(server.address).then_some(())).await;
        server
    };
    let mut servers = Vec::new();
    for folder in &folders {
        servers.push(start(folder).await);
    }
    let (stop, done) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let scrapers: Vec<_> = (0..8)
        .map(|number| {
            let keeps_connections = number % 2 == 0;
            // Scrapes of a single instance are short, so that new connections are opened at almost
            // any time.
            let (path, whole) = match number < 4 {
                true => (SCRAPE, "2/2"),
                false => ("/v1/apps/app-guid/instances/0/metrics", "1/1"),
            };
            let scraper = Scraper { balancer: balancer.address, path, whole, keeps_connections };
            let (stop, done) = (Rc::clone(&stop), Rc::clone(&done));
            actix_web::rt::spawn(scraper.scrape_until(stop, done))
        })
        .collect();
    let scraped = async |more: usize| {
        let enough = done.get() + more;
        eventually(async || (done.get() >= enough).then_some(())).await;
    };
    for (folder, server) in folders.iter().zip(&mut servers) {
        scraped(100).await;
        server.signal("TERM");
        assert_eq!(server.exit_code().await, Some(0));
        assert!(server.logged("cut").is_empty());
        balancer.remove(server.address);
        *server = start(folder).await;
        scraped(100).await;
        assert!(balancer.connections(server.address) > 0);
    }
    stop.set(true);
    for scraper in scrapers {
        let failures = scraper.await.unwrap();
        assert!(failures.is_empty(), "of {} scrapes: {failures:?}", done.get());
    }
}

struct Scraper {
    balancer: SocketAddr,
    path: &'static str,
    /// The header `X-Scrapebroker-Instances` of a complete response.
    whole: &'static str,
    keeps_connections: bool,
}

impl Scraper {
    /// Scrapes continuously without retries. Returns the failures.
    async fn scrape_until(self, stop: Rc<Cell<bool>>, done: Rc<Cell<usize>>) -> Vec<String> {
        let Self { balancer, path, whole, keeps_connections } = self;
        let client = awc::Client::builder().timeout(Duration::from_secs(30)).finish();
        let mut failures = Vec::new();
        while !stop.get() {
            let request = client.get(format!("http://{balancer}{path}"));
            let request = if keeps_connections { request } else { request.force_close() };
            let failure = match request.send().await {
                Err(error) => Some(error.to_string()),
                Ok(mut response) => {
                    let status = response.status();
                    let found = response.headers().get("X-Scrapebroker-Instances").cloned();
                    match response.body().await {
                        Err(error) => Some(error.to_string()),
                        Ok(_) if status == 200 && found.as_ref().is_some_and(|n| n == whole) => {
                            None
                        }
                        Ok(body) => Some(format!("{status} {found:?} {body:?}")),
                    }
                }
            };
            failures.extend(failure);
            done.set(done.get() + 1);
        }
        failures
    }
}

#[actix_web::test]
async fn sighup_keeps_the_previous_routes_and_catalog_if_files_are_invalid() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let (_, file) = routes.setting();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &[("SCRAPEBROKER__ROUTES__FILE", &*file)]);
    let url = format!("http://{}{SCRAPE}", server.address);
    eventually(async || (send("GET", &url, &[], None).await.status == 200).then_some(())).await;

    std::fs::write(&file, "{ \"app.example.com\": [").unwrap();
    std::fs::write(folder.path().join("broker-catalog.json"), "{}").unwrap();
    // The result is logged after every SIGHUP, not only after the first.
    for times in 1..=2 {
        server.signal("HUP");
        for kept in
            ["catalog not reloaded; keeping the previous one", "keeping the previous routes"]
        {
            eventually(async || (server.logged(kept).len() == times).then_some(())).await;
        }
    }
    assert_eq!(send("GET", &url, &[], None).await.status, 200);
    let catalog = server.broker_request("GET", "/v2/catalog", None).await.unwrap().json();
    assert_ne!(catalog["services"], Value::Null);

    let another = Instance::with_metrics("b 2\n").await;
    routes.write(&json!({ "app.example.com": [endpoint("app", 0, another.address)] }));
    server.signal("HUP");
    eventually(async || server.logged("route file reloaded").pop()).await;
    eventually(async || {
        let answer = send("GET", &url, &[], None).await;
        (answer.lines("b{").len() == 1).then_some(())
    })
    .await;
}
