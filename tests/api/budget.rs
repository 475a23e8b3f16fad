//! `scrape.max_memory`: the memory limit for the bodies of all requests together.

use crate::{server_process::Server, test_app::*};
use flate2::{Compression, write::GzEncoder};
use std::{
    io::Write,
    time::{Duration, Instant as StdInstant},
};
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

const METRICS: &str = "/v1/apps/app-guid/metrics";

/// Metrics whose size is slightly below this number of kilobytes.
fn metrics(kilobytes: usize) -> String {
    (0..kilobytes * 16)
        .map(|n| format!("some_metric{{some_label=\"value of it\",n=\"{n:09}\"}} 1\n"))
        .collect()
}

async fn app_with(instances: &[Instance], max_memory: &str) -> (TestApp, RouteFile) {
    let routes = RouteFile::of_app(instances);
    let app = spawn_app(&[
        routes.setting(),
        ("SCRAPE__MAX_INSTANCE_BODY", "1MiB".to_owned()),
        ("SCRAPE__MAX_MEMORY", max_memory.to_owned()),
    ])
    .await;
    (app, routes)
}

async fn instances(count: usize, reply: &Reply) -> Vec<Instance> {
    let mut instances = Vec::new();
    for _ in 0..count {
        let reply = reply.clone();
        instances.push(Instance::start(move |_| reply.clone()).await);
    }
    instances
}

async fn own_metric(app: &TestApp, name: &str) -> u64 {
    let line = app.get("/metrics").await.lines(name).pop().unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

async fn wait_until_memory_is_free(app: &TestApp) {
    eventually(async || {
        (own_metric(app, "scrapebroker_body_memory_bytes ").await == 0).then_some(())
    })
    .await;
}

/// Sends a scrape request and does not read the response.
async fn start_unread_scrape(app: &TestApp) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(app.address).await.unwrap();
    let request = format!("GET {METRICS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[actix_web::test]
async fn large_scrapes_run_one_after_another_within_the_memory_limit() {
    let chunked = {
        let body = metrics(256);
        let mut raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in body.as_bytes().chunks(10_000) {
            raw.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            raw.extend_from_slice(part);
            raw.extend_from_slice(b"\r\n");
        }
        raw.extend_from_slice(b"0\r\n\r\n");
        Reply::Raw(raw)
    };
    for reply in [Reply::metrics(&metrics(256)), chunked] {
        let instances = instances(4, &reply).await;
        let (app, _routes) = app_with(&instances, "1800KiB").await;
        for _ in 0..2 {
            let scrapes = (0..8).map(async |_| {
                let answer = app.get(METRICS).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert_eq!(answer.headers["x-scrapebroker-instances"], "4/4");
                assert_eq!(answer.lines("some_metric{").len(), 4 * 256 * 16);
            });
            let most = async {
                let mut most = 0;
                loop {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    most = own_metric(&app, "scrapebroker_body_memory_bytes ").await.max(most);
                    assert!(most <= 1800 << 10, "{most}");
                }
            };
            tokio::select! {
                answered = futures_util::future::join_all(scrapes) => assert_eq!(answered.len(), 8),
                () = most => {}
            }
        }
        wait_until_memory_is_free(&app).await;
        assert!(own_metric(&app, "scrapebroker_memory_waits_total ").await > 0);
        assert_eq!(
            own_metric(&app, "scrapebroker_memory_refused_total{reason=\"too_late\"}").await,
            0
        );
    }
}

#[actix_web::test]
async fn a_slow_reader_holds_memory_until_it_disconnects() {
    let instances = instances(4, &Reply::metrics(&metrics(900))).await;
    let (app, _routes) = app_with(&instances, "5MiB").await;
    let mut reader = start_unread_scrape(&app).await;
    let mut status = [0; 12];
    reader.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    let held = own_metric(&app, "scrapebroker_body_memory_bytes ").await;
    assert!((3_000_000..5_300_000).contains(&held), "{held}");

    let started = StdInstant::now();
    let timeout = ("X-Prometheus-Scrape-Timeout-Seconds", "2");
    let refused = app.get_with(METRICS, &[timeout]).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.headers.contains_key("retry-after"));
    assert!(refused.text().contains("scrape.max_memory"), "{}", refused.text());
    // The response comes before the deadline of the scraper, and not long before it.
    assert!((1.0..1.9).contains(&started.elapsed().as_secs_f64()), "{:?}", started.elapsed());
    assert_eq!(own_metric(&app, "scrapebroker_memory_refused_total{reason=\"too_late\"}").await, 1);

    // A waiting request is served as soon as the slow reader disconnects.
    let (answer, ()) = futures_util::future::join(app.get(METRICS), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(reader);
    })
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    wait_until_memory_is_free(&app).await;
}

#[actix_web::test]
async fn memory_is_released_when_a_slow_reader_has_read_the_whole_response() {
    let instances = instances(4, &Reply::metrics(&metrics(900))).await;
    let (app, _routes) = app_with(&instances, "5MiB").await;
    let mut reader = start_unread_scrape(&app).await;
    let next = app.get(METRICS);
    let read = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(own_metric(&app, "scrapebroker_body_memory_bytes ").await > 3_000_000);
        let mut raw = Vec::new();
        reader.read_to_end(&mut raw).await.unwrap();
        parse_response(&raw)
    };
    let (next, read) = futures_util::future::join(next, read).await;
    assert_eq!((next.status, read.status), (200, 200));
    assert_eq!(read.lines("some_metric{").len(), 4 * 900 * 16);
    wait_until_memory_is_free(&app).await;
}

#[actix_web::test]
async fn a_disconnected_client_leaves_the_memory_queue() {
    let instances = instances(4, &Reply::metrics(&metrics(900))).await;
    let (app, _routes) = app_with(&instances, "5MiB").await;
    let mut reader = start_unread_scrape(&app).await;
    reader.read_exact(&mut [0; 12]).await.unwrap();
    let request_count = instances[0].requests().len();
    let waiting = start_unread_scrape(&app).await;
    eventually(async || {
        (own_metric(&app, "scrapebroker_memory_waits_total ").await == 1).then_some(())
    })
    .await;
    drop(waiting);
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(reader);
    wait_until_memory_is_free(&app).await;
    assert_eq!(app.get(METRICS).await.status, 200);
    // No instance was scraped for the disconnected client.
    assert_eq!(instances[0].requests().len(), request_count + 1);
}

#[actix_web::test]
async fn a_scrape_above_max_memory_is_502_and_does_not_affect_other_scrapes() {
    let large = instances(4, &Reply::metrics(&metrics(900))).await;
    let small = Instance::with_metrics("small 1\n").await;
    let routes = RouteFile::new(&serde_json::json!({
        "app.example.com": large
            .iter()
            .enumerate()
            .map(|(index, one)| endpoint("app", index, one.address))
            .collect::<Vec<_>>(),
        "small.example.com": [endpoint("small", 0, small.address)],
    }));
    let app = spawn_app(&[
        routes.setting(),
        ("SCRAPE__MAX_INSTANCE_BODY", "1MiB".to_owned()),
        ("SCRAPE__MAX_MEMORY", "2MiB".to_owned()),
    ])
    .await;
    for round in 1..4 {
        let answer = app.get(METRICS).await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        assert!(answer.text().contains("scrape.max_memory"), "{}", answer.text());
        assert!(!answer.headers.contains_key("retry-after"));
        assert_eq!(app.get("/v1/apps/small-guid/metrics").await.status, 200);
        let refused = "scrapebroker_memory_refused_total{reason=\"too_large\"}";
        assert_eq!(own_metric(&app, refused).await, round);
        wait_until_memory_is_free(&app).await;
    }
}

#[actix_web::test]
async fn compression_bombs_and_false_lengths_stay_within_the_memory_limit() {
    let bomb = {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&vec![b'\n'; 4 << 20]).unwrap();
        // One gigabyte in total, as 256 gzip members.
        encoder.finish().unwrap().repeat(256)
    };
    let gzip = vec![("Content-Encoding", "gzip".to_owned())];
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
    let endless = format!("{head}\r\n{}", "# x\n".repeat(1 << 20));
    for reply in [Reply::Http(200, gzip, bomb), Reply::Raw(endless.into_bytes())] {
        let mut all = instances(2, &reply).await;
        all.push(Instance::with_metrics("good 1\n").await);
        let (app, _routes) = app_with(&all, "3MiB").await;
        let answer = app.get(METRICS).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.lines("good{").len(), 1);
        let failures = answer.lines("promfetcher_scrape_error{");
        assert_eq!(failures.len(), 2);
        assert!(failures.iter().all(|line| line.contains("too_large")), "{failures:?}");
        wait_until_memory_is_free(&app).await;
    }
}

const TEXT: &str = "text/plain; version=0.0.4";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";

/// A body of the shortest samples, each of a family of its own. Its index is many times as large.
fn many_families(content_type: &str, prefix: &str) -> Reply {
    let names = (0..20_000).map(|n| format!("{prefix}{n:05}"));
    let body = match content_type {
        TEXT => names.map(|name| format!("{name} 1\n")).collect::<String>().into_bytes(),
        OPENMETRICS => {
            let samples: String = names.map(|name| format!("{name} 1\n")).collect();
            format!("{samples}# EOF\n").into_bytes()
        }
        _ => names
            .flat_map(|name| {
                let gauge = protobuf::message(2, &[protobuf::double(1, 1.0)]);
                let metric = protobuf::message(4, &[gauge]);
                let name = protobuf::text(1, &name);
                protobuf::delimited(&[name, protobuf::number(3, 1), metric])
            })
            .collect(),
    };
    Reply::Http(200, vec![("Content-Type", content_type.to_owned())], body)
}

/// The program as a process of its own, whose memory can be measured.
struct Measured {
    server: Server,
    _folder: tempfile::TempDir,
    _instances: Vec<Instance>,
    _routes: RouteFile,
}

impl Measured {
    /// `bodies` are those of the instances of `app`. The app `small` has one with a short body.
    async fn start(bodies: &[Reply], max_memory: &str) -> Self {
        let mut instances = vec![Instance::with_metrics("small 1\n").await];
        for body in bodies {
            let body = body.clone();
            instances.push(Instance::start(move |_| body.clone()).await);
        }
        let all = instances.iter().enumerate().skip(1);
        let app: Vec<_> = all.map(|(n, one)| endpoint("app", n, one.address)).collect();
        let routes = RouteFile::new(&serde_json::json!({
            "app.example.com": app,
            "small.example.com": [endpoint("small", 0, instances[0].address)],
        }));
        let folder = tempfile::tempdir().unwrap();
        let (_, file) = routes.setting();
        let settings = [
            ("SCRAPEBROKER__ROUTES__FILE", &*file),
            ("SCRAPEBROKER__SCRAPE__MAX_INSTANCE_BODY", "2MiB"),
            ("SCRAPEBROKER__SCRAPE__MAX_MEMORY", max_memory),
            ("SCRAPEBROKER__WRITE_TIMEOUT", "600s"),
        ];
        let server = Server::start_with(folder.path(), &settings);
        let measured = Self { server, _folder: folder, _instances: instances, _routes: routes };
        eventually(async || {
            let answer = measured.get("/v1/apps/small-guid/metrics", TEXT).await;
            (answer.status == 200).then_some(())
        })
        .await;
        measured
    }

    async fn get(&self, path: &str, accept: &str) -> Response {
        let url = format!("http://{}{path}", self.server.address);
        let timeout = ("X-Prometheus-Scrape-Timeout-Seconds", "60");
        send("GET", &url, &[("Accept", accept), timeout], None).await
    }

    /// The largest amount of memory so far, in bytes.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }
}

#[actix_web::test]
async fn the_indexes_of_bodies_with_many_families_stay_within_the_memory_limit() {
    for content_type in [TEXT, OPENMETRICS, protobuf::CONTENT_TYPE] {
        let bodies = vec![many_families(content_type, "a"); 30];
        let measured = Measured::start(&bodies, "16MiB").await;
        let before = measured.peak();
        for _ in 0..2 {
            let scrapes = futures_util::future::join(
                measured.get(METRICS, content_type),
                measured.get("/v1/apps/small-guid/metrics", TEXT),
            );
            let (refused, small) = scrapes.await;
            assert_eq!(refused.status, 502, "{content_type}");
            assert!(refused.text().contains("scrape.max_memory"), "{}", refused.text());
            assert_eq!(small.status, 200, "{}", small.text());
        }
        let grown = measured.peak() - before;
        assert!(grown < 64 << 20, "{content_type}: {grown}");
    }
}

#[actix_web::test]
async fn the_memory_limit_counts_what_a_scrape_needs() {
    let families = |content_type, count: usize, is_same: bool| -> Vec<_> {
        let prefix = |n| if is_same { "a".to_owned() } else { format!("a{n}_") };
        (0..count).map(|n| many_families(content_type, &prefix(n))).collect()
    };
    for (content_type, count, is_same) in [
        (TEXT, 40, true),
        (TEXT, 8, false),
        (OPENMETRICS, 40, true),
        (OPENMETRICS, 8, false),
        (protobuf::CONTENT_TYPE, 40, true),
        (protobuf::CONTENT_TYPE, 8, false),
    ] {
        let case = format!("{content_type} {is_same}");
        let measured = Measured::start(&families(content_type, count, is_same), "1GiB").await;
        let before = measured.peak();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut reader = socket.connect(measured.server.address).await.unwrap();
        let request = format!(
            "GET {METRICS} HTTP/1.1\r\nHost: x\r\nAccept: {content_type}\r\n\
             X-Prometheus-Scrape-Timeout-Seconds: 60\r\n\r\n"
        );
        reader.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        reader.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 200", "{case}");
        let grown = measured.peak() - before;
        let own = measured.get("/metrics", TEXT).await;
        let line = own.lines("scrapebroker_body_memory_bytes ").pop().unwrap();
        let counted: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        // Parsing needs some memory that is released afterwards.
        assert!(grown < counted * 5 / 4 + (32 << 20), "{case}: {grown} {counted}");
        // Samples without a type are counted as if OpenMetrics required to sort them.
        assert!(counted < grown * 5 / 2, "{case}: {grown} {counted}");
    }
}
