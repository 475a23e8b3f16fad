//! What the tests share: the program on a free port, app instances that do
//! what they are told, a route table file, and a client.

use futures_util::{StreamExt, stream};
use scrapebroker::{
    app::{Application, Stop},
    config::Config,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};
use tokio_rustls::TlsAcceptor;

pub(crate) const USER: &str = "cloud-controller";
pub(crate) const PASSWORD: &str = "correct horse";
/// A host that cannot be resolved. Names that begin with `-` reach no name server, so it makes no
/// difference how the one of this machine answers.
pub(crate) const UNKNOWN_HOST: &str = "-no-such-host.invalid";
pub(crate) const SERVICE: &str = "service_id";

/// The program under test, stopped when dropped.
pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    pub(crate) health_address: Option<SocketAddr>,
    /// Which apps of Tsuru are bound.
    _folder: TempDir,
    stop: mpsc::UnboundedSender<Stop>,
    stopped: Option<oneshot::Receiver<()>>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The lines that begin with `name`, as in `up{` or `up `.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
    }
}

/// Starts the program as `serve` does, with settings as environment variables
/// (without the prefix), on a free port and with a database of its own.
pub(crate) async fn spawn_app(settings: &[(&str, String)]) -> TestApp {
    let folder = tempfile::tempdir().unwrap();
    let mut environment = BTreeMap::from([
        ("LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("DATABASE_URL".to_owned(), format!("sqlite://{}/test.db", folder.path().display())),
        ("BROKER__USERNAME".to_owned(), USER.to_owned()),
        ("BROKER__PASSWORD".to_owned(), PASSWORD.to_owned()),
        ("ROUTES__REFRESH_INTERVAL".to_owned(), "200ms".to_owned()),
        ("DRAIN_WAIT".to_owned(), "0s".to_owned()),
    ]);
    environment.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    let environment =
        environment.into_iter().map(|(key, value)| (format!("SCRAPEBROKER__{key}"), value));
    let config = Config::load(None, environment).unwrap();
    let application = Application::build(config).await.unwrap();
    let address = application.address();
    let health_address = application.health_address();
    let (stop, mut stopping) = mpsc::unbounded_channel();
    let (done, stopped) = oneshot::channel();
    actix_web::rt::spawn(async move {
        let stops = stream::poll_fn(move |context| stopping.poll_recv(context));
        let dropped = stream::iter([Stop::Graceful]);
        application.run_until(stops.chain(dropped)).await.unwrap();
        let _ = done.send(());
    });
    let stopped = Some(stopped);
    let app = TestApp { address, health_address, _folder: folder, stop, stopped };
    // A file is read soon after the start. HTTPS is asked by those who know its certificates.
    let set = |name: &str| settings.iter().any(|(key, _)| *key == name);
    if set("ROUTES__FILE") && !set("TLS__CERT_FILE") {
        eventually(async || (app.get("/-/ready").await.status == 200).then_some(())).await;
    }
    app
}

impl TestApp {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send("GET", &self.url(path), &[], None).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        send("GET", &self.url(path), headers, None).await
    }

    /// `/` as an operator sees it.
    pub(crate) async fn status_page(&self) -> Answer {
        self.get_with("/", &[("Authorization", &basic(USER, PASSWORD))]).await
    }

    /// Asks the broker as Cloud Controller does.
    pub(crate) async fn broker(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let authorization = basic(USER, PASSWORD);
        let headers = [
            ("X-Broker-Api-Version", "2.15"),
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = body.map(|body| body.to_string());
        send(method, &self.url(&format!("/broker{path}")), &headers, body).await
    }

    /// `cf create-service` and `cf bind-service`.
    pub(crate) async fn bind(&self, binding: &str, app: &str, parameters: Value) -> Answer {
        let catalog = self.broker("GET", "/v2/catalog", None).await.json();
        let service = catalog["services"][0]["id"].clone();
        let plan = catalog["services"][0]["plans"][0]["id"].clone();
        let provision = json!({
            "service_id": service, "plan_id": plan,
            "organization_guid": "org-guid", "space_guid": "space-guid",
        });
        let answer = self.broker("PUT", "/v2/service_instances/i1", Some(provision)).await;
        assert!([200, 201].contains(&answer.status), "{}", answer.text());
        let bind = json!({
            SERVICE: service, "plan_id": plan,
            "bind_resource": {"app_guid": app}, "parameters": parameters,
        });
        let path = format!("/v2/service_instances/i1/service_bindings/{binding}");
        self.broker("PUT", &path, Some(bind)).await
    }

    pub(crate) async fn unbind(&self, binding: &str) -> Answer {
        let catalog = self.broker("GET", "/v2/catalog", None).await.json();
        let service = catalog["services"][0]["id"].as_str().unwrap().to_owned();
        let plan = catalog["services"][0]["plans"][0]["id"].as_str().unwrap().to_owned();
        let path = format!(
            "/v2/service_instances/i1/service_bindings/{binding}?service_id={service}&plan_id={plan}"
        );
        self.broker("DELETE", &path, None).await
    }

    /// Asks for a stop and returns what resolves when it has stopped.
    pub(crate) fn stop(&mut self, stop: Stop) -> oneshot::Receiver<()> {
        self.stop_again(stop);
        self.stopped.take().unwrap()
    }

    pub(crate) fn stop_again(&self, stop: Stop) {
        self.stop.send(stop).unwrap();
    }
}

/// An address where nobody listens. No test can get this port while another expects it closed.
pub(crate) fn closed_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// Sends one request on a connection of its own.
pub(crate) async fn send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<String>,
) -> Answer {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = body.unwrap_or_default();
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await.unwrap();
    parse_answer(&raw)
}

/// Reads an answer that ended with its connection.
pub(crate) fn parse_answer(raw: &[u8]) -> Answer {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&raw[..end]).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = raw[end + 4..].to_vec();
    let is_chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    // The answer to a HEAD has no body.
    if is_chunked && !body.is_empty() {
        body = unchunk(&body);
    }
    Answer { status, headers, body }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        rest = &rest[line + 2..];
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

/// What an instance does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers 200 with metrics.
    Metrics(String),
    /// Answers with a status, headers and a body.
    Http(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Writes these bytes and closes the connection.
    Raw(Vec<u8>),
    /// Never answers.
    Hang,
    /// Closes the connection without a byte.
    Close,
    /// Answers after a while.
    Late(Duration, Box<Reply>),
}

impl Reply {
    pub(crate) fn metrics(text: &str) -> Self {
        Self::Metrics(text.to_owned())
    }
}

/// A request as an instance saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    /// The how-manieth request of its connection it was, from 1.
    pub(crate) nth: usize,
}

/// An app instance on a free port, gone when dropped.
pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    open: Arc<AtomicUsize>,
    task: actix_web::rt::task::JoinHandle<()>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Instance {
    pub(crate) async fn start(reply: impl Fn(&Seen) -> Reply + 'static) -> Self {
        Self::start_on("127.0.0.1:0", reply).await
    }

    pub(crate) async fn start_on(address: &str, reply: impl Fn(&Seen) -> Reply + 'static) -> Self {
        Self::start_secured(address, None, reply).await
    }

    /// Behind TLS when there is an `acceptor`.
    pub(crate) async fn start_secured(
        address: &str,
        acceptor: Option<TlsAcceptor>,
        reply: impl Fn(&Seen) -> Reply + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let open = Arc::<AtomicUsize>::default();
        let (log, count) = (Arc::clone(&seen), Arc::clone(&open));
        let reply = std::rc::Rc::new(reply);
        let task = actix_web::rt::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, count, reply) = (Arc::clone(&log), Arc::clone(&count), reply.clone());
                let acceptor = acceptor.clone();
                connections.spawn_local(async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    match acceptor {
                        None => serve(stream, &log, &*reply).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, &log, &*reply).await;
                            }
                        }
                    }
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, seen, open, task }
    }

    /// Always the same metrics.
    pub(crate) async fn with_metrics(text: &str) -> Self {
        let text = text.to_owned();
        Self::start(move |_| Reply::Metrics(text.clone())).await
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Connections open right now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    log: &Mutex<Vec<Seen>>,
    reply: &dyn Fn(&Seen) -> Reply,
) {
    let mut buffer = Vec::new();
    for nth in 1.. {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
        buffer.drain(..end + 4);
        let mut lines = head.lines();
        let seen = Seen {
            line: lines.next().unwrap().to_owned(),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            nth,
        };
        log.lock().unwrap().push(seen.clone());
        let mut what = reply(&seen);
        while let Reply::Late(time, then) = what {
            tokio::time::sleep(time).await;
            what = *then;
        }
        let (status, headers, body) = match what {
            Reply::Metrics(text) => {
                let text_type = ("Content-Type", "text/plain; version=0.0.4".to_owned());
                (200, vec![text_type], text.into_bytes())
            }
            Reply::Http(status, headers, body) => (status, headers, body),
            Reply::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return;
            }
            Reply::Hang => {
                // Until the peer goes away.
                let _ = stream.read_buf(&mut buffer).await;
                return;
            }
            Reply::Close | Reply::Late(..) => return,
        };
        let mut answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        answer.push_str("\r\n");
        let mut answer = answer.into_bytes();
        answer.extend_from_slice(&body);
        if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// An endpoint of the app `app` as gorouter shows it.
pub(crate) fn endpoint(app: &str, index: usize, address: SocketAddr) -> Value {
    json!({
        "address": address.to_string(), "availability_zone": "z1", "protocol": "http1",
        "tls": false, "ttl": 120, "private_instance_id": format!("{app}-instance-{index}"),
        "tags": {
            "app_id": format!("{app}-guid"), "app_name": app, "component": "route-emitter",
            "instance_id": index.to_string(), "process_type": "web",
            "process_instance_id": format!("{app}-instance-{index}"),
            "organization_id": "org-guid", "organization_name": "acme",
            "space_id": "space-guid", "space_name": "prod",
        },
    })
}

/// A route table in a file, which the program reads.
pub(crate) struct RouteFile {
    path: PathBuf,
    _folder: TempDir,
}

impl RouteFile {
    pub(crate) fn new(table: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = Self { path: folder.path().join("routes.json"), _folder: folder };
        file.write(table);
        file
    }

    /// One app named `app` with these instances, at `app.example.com`.
    pub(crate) fn of_app<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Self {
        Self::of_addresses(instances.into_iter().map(|instance| instance.address))
    }

    pub(crate) fn of_addresses(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self::new(&table_of(addresses))
    }

    /// From now on these are the instances of the app.
    pub(crate) fn rewrite<'a>(&self, instances: impl IntoIterator<Item = &'a Instance>) {
        self.write(&table_of(instances.into_iter().map(|instance| instance.address)));
    }

    pub(crate) fn write(&self, table: &Value) {
        let next = self.path.with_extension("next");
        std::fs::write(&next, table.to_string()).unwrap();
        std::fs::rename(next, &self.path).unwrap();
    }

    pub(crate) fn setting(&self) -> (&'static str, String) {
        ("ROUTES__FILE", self.path.display().to_string())
    }
}

fn table_of(addresses: impl IntoIterator<Item = SocketAddr>) -> Value {
    let endpoints = addresses.into_iter().enumerate();
    let endpoints: Vec<_> =
        endpoints.map(|(index, address)| endpoint("app", index, address)).collect();
    json!({ "app.example.com": endpoints })
}

/// The nine labels of an instance of the app `app`.
pub(crate) fn labels(index: usize, address: SocketAddr) -> String {
    format!(
        "organization_id=\"org-guid\",space_id=\"space-guid\",app_id=\"app-guid\",\
         organization_name=\"acme\",space_name=\"prod\",app_name=\"app\",\
         index=\"{index}\",instance_id=\"{index}\",instance=\"{address}\""
    )
}

/// Tries until `done` says so, or fails after half a minute: machines are busy.
pub(crate) async fn eventually<T>(mut done: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = done().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not happen within half a minute");
}
