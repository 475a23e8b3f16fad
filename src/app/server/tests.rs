//! What requests learn about their connection, over sockets.

use super::*;
use crate::{
    app::{connections::ConnectionMetrics, tls_handshake::HandshakeFailures},
    events::{
        evidence::{AckBy, NackBy, ScrapeConnection, Verdict},
        sockets::SocketTable,
    },
    telemetry::running::{self, ConnectionEnds, Running},
    tls::{Alpn, ListenerSettings, ListenerTls, Pem, PemSource},
};
use actix_web::{App, HttpRequest, HttpResponse, dev::ServerHandle, middleware::from_fn, web};
use support::{
    certificates::{Authority, client},
    eventually,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// Longer than [`eventually`] waits: no timeout closes a connection during a test.
const NEVER: Duration = Duration::from_secs(330);
/// More than the kernel buffers for a client that does not read.
const LARGE: usize = 32 << 20;

struct TestServer {
    address: SocketAddr,
    handle: ServerHandle,
    in_use: UnboundedReceiver<Use>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // The command is sent at once.
        drop(self.handle.stop(false));
    }
}

/// `/hang` never responds, `/large` responds with [`LARGE`] bytes, and other paths with none. The
/// server closes the connection after `/close`.
async fn respond(request: HttpRequest, seen: web::Data<UnboundedSender<Use>>) -> HttpResponse {
    let in_use = request.extensions().get::<Use>().cloned();
    seen.send(in_use.unwrap()).unwrap();
    match request.path() {
        "/hang" => std::future::pending().await,
        "/large" => HttpResponse::Ok().body(vec![b'x'; LARGE]),
        "/close" => HttpResponse::Ok().force_close().finish(),
        _ => HttpResponse::Ok().finish(),
    }
}

impl TestServer {
    fn start(tls: Option<Tls>) -> Self {
        let settings = Settings {
            tls,
            connections: Connections::new(100, ConnectionMetrics::default()),
            keep_alive: NEVER,
            head_timeout: NEVER,
            write_timeout: NEVER,
            shutdown_timeout: Duration::ZERO,
        };
        let (seen, in_use) = unbounded_channel();
        let app = move || {
            App::new()
                .wrap(from_fn(running::track))
                .app_data(web::Data::new(Running::default()))
                .app_data(web::Data::new(seen.clone()))
                .default_service(web::route().to(respond))
        };
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)), false).unwrap();
        let address = listener.local_addr().unwrap();
        let server = settings.serve("test", vec![listener], app).unwrap();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { address, handle, in_use }
    }

    async fn connect(&self) -> tokio::net::TcpStream {
        tokio::net::TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request and returns the use of its connection.
    async fn send(&mut self, client: &mut (impl AsyncWrite + Unpin), path: &str) -> Use {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        self.in_use.recv().await.unwrap()
    }

    /// Like [`Self::send`], and waits until the response cannot proceed.
    async fn request(&mut self, client: &mut (impl AsyncWrite + Unpin), path: &str) -> Use {
        let in_use = self.send(client, path).await;
        eventually(async || {
            match path {
                "/hang" => in_use.unused_for().is_none(),
                "/large" => in_use.is_blocked(),
                _ => in_use.unused_for().is_some(),
            }
            .then_some(())
        })
        .await;
        assert!(!in_use.is_closed(), "{path}");
        in_use
    }
}

async fn is_closed(in_use: &Use) {
    eventually(async || in_use.is_closed().then_some(())).await;
}

const PATHS: [&str; 3] = ["/idle", "/hang", "/large"];

#[actix_web::test]
async fn a_fin_is_noticed_before_during_and_after_a_response() {
    let mut server = TestServer::start(None);
    for path in PATHS {
        let mut client = server.connect().await;
        let in_use = server.request(&mut client, path).await;
        // The client still reads, so the server gets no RST.
        client.shutdown().await.unwrap();
        is_closed(&in_use).await;
    }
}

#[actix_web::test]
async fn an_rst_is_noticed_before_during_and_after_a_response() {
    let mut server = TestServer::start(None);
    for path in PATHS {
        let mut client = server.connect().await;
        let in_use = server.request(&mut client, path).await;
        client.set_zero_linger().unwrap();
        drop(client);
        is_closed(&in_use).await;
    }
}

#[actix_web::test]
async fn the_end_of_a_tls_connection_is_noticed() {
    let authority = Authority::new("ca");
    let mut server = TestServer::start(Some(tls(&authority, Alpn::Http1)));
    let connector = client(&authority, None, &["http/1.1"], &[&rustls::version::TLS13]);
    for path in PATHS {
        let socket = server.connect().await;
        let name = "localhost".try_into().unwrap();
        let mut client = connector.connect(name, socket).await.unwrap();
        let in_use = server.request(&mut client, path).await;
        client.shutdown().await.unwrap();
        is_closed(&in_use).await;
    }
}

#[actix_web::test]
async fn requests_of_a_connection_share_its_use_and_its_addresses() {
    let mut server = TestServer::start(None);
    let mut client = server.connect().await;
    let first = server.request(&mut client, "/").await;
    let second = server.request(&mut client, "/").await;
    assert_eq!((first.id(), first.begun()), (second.id(), 2));
    let ends = ConnectionEnds { local: server.address, peer: client.local_addr().unwrap() };
    assert_eq!(first.ends(), Some(ends));
    let mut other = server.connect().await;
    assert_ne!(server.request(&mut other, "/").await.id(), first.id());
}

#[actix_web::test]
async fn a_response_is_blocked_until_the_client_reads() {
    let mut server = TestServer::start(None);
    let mut client = server.connect().await;
    let in_use = server.request(&mut client, "/large").await;
    assert!(!in_use.has_ended_since(0));
    read(&mut client, LARGE).await;
    eventually(async || (!in_use.is_blocked() && in_use.has_ended_since(0)).then_some(())).await;
    assert!(!in_use.is_closed());
}

/// Waits for a verdict on the latest request of the connection, at its deadline.
async fn is_judged(in_use: &Use, expected: Verdict) {
    let scrape = ScrapeConnection::new(in_use.clone(), tokio::time::Instant::now());
    eventually(async || {
        let table = SocketTable::load().await.unwrap();
        let verdict = scrape.judge(scrape.decision_time(), Some(&table));
        (verdict == expected).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn deliveries_are_judged_by_their_connection() {
    let mut server = TestServer::start(None);
    let mut client = server.connect().await;
    let in_use = server.send(&mut client, "/").await;
    is_judged(&in_use, Verdict::Acknowledged(AckBy::Deadline)).await;
    let first = ScrapeConnection::new(in_use, tokio::time::Instant::now());
    let in_use = server.send(&mut client, "/large").await;
    let reused = first.judge(first.decision_time(), None);
    assert_eq!(reused, Verdict::Acknowledged(AckBy::Reuse));
    is_judged(&in_use, Verdict::Refused(NackBy::Deadline)).await;
    client.shutdown().await.unwrap();
    is_judged(&in_use, Verdict::Refused(NackBy::Closed)).await;

    let mut client = server.connect().await;
    let in_use = server.send(&mut client, "/close").await;
    is_judged(&in_use, Verdict::Refused(NackBy::Deadline)).await;
    client.read_to_end(&mut Vec::new()).await.unwrap();
    drop(client);
    is_judged(&in_use, Verdict::Acknowledged(AckBy::Close)).await;
}

#[actix_web::test]
async fn deliveries_over_tls_are_judged_by_their_connection() {
    let authority = Authority::new("ca");
    let mut server = TestServer::start(Some(tls(&authority, Alpn::Http1)));
    let connector = client(&authority, None, &["http/1.1"], &[&rustls::version::TLS13]);
    let socket = server.connect().await;
    let mut client = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    let in_use = server.send(&mut client, "/").await;
    is_judged(&in_use, Verdict::Acknowledged(AckBy::Deadline)).await;
    let in_use = server.send(&mut client, "/large").await;
    is_judged(&in_use, Verdict::Refused(NackBy::Deadline)).await;
    client.shutdown().await.unwrap();
    is_judged(&in_use, Verdict::Refused(NackBy::Closed)).await;
}

#[actix_web::test]
async fn a_listener_may_offer_http1_only() {
    let authority = Authority::new("ca");
    let protocols = ["h2", "http/1.1"];
    for (alpn, expected) in [(Alpn::Http2, "h2"), (Alpn::Http1, "http/1.1")] {
        let server = TestServer::start(Some(tls(&authority, alpn)));
        let connector = client(&authority, None, &protocols, &[&rustls::version::TLS13]);
        let socket = server.connect().await;
        let stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(expected.as_bytes()));
    }
}

/// A connection with HTTP/2.
async fn connect_http2(
    server: &TestServer,
    authority: &Authority,
) -> h2::client::SendRequest<web::Bytes> {
    let connector = client(authority, None, &["h2"], &[&rustls::version::TLS13]);
    let socket = server.connect().await;
    let client = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    let (sender, connection) = h2::client::handshake(client).await.unwrap();
    actix_web::rt::spawn(async move {
        let _ = connection.await;
    });
    sender
}

/// Sends requests to a handler that never responds, and resets them when they run.
async fn send_and_reset(
    server: &mut TestServer,
    sender: &h2::client::SendRequest<web::Bytes>,
    count: usize,
) -> Use {
    let mut streams = Vec::new();
    for _ in 0..count {
        let request = http::Request::get("https://localhost/hang").body(()).unwrap();
        let mut ready = sender.clone().ready().await.unwrap();
        streams.push(ready.send_request(request, true).unwrap());
    }
    let mut in_use = None;
    for _ in 0..count {
        in_use = server.in_use.recv().await;
    }
    for (_, stream) in &mut streams {
        stream.send_reset(h2::Reason::CANCEL);
    }
    in_use.unwrap()
}

#[actix_web::test]
async fn the_reset_of_an_http2_stream_ends_its_handler() {
    let authority = Authority::new("ca");
    let mut server = TestServer::start(Some(tls(&authority, Alpn::Http2)));
    let sender = connect_http2(&server, &authority).await;
    let in_use = send_and_reset(&mut server, &sender, 1).await;
    eventually(async || in_use.unused_for().is_some().then_some(())).await;
    assert!(!in_use.is_closed());
}

#[actix_web::test]
async fn handlers_of_reset_streams_do_not_accumulate() {
    const STREAMS: usize = 90;
    const ROUNDS: usize = 20;
    let authority = Authority::new("ca");
    let mut server = TestServer::start(Some(tls(&authority, Alpn::Http2)));
    let sender = connect_http2(&server, &authority).await;
    let mut last = None;
    for _ in 0..ROUNDS {
        let in_use = send_and_reset(&mut server, &sender, STREAMS).await;
        // Handlers of the previous round have ended when those of the next one run.
        eventually(async || in_use.unused_for().is_some().then_some(())).await;
        last = Some(in_use);
    }
    assert_eq!(last.unwrap().begun(), (STREAMS * ROUNDS) as u64);
}

fn tls(authority: &Authority, alpn: Alpn) -> Tls {
    let identity = authority.issue("localhost");
    let pem = |key: &str, text: String| Pem {
        key: key.to_owned(),
        source: PemSource::Inline(text.into()),
    };
    let (listener, _) = ListenerTls::open(ListenerSettings {
        cert: pem("tls.cert", identity.cert),
        key: pem("tls.key", identity.key),
        client_ca: None,
    })
    .unwrap();
    Tls {
        acceptor: listener.acceptor(alpn).unwrap(),
        handshake_timeout: NEVER,
        failures: HandshakeFailures::default(),
    }
}

async fn read(client: &mut (impl AsyncRead + Unpin), bytes: usize) {
    let mut left = bytes;
    let mut buffer = vec![0; 64 << 10];
    while left > 0 {
        let read = client.read(&mut buffer).await.unwrap();
        assert!(read > 0);
        left = left.saturating_sub(read);
    }
}
