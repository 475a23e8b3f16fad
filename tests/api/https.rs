//! HTTPS on the main listener: TLS versions, client certificates, reloads and limits.

use crate::{sd_export, test_app::*};
use rustls::{
    SupportedProtocolVersion,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use std::{
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};
use support::{certificates::*, programs::Prometheus, *};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const METRICS: &str = "/v1/apps/app-guid/metrics";
const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

struct Listener {
    authority: Authority,
    files: Files,
    routes: RouteFile,
    app: TestApp,
}

impl Listener {
    async fn start(instances: &[&Instance], more: &[(&'static str, String)]) -> Self {
        let (authority, files) = (Authority::new("scrapebroker"), Files::create());
        files.write_identity(&authority.issue("localhost"));
        files.write("ca", &authority.pem);
        let routes = RouteFile::of_app(instances.iter().copied());
        let mut settings = vec![
            routes.setting(),
            ("TLS__CERT_FILE", files.path("cert")),
            ("TLS__KEY_FILE", files.path("key")),
        ];
        settings.extend(more.iter().cloned());
        let app = spawn_app(&settings).await;
        Self { authority, files, routes, app }
    }

    fn client(&self, identity: Option<&Identity>) -> TlsConnector {
        client(&self.authority, identity, &[], BOTH)
    }

    async fn scrape(&self, client: &TlsConnector) -> io::Result<Response> {
        get(self.app.address, client, METRICS).await
    }

    /// Waits until the route table is loaded.
    async fn ready(&self, client: &TlsConnector) {
        eventually(async || {
            let answer = get(self.app.address, client, "/-/ready").await.unwrap();
            (answer.status == 200).then_some(())
        })
        .await;
    }
}

async fn connect(address: SocketAddr, client: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    client.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

async fn get(address: SocketAddr, client: &TlsConnector, path: &str) -> io::Result<Response> {
    let mut stream = connect(address, client).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await?;
    Ok(parse_response(&raw))
}

#[actix_web::test]
async fn a_real_prometheus_scrapes_a_route_url_over_https() {
    let first = Instance::with_metrics("# TYPE jobs_total counter\njobs_total 5\n").await;
    let second = Instance::with_metrics("# TYPE jobs_total counter\njobs_total 7\n").await;
    let clients = Authority::new("scrapers");
    let scraper = Files::create();
    scraper.write_identity(&clients.issue("prometheus"));
    scraper.write("clients", &clients.pem);
    let client_ca = [("TLS__CLIENT_CA_FILE", scraper.path("clients"))];
    for more in [&[][..], &client_ca] {
        let listener = Listener::start(&[&first, &second], more).await;
        let prometheus = Prometheus::start(&format!(
            "- job_name: my-app
  scheme: https
  metrics_path: /v1/apps/metrics
  params: {{route_url: [app.example.com]}}
  honor_labels: true
  tls_config: {{ca_file: '{}', cert_file: '{}', key_file: '{}', server_name: localhost}}
  static_configs: [{{targets: ['{}']}}]
",
            listener.files.path("ca"),
            scraper.path("cert"),
            scraper.path("key"),
            listener.app.address
        ));
        let up = prometheus.query("up{job=\"my-app\"} == 1").await;
        assert_eq!(up.len(), 1);
        let sum = prometheus.query("sum(jobs_total{app_name=\"app\"}) == 12").await;
        assert_eq!(sum.len(), 1);
    }
}

#[actix_web::test]
async fn tls_1_2_and_1_3_and_both_http_versions_are_supported() {
    let instance = Instance::with_metrics("a 1\n").await;
    let listener = Listener::start(&[&instance], &[("LISTEN", "127.0.0.2:0".to_owned())]).await;
    listener.ready(&listener.client(None)).await;
    for version in [&TLS12, &TLS13] {
        let client = client(&listener.authority, None, &[], &[version]);
        let answer = listener.scrape(&client).await.unwrap();
        assert_eq!(answer.lines("a{").len(), 1, "{}", answer.text());
    }
    // This is the address of the scraper.
    assert_eq!(instance.requests()[0].headers["x-forwarded-for"], "127.0.0.1");
    for (offered, chosen) in [(&["h2", "http/1.1"][..], "h2"), (&["http/1.1"], "http/1.1")] {
        let client = client(&listener.authority, None, offered, BOTH);
        let stream = connect(listener.app.address, &client).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(chosen.as_bytes()));
    }
}

#[actix_web::test]
async fn the_status_line_of_a_failed_scrape_names_the_reason() {
    let listener = Listener::start(&[], &[]).await;
    listener.routes.write(&serde_json::json!({
        "app.example.com": [endpoint("app", 0, closed_address())],
    }));
    let client = listener.client(None);
    listener.ready(&client).await;
    let reason = eventually(async || {
        let answer = listener.scrape(&client).await.unwrap();
        (answer.status == 502).then_some(answer.reason)
    });
    assert_eq!(reason.await, "connect: nothing listens at the instance's address");
}

#[actix_web::test]
async fn clients_need_a_certificate_if_a_client_authority_is_configured() {
    let clients = Authority::new("scrapers");
    let files = Files::create();
    files.write("clients", &clients.pem);
    let instance = Instance::with_metrics("a 1\n").await;
    let setting = [("TLS__CLIENT_CA_FILE", files.path("clients"))];
    let listener = Listener::start(&[&instance], &setting).await;
    let good = clients.issue("prometheus");
    listener.ready(&listener.client(Some(&good))).await;
    let refused = [
        ("none", None),
        ("expired", Some(clients.issue_with("prometheus", expired))),
        ("not yet valid", Some(clients.issue_with("prometheus", not_yet_valid))),
        ("self-signed", Some(self_signed("prometheus"))),
        ("of another authority", Some(listener.authority.issue("prometheus"))),
    ];
    for version in [&TLS12, &TLS13] {
        for (name, identity) in &refused {
            let client = client(&listener.authority, identity.as_ref(), &[], &[version]);
            let error = listener.scrape(&client).await.unwrap_err();
            let alert = error.to_string().contains("received fatal alert");
            // A client that is still writing may find the connection closed.
            let closed = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
            assert!(alert || closed.contains(&error.kind()), "{name}: {error}");
        }
        let client = client(&listener.authority, Some(&good), &[], &[version]);
        assert_eq!(listener.scrape(&client).await.unwrap().status, 200);
    }

    // The next connections are verified with another authority.
    let next = Authority::new("next scrapers");
    files.write("clients", &next.pem);
    let client = listener.client(Some(&next.issue("prometheus")));
    eventually(async || listener.scrape(&client).await.ok()).await;
    let before = listener.client(Some(&good));
    assert!(listener.scrape(&before).await.is_err());
}

#[actix_web::test]
async fn a_new_certificate_is_loaded_and_an_invalid_one_is_ignored() {
    let listener = Listener::start(&[], &[]).await;
    let next = Authority::new("next");
    let of_next = client(&next, None, &[], BOTH);
    assert!(connect(listener.app.address, &of_next).await.is_err());
    listener.files.write_identity(&next.issue("localhost"));
    eventually(async || connect(listener.app.address, &of_next).await.ok()).await;

    // First the certificate does not match the key, then both files are invalid.
    let failed = async || {
        let own = get(listener.app.address, &of_next, "/metrics").await.unwrap();
        failed_reloads(&own, "tls")
    };
    let before = failed().await;
    listener.files.write("cert", &listener.authority.issue("localhost").cert);
    eventually(async || (failed().await > before).then_some(())).await;
    let before = failed().await;
    listener.files.write("cert", "broken");
    listener.files.write("key", "");
    eventually(async || (failed().await > before).then_some(())).await;
    assert!(connect(listener.app.address, &of_next).await.is_ok());

    listener.files.write_identity(&listener.authority.issue("localhost"));
    let first = listener.client(None);
    eventually(async || connect(listener.app.address, &first).await.ok()).await;
}

#[actix_web::test]
async fn hanging_handshakes_time_out_and_do_not_affect_other_clients() {
    let (authority, files) = (Authority::new("scrapebroker"), Files::create());
    files.write_identity(&authority.issue("localhost"));
    let server = Server::start(&[
        ("SCRAPEBROKER__TLS__CERT_FILE", files.path("cert")),
        ("SCRAPEBROKER__TLS__KEY_FILE", files.path("key")),
        ("SCRAPEBROKER__TLS__HANDSHAKE_TIMEOUT", "15s".to_owned()),
    ]);
    let address = server.address();
    let client = client(&authority, None, &[], BOTH);
    let healthy = async || get(address, &client, "/-/healthy").await.unwrap().status;
    // By default a worker performs up to 256 handshakes concurrently.
    let workers = std::thread::available_parallelism().unwrap().get();
    let mut hanging = Vec::new();
    for n in 0..(256 * workers + 40).min(900) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if n % 2 == 0 {
            // This is the beginning of a TLS handshake.
            stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        }
        hanging.push(stream);
    }
    assert_eq!(healthy().await, 200);
    // The hanging connections are still open.
    let still_hangs = hanging[0].try_read(&mut [0; 64]);
    assert_eq!(still_hangs.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    for mut stream in hanging {
        // The connection is closed or reset; otherwise the test would hang.
        let _ = stream.read(&mut [0; 64]).await;
    }
    assert_eq!(healthy().await, 200);
}

/// What the listener answers to `bytes`, sent without TLS.
async fn answer_to(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(bytes).await.unwrap();
    let mut raw = Vec::new();
    // Unknown protocols are not answered.
    let _ = plain.read_to_end(&mut raw).await;
    raw
}

#[actix_web::test]
async fn failed_handshakes_are_counted_by_reason_and_logged() {
    let (authority, files) = (Authority::new("scrapebroker"), Files::create());
    files.write_identity(&authority.issue("localhost"));
    files.write("clients", &authority.pem);
    let server = Server::start(&[
        ("SCRAPEBROKER__TLS__CERT_FILE", files.path("cert")),
        ("SCRAPEBROKER__TLS__KEY_FILE", files.path("key")),
        ("SCRAPEBROKER__TLS__CLIENT_CA_FILE", files.path("clients")),
        ("SCRAPEBROKER__TLS__HANDSHAKE_TIMEOUT", "1s".to_owned()),
    ]);
    let address = server.address();
    let identity = authority.issue("prometheus");
    let good = client(&authority, Some(&identity), &[], BOTH);
    let failed = async |reason: &str| {
        let own = get(address, &good, "/metrics").await.unwrap();
        let name = format!("scrapebroker_tls_handshakes_failed_total{{reason=\"{reason}\"}} ");
        own.lines(&name)[0].strip_prefix(&name).unwrap().parse::<u64>().unwrap()
    };
    let reasons = [
        "timeout",
        "plain_http",
        "not_tls",
        "closed",
        "client_certificate",
        "incompatible",
        "alert",
        "other",
    ];
    for reason in reasons {
        assert_eq!(failed(reason).await, 0, "{reason}");
    }
    // A check of a load balancer is no handshake.
    drop(TcpStream::connect(address).await.unwrap());

    let long = format!("POST / HTTP/1.1\r\nHost: x\r\n\r\n{}", "x".repeat(32 << 10));
    for request in ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", &long] {
        let answer = parse_response(&answer_to(address, request.as_bytes()).await);
        let text = "Client sent an HTTP request to an HTTPS server.\n";
        assert_eq!((answer.status, &*answer.text()), (400, text));
    }
    assert_eq!(answer_to(address, b"\x00\x01").await, b"");
    // A handshake that ends, and one that does not go on.
    let mut partial = TcpStream::connect(address).await.unwrap();
    partial.write_all(&[22, 3, 1]).await.unwrap();
    drop(partial);
    assert_eq!(answer_to(address, &[22, 3, 1]).await, b"");
    assert_eq!(answer_to(address, b"").await, b"");
    // A client without a certificate, and one that does not trust the server.
    let anonymous = client(&authority, None, &[], BOTH);
    let _ = get(address, &anonymous, "/").await.unwrap_err();
    let suspicious = client(&Authority::new("other"), Some(&identity), &[], BOTH);
    let _ = get(address, &suspicious, "/").await.unwrap_err();
    for (reason, count) in [
        ("plain_http", 2),
        ("not_tls", 1),
        ("closed", 1),
        ("timeout", 2),
        ("client_certificate", 1),
        ("alert", 1),
        ("other", 0),
    ] {
        eventually(async || (failed(reason).await == count).then_some(())).await;
    }
    let line = server.logs("tls handshake with a client failed");
    assert!(line.contains(" peer=127.0.0.1:") && line.contains("reason=\"plain_http\""), "{line}");
}

#[actix_web::test]
async fn a_scrape_over_tls_is_canceled_when_the_scraper_disconnects() {
    let instance = Instance::start(|_| Reply::Hang).await;
    // The timeout is longer than any wait of this test.
    let timeout = [("SCRAPE__TIMEOUT", "120s".to_owned())];
    let listener = Listener::start(&[&instance], &timeout).await;
    listener.ready(&listener.client(None)).await;
    let address = listener.app.address;

    let mut scraper = connect(address, &listener.client(None)).await.unwrap();
    let request = format!("GET {METRICS} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    scraper.write_all(request.as_bytes()).await.unwrap();
    eventually(async || (instance.open_connections() == 1).then_some(())).await;
    drop(scraper);
    eventually(async || (instance.open_connections() == 0).then_some(())).await;

    // With HTTP/2, first the connection is closed, then a single stream is reset.
    let client = client(&listener.authority, None, &["h2"], BOTH);
    let start = async || {
        let stream = connect(address, &client).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = actix_web::rt::spawn(connection);
        let request = http::Request::get(format!("https://localhost{METRICS}")).body(()).unwrap();
        let (answer, _) = sender.send_request(request, true).unwrap();
        eventually(async || (instance.open_connections() == 1).then_some(())).await;
        (sender, answer, connection)
    };
    let (_sender, _answer, connection) = start().await;
    connection.abort();
    eventually(async || (instance.open_connections() == 0).then_some(())).await;
    let (_sender, answer, connection) = start().await;
    drop(answer);
    eventually(async || (instance.open_connections() == 0).then_some(())).await;
    assert!(!connection.is_finished());
    drop(listener.routes);
}

#[actix_web::test]
async fn a_large_response_over_http2_is_complete() {
    let body: String = (0..50_000).map(|n| format!("a{{n=\"{n}\"}} 1\n")).collect();
    let instance = Instance::with_metrics(&body).await;
    let listener = Listener::start(&[&instance], &[]).await;
    listener.ready(&listener.client(None)).await;
    let client = client(&listener.authority, None, &["h2"], BOTH);
    let stream = connect(listener.app.address, &client).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    actix_web::rt::spawn(connection);
    let request = http::Request::get(format!("https://localhost{METRICS}")).body(()).unwrap();
    let (answer, _) = sender.send_request(request, true).unwrap();
    let (head, mut answer) = answer.await.unwrap().into_parts();
    let mut text = Vec::new();
    while let Some(piece) = answer.data().await {
        let piece = piece.unwrap();
        answer.flow_control().release_capacity(piece.len()).unwrap();
        text.extend_from_slice(&piece);
    }
    assert_eq!(head.headers["content-length"], text.len().to_string());
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("a{")).count(), 50_000);
}

/// The program as a process, and its log.
struct Server {
    child: std::process::Child,
    log: mpsc::Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(settings: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalog = concat!(env!("CARGO_MANIFEST_DIR"), "/broker-catalog.json");
        let mut child = Command::new(env!("CARGO_BIN_EXE_scrapebroker"))
            .arg("serve")
            .env_clear()
            .current_dir(&folder)
            .env("SCRAPEBROKER__LISTEN", "127.0.0.1:0")
            .env("SCRAPEBROKER__BROKER__CATALOG", catalog)
            .envs(settings.iter().map(|(key, value)| (*key, value)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, log, _folder: folder }
    }

    fn address(&self) -> SocketAddr {
        let line = self.logs("listening ");
        let after = line.rsplit(" address=").next().unwrap();
        after.split(' ').next().unwrap().parse().unwrap()
    }

    /// Waits for a line with `text`.
    fn logs(&self, text: &str) -> String {
        let mut before = Vec::new();
        loop {
            match self.log.recv_timeout(Duration::from_secs(30)) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => before.push(line),
                Err(error) => panic!("no line with {text:?} ({error}) in {before:#?}"),
            }
        }
    }

    fn send_sighup(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    }
}

#[test]
fn sighup_reloads_certificates_and_logs_the_result() {
    let (authority, files) = (Authority::new("scrapebroker"), Files::create());
    files.write_identity(&authority.issue("localhost"));
    let server = Server::start(&[
        ("SCRAPEBROKER__TLS__CERT_FILE", files.path("cert")),
        ("SCRAPEBROKER__TLS__KEY_FILE", files.path("key")),
        ("SCRAPEBROKER__BACKENDS__SKIP_VERIFY", "true".to_owned()),
    ]);
    server.logs("backends.skip_verify is set");
    server.logs("listening ");
    server.send_sighup();
    server.logs("certificates reloaded section=\"tls\"");
    files.write("key", &authority.issue("localhost").key);
    server.send_sighup();
    let line = server.logs("files not reloaded; keeping the previous content section=\"tls\"");
    assert!(line.contains(" error=\"tls.key_file: "), "{line}");
    files.write_identity(&authority.issue("localhost"));
    server.logs("certificates reloaded section=\"tls\"");
}

#[test]
fn unusable_certificates_are_configuration_errors() {
    let files = Files::create();
    files.write_identity(&self_signed("localhost"));
    files.write("other", &self_signed("localhost").key);
    let cases = [
        ("TLS", "cert", "missing", "tls.key_file: "),
        ("TLS", "cert", "other", "does not match the certificate"),
        ("BACKENDS", "key", "key", "backends.cert_file: "),
    ];
    for (section, cert, key, expected) in cases {
        for command in ["check-config", "serve"] {
            let output = Command::new(env!("CARGO_BIN_EXE_scrapebroker"))
                .arg(command)
                .env_clear()
                .env("SCRAPEBROKER__DATABASE_URL", "sqlite::memory:")
                .env(format!("SCRAPEBROKER__{section}__CERT_FILE"), files.path(cert))
                .env(format!("SCRAPEBROKER__{section}__KEY_FILE"), files.path(key))
                .output()
                .unwrap();
            let message = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(64), "{message}");
            assert!(message.contains(expected), "{message}");
        }
    }
}

#[actix_web::test]
async fn targets_are_exported_over_https() {
    let instance = Instance::with_metrics("a 1\n").await;
    let listener = Listener::start(&[&instance], &[]).await;
    listener.ready(&listener.client(None)).await;
    listener.files.write("token", &format!("{USER}:{PASSWORD}"));
    let (token, out) = (listener.files.path("token"), listener.files.path("targets"));
    let url = format!("https://localhost:{}/sd", listener.app.address.port());
    let arguments = ["--url", &url, "--token-file", &token, "--out", &out];
    let trusted = [("SSL_CERT_FILE", listener.files.path("ca"))];
    let (code, message) = sd_export::export(&arguments, &trusted).await;
    assert_eq!(code, 0, "{message}");
    let (code, message) =
        sd_export::export(&arguments, &[("SSL_CERT_FILE", "/dev/null".to_owned())]).await;
    assert!(code == 69 && message.contains("certificate"), "{code} {message}");
}
