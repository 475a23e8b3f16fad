//! Instances behind TLS. Like gorouter, the program connects to the address and verifies the
//! certificate against the name of the instance.

use crate::test_app::*;
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use support::{certificates::*, *};
use tokio::net::TcpListener;

/// An endpoint in the format of gorouter whose certificate has the name `san`.
fn secured(index: usize, address: SocketAddr, san: &str) -> Value {
    let mut endpoint = endpoint("app", index, address);
    endpoint["tls"] = json!(true);
    if !san.is_empty() {
        endpoint["server_cert_domain_san"] = json!(san);
    }
    endpoint
}

fn table(endpoints: &[Value]) -> Value {
    json!({ "app.example.com": endpoints })
}

/// An authority for instances, and an authority for the client certificate of the program.
struct Backends {
    instances: Authority,
    routers: Authority,
    files: Files,
}

impl Backends {
    fn new() -> Self {
        let files = Files::create();
        let (instances, routers) = (Authority::new("instances"), Authority::new("routers"));
        files.write("ca", &instances.pem);
        files.write_identity(&routers.issue("gorouter.service.cf.internal"));
        Self { instances, routers, files }
    }

    fn settings(&self, routes: &RouteFile) -> Vec<(&'static str, String)> {
        vec![
            routes.setting(),
            ("BACKENDS__CA_FILE", self.files.path("ca")),
            ("BACKENDS__CERT_FILE", self.files.path("cert")),
            ("BACKENDS__KEY_FILE", self.files.path("key")),
        ]
    }

    /// Starts an instance with the certificate `identity` that requires a client certificate of the
    /// authority for routers.
    async fn instance(&self, identity: &Identity, body: &str) -> Instance {
        let body = body.to_owned();
        let acceptor = identity.acceptor(Some(&self.routers));
        Instance::start_secured("127.0.0.1:0", Some(acceptor), move |_| Reply::metrics(&body)).await
    }

    /// The relevant line of a scrape of one instance whose expected name is `san`.
    async fn scrape_result(&self, address: SocketAddr, san: &str) -> String {
        let routes = RouteFile::new(&table(&[secured(0, address, san)]));
        let app = spawn_app(&self.settings(&routes)).await;
        let deadline = [("X-Prometheus-Scrape-Timeout-Seconds", "2")];
        let answer = app.get_with("/v1/apps/app-guid/metrics", &deadline).await;
        match answer.status {
            200 => answer.lines("a{").concat(),
            _ => answer.text(),
        }
    }
}

const METRICS: &str = "/v1/apps/app-guid/metrics";

#[actix_web::test]
async fn instances_with_mutual_tls_are_verified_by_their_own_names() {
    let backends = Backends::new();
    let sans = ["2c0e5f5e-7d5a-4a59-5d1c-2ab3", "app_instance-1", "8f1c0000-0000-4000-8000-00ff"];
    let mut instances = Vec::new();
    for (n, san) in sans.iter().enumerate() {
        // One of the certificate chains has an intermediate certificate.
        let identity = if n == 2 {
            let between = backends.instances.intermediate("cell");
            let mut identity = between.issue(san);
            identity.cert.push_str(&between.pem);
            identity
        } else {
            backends.instances.issue(san)
        };
        instances.push(backends.instance(&identity, &format!("a {n}\n")).await);
    }
    let endpoints: Vec<_> = (0..3).map(|n| secured(n, instances[n].address, sans[n])).collect();
    let routes = RouteFile::new(&table(&endpoints));
    let app = spawn_app(&backends.settings(&routes)).await;
    for _ in 0..10 {
        let answer = app.get(METRICS).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.headers["x-scrapebroker-instances"], "3/3", "{}", answer.text());
        for (n, line) in answer.lines("a{").iter().enumerate() {
            assert!(line.ends_with(&format!(" {n}")), "{line}");
        }
    }
    let seen = instances[0].requests();
    assert_eq!(seen[0].headers["host"], "app.example.com");
    assert!(seen.iter().any(|seen| seen.nth > 1), "no connection was reused");
}

#[actix_web::test]
async fn an_intermediate_authority_can_be_trusted() {
    let mut backends = Backends::new();
    backends.instances = backends.instances.intermediate("instance-identity");
    backends.files.write("ca", &backends.instances.pem);
    let instance = backends.instance(&backends.instances.issue("guid"), "a 1\n").await;
    let reported = backends.scrape_result(instance.address, "guid").await;
    assert!(reported.ends_with(" 1"), "{reported}");
}

#[actix_web::test]
async fn each_invalid_certificate_of_an_instance_has_its_reason() {
    let backends = Backends::new();
    let ours = &backends.instances;
    let (others, namesake) = (Authority::new("others"), Authority::new("instances"));
    let cases = [
        (
            "expired",
            ours.issue_with("guid", expired),
            "guid",
            "tls: the peer's certificate expired at 2002-02-02",
        ),
        (
            "not yet valid",
            ours.issue_with("guid", not_yet_valid),
            "guid",
            "tls: the peer's certificate is not valid before 2222-01-01",
        ),
        ("self-signed", self_signed("guid"), "guid", "tls: the peer's certificate is self-signed"),
        (
            "of an authority of the same name",
            namesake.issue("guid"),
            "guid",
            "tls: the peer's certificate names a CA that is trusted, but another key",
        ),
        ("of another authority", others.issue("guid"), "guid", "a CA that is not trusted"),
        (
            "of another instance",
            ours.issue("other"),
            "guid",
            "stale_endpoint: the certificate is not for guid but for",
        ),
        (
            "expired, and of another instance",
            ours.issue_with("other", expired),
            "guid",
            "tls: the peer's certificate expired",
        ),
        ("without a name", ours.issue("127.0.0.1"), "", "} 1"),
        ("without a name, of another address", ours.issue("10.9.8.7"), "", "stale_endpoint: "),
        ("no DNS name", ours.issue("guid"), "not a name!", "tls: the route names \"not a name!\""),
        (
            "without the extended key usage for servers",
            ours.issue_with("guid", |params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            }),
            "guid",
            "tls: the peer's certificate cannot be used",
        ),
    ];
    for (name, identity, san, expected) in cases {
        let instance = backends.instance(&identity, "a 1\n").await;
        let reported = backends.scrape_result(instance.address, san).await;
        assert!(reported.contains(expected), "{name}: {reported}");
    }
}

#[actix_web::test]
async fn a_refused_client_certificate_is_reported_with_the_reason() {
    let backends = Backends::new();
    let instance = backends.instance(&backends.instances.issue("guid"), "a 1\n").await;
    let refused = "tls: the peer rejected the client certificate";
    let cases = [
        ("expired", backends.routers.issue_with("router", expired)),
        ("not yet valid", backends.routers.issue_with("router", not_yet_valid)),
        ("self-signed", self_signed("router")),
        ("of another authority", Authority::new("others").issue("router")),
    ];
    for (name, identity) in cases {
        backends.files.write_identity(&identity);
        let reported = backends.scrape_result(instance.address, "guid").await;
        assert!(reported.contains(refused), "{name}: {reported}");
    }
    let routes = RouteFile::new(&table(&[secured(0, instance.address, "guid")]));
    let settings = [routes.setting(), ("BACKENDS__CA_FILE", backends.files.path("ca"))];
    let app = spawn_app(&settings).await;
    let reported = app.get(METRICS).await.text();
    assert!(
        reported.contains(
            "tls: the peer requires a client certificate; for instances set backends.cert"
        ),
        "{reported}"
    );
}

#[actix_web::test]
async fn a_peer_without_tls_is_reported() {
    let backends = Backends::new();
    let plain = Instance::start(|_| Reply::Raw(b"HTTP/1.1 400 no\r\n\r\n".to_vec())).await;
    let talks = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closes = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (talking, closing) = (talks.local_addr().unwrap(), closes.local_addr().unwrap());
    actix_web::rt::spawn(async move {
        loop {
            let (mut stream, _) = talks.accept().await.unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-OpenSSH\r\n").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    actix_web::rt::spawn(async move { while closes.accept().await.is_ok() {} });
    let reported = backends.scrape_result(talking, "guid").await;
    assert!(reported.contains("tls: the peer does not speak TLS at this port"), "{reported}");
    let reported = backends.scrape_result(closing, "guid").await;
    assert!(reported.contains("tls: the connection ended within the TLS handshake"), "{reported}");
    let gone = plain.address;
    drop(plain);
    let reported = backends.scrape_result(gone, "guid").await;
    assert!(reported.contains("connect: "), "{reported}");
}

#[actix_web::test]
async fn a_hanging_handshake_does_not_affect_other_instances() {
    let backends = Backends::new();
    let good = backends.instance(&backends.instances.issue("good"), "a 1\n").await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let routes = RouteFile::new(&table(&[
        secured(0, good.address, "good"),
        secured(1, silent.local_addr().unwrap(), "silent"),
    ]));
    let app = spawn_app(&backends.settings(&routes)).await;
    let deadline = [("X-Prometheus-Scrape-Timeout-Seconds", "1")];
    let answer = app.get_with(METRICS, &deadline).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.lines("a{").len(), 1);
    let error = answer.lines("promfetcher_scrape_error{").pop().unwrap();
    assert!(error.contains("error=\"timeout\""), "{error}");

    let mut by_http2 = secured(1, silent.local_addr().unwrap(), "silent");
    by_http2["protocol"] = json!("http2");
    for endpoint in [secured(1, silent.local_addr().unwrap(), "silent"), by_http2] {
        let routes = RouteFile::new(&table(&[endpoint]));
        let app = spawn_app(&backends.settings(&routes)).await;
        let answer = app.get_with(METRICS, &deadline).await;
        assert_eq!(answer.status, 504);
        assert!(answer.text().contains("the TLS handshake did not end"), "{}", answer.text());
    }
}

#[actix_web::test]
async fn a_kept_connection_is_not_reused_for_another_instance() {
    let backends = Backends::new();
    let instance = backends.instance(&backends.instances.issue("first"), "a 1\n").await;
    let routes = RouteFile::new(&table(&[secured(0, instance.address, "first")]));
    let app = spawn_app(&backends.settings(&routes)).await;
    for _ in 0..5 {
        assert_eq!(app.get(METRICS).await.lines("a{").len(), 1);
    }
    assert!(instance.open_connections() > 0);
    // According to the route table another instance has the address now.
    routes.write(&table(&[secured(0, instance.address, "second")]));
    eventually(async || {
        let answer = app.get(METRICS).await;
        answer.text().contains("stale_endpoint: ").then_some(())
    })
    .await;
    for _ in 0..5 {
        assert_eq!(app.get(METRICS).await.status, 502);
    }
    let own = app.get("/metrics").await;
    let counted = own.lines("scrapebroker_instance_failures_total{reason=\"stale_endpoint\"} ");
    assert!(!counted[0].ends_with(" 0"), "{counted:?}");
}

#[actix_web::test]
async fn certificates_are_reloaded_and_invalid_ones_are_ignored() {
    let backends = Backends::new();
    let (authority, routers) = (Authority::new("next"), Authority::new("next routers"));
    let acceptor = authority.issue("guid").acceptor(Some(&routers));
    let instance =
        Instance::start_secured("127.0.0.1:0", Some(acceptor), |_| Reply::metrics("a 1\n")).await;
    let old = backends.instance(&backends.instances.issue("guid"), "a 0\n").await;
    let endpoints = [secured(0, old.address, "guid"), secured(1, instance.address, "guid")];
    let routes = RouteFile::new(&table(&endpoints));
    let app = spawn_app(&backends.settings(&routes)).await;
    let answers = async || app.get(METRICS).await.headers["x-scrapebroker-instances"].clone();
    assert_eq!(answers().await, "1/2");

    // First the trusted authorities change, then the client certificate.
    backends.files.write("ca", &format!("{}{}", backends.instances.pem, authority.pem));
    eventually(async || {
        let body = app.get("/v1/apps/app-guid/instances/1/metrics").await.text();
        body.contains("rejected the client certificate").then_some(())
    })
    .await;
    backends.files.write_identity(&routers.issue("router"));
    eventually(async || {
        let lines = app.get(METRICS).await.lines("a{");
        (lines.len() == 1 && lines[0].ends_with(" 1")).then_some(())
    })
    .await;

    let failed = async || failed_reloads(&app.get("/metrics").await, "backends");
    let before = failed().await;
    backends.files.write("ca", "broken");
    backends.files.write("key", "broken");
    eventually(async || (failed().await > before).then_some(())).await;
    assert_eq!(answers().await, "1/2", "the previous certificates stay in use");

    // A kept connection was verified with an authority that is no longer trusted.
    backends.files.write("ca", &backends.instances.pem);
    backends.files.write_identity(&routers.issue("router"));
    eventually(async || {
        let body = app.get("/v1/apps/app-guid/instances/1/metrics").await.text();
        body.contains("a CA that is not trusted").then_some(())
    })
    .await;
}

#[actix_web::test]
async fn skip_verify_accepts_any_certificate() {
    let acceptor = self_signed("other").acceptor(None);
    let instance =
        Instance::start_secured("127.0.0.1:0", Some(acceptor), |_| Reply::metrics("a 1\n")).await;
    let routes = RouteFile::new(&table(&[secured(0, instance.address, "guid")]));
    let app = spawn_app(&[routes.setting(), ("BACKENDS__SKIP_VERIFY", "true".to_owned())]).await;
    let answer = app.get(METRICS).await;
    assert_eq!(answer.lines("a{").len(), 1, "{}", answer.text());
}

#[actix_web::test]
async fn truncated_bodies_are_detected_over_tls() {
    let backends = Backends::new();
    let head = "HTTP/1.1 200 OK\r\n";
    let cases = [
        ("ended by close", format!("{head}\r\na 1\n"), "} 1"),
        ("truncated body", format!("{head}Content-Length: 99\r\n\r\na 1\n"), "truncated: "),
        ("truncated head", format!("{head}Content-Le"), "truncated: "),
        ("no HTTP", "SSH-2.0-OpenSSH\r\n\r\n".to_owned(), "not_exposition: "),
    ];
    for (name, raw, expected) in cases {
        let acceptor = backends.instances.issue("guid").acceptor(None);
        let reply = move |_: &ReceivedRequest| Reply::Raw(raw.clone().into_bytes());
        let instance = Instance::start_secured("127.0.0.1:0", Some(acceptor), reply).await;
        let reported = backends.scrape_result(instance.address, "guid").await;
        assert!(reported.contains(expected), "{name}: {reported}");
    }
}
