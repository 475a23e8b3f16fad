//! Tests with a real server.

use super::*;
use crate::{
    discovery::{Discovery, Limits, RouteTable, Settings, testing::until},
    domain::BasicAuth,
    tls::{ClientSettings, Pem, PemSource},
};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::{
    fs, io,
    sync::atomic::{AtomicUsize, Ordering},
};
use support::nats::{TestServer, instance, publish};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};
use tokio_util::sync::CancellationToken;

fn nats(servers: &[&TestServer]) -> NatsSettings {
    NatsSettings {
        servers: servers.iter().map(|server| server.address()).collect(),
        credentials: None,
        tls: ClientSettings::default(),
        announce: false,
    }
}

fn pem(key: &'static str, text: &str) -> Pem {
    Pem { key: key.to_owned(), source: PemSource::Inline(text.into()) }
}

fn client(ca: Option<Pem>, identity: Option<(Pem, Pem)>) -> ClientSettings {
    ClientSettings { ca, identity, skip_verify: false }
}

const SETTINGS: Settings = Settings {
    stale_after: Duration::from_secs(120),
    keep: Duration::from_secs(3600),
    refresh_interval: Duration::from_secs(15),
    limits: Limits { timeout: Duration::from_secs(30), body_bytes: 1 << 30 },
};

/// Runs `script` while the source runs, then stops it.
async fn with_nats<F: Future<Output = ()>>(
    nats: NatsSettings,
    script: impl FnOnce(RouteTable) -> F,
) {
    with_settings(SETTINGS, nats, script).await;
}

async fn with_settings<F: Future<Output = ()>>(
    settings: Settings,
    nats: NatsSettings,
    script: impl FnOnce(RouteTable) -> F,
) {
    let shutdown = CancellationToken::new();
    let running = async {
        let discovery =
            Discovery::start(settings, vec![Box::new(Nats::new(nats).unwrap())], &shutdown);
        script(discovery.table.clone()).await;
        shutdown.cancel();
        discovery.stopped().await;
    };
    LocalSet::new().run_until(running).await;
}

/// `app:port` of each instance, ordered.
fn instances(table: &RouteTable) -> Vec<String> {
    let snapshot = table.snapshot();
    let mut shown: Vec<_> = snapshot
        .apps()
        .flat_map(|found| {
            let app = found.app.id.to_string();
            let ports = found.endpoints.iter().map(|e| e.address.port()).collect::<Vec<_>>();
            ports.into_iter().map(move |port| format!("{app}:{port}"))
        })
        .collect();
    shown.sort();
    shown
}

fn failure(table: &RouteTable) -> String {
    table.snapshot().sources().next().unwrap().failure.as_deref().unwrap_or_default().to_owned()
}

/// Whether the subscriber is connected, even if it is not synchronized yet.
fn is_up(table: &RouteTable) -> bool {
    let snapshot = table.snapshot();
    snapshot.sources().next().unwrap().failure.is_none()
}

/// Registers repeatedly until the endpoint is in the table, because only the server knows when the
/// subscription is active.
async fn register(emitter: &async_nats::Client, table: &RouteTable, app: &str, port: u16) {
    let expected = format!("{app}:{port}");
    for _ in 0..100 {
        publish(emitter, "router.register", &instance(app, port)).await;
        for _ in 0..30 {
            if instances(table).contains(&expected) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
    panic!("{expected} is not in the table");
}

#[tokio::test]
async fn instances_come_and_go_and_a_refresh_publishes_nothing() {
    let server = TestServer::start("").await;
    with_nats(nats(&[&server]), async |table| {
        let emitter = server.emitter().await;
        register(&emitter, &table, "a", 1).await;
        register(&emitter, &table, "a", 2).await;
        register(&emitter, &table, "b", 3).await;
        let version = table.snapshot().version();
        for _ in 0..4 {
            publish(&emitter, "router.register", &instance("a", 1)).await;
            sleep(BATCH_INTERVAL).await;
        }
        assert_eq!(table.snapshot().version(), version, "a refresh rebuilt the table");
        publish(&emitter, "router.unregister", &instance("a", 2)).await;
        until(|| instances(&table) == ["a:1", "b:3"]).await;
        publish(&emitter, "router.unregister", &instance("b", 3)).await;
        until(|| instances(&table) == ["a:1"]).await;
    })
    .await;
}

#[tokio::test]
async fn the_source_is_synchronized_after_a_full_period() {
    let server = TestServer::start("").await;
    let settings = Settings { stale_after: Duration::from_secs(8), ..SETTINGS };
    with_settings(settings, nats(&[&server]), async |table| {
        let emitter = server.emitter().await;
        let start = Instant::now();
        register(&emitter, &table, "a", 1).await;
        // Visible only on a fast machine.
        if start.elapsed() < Duration::from_secs(1) {
            assert!(!table.snapshot().is_complete(), "the first endpoints are not all");
        }
        until(|| table.snapshot().is_complete()).await;
        assert!(start.elapsed() >= Duration::from_secs(2));
    })
    .await;
}

#[tokio::test]
async fn endpoints_that_are_not_refreshed_expire() {
    let server = TestServer::start("").await;
    let settings = Settings { stale_after: Duration::from_secs(2), ..SETTINGS };
    with_settings(settings, nats(&[&server]), async |table| {
        let emitter = server.emitter().await;
        let mut tls = instance("tls", 1);
        tls["tls_port"] = json!(2);
        register(&emitter, &table, "a", 1).await;
        publish(&emitter, "router.register", &tls).await;
        until(|| instances(&table).contains(&"tls:2".to_owned())).await;
        until(|| instances(&table).is_empty()).await;
    })
    .await;
}

#[tokio::test]
async fn endpoints_are_kept_while_disconnected_and_the_subscription_is_renewed() {
    let mut server = TestServer::start("").await;
    let settings = Settings { stale_after: Duration::from_secs(3), ..SETTINGS };
    with_settings(settings, nats(&[&server]), async |table| {
        register(&server.emitter().await, &table, "a", 1).await;
        server.stop();
        until(|| !is_up(&table)).await;
        assert_eq!(table.snapshot().failed_polls(), 1);
        sleep(Duration::from_secs(5)).await;
        assert_eq!(instances(&table), ["a:1"]);
        assert_eq!(table.snapshot().failed_polls(), 1, "one loss counts once");
        assert!(table.snapshot().age().is_none_or(|age| age >= Duration::from_secs(4)));
        server.restart().await;
        until(|| is_up(&table)).await;
        assert_eq!(instances(&table), ["a:1"]);
        register(&server.emitter().await, &table, "b", 2).await;
        // Endpoints that are not registered again expire from now on.
        until(|| instances(&table).is_empty()).await;
    })
    .await;
}

#[tokio::test]
async fn while_disconnected_endpoints_are_kept_until_keep() {
    let mut server = TestServer::start("").await;
    let keep = Duration::from_secs(3);
    let settings = Settings { stale_after: Duration::from_secs(2), keep, ..SETTINGS };
    with_settings(settings, nats(&[&server]), async |table| {
        register(&server.emitter().await, &table, "a", 1).await;
        server.stop();
        until(|| !is_up(&table)).await;
        until(|| instances(&table).is_empty()).await;
        server.restart().await;
        register(&server.emitter().await, &table, "a", 1).await;
    })
    .await;
}

#[tokio::test]
async fn one_reachable_server_of_several_is_enough() {
    let mut one = TestServer::start("").await;
    let two = TestServer::start("").await;
    with_nats(nats(&[&one, &two]), async |table| {
        let (first, second) = (one.emitter().await, two.emitter().await);
        // The client is connected to one of them.
        until(|| is_up(&table)).await;
        for _ in 0..200 {
            publish(&first, "router.register", &instance("a", 1)).await;
            publish(&second, "router.register", &instance("a", 1)).await;
            if !instances(&table).is_empty() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(instances(&table), ["a:1"]);
        one.stop();
        register(&second, &table, "b", 2).await;
    })
    .await;
}

#[tokio::test]
async fn credentials_are_used_and_wrong_ones_are_reported() {
    let server = TestServer::start("authorization { user: router, password: \"s3cret!\" }").await;
    let credentials = |password: &str| BasicAuth {
        username: "router".to_owned(),
        password: SecretString::from(password),
    };
    let (right, wrong) = (credentials("s3cret!"), credentials("guessed"));
    with_nats(NatsSettings { credentials: Some(wrong), ..nats(&[&server]) }, async |table| {
        until(|| failure(&table).to_lowercase().contains("authorization")).await;
        assert!(!failure(&table).contains("guessed"));
        assert!(!table.snapshot().is_complete());
    })
    .await;
    with_nats(NatsSettings { credentials: Some(right), ..nats(&[&server]) }, async |table| {
        let emitter =
            async_nats::ConnectOptions::with_user_and_password("router".into(), "s3cret!".into());
        let emitter = emitter.connect(server.address()).await.unwrap();
        register(&emitter, &table, "a", 1).await;
    })
    .await;
}

struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

#[tokio::test]
async fn tls_with_a_client_certificate_works_and_a_wrong_one_is_reported() {
    let (ours, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = ours.issue("127.0.0.1");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let config = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
        write("cert", &cert),
        write("key", &key),
        write("ca", &ours.1),
    );
    let server = TestServer::start(&config).await;
    let tls = |trusted: &Authority, own: Option<&Authority>| {
        let identity = own.map(|own| own.issue("us"));
        let identity = identity.map(|(cert, key)| (pem("cert", &cert), pem("key", &key)));
        client(Some(pem("ca", &trusted.1)), identity)
    };
    for (what, tls) in [
        ("a server of another authority", tls(&other, Some(&ours))),
        ("no certificate of our own", tls(&ours, None)),
        ("one of another authority", tls(&ours, Some(&other))),
    ] {
        with_nats(NatsSettings { tls, ..nats(&[&server]) }, async |table| {
            until(|| !failure(&table).is_empty()).await;
            assert!(
                failure(&table).starts_with("cannot be reached"),
                "{what}: {}",
                failure(&table)
            );
        })
        .await;
    }
    let good = tls(&ours, Some(&ours));
    with_nats(NatsSettings { tls: good.clone(), ..nats(&[&server]) }, async |table| {
        let (cert, key) = ours.issue("emitter");
        let emitter = async_nats::ConnectOptions::new()
            .add_root_certificates(folder.path().join("ca"))
            .add_client_certificate(write("c", &cert).into(), write("k", &key).into())
            .connect(format!("tls://{}", server.address()))
            .await
            .unwrap();
        register(&emitter, &table, "a", 1).await;
    })
    .await;
    let (cert, _) = ours.issue("a");
    let (_, key) = ours.issue("b");
    let misfit = client(None, Some((pem("cert", &cert), pem("key", &key))));
    assert_eq!(Nats::new(NatsSettings { tls: misfit, ..nats(&[]) }).unwrap_err().key, "key");
    let no_pem = client(Some(pem("ca", "no PEM")), None);
    assert_eq!(Nats::new(NatsSettings { tls: no_pem, ..nats(&[]) }).unwrap_err().key, "ca");
}

#[tokio::test]
async fn nothing_is_published_unless_announce_is_set() {
    let server = TestServer::start("").await;
    let emitter = server.emitter().await;
    let mut starts = emitter.subscribe("router.start").await.unwrap();
    emitter.flush().await.unwrap();
    with_nats(nats(&[&server]), async |table| {
        register(&emitter, &table, "a", 1).await;
        let greeting = emitter.request("router.greet", "".into());
        let answer = tokio::time::timeout(Duration::from_secs(1), greeting).await;
        assert!(!matches!(answer, Ok(Ok(_))), "a listener answered a greeting");
    })
    .await;
    with_nats(NatsSettings { announce: true, ..nats(&[&server]) }, async |_| {
        let start = starts.next().await.unwrap();
        let start: Value = serde_json::from_slice(&start.payload).unwrap();
        let expected = json!({"id": start["id"].as_str().unwrap(), "hosts": ["127.0.0.1"],
            "minimumRegisterIntervalInSeconds": 20, "pruneThresholdInSeconds": 120});
        assert_eq!(start, expected, "the first router.start of both listeners");
        let answer = emitter.request("router.greet", "".into()).await.unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&answer.payload).unwrap(), expected);
    })
    .await;
}

#[tokio::test]
async fn invalid_messages_are_counted_and_do_not_affect_others() {
    let server = TestServer::start("").await;
    with_nats(nats(&[&server]), async |table| {
        let emitter = server.emitter().await;
        register(&emitter, &table, "a", 1).await;
        let mut named = instance("b", 2);
        named["host"] = json!("cell.internal");
        let mut insecure = instance("b", 2);
        insecure["route_service_url"] = json!("http://insecure.test");
        for message in [&json!([]), &json!({}), &named, &insecure] {
            publish(&emitter, "router.register", message).await;
            publish(&emitter, "router.unregister", message).await;
        }
        // 100 MB that are not a route message.
        let heavy = vec![b' '; 1_000_000];
        for _ in 0..100 {
            emitter.publish("router.register", heavy.clone().into()).await.unwrap();
            emitter.flush().await.unwrap();
        }
        until(|| table.snapshot().sources().next().unwrap().skipped >= 108).await;
        assert_eq!(instances(&table), ["a:1"]);
        register(&emitter, &table, "c", 3).await;
    })
    .await;
}

#[tokio::test]
async fn a_message_of_100_mb_or_without_end_closes_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let cuts = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&cuts);
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(send_endless_message(stream, Arc::clone(&counter)));
        }
    });
    let nats = NatsSettings { servers: vec![address], ..nats(&[]) };
    with_nats(nats, async |table| {
        until(|| table.snapshot().failed_polls() > 0).await;
        until(|| cuts.load(Ordering::Relaxed) >= 2).await;
        assert!(instances(&table).is_empty());
    })
    .await;
    serving.abort();
}

async fn send_endless_message(mut stream: TcpStream, cuts: Arc<AtomicUsize>) -> io::Result<()> {
    let info = "INFO {\"server_id\":\"x\",\"max_payload\":104857600}\r\n";
    stream.write_all(info.as_bytes()).await?;
    let mut asked = Vec::new();
    while !asked.ends_with(b"PING") {
        asked.push(stream.read_u8().await?);
    }
    stream.write_all(b"PONG\r\nMSG router.register 1 104857600\r\n").await?;
    let piece = vec![b'x'; 1 << 16];
    // Slow enough to distinguish it from a complete message.
    for _ in 0..1600 {
        if stream.write_all(&piece).await.is_err() {
            cuts.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
