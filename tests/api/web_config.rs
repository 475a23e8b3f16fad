//! Web configuration files: TLS, users, headers, rate limits, and changes of the file.

use crate::{server_process::Server, test_app::*};
use rustls::{
    SupportedProtocolVersion,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use serde_json::json;
use std::{io, net::SocketAddr};
use support::{certificates::*, programs::Prometheus, *};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
const METRICS: &str = "/v1/apps/app-guid/metrics";

fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

fn users(users: &[(&str, &str)]) -> String {
    let users = users.iter().map(|(name, password)| format!("  {name}: {}\n", hash(password)));
    format!("basic_auth_users:\n{}", users.collect::<String>())
}

fn setting(files: &Files) -> (&'static str, String) {
    ("WEB_CONFIG_FILE", files.path("web.yml"))
}

async fn as_user(app: &TestApp, path: &str, user: &str, password: &str) -> Response {
    app.get_with(path, &[("Authorization", &basic(user, password))]).await
}

#[actix_web::test]
async fn every_request_needs_a_user_or_other_credentials_of_the_installation() {
    let files = Files::create();
    files.write("web.yml", &users(&[("alice", "wonderland"), ("bob", "builder")]));
    let operators = json!([{"username": "ann", "password_bcrypt": hash("operator")}]);
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[
        setting(&files),
        ("ROUTES__FILE", routes.setting().1),
        ("OPERATORS", operators.to_string()),
        ("HEALTH_LISTEN", "127.0.0.1:0".to_owned()),
    ])
    .await;
    for path in
        ["/", "/metrics", "/-/healthy", "/-/ready", METRICS, "/nothing", "/broker/v2/catalog"]
    {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.headers["www-authenticate"].contains("realm=\"scrapebroker\""), "{path}");
    }
    for (user, password) in [("alice", "builder"), ("alice", ""), ("", ""), ("eve", "wonderland")] {
        assert_eq!(as_user(&app, "/metrics", user, password).await.status, 401, "{user}");
    }
    for (user, password) in [("alice", "wonderland"), ("bob", "builder")] {
        assert_eq!(as_user(&app, "/metrics", user, password).await.status, 200, "{user}");
        assert_eq!(as_user(&app, "/nothing", user, password).await.status, 404, "{user}");
    }
    eventually(async || {
        let ready = as_user(&app, "/-/ready", "alice", "wonderland").await;
        (ready.status == 200).then_some(())
    })
    .await;
    // Users of the gate are anonymous behind it.
    assert_eq!(as_user(&app, "/broker/v2/catalog", "alice", "wonderland").await.status, 401);
    assert_eq!(as_user(&app, "/routes", "alice", "wonderland").await.status, 401);
    assert_eq!(as_user(&app, METRICS, "alice", "wonderland").await.status, 200);
    // Other credentials keep their rights.
    assert_eq!(as_user(&app, "/routes", "ann", "operator").await.status, 200);
    assert_eq!(app.broker("GET", "/v2/catalog", None).await.status, 200);
    let tsuru = as_user(&app, "/tsuru/metrics/resources/plans", "metrics", PASSWORD).await;
    assert_eq!(tsuru.status, 200, "{}", tsuru.text());
    let bound = app.bind("b1", "app-guid", json!({})).await.json();
    let token = bound["credentials"]["password"].as_str().unwrap();
    let bearer = format!("Bearer {token}");
    assert_eq!(app.get_with(METRICS, &[("Authorization", &bearer)]).await.status, 200);
    app.unbind("b1").await;
    eventually(async || {
        let answer = app.get_with(METRICS, &[("Authorization", &bearer)]).await;
        (answer.status == 401).then_some(())
    })
    .await;
    // Credentials for apps do not pass, and no credentials of the installation reach an app.
    assert_eq!(app.get_with(METRICS, &[("Authorization", "Bearer of-the-app")]).await.status, 401);
    for request in instance.requests() {
        assert!(!request.headers.contains_key("authorization"), "{:?}", request.headers);
    }
    let health = app.health_address.unwrap();
    assert_eq!(send("GET", &format!("http://{health}/"), &[], None).await.status, 200);
}

#[actix_web::test]
async fn wrong_passwords_are_throttled_and_right_ones_are_not() {
    let files = Files::create();
    files.write("web.yml", &users(&[("alice", "wonderland")]));
    let app = spawn_app(&[setting(&files)]).await;
    assert_eq!(as_user(&app, "/metrics", "alice", "wonderland").await.status, 200);
    let mut throttled = None;
    for guess in 0..12 {
        let answer = as_user(&app, "/metrics", "alice", &guess.to_string()).await;
        if answer.status == 429 {
            throttled = Some((guess, answer));
            break;
        }
        assert_eq!(answer.status, 401);
    }
    let (guesses, answer) = throttled.unwrap();
    assert!((10..=11).contains(&guesses), "{guesses}");
    let wait: u64 = answer.headers["retry-after"].parse().unwrap();
    assert!((1..=6).contains(&wait), "{wait}");
    assert_eq!(as_user(&app, "/metrics", "alice", "wonderland").await.status, 200);
}

#[actix_web::test]
async fn a_user_may_have_the_name_of_an_operator() {
    let files = Files::create();
    files.write("web.yml", &users(&[("ann", "user"), (USER, "other")]));
    let operators = json!([{"username": "ann", "password_bcrypt": hash("operator")}]);
    let app = spawn_app(&[setting(&files), ("OPERATORS", operators.to_string())]).await;
    // More requests than failed logins are allowed.
    for _ in 0..15 {
        assert_eq!(as_user(&app, "/routes", "ann", "operator").await.status, 200);
        assert_eq!(as_user(&app, "/metrics", "ann", "user").await.status, 200);
        assert_eq!(as_user(&app, "/routes", "ann", "user").await.status, 401);
        assert_eq!(as_user(&app, "/routes", USER, PASSWORD).await.status, 200);
        assert_eq!(as_user(&app, "/metrics", USER, "other").await.status, 200);
    }
}

#[actix_web::test]
async fn the_listeners_of_queries_and_events_are_protected_too() {
    let files = Files::create();
    files.write("web.yml", &users(&[("alice", "wonderland")]));
    let pools = json!([{"name": "p", "locators": [{"static": ["http://127.0.0.1:1"]}]}]);
    let app = spawn_app(&[
        setting(&files),
        ("QUERY__LISTEN", "127.0.0.1:0".to_owned()),
        ("QUERY__POOLS", pools.to_string()),
        ("EVENTS__LISTEN", "127.0.0.1:0".to_owned()),
    ])
    .await;
    let alice = basic("alice", "wonderland");
    for (address, path) in [(app.query_address, "/-/healthy"), (app.events_address, "/metrics")] {
        let url = format!("http://{}{path}", address.unwrap());
        assert_eq!(send("GET", &url, &[], None).await.status, 401, "{url}");
        let headers = [("Authorization", &*alice)];
        assert_eq!(send("GET", &url, &headers, None).await.status, 200, "{url}");
    }
}

#[actix_web::test]
async fn headers_are_added_to_every_response() {
    let files = Files::create();
    let headers = "http_server_config: { headers: { X-Frame-Options: deny, \
                   Content-Security-Policy: 'img-src data:', Strict-Transport-Security: max-age=1 } }\n";
    files.write("web.yml", &format!("{headers}{}", users(&[("alice", "wonderland")])));
    let app = spawn_app(&[setting(&files)]).await;
    for (path, password, status) in
        [("/", "wonderland", 200), ("/nothing", "wonderland", 404), ("/metrics", "wrong", 401)]
    {
        let answer = as_user(&app, path, "alice", password).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.headers["x-frame-options"], "deny", "{path}");
        assert_eq!(answer.headers["strict-transport-security"], "max-age=1", "{path}");
    }
    // Browsers enforce both policies.
    let raw = raw_head(app.address, &basic("alice", "wonderland")).await;
    let policies = raw.lines().filter(|line| line.starts_with("content-security-policy:"));
    let policies: Vec<_> = policies.collect();
    assert_eq!(policies.len(), 2, "{raw}");
    assert!(policies.iter().any(|policy| policy.ends_with("img-src data:")), "{raw}");
}

async fn raw_head(address: SocketAddr, authorization: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {authorization}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await.unwrap();
    let raw = String::from_utf8_lossy(&raw).into_owned();
    raw.split("\r\n\r\n").next().unwrap().to_lowercase()
}

#[actix_web::test]
async fn requests_above_the_rate_limit_get_429() {
    let files = Files::create();
    files.write("web.yml", "rate_limit: { interval: 1h, burst: 3 }\n");
    let app = spawn_app(&[setting(&files)]).await;
    for _ in 0..3 {
        assert_eq!(app.get("/-/healthy").await.status, 200);
    }
    let answer = app.get("/-/healthy").await;
    assert_eq!(answer.status, 429);
    let wait: u64 = answer.headers["retry-after"].parse().unwrap();
    assert!((3_590..=3_600).contains(&wait), "{wait}");
    // A change of another setting does not reset the limit.
    files.write("web.yml", "rate_limit: { interval: 1h, burst: 3 }\nhttp_server_config: { headers: { X-Frame-Options: deny } }\n");
    eventually(async || {
        let answer = app.get("/-/healthy").await;
        assert_eq!(answer.status, 429);
        answer.headers.contains_key("x-frame-options").then_some(())
    })
    .await;
    files.write("web.yml", "rate_limit: { interval: 0s }\n");
    eventually(async || (app.get("/-/healthy").await.status == 200).then_some(())).await;
    let own = app.get("/metrics").await;
    assert!(
        own.lines("scrapebroker_web_rate_limited_total ")[0]
            != "scrapebroker_web_rate_limited_total 0"
    );
}

#[actix_web::test]
async fn a_changed_file_is_applied_and_a_broken_one_is_not() {
    let files = Files::create();
    files.write("web.yml", &users(&[("alice", "wonderland")]));
    let app = spawn_app(&[setting(&files)]).await;
    let status = async |user: &str, password: &str| as_user(&app, "/metrics", user, password).await;
    assert_eq!(status("alice", "wonderland").await.status, 200);
    let reloads = |metrics: &Response, outcome: &str| {
        let section = "section=\"web_config_file\"";
        let name = format!("scrapebroker_file_reloads_total{{{section},outcome=\"{outcome}\"}} ");
        metrics.lines(&name)[0].strip_prefix(&name).unwrap().parse::<u64>().unwrap()
    };
    for broken in [
        "basic_auth_users: { eve: x }\n",
        "a: b: c\n",
        "tls_server_config: { cert_file: c, key_file: k }\n",
    ] {
        let before = reloads(&status("alice", "wonderland").await, "failed");
        files.write("web.yml", broken);
        let metrics = eventually(async || {
            let metrics = status("alice", "wonderland").await;
            assert_eq!(metrics.status, 200, "{broken}");
            (reloads(&metrics, "failed") > before).then_some(metrics)
        });
        let metrics = metrics.await;
        let last = "scrapebroker_file_last_reload_successful{section=\"web_config_file\"} 0";
        assert_eq!(metrics.lines(last), [last]);
    }
    files.write("web.yml", &users(&[("carol", "christmas")]));
    let metrics = eventually(async || {
        let metrics = status("carol", "christmas").await;
        (metrics.status == 200).then_some(metrics)
    });
    let last = "scrapebroker_file_last_reload_successful{section=\"web_config_file\"} 1";
    assert_eq!(metrics.await.lines(last), [last]);
    assert_eq!(status("alice", "wonderland").await.status, 401);
}

struct Secured {
    authority: Authority,
    files: Files,
    app: TestApp,
}

impl Secured {
    async fn start(tls: &str, rest: &str) -> Self {
        let (authority, files) = (Authority::new("scrapebroker"), Files::create());
        files.write_identity(&authority.issue("localhost"));
        files.write("ca", &authority.pem);
        let config =
            format!("tls_server_config: {{ cert_file: cert, key_file: key, {tls} }}\n{rest}");
        files.write("web.yml", &config);
        let app = spawn_app(&[setting(&files)]).await;
        Self { authority, files, app }
    }

    fn client(&self, identity: Option<&Identity>) -> TlsConnector {
        client(&self.authority, identity, &[], BOTH)
    }

    async fn status(&self, client: &TlsConnector) -> io::Result<u16> {
        let stream = TcpStream::connect(self.app.address).await?;
        let mut stream = client.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
        let request = "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).await?;
        Ok(parse_response(&raw).status)
    }
}

#[actix_web::test]
async fn each_client_auth_type_asks_for_the_certificates_that_it_names() {
    let clients = Authority::new("clients");
    let (known, unknown) = (clients.issue("prometheus"), self_signed("other"));
    let ca = Files::create();
    ca.write("clients", &clients.pem);
    let ca = format!("client_ca_file: {}", ca.path("clients"));
    // Results without a certificate, with one of the CA, and with another one.
    for (auth, ca, expected) in [
        ("NoClientCert", "", [true, true, true]),
        ("RequestClientCert", "", [true, true, true]),
        ("RequireAnyClientCert", "", [false, true, true]),
        ("VerifyClientCertIfGiven", &*ca, [true, true, false]),
        ("RequireAndVerifyClientCert", &*ca, [false, true, false]),
    ] {
        let secured = Secured::start(&format!("client_auth_type: {auth}, {ca}"), "").await;
        let identities = [None, Some(&known), Some(&unknown)];
        for (identity, is_accepted) in identities.into_iter().zip(expected) {
            let status = secured.status(&secured.client(identity)).await;
            let which = identity.map(|it| std::ptr::eq(it, &known));
            assert_eq!(status.is_ok_and(|it| it == 200), is_accepted, "{auth} {which:?}");
        }
    }
}

#[actix_web::test]
async fn a_client_certificate_needs_an_allowed_name() {
    let clients = Authority::new("clients");
    let ca = Files::create();
    ca.write("clients", &clients.pem);
    let tls = format!(
        "client_auth_type: RequireAndVerifyClientCert, client_ca_file: {}, \
         client_allowed_sans: [prometheus.example.com, 'spiffe://example.com/p', 10.0.0.1, a@example.com]",
        ca.path("clients")
    );
    let secured = Secured::start(&tls, "").await;
    use rcgen::{CertificateParams, SanType};
    let ia5 = |text: &str| text.to_owned().try_into().unwrap();
    let with = |name: SanType| {
        clients.issue_with("x", move |params: &mut CertificateParams| {
            params.subject_alt_names = vec![name];
        })
    };
    for (name, is_accepted) in [
        (SanType::DnsName(ia5("prometheus.example.com")), true),
        (SanType::DnsName(ia5("*.example.com")), false),
        (SanType::DnsName(ia5("other.example.com")), false),
        (SanType::URI(ia5("spiffe://example.com/p")), true),
        (SanType::URI(ia5("spiffe://example.com/q")), false),
        (SanType::IpAddress("10.0.0.1".parse().unwrap()), true),
        (SanType::IpAddress("10.0.0.2".parse().unwrap()), false),
        (SanType::Rfc822Name(ia5("a@example.com")), true),
    ] {
        let shown = format!("{name:?}");
        let status = secured.status(&secured.client(Some(&with(name)))).await;
        assert_eq!(status.is_ok(), is_accepted, "{shown}");
    }
}

#[actix_web::test]
async fn versions_suites_and_http2_are_those_of_the_file() {
    let suite = "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384], max_version: TLS12";
    let secured = Secured::start(suite, "http_server_config: { http2: false }").await;
    let only = |version| client(&secured.authority, None, &["h2", "http/1.1"], &[version]);
    assert!(secured.status(&only(&TLS13)).await.is_err());
    assert_eq!(secured.status(&only(&TLS12)).await.unwrap(), 200);
    let stream = TcpStream::connect(secured.app.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = only(&TLS12).connect(name.clone(), stream).await.unwrap();
    let connection = stream.get_ref().1;
    assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
    let suite = connection.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);

    let secured = Secured::start("min_version: TLS13, curve_preferences: [CurveP384]", "").await;
    let client = client(&secured.authority, None, &["h2", "http/1.1"], BOTH);
    let stream = TcpStream::connect(secured.app.address).await.unwrap();
    let stream = client.connect(name, stream).await.unwrap();
    let connection = stream.get_ref().1;
    assert_eq!(connection.alpn_protocol(), Some(&b"h2"[..]));
    let group = connection.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::secp384r1);
}

#[actix_web::test]
async fn replaced_certificates_and_client_rules_apply_to_new_connections() {
    let secured = Secured::start("", "").await;
    assert_eq!(secured.status(&secured.client(None)).await.unwrap(), 200);
    let other = Authority::new("other");
    secured.files.write_identity(&other.issue("localhost"));
    let client = client(&other, None, &[], BOTH);
    eventually(async || (secured.status(&client).await.ok()? == 200).then_some(())).await;
    // A key that does not belong to the certificate is not applied.
    secured.files.write("key", &Authority::new("third").issue("localhost").key);
    let config = "tls_server_config: { cert_file: cert, key_file: key, client_auth_type: RequireAnyClientCert }";
    secured.files.write("web.yml", config);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(secured.status(&client).await.unwrap(), 200);
    secured.files.write_identity(&other.issue("localhost"));
    eventually(async || secured.status(&client).await.is_err().then_some(())).await;
}

#[actix_web::test]
async fn a_real_prometheus_scrapes_with_tls_and_a_user() {
    let secured = Secured::start("", &users(&[("prometheus", "its password")])).await;
    let prometheus = Prometheus::start(&format!(
        "- job_name: own
  scheme: https
  basic_auth: {{username: prometheus, password: its password}}
  tls_config: {{ca_file: '{}', server_name: localhost}}
  static_configs: [{{targets: ['{}']}}]
",
        secured.files.path("ca"),
        secured.app.address
    ));
    assert_eq!(prometheus.query("up{job=\"own\"} == 1").await.len(), 1);
}

#[actix_web::test]
async fn a_broken_file_stops_the_start_with_all_mistakes() {
    let files = Files::create();
    files.write("web.yml", "basic_auth_users: { a: b }\nrate_limit: { interval: soon }\nx: y\n");
    let folder = tempfile::tempdir().unwrap();
    let flag = format!("--web.config.file={}", files.path("web.yml"));
    let (code, log) = Server::spawn_with_flags(folder.path(), &[], &[&flag]).failed();
    assert_eq!(code, Some(64));
    for part in [
        "basic_auth_users.a is not a bcrypt hash",
        "rate_limit.interval is not a duration",
        "x is unknown",
    ] {
        assert!(log.contains(part), "{part} in {log}");
    }
}

#[actix_web::test]
async fn the_log_says_what_is_in_force_and_warns_when_the_last_user_is_removed() {
    let files = Files::create();
    let limit = "rate_limit: { interval: 1ms, burst: 1000 }\n";
    files.write("web.yml", &format!("{}{limit}", users(&[("alice", "wonderland")])));
    let web_file = files.path("web.yml");
    let folder = tempfile::tempdir().unwrap();
    let settings = [("SCRAPEBROKER__WEB_CONFIG_FILE", &*web_file)];
    let server = Server::start_with(folder.path(), &settings);
    let line = async |message: &str, part: &str| {
        eventually(async || {
            let log = server.log_text();
            let is_it =
                |line: &&str| line.contains(&format!("\"{message}\"")) && line.contains(part);
            log.lines().find(is_it).map(str::to_owned)
        })
        .await
    };
    for field in ["\"users\":1", "\"tls\":false", "\"rate_limit\":\"1000 at once, 1 per 1ms\""] {
        line("listening", field).await;
    }
    assert!(!server.log_text().contains("any client that reaches it"), "{}", server.log_text());
    // All mistakes are in one line.
    files.write("web.yml", "basic_auth_users: { alice: hunter2 }\nburst: 1\n");
    let failed = line("files not reloaded; keeping the previous content", "web_config_file").await;
    let both = failed.contains("basic_auth_users.alice: is not a bcrypt hash")
        && failed.contains("; burst: is unknown");
    assert!(both && !failed.contains("hunter2"), "{failed}");
    std::fs::remove_file(&web_file).unwrap();
    let cause = format!("cannot read the web configuration file {web_file}: No such file");
    line("files not reloaded; keeping the previous content", &cause).await;

    files.write("web.yml", limit);
    line("web configuration applied", "\"users\":0").await;
    let warning =
        "the last user was removed from the web configuration file; requests need no password now";
    line(warning, "\"WARN\"").await;
}
