//! Bodies of requests to pools, and writes.

use super::*;
use support::parse_response;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const MIB: usize = 1 << 20;
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const WRITE: &str = "/api/v1/write";
const WRITE_HEADERS: [(&str, &str); 6] = [
    ("Content-Type", "application/x-protobuf"),
    ("Content-Encoding", "snappy"),
    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
    ("User-Agent", "Prometheus/3.5.0"),
    ("Cookie", "a=b"),
    ("X-Scope-OrgID", "other"),
];

/// A server that is ready, and answers POST requests like this.
async fn server_with_post(reply: Reply) -> Instance {
    let metrics = history(Duration::from_secs(3600));
    Instance::start(move |request| match request.line.starts_with("POST ") {
        true => reply.clone(),
        false => respond(&request.line, "only", &metrics),
    })
    .await
}

fn posts(server: &Instance) -> Vec<support::ReceivedRequest> {
    server.requests().into_iter().filter(|it| it.line.starts_with("POST ")).collect()
}

impl TestApp {
    async fn post(&self, path: &str, headers: &[(&str, &str)], body: String) -> Response {
        let url = format!("http://{}{path}", self.query_address.unwrap());
        support::send("POST", &url, headers, Some(body)).await
    }

    /// Sends the head of a POST request, and the first part of its body.
    async fn begin_post(&self, framing: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.query_address.unwrap()).await.unwrap();
        let head = format!(
            "POST /api/v1/query HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}: {}\r\n{framing}\r\n\r\n",
            FORM.0, FORM.1
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream
    }

    async fn is_ready(&self) {
        eventually(async || (self.query("/-/ready").await.status == 200).then_some(())).await;
    }
}

async fn response_of(mut stream: TcpStream) -> Response {
    let mut raw = Vec::new();
    // A server that does not read the whole body resets the connection.
    let _ = stream.read_to_end(&mut raw).await;
    parse_response(&raw)
}

#[actix_web::test]
async fn a_long_form_is_streamed_to_one_replica() {
    let good = Reply::Http(200, vec![], b"posted".to_vec());
    let (first, second) = (server_with_post(good.clone()).await, server_with_post(good).await);
    let app = start_pool(&[&first, &second], "").await;
    app.is_ready().await;
    let form = format!("query={}", "x".repeat(4 * MIB));
    let response = app.post("/api/v1/query", &[FORM], form.clone()).await;
    assert_eq!((response.status, &*response.text()), (200, "posted"));
    let received = [posts(&first), posts(&second)].concat();
    assert_eq!(received.len(), 1);
    assert!(received[0].body == form, "{} bytes", received[0].body.len());
    assert_eq!(received[0].headers["content-length"], form.len().to_string());

    // A connection that is refused has consumed nothing.
    let selected = app.pool_status().await["replicas"][0]["url"].clone();
    let (selected, other) =
        if selected == url(first.address) { (first, second) } else { (second, first) };
    let before = posts(&other).len();
    drop(selected);
    let response = app.post("/api/v1/query", &[FORM], form).await;
    assert_eq!((response.status, posts(&other).len()), (200, before + 1));
}

#[actix_web::test]
async fn a_long_form_is_not_sent_again_once_it_was_read() {
    let closing = [server_with_post(Reply::Close).await, server_with_post(Reply::Close).await];
    let app = start_pool(&[&closing[0], &closing[1]], "").await;
    app.is_ready().await;
    let sent = || closing.iter().map(|it| posts(it).len()).sum::<usize>();
    let form = |length| format!("query={}", "x".repeat(length));
    assert_eq!(app.post("/api/v1/query", &[FORM], form(2 * MIB)).await.status, 502);
    assert_eq!(sent(), 1);
    assert_eq!(app.post("/api/v1/query", &[FORM], form(100)).await.status, 502);
    assert_eq!(sent(), 3, "a short one is kept");
}

#[actix_web::test]
async fn forms_of_more_than_10_mib_are_refused() {
    let only = server("only", history(Duration::from_secs(3600))).await;
    let app = start_pool(&[&only], "").await;
    app.is_ready().await;
    let announced = app.begin_post(&format!("Content-Length: {}", 11 * MIB), b"").await;
    let response = response_of(announced).await;
    assert_eq!(response.status, 413);
    assert!(response.text().contains("longer than 10 MiB"), "{}", response.text());
    assert_eq!(queries(&only), 0);
}

#[actix_web::test]
async fn a_body_that_never_ends_gets_408_and_frees_its_place() {
    let good = server_with_post(Reply::Http(200, vec![], b"posted".to_vec())).await;
    let app = start_pool(&[&good], r#""max_concurrent":1,"#).await;
    app.is_ready().await;
    let length = format!("Content-Length: {}", 8 * MIB);
    let body = vec![b'x'; 2 * MIB];
    // A client that leaves frees the place at once.
    let leaving = app.begin_post(&length, &body).await;
    eventually(async || (good.open_connections() >= 1).then_some(())).await;
    drop(leaving);
    eventually(async || (app.query(QUERY).await.status == 200).then_some(())).await;

    let began = Instant::now();
    let response = response_of(app.begin_post(&length, &body).await).await;
    assert_eq!(response.status, 408, "{}", response.text());
    assert!(began.elapsed() >= Duration::from_secs(29), "{:?}", began.elapsed());
    assert_eq!(app.query(QUERY).await.text(), "only");
    let status = app.pool_status().await;
    assert_eq!(status["replicas"][0]["failures"], 0, "the client is the cause");
}

#[actix_web::test]
async fn a_write_is_sent_to_one_replica_and_its_status_is_passed_on() {
    for (reply, status) in [
        (
            Reply::Http(
                204,
                vec![("X-Prometheus-Remote-Write-Samples-Written", "7".into())],
                vec![],
            ),
            204,
        ),
        (Reply::Http(400, vec![], b"out of order".to_vec()), 400),
        (Reply::Http(503, vec![], b"overloaded".to_vec()), 503),
        (Reply::Http(401, vec![], b"no".to_vec()), 502),
        (Reply::Close, 502),
    ] {
        let servers = [server_with_post(reply.clone()).await, server_with_post(reply).await];
        let app = start_pool(&[&servers[0], &servers[1]], r#""writes":"allow","#).await;
        app.is_ready().await;
        for (path, body) in [(WRITE, "samples".to_owned()), (WRITE, "x".repeat(3 * MIB))] {
            let before = servers.iter().map(|it| posts(it).len()).sum::<usize>();
            let response = app.post(path, &WRITE_HEADERS, body.clone()).await;
            assert_eq!(response.status, status, "{}", response.text());
            if status == 204 {
                assert_eq!(response.headers["x-prometheus-remote-write-samples-written"], "7");
            }
            let received = servers.iter().flat_map(posts);
            let received: Vec<_> = received.filter(|it| it.body == body).collect();
            assert_eq!(received.len(), 1, "{status}");
            assert_eq!(servers.iter().map(|it| posts(it).len()).sum::<usize>(), before + 1);
            for (name, value) in &WRITE_HEADERS[..4] {
                assert_eq!(received[0].headers[&name.to_lowercase()], *value);
            }
            let dropped = ["cookie", "x-scope-orgid"];
            assert!(dropped.iter().all(|it| !received[0].headers.contains_key(*it)));
        }
    }
}

#[actix_web::test]
async fn a_pool_with_writes_forwards_more_but_no_administration() {
    let only = server_with_post(Reply::Http(200, vec![], b"posted".to_vec())).await;
    let app = start_pool(&[&only], r#""writes":"allow","#).await;
    app.is_ready().await;
    for path in ["/api/v1/read", "/api/v1/otlp/v1/metrics", "/api/v1/query"] {
        let headers = if path.ends_with("query") { &[FORM][..] } else { &WRITE_HEADERS };
        assert_eq!(app.post(path, headers, "x".to_owned()).await.text(), "posted", "{path}");
    }
    for path in ["/api/v1/status/config", "/api/v1/status/tsdb", "/api/v1/alertmanagers", "/flags"]
    {
        assert_eq!(app.query(path).await.text(), "only", "{path}");
    }
    let get = app.query(WRITE).await;
    assert_eq!((get.status, &*get.headers["allow"]), (405, "POST"));
    let sent = posts(&only).len();
    for path in [
        "/api/v1/admin/tsdb/snapshot",
        "/api/v1/admin/tsdb/delete_series",
        "/-/reload",
        "/-/quit",
        "/debug/pprof/heap",
        "/metrics",
    ] {
        assert_eq!(app.post(path, &[], String::new()).await.status, 404, "{path}");
        assert_eq!(app.query(path).await.status, 404, "{path}");
    }
    assert_eq!(posts(&only).len(), sent);
}

#[actix_web::test]
async fn a_pool_forwards_no_writes_by_default() {
    let only = server_with_post(Reply::Http(204, vec![], vec![])).await;
    let app = start_pool(&[&only], "").await;
    app.is_ready().await;
    for path in [WRITE, "/api/v1/otlp/v1/metrics", "/api/v1/read"] {
        assert_eq!(app.post(path, &WRITE_HEADERS, "x".to_owned()).await.status, 404, "{path}");
    }
    assert_eq!(app.query("/api/v1/status/config").await.status, 404);
    assert!(posts(&only).is_empty());
}
