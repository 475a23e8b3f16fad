//! Instances with HTTP/2, in cleartext and over TLS.

use crate::test_app::*;
use bytes::Bytes;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use support::{certificates::*, *};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const METRICS: &str = "/v1/apps/app-guid/metrics";

/// How an instance responds to a request.
#[derive(Clone, Copy)]
enum Behavior {
    Respond,
    /// Sends less than `content-length`.
    TruncateBody,
    /// Closes the connection after each response.
    RespondOnce,
    /// Resets the stream before a response.
    Reset,
}

struct Http2Instance {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<http::request::Parts>>>,
    task: actix_web::rt::task::JoinHandle<()>,
}

impl Drop for Http2Instance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Http2Instance {
    async fn start(acceptor: Option<TlsAcceptor>, behavior: Behavior, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, seen) = (Arc::<AtomicUsize>::default(), Arc::default());
        let (count, log, body) = (connections.clone(), Arc::clone(&seen), body.to_owned());
        let task = actix_web::rt::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, acceptor) = (Arc::clone(&log), acceptor.clone());
                let body = Bytes::from(body.clone());
                count.fetch_add(1, Ordering::SeqCst);
                serving.spawn_local(async move {
                    match acceptor {
                        None => serve(stream, behavior, body, &log).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, behavior, body, &log).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, connections, seen, task }
    }

    fn endpoint(&self, san: Option<&str>) -> Value {
        let mut endpoint = endpoint("app", 0, self.address);
        endpoint["protocol"] = json!("http2");
        if let Some(san) = san {
            endpoint["tls"] = json!(true);
            endpoint["server_cert_domain_san"] = json!(san);
        }
        endpoint
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    behavior: Behavior,
    body: Bytes,
    log: &Mutex<Vec<http::request::Parts>>,
) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        log.lock().unwrap().push(request.into_parts().0);
        if matches!(behavior, Behavior::Reset) {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            continue;
        }
        let mut answer = http::Response::builder().header("content-type", "text/plain");
        if matches!(behavior, Behavior::TruncateBody) {
            answer = answer.header("content-length", body.len() + 10);
        }
        let mut sending = respond.send_response(answer.body(()).unwrap(), false).unwrap();
        sending.send_data(body.clone(), !matches!(behavior, Behavior::TruncateBody)).unwrap();
        match behavior {
            Behavior::TruncateBody => sending.send_reset(h2::Reason::INTERNAL_ERROR),
            Behavior::RespondOnce => connection.graceful_shutdown(),
            Behavior::Respond | Behavior::Reset => {}
        }
    }
}

async fn app_of(endpoint: Value, more: &[(&'static str, String)]) -> (TestApp, RouteFile) {
    let routes = RouteFile::new(&json!({ "app.example.com": [endpoint] }));
    let settings: Vec<_> = [routes.setting()].into_iter().chain(more.iter().cloned()).collect();
    (spawn_app(&settings).await, routes)
}

#[actix_web::test]
async fn cleartext_http2_is_used_with_prior_knowledge() {
    let instance = Http2Instance::start(None, Behavior::Respond, "a 1\n").await;
    let (app, _routes) = app_of(instance.endpoint(None), &[]).await;
    for _ in 0..10 {
        let answer = app.get_with("/v1/apps/app-guid/metrics?x=1", &[("X-Tenant", "t")]).await;
        assert_eq!(answer.lines("a{").len(), 1, "{}", answer.text());
    }
    let seen = instance.seen.lock().unwrap();
    let first = &seen[0];
    assert_eq!(first.version, http::Version::HTTP_2);
    assert_eq!(first.uri.to_string(), "http://app.example.com/metrics?x=1");
    for (name, value) in [("x-tenant", "t"), ("x-promfetcher-scrapping", "true")] {
        assert_eq!(first.headers[name], value);
    }
    assert!(!first.headers.contains_key("host"));
    // Each worker keeps its own connection.
    let workers = std::thread::available_parallelism().unwrap().get();
    assert!(instance.connections.load(Ordering::SeqCst) <= workers);
}

#[actix_web::test]
async fn http2_over_tls_is_negotiated_with_alpn() {
    let authority = Authority::new("instances");
    let files = Files::create();
    files.write("ca", &authority.pem);
    let ca = [("BACKENDS__CA_FILE", files.path("ca"))];
    let mut server = authority.issue("guid").server(None);
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(server));
    // The body exceeds the flow control window.
    let body: String = (0..200_000).map(|n| format!("a{{n=\"{n}\"}} 1\n")).collect();
    let instance = Http2Instance::start(Some(acceptor), Behavior::Respond, &body).await;
    let (app, _routes) = app_of(instance.endpoint(Some("guid")), &ca).await;
    let answer = app.get("/v1/apps/app-guid/only-app-metrics").await;
    assert_eq!(answer.lines("a{").len(), 200_000);
    assert_eq!(instance.seen.lock().unwrap()[0].uri.scheme_str(), Some("https"));

    let (app, _routes) = app_of(instance.endpoint(Some("other")), &ca).await;
    let reported = app.get(METRICS).await.text();
    assert!(reported.contains("stale_endpoint: "), "{reported}");

    // The route specifies HTTP/2, but the proxy in front of the app does not support it.
    let acceptor = authority.issue("guid").acceptor(None);
    let old =
        Instance::start_secured("127.0.0.1:0", Some(acceptor), |_| Reply::metrics("a 1\n")).await;
    let mut endpoint = instance.endpoint(Some("guid"));
    endpoint["address"] = json!(old.address.to_string());
    let (app, _routes) = app_of(endpoint, &ca).await;
    for _ in 0..5 {
        assert_eq!(app.get(METRICS).await.lines("a{").len(), 1);
    }
}

#[actix_web::test]
async fn a_refused_client_certificate_is_reported_with_http2() {
    let authority = Authority::new("instances");
    let files = Files::create();
    files.write("ca", &authority.pem);
    let mut server = authority.issue("guid").server(Some(&authority));
    server.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let instance = Http2Instance::start(Some(acceptor), Behavior::Respond, "a 1\n").await;
    let ca = [("BACKENDS__CA_FILE", files.path("ca"))];
    let (app, _routes) = app_of(instance.endpoint(Some("guid")), &ca).await;
    let reported = app.get(METRICS).await.text();
    assert!(reported.contains("tls: the peer requires a client certificate"), "{reported}");
}

#[actix_web::test]
async fn each_http2_fault_has_its_reason() {
    let cases = [
        (Behavior::TruncateBody, "truncated: "),
        (Behavior::Reset, "truncated: the instance reset the request"),
    ];
    for (behavior, expected) in cases {
        let instance = Http2Instance::start(None, behavior, "a 1\n").await;
        let (app, _routes) = app_of(instance.endpoint(None), &[]).await;
        for _ in 0..3 {
            let reported = app.get(METRICS).await.text();
            assert!(reported.contains(expected), "{reported}");
        }
    }
    // An instance with HTTP/1.1 only responds to the HTTP/2 preface with an error.
    let old = Instance::start(|_| {
        Reply::Raw(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec())
    })
    .await;
    let mut endpoint = endpoint("app", 0, old.address);
    endpoint["protocol"] = json!("http2");
    let (app, _routes) = app_of(endpoint, &[]).await;
    let reported = app.get(METRICS).await.text();
    assert!(reported.contains("not_exposition: the response is not HTTP/2"), "{reported}");
}

#[actix_web::test]
async fn a_stale_http2_connection_is_replaced() {
    let instance = Http2Instance::start(None, Behavior::RespondOnce, "a 1\n").await;
    let (app, _routes) = app_of(instance.endpoint(None), &[]).await;
    for _ in 0..10 {
        let answer = app.get(METRICS).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(instance.connections.load(Ordering::SeqCst) > 2);
}
