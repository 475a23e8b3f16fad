//! Limits for clients: file descriptors, memory and connections.

use crate::{
    query::{Fixture, QUERY, server},
    replicas::Database,
    server_process::Server,
    test_app::*,
};
use bytes::Bytes;
use rustls::{pki_types::ServerName, version::TLS13};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use support::{certificates::*, *};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

const SCRAPE: &str = "/v1/apps/app-guid/metrics";

/// The value of a series in the metrics of the program.
async fn own_metric(url: &str, series: &str) -> u64 {
    let answer = send("GET", &format!("{url}/metrics"), &[], None).await;
    let lines = answer.lines(series);
    let line = lines.first().unwrap_or_else(|| panic!("no {series} in {answer:?}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

/// Endpoints of instances that accept connections on many loopback addresses and never respond.
async fn unresponsive_endpoints(app: &str, instances: u8) -> (Vec<Value>, impl Drop + use<>) {
    struct Abort(actix_web::rt::task::JoinHandle<()>);
    impl Drop for Abort {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = actix_web::rt::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap());
        }
    });
    let address = |n: u8| SocketAddr::from(([127, 0, 1, n], port));
    let endpoints = (0..instances).map(|n| endpoint(app, n.into(), address(n))).collect();
    (endpoints, Abort(task))
}

#[actix_web::test]
async fn idle_connections_do_not_exhaust_file_descriptors() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let (_, file) = routes.setting();
    let folder = tempfile::tempdir().unwrap();
    let health = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let settings = [
        ("SCRAPEBROKER__ROUTES__FILE", &*file),
        ("SCRAPEBROKER__HEALTH_LISTEN", &*health.to_string()),
    ];
    let server = Server::start_with_open_files(folder.path(), (256, 1024), &settings);
    let url = format!("http://{}", server.address);
    let get = async |path: &str| send("GET", &format!("{url}{path}"), &[], None).await;
    eventually(async || (get("/-/ready").await.status == 200).then_some(())).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let limit = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(limit.split_whitespace().nth(3), Some("1024"), "{limit}");

    let mut idle = Vec::new();
    for _ in 0..1500 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    // A new connection replaces a connection that has been idle for a second.
    eventually(async || {
        let mut stream = TcpStream::connect(server.address).await.ok()?;
        stream
            .write_all(b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        answer.starts_with(b"HTTP/1.1 200").then_some(())
    })
    .await;
    let healthy = send("GET", &format!("http://{health}/-/healthy"), &[], None).await;
    assert_eq!(healthy.status, 200);
    assert_eq!(get(SCRAPE).await.lines("a{").len(), 1);
    assert_eq!(server.broker_request("GET", "/v2/catalog", None).await.unwrap().status, 200);
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    assert!(descriptors < 700, "{descriptors}");
    assert!(own_metric(&url, "scrapebroker_connections ").await > 100);
    assert!(own_metric(&url, "scrapebroker_connections_refused_total").await > 0);
    assert!(
        own_metric(&url, "scrapebroker_connections_closed_total{reason=\"evicted\"}").await > 0
    );
    drop(idle);
    let open = async || own_metric(&url, "scrapebroker_connections ").await;
    eventually(async || (open().await < 10).then_some(())).await;
}

#[actix_web::test]
async fn a_connection_with_a_running_request_is_never_evicted() {
    let slow =
        Instance::start(|_| Reply::Late(Duration::from_secs(3), Box::new(Reply::metrics("a 1\n"))))
            .await;
    let routes = RouteFile::of_app([&slow]);
    let app = spawn_app(&[routes.setting(), ("MAX_CONNECTIONS", "2".to_owned())]).await;
    let scrape = || {
        let url = app.url(SCRAPE);
        actix_web::rt::spawn(async move { send("GET", &url, &[], None).await })
    };
    let scrapes = [scrape(), scrape()];
    eventually(async || (slow.open_connections() == 2).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut third = TcpStream::connect(app.address).await.unwrap();
    // The connection is closed or reset.
    assert_eq!(
        third.read(&mut [0; 1]).await.unwrap_or(0),
        0,
        "the third connection is closed immediately"
    );
    for scrape in scrapes {
        assert_eq!(scrape.await.unwrap().lines("a{").len(), 1);
    }
}

#[actix_web::test]
async fn unresponsive_instances_of_one_app_do_not_block_scrapes_of_other_apps() {
    let (hung, _listener) = unresponsive_endpoints("hung", 250).await;
    let instance = Instance::with_metrics("a 1\n").await;
    let table = json!({
        "hung.example.com": hung,
        "app.example.com": [endpoint("app", 0, instance.address)],
    });
    let routes = RouteFile::new(&table);
    let settings = [routes.setting(), ("BACKENDS__MAX_CONNECTIONS", "100".to_owned())];
    let app = spawn_app(&settings).await;
    let timeout = ("X-Prometheus-Scrape-Timeout-Seconds", "8");
    let scrapes: Vec<_> = (0..6)
        .map(|_| {
            let url = app.url("/v1/apps/hung-guid/metrics");
            actix_web::rt::spawn(async move { send("GET", &url, &[timeout], None).await })
        })
        .collect();
    let in_use =
        async || own_metric(&app.url(""), "scrapebroker_backend_connections_in_use ").await;
    eventually(async || (in_use().await == 50).then_some(())).await;
    for _ in 0..20 {
        let answer = app.get(SCRAPE).await;
        assert_eq!(answer.lines("a{").len(), 1, "{}", answer.text());
    }
    let mut refused = 0;
    for scrape in scrapes {
        let answer = scrape.await.unwrap();
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.headers.contains_key("retry-after"));
        assert!(answer.text().contains("backends.max_connections"), "{}", answer.text());
        refused += 1;
    }
    let counted = own_metric(&app.url(""), "scrapebroker_backend_connection_refused_total").await;
    assert_eq!(counted, refused);
    assert!(own_metric(&app.url(""), "scrapebroker_backend_connection_waits_total").await > 0);
    eventually(async || (in_use().await == 0).then_some(())).await;
}

/// The response status. None if the connection is closed without a response, for example because of
/// a limit.
async fn get_status(address: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // The connection may be reset after the response.
    let _ = stream.read_to_end(&mut answer).await;
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

/// Clients and scrapes use all file descriptors that the limits allow. Meanwhile a gorouter is
/// polled and bindings are created in the database.
async fn assert_routes_and_bindings_can_change(database_url: Option<String>) {
    const HUNG_APPS: u8 = 8;
    let instance = Instance::with_metrics("a 1\n").await;
    let mut table = serde_json::Map::new();
    let mut listeners = Vec::new();
    for n in 0..HUNG_APPS {
        let app = format!("hung{n}");
        let (endpoints, listener) = unresponsive_endpoints(&app, 100).await;
        table.insert(format!("hung{n}.example.com"), endpoints.into());
        listeners.push(listener);
    }
    let table = Arc::new(Mutex::new(Value::Object(table)));
    let shown = Arc::clone(&table);
    let router = Instance::start(move |_| {
        Reply::Http(200, vec![], shown.lock().unwrap().to_string().into_bytes())
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let health = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{}/routes", router.address);
    let routers = json!([{ "url": url }]).to_string();
    let health_listen = health.to_string();
    let mut settings = vec![
        ("SCRAPEBROKER__ROUTES__GOROUTERS", &*routers),
        ("SCRAPEBROKER__ROUTES__REFRESH_INTERVAL", "1s"),
        ("SCRAPEBROKER__HEALTH_LISTEN", &*health_listen),
        ("SCRAPEBROKER__PROMETHEUS__PROVISIONER", "none"),
        ("SCRAPEBROKER__BROKER__TOKEN_KEY", "a key that is long enough"),
    ];
    settings.extend(database_url.as_deref().map(|url| ("SCRAPEBROKER__DATABASE_URL", url)));
    let server = Server::start_with_open_files(folder.path(), (450, 450), &settings);
    let url = format!("http://{}", server.address);
    let get = async |path: &str| send("GET", &format!("{url}{path}"), &[], None).await;
    eventually(async || (get("/-/ready").await.status == 200).then_some(())).await;

    let is_over = Arc::<AtomicBool>::default();
    let scrapes: Vec<_> = (0..HUNG_APPS)
        .map(|n| {
            let (is_over, address) = (is_over.clone(), server.address);
            actix_web::rt::spawn(async move {
                while !is_over.load(Ordering::SeqCst) {
                    let path = format!("/v1/apps/hung{n}-guid/metrics");
                    let status = get_status(address, &path).await;
                    // The status is 504 if a connection to each instance was available before the
                    // deadline.
                    assert!([None, Some(503), Some(504)].contains(&status), "{status:?}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            })
        })
        .collect();
    let in_use = async || own_metric(&url, "scrapebroker_backend_connections_in_use ").await;
    eventually(async || (in_use().await > 80).then_some(())).await;
    let mut idle = Vec::new();
    for _ in 0..400 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    eventually(async || (descriptors() > 200).then_some(())).await;
    // Afterwards each new connection replaces a connection that was idle for a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;

    table.lock().unwrap()["new.example.com"] = json!([endpoint("new", 0, instance.address)]);
    let is_scraped = async || get_status(server.address, "/v1/apps/new-guid/metrics").await;
    eventually(async || (is_scraped().await == Some(200)).then_some(())).await;
    let catalog =
        eventually(async || server.broker_request("GET", "/v2/catalog", None).await).await.json();
    let (service, plan) =
        (&catalog["services"][0]["id"], &catalog["services"][0]["plans"][0]["id"]);
    for n in 0..5 {
        let provision = json!({
            "service_id": service, "plan_id": plan,
            "organization_guid": "org-guid", "space_guid": "space-guid",
        });
        let path = format!("/v2/service_instances/i{n}");
        let made =
            eventually(async || server.broker_request("PUT", &path, Some(provision.clone())).await);
        let made = made.await;
        assert!([200, 201].contains(&made.status), "{}", made.text());
    }
    let healthy = send("GET", &format!("http://{health}/-/healthy"), &[], None).await;
    assert_eq!(healthy.status, 200);
    eventually(async || (in_use().await > 80).then_some(())).await;
    assert!(descriptors() < 450, "{}", descriptors());
    let log = server.log_text();
    assert!(!log.contains("Too many open files") && !log.contains("os error 24"), "{log}");
    drop(idle);
    is_over.store(true, Ordering::SeqCst);
    for scrape in scrapes {
        scrape.await.unwrap();
    }
}

#[actix_web::test]
async fn routes_and_bindings_can_change_while_connection_limits_are_reached() {
    assert_routes_and_bindings_can_change(None).await;
    let database = Database::create().await;
    assert_routes_and_bindings_can_change(Some(database.url())).await;
    database.drop().await;
}

#[actix_web::test]
async fn an_app_with_more_instances_than_connections_is_scraped_completely() {
    let mut instances = Vec::new();
    for n in 0..30 {
        instances.push(Instance::with_metrics(&format!("a {n}\n")).await);
    }
    let routes = RouteFile::of_app(&instances);
    let settings = [routes.setting(), ("BACKENDS__MAX_CONNECTIONS", "6".to_owned())];
    let app = spawn_app(&settings).await;
    for _ in 0..5 {
        let answer = app.get(SCRAPE).await;
        assert_eq!(answer.lines("a{").len(), 30, "{}", answer.text());
        let open: usize = instances.iter().map(Instance::open_connections).sum();
        assert!(open <= 8, "{open} connections are open");
    }
}

/// An app whose response is larger than the socket buffers.
async fn app_with_large_response() -> (Instance, RouteFile) {
    let line = format!("m{{filler=\"{}\"}} 1\n", "x".repeat(1000));
    let body: String = (0..40_000).map(|n| line.replace("m{", &format!("m{{n=\"{n}\","))).collect();
    let instance = Instance::with_metrics(&body).await;
    let routes = RouteFile::of_app([&instance]);
    (instance, routes)
}

/// Sends a request and does not read the response.
async fn start_request(address: SocketAddr, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[actix_web::test]
async fn an_unread_response_is_aborted_and_its_memory_is_released() {
    let (_instance, routes) = app_with_large_response().await;
    let app = spawn_app(&[routes.setting(), ("WRITE_TIMEOUT", "2s".to_owned())]).await;
    let url = app.url("");
    let held = async || own_metric(&url, "scrapebroker_body_memory_bytes ").await;
    let mut unread = Vec::new();
    for path in [SCRAPE, "/v2/apps/app-guid/metrics"] {
        unread.push(start_request(app.address, path).await);
    }
    eventually(async || (held().await > 0).then_some(())).await;
    eventually(async || (held().await == 0).then_some(())).await;
    assert_eq!(own_metric(&url, "scrapebroker_answers_stalled_total").await, 2);
    for mut stream in unread {
        let mut text = Vec::new();
        // Either the connection is reset, or only the buffered data is read.
        let _ = stream.read_to_end(&mut text).await;
        assert!(text.len() < 30_000_000, "{} bytes of 40 MB", text.len());
    }
}

#[actix_web::test]
async fn a_slowly_read_response_is_sent_completely() {
    let line = format!("m{{filler=\"{}\"}} 1\n", "x".repeat(1000));
    let body: String = (0..3_000).map(|n| line.replace("m{", &format!("m{{n=\"{n}\","))).collect();
    let instance = Instance::with_metrics(&body).await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting(), ("WRITE_TIMEOUT", "2s".to_owned())]).await;
    let started = Instant::now();
    let mut stream = start_request(app.address, SCRAPE).await;
    let (mut text, mut piece) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        match stream.read(&mut piece).await.unwrap() {
            0 => break,
            n => text.extend_from_slice(&piece[..n]),
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!(parse_response(&text).lines("m{").len(), 3_000);
    assert!(
        started.elapsed() > Duration::from_secs(5),
        "the response takes longer than the timeout"
    );
}

#[actix_web::test]
async fn every_large_unread_response_is_aborted() {
    let endpoints: Vec<_> = (0..8_000)
        .map(|n: u32| {
            let [_, a, b, c] = n.to_be_bytes();
            endpoint("app", n as usize, SocketAddr::from(([10, a, b, c], 8080)))
        })
        .collect();
    let routes = RouteFile::new(&json!({ "app.example.com": endpoints }));
    let settings = [routes.setting(), ("WRITE_TIMEOUT", "2s".to_owned())];
    let app = spawn_app(&settings).await;
    let url = app.url("");
    let before = own_metric(&url, "scrapebroker_connections ").await;
    for (n, path) in ["/routes", "/sd", "/v1/apps/app-guid"].into_iter().enumerate() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let mut stream = socket.connect(app.address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n\r\n",
            basic(USER, PASSWORD)
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let stalled = async || own_metric(&url, "scrapebroker_answers_stalled_total").await;
        eventually(async || (stalled().await == n as u64 + 1).then_some(())).await;
        let open = async || own_metric(&url, "scrapebroker_connections ").await;
        eventually(async || (open().await <= before).then_some(())).await;
        drop(stream);
    }
}

/// A Prometheus that sends responses with a given head and an endless body.
struct Endless {
    address: SocketAddr,
    /// The number of bytes that were sent.
    sent: Arc<AtomicUsize>,
    /// The number of open connections.
    open: Arc<AtomicUsize>,
}

impl Endless {
    async fn start(head: &'static str, piece: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sent, open) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let endless = Self { address, sent: Arc::clone(&sent), open: Arc::clone(&open) };
        let piece = Arc::new(piece);
        actix_web::rt::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (sent, open, piece) = (sent.clone(), open.clone(), piece.clone());
                open.fetch_add(1, Ordering::SeqCst);
                actix_web::rt::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(head.as_bytes()).await;
                    while stream.write_all(&piece).await.is_ok() {
                        sent.fetch_add(piece.len(), Ordering::SeqCst);
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        endless
    }
}

#[actix_web::test]
async fn an_unread_query_response_is_aborted_and_its_query_is_canceled() {
    let chunk = [b"10000\r\n", vec![b'x'; 0x10000].as_slice(), b"\r\n"].concat();
    let heads = [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", vec![b'x'; 0x10000]),
    ];
    let write_timeout = ("WRITE_TIMEOUT", "2s".to_owned());
    let fixture = Fixture::start_with("http://metrics.example.com", &[write_timeout]).await;
    let url = fixture.app.url("");
    for (nth, (head, piece)) in heads.into_iter().enumerate() {
        let prometheus = Endless::start(head, piece).await;
        let id = format!("endless-{nth}");
        let token =
            fixture.instance(&id, &[server(0, &format!("http://{}", prometheus.address))]).await;
        let before = own_metric(&url, "scrapebroker_connections ").await;
        let mut unread = Vec::new();
        for _ in 0..3 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(16 << 10).unwrap();
            let mut stream = socket.connect(fixture.app.address).await.unwrap();
            let authorization = basic("anyone", &token);
            let request = format!(
                "GET /prometheus/{id}{QUERY} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            unread.push(stream);
        }
        let open = || prometheus.open.load(Ordering::SeqCst);
        eventually(async || (open() == 3).then_some(())).await;
        eventually(async || (open() == 0).then_some(())).await;
        // Only the buffers between the server and the client hold unread data.
        let taken = prometheus.sent.load(Ordering::SeqCst) / 3;
        assert!(taken < 20 << 20, "{taken} bytes of each response");
        let stalled = own_metric(&url, "scrapebroker_answers_stalled_total").await;
        assert_eq!(stalled, 3 * (nth as u64 + 1), "{head}");
        for series in
            ["scrapebroker_backend_connections_in_use ", "scrapebroker_backend_connections "]
        {
            eventually(async || (own_metric(&url, series).await == 0).then_some(())).await;
        }
        let connections = async || own_metric(&url, "scrapebroker_connections ").await;
        eventually(async || (connections().await <= before).then_some(())).await;
        for mut stream in unread {
            let mut text = Vec::new();
            // Either the connection is reset, or only the buffered data is read.
            let _ = stream.read_to_end(&mut text).await;
            assert!(text.len() < 20 << 20, "{} bytes", text.len());
        }
    }
}

/// The program with TLS.
struct Secured {
    authority: Authority,
    _files: Files,
    app: TestApp,
}

type Http2 = h2::client::SendRequest<Bytes>;

impl Secured {
    async fn start(routes: &RouteFile, more: &[(&'static str, String)]) -> Self {
        let (authority, files) = (Authority::new("scrapebroker"), Files::create());
        files.write_identity(&authority.issue("localhost"));
        let mut settings = vec![
            routes.setting(),
            ("TLS__CERT_FILE", files.path("cert")),
            ("TLS__KEY_FILE", files.path("key")),
        ];
        settings.extend(more.iter().cloned());
        let app = spawn_app(&settings).await;
        let secured = Self { authority, _files: files, app };
        eventually(async || {
            let (status, _) = get(&mut secured.connect().await, "/-/ready", &[]).await;
            (status == 200).then_some(())
        })
        .await;
        secured
    }

    async fn connect(&self) -> Http2 {
        self.connect_with_window(64 << 10).await
    }

    /// A connection whose streams have this window.
    async fn connect_with_window(&self, window: u32) -> Http2 {
        let client = client(&self.authority, None, &["h2"], &[&TLS13]);
        let stream = TcpStream::connect(self.app.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = client.connect(name, stream).await.unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(1 << 20);
        let (sender, connection) = builder.handshake(stream).await.unwrap();
        actix_web::rt::spawn(async move {
            let _ = connection.await;
        });
        sender
    }

    /// Sends a request with these HPACK-encoded header fields. Waits for a response or the end of
    /// the connection.
    async fn send_head(&self, fields: &[u8]) {
        let client = client(&self.authority, None, &["h2"], &[&TLS13]);
        let stream = TcpStream::connect(self.app.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = client.connect(name, stream).await.unwrap();
        let frame = |kind: u8, flags: u8, id: u8, content: &[u8]| {
            let length = (content.len() as u32).to_be_bytes();
            let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, id];
            [&head[..], content].concat()
        };
        let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        sent.extend(frame(4, 0, 0, &[]));
        // The block has `:method` GET, `:scheme` https, `:authority` and `:path`.
        let mut block = vec![0x82, 0x87, 0x01, 9];
        block.extend_from_slice(b"localhost");
        block.extend_from_slice(&[0x04, SCRAPE.len() as u8]);
        block.extend_from_slice(SCRAPE.as_bytes());
        block.extend_from_slice(fields);
        let pieces: Vec<_> = block.chunks(16 << 10).collect();
        for (n, piece) in pieces.iter().enumerate() {
            let kind = if n == 0 { 1 } else { 9 };
            let ends_stream = u8::from(n == 0);
            let ends_headers = if n + 1 == pieces.len() { 4 } else { 0 };
            sent.extend(frame(kind, ends_stream | ends_headers, 1, piece));
        }
        // The server may close the connection early.
        let _ = stream.write_all(&sent).await;
        let mut answer = [0; 9];
        loop {
            // The frame is HEADERS, RST_STREAM or GOAWAY.
            match stream.read_exact(&mut answer).await {
                Ok(_) if [1, 3, 7].contains(&answer[3]) => return,
                Ok(_) => {
                    let length = u32::from_be_bytes([0, answer[0], answer[1], answer[2]]);
                    stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
                }
                Err(_) => return,
            }
        }
    }

    async fn own_metric(&self, series: &str) -> u64 {
        let (_, text) = get(&mut self.connect().await, "/metrics", &[]).await;
        let line = text.lines().find(|line| line.starts_with(series)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
    }
}

fn request(path: &str, headers: &[(String, String)]) -> http::Request<()> {
    let mut request = http::Request::get(format!("https://localhost{path}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(()).unwrap()
}

/// Status and body of a response. The status is 0 if the connection or the stream was closed.
async fn get(sender: &mut Http2, path: &str, headers: &[(String, String)]) -> (u16, String) {
    let Ok(mut ready) = sender.clone().ready().await else { return (0, String::new()) };
    let (answer, _) = ready.send_request(request(path, headers), true).unwrap();
    let Ok(answer) = answer.await else { return (0, String::new()) };
    let (head, mut body) = answer.into_parts();
    let mut text = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        body.flow_control().release_capacity(piece.len()).unwrap();
        text.extend_from_slice(&piece);
    }
    (head.status.as_u16(), String::from_utf8(text).unwrap())
}

fn fields(count: usize, length: usize) -> Vec<(String, String)> {
    (0..count).map(|n| (format!("x-{n}"), "v".repeat(length))).collect()
}

#[actix_web::test]
async fn large_request_heads_are_refused_with_http1_and_http2() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let secured = Secured::start(&routes, &[]).await;
    let plain = spawn_app(&[routes.setting()]).await;
    let refused =
        [(91, 10, "has 9"), (60, 1000, "have 6"), (200, 1000, "has 20"), (250, 10, "has 2")];
    for (count, length, why) in refused {
        let headers = fields(count, length);
        let (status, text) = get(&mut secured.connect().await, SCRAPE, &headers).await;
        assert_eq!(status, 431, "{count} {length}");
        assert!(text.contains(why) && text.contains("that are allowed"), "{count} {length} {text}");
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let answer = plain.get_with(SCRAPE, &headers).await;
        assert_eq!(answer.status, 431, "{count} {length} {}", answer.text());
        assert!(answer.text().contains("that are allowed"), "{count} {length} {answer:?}");
    }
    for (count, length) in [(80, 100), (30, 1000)] {
        let (status, text) =
            get(&mut secured.connect().await, SCRAPE, &fields(count, length)).await;
        assert_eq!(status, 200, "{text}");
        let headers = fields(count, length);
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(plain.get_with(SCRAPE, &headers).await.status, 200);
    }
}

#[actix_web::test]
async fn large_request_heads_that_only_http2_allows_are_limited() {
    let mut instances = Vec::new();
    for _ in 0..40 {
        instances.push(Instance::with_metrics("a 1\n").await);
    }
    let routes = RouteFile::of_app(&instances);
    let secured = Secured::start(&routes, &[]).await;
    let literal = |name: &str, value: &str| {
        let mut field = vec![0x40, name.len() as u8];
        field.extend_from_slice(name.as_bytes());
        // A length of 127 or more continues in the next byte.
        let length = value.len() - 127;
        field.extend_from_slice(&[127, (length % 128) as u8 | 128, (length / 128) as u8]);
        field.extend_from_slice(value.as_bytes());
        field
    };
    // A field of the dynamic table is encoded in one byte.
    let mut indexed = literal("x-large", &"v".repeat(3_900));
    indexed.extend_from_slice(&[0xbe; 100_000]);
    let names = (0..40_000).flat_map(|n| {
        let name = format!("x-{n}");
        [&[0, name.len() as u8][..], name.as_bytes(), &[1, b'v']].concat()
    });
    for block in [indexed, names.collect()] {
        let before = secured.own_metric("process_resident_memory_bytes").await;
        secured.send_head(&block).await;
        let after = secured.own_metric("process_resident_memory_bytes").await;
        assert!(after < before + (64 << 20), "{before} {after}");
    }
    assert!(
        instances.iter().all(|instance| instance.requests().is_empty()),
        "no instance was scraped"
    );
    let (status, _) = get(&mut secured.connect().await, SCRAPE, &[]).await;
    assert_eq!(status, 200, "other clients are still served");
}

#[actix_web::test]
async fn an_unread_http2_stream_is_reset_and_the_connection_stays_open() {
    let (_instance, routes) = app_with_large_response().await;
    let write_timeout = [("WRITE_TIMEOUT", "2s".to_owned())];
    let secured = Secured::start(&routes, &write_timeout).await;
    let mut sender = secured.connect().await;
    let (answer, _) = sender.send_request(request(SCRAPE, &[]), true).unwrap();
    let (head, mut body) = answer.await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    eventually(async || {
        (secured.own_metric("scrapebroker_body_memory_bytes ").await == 0).then_some(())
    })
    .await;
    assert_eq!(secured.own_metric("scrapebroker_answers_stalled_total").await, 1);
    let error = loop {
        match body.data().await.unwrap() {
            Ok(piece) => body.flow_control().release_capacity(piece.len()).unwrap(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    assert_eq!(get(&mut sender, "/-/ready", &[]).await.0, 200);
}

/// Sends 100 requests on a connection whose client never opens its window. Returns the responses
/// without their bodies.
async fn unread_requests(secured: &Secured) -> (Http2, Vec<http::Response<h2::RecvStream>>) {
    let sender = secured.connect_with_window(0).await;
    let mut answers = Vec::new();
    for _ in 0..100 {
        let mut ready = sender.clone().ready().await.unwrap();
        answers.push(ready.send_request(request("/-/ready", &[]), true).unwrap().0);
    }
    let answers = futures_util::future::join_all(answers).await;
    (sender, answers.into_iter().map(Result::unwrap).collect())
}

#[actix_web::test]
async fn requests_of_all_http2_connections_together_are_limited() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let settings = [("WRITE_TIMEOUT", "600s".to_owned()), ("MAX_CONNECTIONS", "100".to_owned())];
    let secured = Secured::start(&routes, &settings).await;
    let mut connections = Vec::new();
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for _ in 0..22 {
        let (sender, answers) = unread_requests(&secured).await;
        for answer in &answers {
            *statuses.entry(answer.status().as_u16()).or_default() += 1;
        }
        connections.push((sender, answers));
    }
    // 64 MiB are allowed, and each request counts as a little more than 32 KiB.
    assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), [200, 503], "{statuses:?}");
    assert!((1950..2048).contains(&statuses[&200]), "{statuses:?}");
    let (status, text) = get(&mut secured.connect().await, "/-/ready", &[]).await;
    assert_eq!(status, 503);
    assert!(text.contains("Too many requests are under way"), "{text}");
    drop(connections);
    eventually(async || {
        let (status, _) = get(&mut secured.connect().await, "/-/ready", &[]).await;
        (status == 200).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn http2_streams_whose_window_stays_closed_are_reset() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let secured = Secured::start(&routes, &[("WRITE_TIMEOUT", "1s".to_owned())]).await;
    let (_sender, answers) = unread_requests(&secured).await;
    let started = Instant::now();
    for answer in answers {
        assert_eq!(answer.status(), 200);
        let error = answer.into_body().data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(secured.own_metric("scrapebroker_answers_stalled_total").await, 100);
}
