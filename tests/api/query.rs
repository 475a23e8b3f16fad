//! The query API `/prometheus/{instance}/…`: authorization, forwarding and failures of servers. The
//! tests write the rows of instances into the database and use fake servers.

use crate::test_app::*;
use scrapebroker::{
    domain::{
        BindingId, InstanceId, InstanceNames, ServiceInstance,
        prometheus::{Replica, ReplicaState, StoredPrometheus},
    },
    net::{ConnectionLimiter, ConnectionLimiterMetrics, Resolver},
    query::{PrometheusClient, QueryRequest, ServerStates, Upstream},
    secrets::{AssociatedData, Keys, token_hash},
    store::{ServiceBinding, Store, bindings, instances, prometheus, replicas},
    tls,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use support::{certificates::*, *};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The random part of all secrets in these tests.
const SALT: &str = "salt";

pub(crate) const QUERY: &str = "/api/v1/query?query=up";

/// The program, and direct access to its database.
pub(crate) struct Fixture {
    pub(crate) app: TestApp,
    store: Store,
    keys: Keys,
    _folder: TempDir,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_at("http://metrics.example.com").await
    }

    pub(crate) async fn start_at(base_url: &str) -> Self {
        Self::start_with(base_url, &[]).await
    }

    pub(crate) async fn start_with(base_url: &str, settings: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database_url = format!("sqlite://{}/fixture.db", folder.path().display());
        let key = "a key that is long enough";
        let own = [
            ("DATABASE_URL", database_url.clone()),
            ("BROKER__TOKEN_KEY", key.to_owned()),
            ("BASE_URL", base_url.to_owned()),
            ("PROMETHEUS__PROVISIONER", "none".to_owned()),
        ];
        let app = spawn_app(&[&own, settings].concat()).await;
        let store = Store::open(&database_url.parse().unwrap(), 1).await.unwrap();
        let keys = Keys::derive(&key.into()).unwrap();
        Self { app, store, keys, _folder: folder }
    }

    pub(crate) fn web_password(&self, instance: &str) -> SecretString {
        self.keys.web_password(&instance.parse().unwrap(), SALT)
    }

    /// Adds an instance of one replica, with these servers. An instance has several servers while it
    /// is scaled down. They are queried in this order, without a pool. Returns a token for it.
    pub(crate) async fn instance(&self, id: &str, servers: &[Replica]) -> String {
        self.instance_of(1, id, servers).await
    }

    /// Adds an instance of two replicas, which has a pool.
    pub(crate) async fn ha_instance(&self, id: &str, servers: &[Replica]) -> String {
        self.instance_of(2, id, servers).await
    }

    async fn instance_of(&self, replicas: u8, id: &str, servers: &[Replica]) -> String {
        let instance_id: InstanceId = id.parse().unwrap();
        let spec = json!({
            "retention": "15d", "retention_size": 1_u64 << 30, "storage": "disk", "replicas": replicas,
            "memory_limit": 1_u64 << 30, "scrape_interval": "15s", "sample_limit": 0,
            "remote_write": null, "rules": null, "alertmanager_url": null,
        });
        let spec = spec.as_object().unwrap();
        let seal = |owner, map: &Map<_, _>| self.keys.encrypt(owner, map).unwrap();
        let instance = ServiceInstance {
            instance_id: instance_id.clone(),
            service_id: "s".parse().unwrap(),
            plan_id: "p".parse().unwrap(),
            organization_guid: "o".parse().unwrap(),
            space_guid: "space".parse().unwrap(),
            names: InstanceNames {
                instance: Some("my <prometheus>".to_owned()),
                ..InstanceNames::default()
            },
            maintenance_version: None,
            parameters: seal(AssociatedData::Instance(id), &Map::new()),
        };
        let wanted = StoredPrometheus {
            instance_id: instance_id.clone(),
            space_guid: "space".parse().unwrap(),
            replicas,
            spec: seal(AssociatedData::Spec(id), spec),
            secret_salt: SALT.to_owned(),
        };
        let mut tx = self.store.begin_write().await.unwrap();
        instances::insert(&mut tx, &instance).await.unwrap();
        prometheus::put(&mut tx, &wanted).await.unwrap();
        replicas::replace(&mut tx, &instance_id, servers).await.unwrap();
        tx.commit().await.unwrap();
        self.bind(id, &format!("key of {id}")).await
    }

    /// Changes the servers of an instance.
    pub(crate) async fn set_servers(&self, id: &str, servers: &[Replica]) {
        let mut tx = self.store.begin_write().await.unwrap();
        replicas::replace(&mut tx, &id.parse().unwrap(), servers).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn delete_instance(&self, id: &str) {
        let mut tx = self.store.begin_write().await.unwrap();
        instances::delete(&mut tx, &id.parse().unwrap()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Adds a service key and returns its token.
    pub(crate) async fn bind(&self, instance: &str, binding: &str) -> String {
        let id: BindingId = binding.parse().unwrap();
        let token = self.keys.token(&id, SALT).expose_secret().to_owned();
        let row = ServiceBinding {
            binding_id: id,
            instance_id: instance.parse().unwrap(),
            service_id: "s".parse().unwrap(),
            plan_id: "p".parse().unwrap(),
            app_guid: None,
            space_guid: "space".parse().unwrap(),
            parameters: self.keys.encrypt(AssociatedData::Binding(binding), &Map::new()).unwrap(),
            token_hash: token_hash(&token),
            token_salt: SALT.to_owned(),
            predecessor_id: None,
        };
        let mut tx = self.store.begin_write().await.unwrap();
        bindings::insert(&mut tx, &row).await.unwrap();
        tx.commit().await.unwrap();
        // The page works without a server, so it shows when the binding is active.
        let page = format!("/prometheus/{}/nowhere", encoded(instance));
        eventually(async || (self.get(&page, &token).await.status == 404).then_some(())).await;
        token
    }

    async fn unbind(&self, binding: &str) {
        let mut tx = self.store.begin_write().await.unwrap();
        bindings::delete(&mut tx, &binding.parse().unwrap()).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Response {
        self.app.get_with(path, &[("Authorization", &basic("anyone", token))]).await
    }

    /// The unmodified bytes of a response.
    async fn raw(&self, path: &str, token: &str) -> Vec<u8> {
        let mut stream = self.open(path, token).await;
        let mut raw = Vec::new();
        // A truncated body may end with a connection reset.
        let _ = stream.read_to_end(&mut raw).await;
        raw
    }

    /// Sends a request without reading the response.
    async fn open(&self, path: &str, token: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.app.address).await.unwrap();
        let authorization = basic("anyone", token);
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }
}

pub(crate) fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A ready replica of an instance.
pub(crate) fn server(number: u8, url: &str) -> Replica {
    Replica { number, url: url.to_owned(), state: ReplicaState::Ready, problem: String::new() }
}

fn at(instance: &Instance) -> String {
    format!("http://{}", instance.address)
}

/// A server that returns the request line in the body.
async fn echo_server() -> Instance {
    Instance::start(|seen| Reply::Http(200, vec![], seen.line.clone().into_bytes())).await
}

#[actix_web::test]
async fn credentials_give_access_to_one_instance_only() {
    let (fixture, prometheus) = (Fixture::start().await, echo_server().await);
    let own = fixture.instance("own", &[server(0, &at(&prometheus))]).await;
    let other = fixture.instance("other", &[server(0, &at(&prometheus))]).await;
    let of_app = fixture.app.bind("b1", "app-guid", json!({})).await.json()["credentials"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/prometheus/own{QUERY}");
    let as_user = async |path: &str, authorization: &str| {
        fixture.app.get_with(path, &[("Authorization", authorization)]).await.status
    };
    for path in [&*path, "/prometheus/own/", "/prometheus/own", "/prometheus/own/-/quit"] {
        for authorization in [
            "",
            "Basic",
            "Bearer sbt_wrong",
            &basic("x", "sbt_wrong"),
            &basic("x", &other),
            &basic("x", &of_app),
            &basic("scrapebroker", fixture.web_password("own").expose_secret()),
            &format!("Bearer {other}"),
        ] {
            assert_eq!(as_user(path, authorization).await, 401, "{path} {authorization}");
        }
    }
    for path in ["/prometheus/unknown/", "/prometheus/unknown/api/v1/query"] {
        assert_eq!(
            as_user(path, &basic("x", &own)).await,
            401,
            "without credentials, existence is not disclosed: {path}"
        );
        assert_eq!(as_user(path, &basic(USER, PASSWORD)).await, 404, "{path}");
    }
    assert!(prometheus.requests().is_empty());

    for right in [basic("x", &own), basic("", &own), format!("Bearer {own}"), basic(USER, PASSWORD)]
    {
        assert_eq!(as_user(&path, &right).await, 200, "{right}");
    }
    fixture.unbind("key of own").await;
    eventually(async || (fixture.get(&path, &own).await.status == 401).then_some(())).await;
    assert_eq!(fixture.get(&format!("/prometheus/other{QUERY}"), &other).await.status, 200);
}

#[actix_web::test]
async fn credentials_are_replaced_and_only_necessary_headers_are_forwarded() {
    let (fixture, prometheus) = (Fixture::start().await, echo_server().await);
    let token = fixture.instance("own", &[server(0, &at(&prometheus))]).await;
    let origin = fixture.app.url("");
    let headers = [
        ("Authorization", &*basic("anyone", &token)),
        ("Cookie", "session=1"),
        ("X-Forwarded-For", "10.9.9.9"),
        ("Origin", &*origin),
        ("Referer", "https://x/"),
        ("Accept", "application/json"),
        ("Accept-Encoding", "gzip"),
        ("If-None-Match", "\"1\""),
    ];
    let answer = fixture.app.get_with(&format!("/prometheus/own{QUERY}"), &headers).await;
    assert_eq!(answer.text(), format!("GET {QUERY} HTTP/1.1"));
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert!(answer.headers["content-security-policy"].contains("script-src 'self'"));
    let mut seen = prometheus.requests()[0].headers.clone();
    let ours = basic("scrapebroker", fixture.web_password("own").expose_secret());
    assert_eq!(seen.remove("authorization"), Some(ours));
    assert_eq!(seen.remove("host"), Some(prometheus.address.to_string()));
    assert!(seen.remove("user-agent").unwrap().starts_with("scrapebroker/"));
    assert!(seen.remove("date").is_some());
    let left: Vec<_> = seen.into_iter().collect();
    let expected = [
        ("accept", "application/json"),
        ("accept-encoding", "gzip"),
        ("if-none-match", "\"1\""),
        ("x-forwarded-for", "10.9.9.9, 127.0.0.1"),
    ];
    assert_eq!(left, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[actix_web::test]
async fn names_with_special_characters_are_reachable_by_both_paths() {
    let (fixture, prometheus) =
        (Fixture::start_at("http://x.example.com/sub").await, echo_server().await);
    for id in ["tsuru:prometheus:my db", "a/b", "50%", "..", "ü?#"] {
        let url = format!("{}/prefix", at(&prometheus));
        let token = fixture.instance(id, &[server(0, &url)]).await;
        let short = scrapebroker::domain::prometheus::segment(&id.parse().unwrap());
        for name in [&*encoded(id), &*short] {
            for before in ["", "/sub"] {
                let answer =
                    fixture.get(&format!("{before}/prometheus/{name}{QUERY}"), &token).await;
                assert_eq!(answer.text(), format!("GET /prefix{QUERY} HTTP/1.1"), "{id} {name}");
            }
        }
    }
}

#[actix_web::test]
async fn the_next_server_is_used_if_one_refuses_connections() {
    let fixture = Fixture::start().await;
    let (prometheus, hung) = (echo_server().await, Instance::start(|_| Reply::Hang).await);
    let down = server(0, &format!("http://{}", closed_address()));
    let failed = Replica {
        state: ReplicaState::Failed,
        problem: "it needs more memory than 1 GiB".to_owned(),
        ..server(0, &at(&hung))
    };
    let second = server(1, &at(&prometheus));
    for (id, first) in [("down", &down), ("failed", &failed)] {
        let token = fixture.instance(id, &[first.clone(), second.clone()]).await;
        let answer = fixture.get(&format!("/prometheus/{id}{QUERY}"), &token).await;
        assert_eq!((answer.status, hung.requests().len()), (200, 0), "{id}");
    }
    let cases: [(&str, &[Replica], &str); 3] = [
        ("none", &[], "does not exist yet"),
        ("one", &[failed], "server 0 is failed: it needs more memory than 1 GiB"),
        ("two", &[down.clone(), Replica { number: 1, ..down }], "server 1 cannot be connected to"),
    ];
    for (id, servers, why) in cases {
        let token = fixture.instance(id, servers).await;
        let answer = fixture.get(&format!("/prometheus/{id}{QUERY}"), &token).await;
        assert_eq!((answer.status, &*answer.headers["retry-after"]), (503, "5"), "{id}");
        let json = answer.json();
        assert_eq!(json["status"], "error");
        assert!(json["error"].as_str().unwrap().contains(why), "{json}");
        assert!(!answer.text().contains("127.0.0.1"), "{json}");
        let page = fixture.get(&format!("/prometheus/{id}/"), &token).await;
        assert_eq!(page.status, 200);
        assert!(page.text().contains(why), "{}", page.text());
        let graph = fixture.get(&format!("/prometheus/{id}/graph"), &token).await;
        assert!(graph.text().starts_with("no server of this Prometheus"), "{}", graph.text());
    }
}

#[actix_web::test]
async fn a_query_to_an_unresponsive_server_times_out() {
    let (fixture, hung) = (Fixture::start().await, Instance::start(|_| Reply::Hang).await);
    let token = fixture.instance("own", &[server(0, &at(&hung))]).await;
    let answer = fixture.get(&format!("/prometheus/own{QUERY}&timeout=10ms"), &token).await;
    assert_eq!((answer.status, &answer.json()["errorType"]), (504, &json!("timeout")));
    eventually(async || (hung.open_connections() == 0).then_some(())).await;

    // The query is canceled when the client disconnects.
    let waiting = fixture.open(&format!("/prometheus/own{QUERY}"), &token).await;
    eventually(async || (hung.open_connections() == 1).then_some(())).await;
    drop(waiting);
    eventually(async || (hung.open_connections() == 0).then_some(())).await;

    let page = fixture.get("/prometheus/own/", &token).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("did not respond within 5 s"), "{}", page.text());
    assert!(page.text().contains("my &#60;prometheus&#62;"), "{}", page.text());
    assert!(!page.text().contains("sbt_"), "the page shows no secret");
    let bare = fixture.get("/prometheus/own", &token).await;
    assert_eq!((bare.status, &*bare.headers["location"]), (308, "./own/"));
}

#[actix_web::test]
async fn a_truncated_body_never_appears_complete() {
    let fixture = Fixture::start().await;
    let half = "half of it".repeat(100_000);
    let answers = [
        ("length", format!("Content-Length: 2000000\r\n\r\n{half}")),
        ("chunks", format!("Transfer-Encoding: chunked\r\n\r\nf4240\r\n{half}\r\n")),
        ("chunk", format!("Transfer-Encoding: chunked\r\n\r\n2000000\r\n{half}")),
    ];
    for (id, rest) in answers {
        let answer = format!("HTTP/1.1 200 OK\r\n{rest}");
        let dying = Instance::start(move |_| Reply::Raw(answer.clone().into_bytes())).await;
        let token = fixture.instance(id, &[server(0, &at(&dying))]).await;
        let raw = fixture.raw(&format!("/prometheus/{id}{QUERY}"), &token).await;
        let raw = String::from_utf8(raw).unwrap();
        let (head, body) = raw.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{id}: {raw:?}"));
        assert!(head.starts_with("HTTP/1.1 200"), "{id}: {head}");
        match id {
            "length" => assert!(head.contains("content-length: 2000000"), "{head}"),
            _ => assert!(head.contains("chunked") && !body.ends_with("0\r\n\r\n"), "{head}"),
        }
        assert!(body.len() < 2_000_000, "{id}");
    }
    let silent = Instance::start(|_| Reply::Close).await;
    let token = fixture.instance("silent", &[server(0, &at(&silent))]).await;
    assert_eq!(fixture.get(&format!("/prometheus/silent{QUERY}"), &token).await.status, 502);
}

#[actix_web::test]
async fn only_necessary_response_headers_are_returned() {
    let fixture = Fixture::start().await;
    let text = |value: &str| value.to_owned();
    let nice = Instance::start(move |_| {
        let headers = vec![
            ("Content-Type", text("text/html")),
            ("Content-Encoding", text("gzip")),
            ("ETag", text("\"1\"")),
            ("Set-Cookie", text("a=b")),
            ("Access-Control-Allow-Origin", text("*")),
            ("Connection", text("X-Hop")),
            ("X-Hop", text("1")),
            ("Server", text("Go")),
        ];
        Reply::Http(200, headers, b"\x1f\x8bnot looked at".to_vec())
    })
    .await;
    let token = fixture.instance("nice", &[server(0, &at(&nice))]).await;
    let answer = fixture.get("/prometheus/nice/graph", &token).await;
    assert_eq!(answer.body, b"\x1f\x8bnot looked at");
    for (name, value) in [("content-type", "text/html"), ("content-encoding", "gzip")] {
        assert_eq!(answer.headers[name], value);
    }
    for name in ["set-cookie", "access-control-allow-origin", "x-hop", "server"] {
        assert!(!answer.headers.contains_key(name), "{name}");
    }
    let cases = [
        ("password", 401, ("WWW-Authenticate", "Basic"), 502),
        ("elsewhere", 302, ("Location", "https://evil.example.com/"), 502),
        ("here", 302, ("Location", "/prometheus/here/query"), 302),
        ("same", 304, ("ETag", "\"1\""), 304),
        ("busy", 503, ("Retry-After", "7"), 503),
    ];
    for (id, status, (name, value), expected) in cases {
        let message =
            Instance::start(move |_| Reply::Http(status, vec![(name, value.to_owned())], vec![]))
                .await;
        let token = fixture.instance(id, &[server(0, &at(&message))]).await;
        let answer = fixture.get(&format!("/prometheus/{id}/graph"), &token).await;
        assert_eq!(answer.status, expected, "{id}: {}", answer.text());
        assert!(!answer.headers.contains_key("www-authenticate"), "{id}");
        let passed_on = answer.headers.get(&name.to_ascii_lowercase()).map(String::as_str);
        assert_eq!(passed_on, (status == expected).then_some(value), "{id}");
    }
}

#[actix_web::test]
async fn responses_that_a_proxy_modified_are_supported() {
    let fixture = Fixture::start().await;
    let cases = [
        ("until-close", "HTTP/1.1 200 OK\r\n\r\nhello"),
        ("old", "HTTP/1.0 200 OK\r\n\r\nhello"),
        ("identity", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello"),
        (
            "interim",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nLink: a\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        ),
    ];
    for (id, answer) in cases {
        let server_of = Instance::start(|_| Reply::Raw(answer.as_bytes().to_vec())).await;
        let token = fixture.instance(id, &[server(0, &at(&server_of))]).await;
        let answer = fixture.get(&format!("/prometheus/{id}/graph"), &token).await;
        assert_eq!((answer.status, &*answer.text()), (200, "hello"), "{id}");
    }
    for (id, answer) in [
        ("switches", "HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n"),
        ("lengths", "HTTP/1.1 200 X\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    ] {
        let server_of = Instance::start(|_| Reply::Raw(answer.as_bytes().to_vec())).await;
        let token = fixture.instance(id, &[server(0, &at(&server_of))]).await;
        let answer = fixture.get(&format!("/prometheus/{id}/graph"), &token).await;
        assert_eq!(answer.status, 502, "{id}");
    }
    let empty = Instance::start(|_| Reply::Raw(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())).await;
    let token = fixture.instance("empty", &[server(0, &at(&empty))]).await;
    let raw = String::from_utf8(fixture.raw("/prometheus/empty/graph", &token).await).unwrap();
    assert!(!raw.ends_with("0\r\n\r\n"), "the body appears complete: {raw}");
}

/// The web UI of Prometheus 3 sends these requests as well.
#[actix_web::test]
async fn notifications_are_forwarded_and_not_streamed() {
    let (fixture, prometheus) = (Fixture::start().await, echo_server().await);
    let token = fixture.instance("own", &[server(0, &at(&prometheus))]).await;
    for path in ["scrape_pools", "notifications", "targets/metadata", "features"] {
        let answer = fixture.get(&format!("/prometheus/own/api/v1/{path}"), &token).await;
        assert_eq!((answer.status, answer.text()), (200, format!("GET /api/v1/{path} HTTP/1.1")));
    }
    let request_count = prometheus.requests().len();
    let live = "/prometheus/own/api/v1/notifications/live";
    assert_eq!(fixture.get(live, &token).await.status, 204);
    assert_eq!(fixture.app.get(live).await.status, 401);
    let authorization = basic("x", &token);
    let headers = [("Authorization", authorization.as_str())];
    let posted = send("POST", &fixture.app.url(live), &headers, None).await;
    assert_eq!(posted.status, 405);
    assert_eq!(prometheus.requests().len(), request_count);
}

#[actix_web::test]
async fn rule_files_are_named_without_their_folders() {
    let fixture = Fixture::start().await;
    let rules = r#"{"data":{"groups":[{"name":"g","file":"/srv/x/rules.yml","rules":[]}]}}"#;
    let answers = [
        ("length", format!("Content-Length: {}\r\n\r\n{rules}", rules.len())),
        (
            "chunks",
            format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{rules}\r\n0\r\n\r\n", rules.len()),
        ),
        ("close", format!("\r\n{rules}")),
    ];
    for (id, rest) in answers {
        let answer = format!("HTTP/1.1 200 OK\r\n{rest}").into_bytes();
        let prometheus = Instance::start(move |seen| {
            assert!(!seen.headers.contains_key("accept-encoding"));
            Reply::Raw(answer.clone())
        })
        .await;
        let token = fixture.instance(id, &[server(0, &at(&prometheus))]).await;
        let authorization = basic("x", &token);
        let headers = [("Authorization", authorization.as_str()), ("Accept-Encoding", "gzip")];
        for slash in ["", "/"] {
            let path = format!("/prometheus/{id}/api/v1/rules{slash}?type=alert");
            let answer = fixture.app.get_with(&path, &headers).await;
            assert_eq!(answer.text(), rules.replace("/srv/x/", ""), "{id}");
        }
        let url = fixture.app.url(&format!("/prometheus/{id}/api/v1/rules"));
        assert_eq!(send("HEAD", &url, &headers, None).await.status, 200);
    }
    let cut = Instance::start(|_| {
        Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"data\":{".to_vec())
    })
    .await;
    let token = fixture.instance("cut", &[server(0, &at(&cut))]).await;
    let raw = String::from_utf8(fixture.raw("/prometheus/cut/api/v1/rules", &token).await).unwrap();
    assert!(!raw.ends_with("0\r\n\r\n"), "the body appears complete: {raw}");
    let packed = Instance::start(|_| {
        Reply::Http(200, vec![("Content-Encoding", "gzip".to_owned())], b"\x1f\x8b".to_vec())
    })
    .await;
    let token = fixture.instance("packed", &[server(0, &at(&packed))]).await;
    assert_eq!(fixture.get("/prometheus/packed/api/v1/rules", &token).await.status, 502);
}

/// vmalert sends such queries.
#[actix_web::test]
async fn a_post_without_a_content_type_is_a_form() {
    let (fixture, prometheus) = (Fixture::start().await, echo_server().await);
    let token = fixture.instance("own", &[server(0, &at(&prometheus))]).await;
    let authorization = basic("x", &token);
    let url = fixture.app.url("/prometheus/own/api/v1/query?query=up");
    for (types, status) in [
        (vec![], 200),
        (vec![("Content-Type", "")], 200),
        (vec![("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")], 200),
        (vec![("Content-Type", "application/json")], 415),
        (vec![("Content-Type", "multipart/form-data; boundary=x")], 415),
    ] {
        for body in [None, Some("step=1".to_owned())] {
            let mut headers = types.clone();
            headers.push(("Authorization", &authorization));
            // Without a body the content type does not matter.
            let status = if body.is_some() { status } else { 200 };
            let answer = send("POST", &url, &headers, body).await;
            assert_eq!(answer.status, status, "{types:?}: {}", answer.text());
        }
    }
    assert_eq!(prometheus.requests()[0].line, "POST /api/v1/query?query=up HTTP/1.1");
}

/// The body has two gigabytes. Only the socket buffers hold unread data.
#[actix_web::test]
async fn a_large_body_is_streamed_without_buffering() {
    const LENGTH: u64 = 2 << 30;
    const UNDER_WAY: u64 = 32 << 20;
    let fixture = Fixture::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    // The server runs on a separate thread and writes as fast as possible.
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let listener = listener.into_std().unwrap();
        listener.set_nonblocking(false).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").unwrap();
        let piece = vec![b'x'; 1 << 20];
        while stream.write_all(&piece).is_ok() {
            if count.fetch_add(1 << 20, Ordering::SeqCst) + (1 << 20) == LENGTH {
                break;
            }
        }
    });
    let token = fixture.instance("own", &[server(0, &url)]).await;
    let mut stream = fixture.open("/prometheus/own/federate", &token).await;
    let mut read = 0;
    let mut buffer = vec![0; 1 << 20];
    tokio::time::sleep(Duration::from_secs(1)).await;
    loop {
        let more = stream.read(&mut buffer).await.unwrap();
        read += u64::try_from(more).unwrap();
        let under_way = sent.load(Ordering::SeqCst).saturating_sub(read);
        assert!(under_way < UNDER_WAY, "{under_way} bytes are buffered after {read}");
        if more == 0 {
            break;
        }
    }
    assert!(read > LENGTH && read < LENGTH + 1000, "{read}: the size of the body and the head");
}

#[actix_web::test]
async fn the_certificate_of_a_server_is_verified() {
    let (authority, other) = (Authority::new("ours"), Authority::new("other"));
    let acceptor = authority.issue("localhost").acceptor(None);
    let prometheus = Instance::start_secured("127.0.0.1:0", Some(acceptor), |_| {
        Reply::Http(200, vec![], b"secured".to_vec())
    })
    .await;
    let port = prometheus.address.port();
    let send_request = async |authority: &Authority, host: &str| {
        let ca = tls::Pem {
            key: "ca".to_owned(),
            source: tls::PemSource::Inline(authority.pem.clone().into()),
        };
        let settings = tls::ClientSettings { ca: Some(ca), ..tls::ClientSettings::default() };
        let tls = Arc::new(settings.config().unwrap());
        let resolver = Resolver::new(tokio::runtime::Handle::current());
        let outgoing = ConnectionLimiter::new(100, ConnectionLimiterMetrics::default());
        let client = PrometheusClient::new(tls, resolver, outgoing, ServerStates::default());
        let replicas = [server(0, &format!("https://{host}:{port}"))];
        let upstream = Upstream::of_replicas("http://x".to_owned(), &replicas, &"p".into());
        let headers = actix_web::http::header::HeaderMap::new();
        let request = QueryRequest::get(QUERY.to_owned(), &headers, Duration::from_secs(10));
        client.forward(&upstream, &request).await.map(|answer| answer.status.as_u16())
    };
    assert_eq!(send_request(&authority, "localhost").await, Ok(200));
    for (authority, host) in [(&other, "localhost"), (&authority, "127.0.0.1")] {
        let failure = send_request(authority, host).await.unwrap_err().to_string();
        assert!(failure.contains("cannot be connected to"), "{failure}");
    }
    assert_eq!(prometheus.requests().len(), 1);
}
