//! Prometheus instances as apps of Tsuru, against the stand-in for Tsuru's API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/tsuru.rs"]
mod tsuru;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use scrapebroker::{
    domain::{
        InstanceId,
        prometheus::{Replica, ReplicaState, Spec, Storage},
    },
    provision::{
        Failure, OwnAddress, Provisioner, Wanted,
        tsuru::{Settings, Team, Tsuru},
    },
    store::Names,
    tls::ClientSettings,
};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{sleep, timeout},
};
use tsuru::{Fault, TOKEN, TsuruApi, TsuruApp};

const ID: &str = "tsuru:prometheus:shop";
const IMAGE: &str = "registry.example.com/prometheus:v2";

/// Tsuru, and a Prometheus at the address of all its new apps.
struct Platform {
    api: TsuruApi,
    ready: Arc<AtomicU16>,
}

impl Platform {
    async fn start() -> Self {
        let api = TsuruApi::start().await;
        let ready = Arc::new(AtomicU16::new(200));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        api.host(&listener.local_addr().unwrap().to_string());
        actix_web::rt::spawn(prometheus(listener, Arc::clone(&ready)));
        Self { api, ready }
    }

    fn settings(&self) -> Settings {
        Settings {
            api_url: self.api.url(),
            token: TOKEN.into(),
            image: IMAGE.to_owned(),
            app_prefix: "prometheus-".to_owned(),
            pool: "pool-a".to_owned(),
            plan: "c1m1".to_owned(),
            tmpfs_plan: None,
            router: "ingress".to_owned(),
            platform: String::new(),
            team: Team::FromRequest,
            scheme: "http".to_owned(),
            storage_path: "/prometheus".to_owned(),
            timeout: Duration::from_secs(10),
            deploy_timeout: Duration::from_secs(10),
            ready_timeout: Duration::from_secs(10),
            observe_interval: Duration::from_millis(20),
        }
    }

    fn provisioner(&self) -> Tsuru {
        with(self.settings())
    }

    /// What was asked since the last time, as in `POST /1.0/apps`; the name of the app as `{app}`.
    fn calls(&self, since: usize) -> Vec<String> {
        let call = |asked: &tsuru::Asked| {
            let path: Vec<_> = asked.path.split('/').collect();
            let path: Vec<_> = path
                .iter()
                .map(|part| if part.starts_with("prometheus-") { "{app}" } else { part })
                .collect();
            format!("{} {}", asked.method, path.join("/"))
        };
        self.api.asked().iter().skip(since).map(call).collect()
    }

    fn the_app(&self) -> TsuruApp {
        let [name] = &self.api.apps()[..] else { panic!("{:?}", self.api.apps()) };
        self.api.app(name).unwrap()
    }
}

fn with(settings: Settings) -> Tsuru {
    Tsuru::new(settings, Arc::new(ClientSettings::default().config().unwrap()))
}

/// Answers `/-/ready` to who knows the password.
async fn prometheus(listener: TcpListener, ready: Arc<AtomicU16>) {
    let credentials = BASE64_STANDARD.encode(format!("{}:web-password", Wanted::WEB_USER));
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        let is_allowed = request.contains(&format!("Basic {credentials}"));
        let status = match request.starts_with("GET /-/ready ") && is_allowed {
            true => ready.load(Ordering::SeqCst),
            false => 401,
        };
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

fn wanted() -> Wanted {
    let own = "https://broker.example.com".to_owned();
    Wanted {
        instance_id: id(),
        organization_guid: "tsuru:checkout".parse().unwrap(),
        space_guid: "tsuru:checkout/pool-a".parse().unwrap(),
        names: Names::default(),
        spec: Spec {
            retention: "15d".parse().unwrap(),
            retention_size: None,
            storage: Storage::Disk,
            replicas: 1,
            memory_limit: 256 << 20,
            scrape_interval: "15s".parse().unwrap(),
            sample_limit: 0,
            remote_write: None,
            rules: Some("groups: []\n".to_owned()),
            alertmanager_url: None,
        },
        remote_write: None,
        scraper_token: "scraper-token".into(),
        web_password: "web-password".into(),
        own: OwnAddress { base_url: own.clone(), scrape_url: own },
    }
}

fn id() -> InstanceId {
    ID.parse().unwrap()
}

fn changed() -> Wanted {
    let mut wanted = wanted();
    wanted.spec.scrape_interval = "7s".parse().unwrap();
    wanted.spec.rules = None;
    wanted
}

async fn eventually(mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(20), waited).await.unwrap();
}

/// Of what was to fail without anything that a user must not see.
fn failure(result: Result<Vec<Replica>, Failure>) -> Failure {
    let failure = result.unwrap_err();
    for secret in [TOKEN, "scraper-token", "web-password"] {
        assert!(!failure.reason.contains(secret), "{failure}");
    }
    failure
}

const MADE: [&str; 8] = [
    "GET /1.0/apps/{app}",
    "POST /1.0/apps",
    "POST /1.0/apps/{app}/env",
    "GET /1.0/apps/{app}/env",
    "POST /1.0/apps/{app}/deploy",
    "POST /1.0/apps/{app}/env",
    "GET /1.0/apps/{app}",
    // That there are no more replicas of an earlier time.
    "GET /1.0/apps/{app}",
];

#[actix_web::test]
async fn an_instance_is_an_app_with_variables_and_an_image() {
    let platform = Platform::start().await;
    let provisioner = platform.provisioner();
    let replicas = provisioner.apply(&wanted()).await.unwrap();
    let calls = platform.calls(0);
    assert_eq!(calls[..8], MADE);
    assert!(calls[8..].iter().all(|call| call == "GET /1.0/apps/{app}"), "{calls:?}");

    let asked = platform.api.asked();
    let fields = |nth: usize| -> Vec<(&str, &str)> {
        asked[nth].fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    };
    let app = platform.the_app();
    assert!(app.name.starts_with("prometheus-"), "{}", app.name);
    let description = format!("Prometheus of {ID}, replica 0");
    assert_eq!(
        fields(1),
        [
            ("name", app.name.as_str()),
            ("platform", ""),
            ("pool", "pool-a"),
            ("plan", "c1m1"),
            ("router", "ingress"),
            ("teamowner", "checkout"),
            ("description", &description),
            ("tags.0", "managed-by:scrapebroker"),
            ("tags.1", "scrapebroker-instance:tsuru%3Aprometheus%3Ashop"),
        ]
    );
    assert!(fields(2).contains(&("norestart", "true")), "{:?}", fields(2));
    assert_eq!(fields(4), [("image", IMAGE), ("origin", "image"), ("message", "scrapebroker")]);
    assert_eq!((app.deploys, app.restarts), (vec![IMAGE.to_owned()], 0));
    let config = &app.environment["PROMETHEUS_CONFIG"];
    assert!(config.is_private && config.value.contains("scraper-token"));
    for (name, variable) in &app.environment {
        let has_secret =
            ["scraper-token", "web-password"].iter().any(|it| variable.value.contains(it));
        assert!(variable.is_private || !has_secret, "{name}");
    }
    let [replica] = &replicas[..] else { panic!("{replicas:?}") };
    assert_eq!((replica.number, replica.state), (0, ReplicaState::Ready));
    assert_eq!(replica.url, format!("http://{}", app.hosts[0]));
    assert_eq!(provisioner.observe()[&id()], replicas);

    // As it should be: nothing is done, also by who has never seen it.
    let before = platform.api.asked().len();
    assert_eq!(platform.provisioner().apply(&wanted()).await.unwrap(), replicas);
    assert!(platform.calls(before).iter().all(|call| call.starts_with("GET ")));

    provisioner.remove(&id()).await.unwrap();
    assert!(platform.api.apps().is_empty() && provisioner.observe().is_empty());
    let before = platform.api.asked().len();
    provisioner.remove(&id()).await.unwrap();
    assert!(platform.calls(before).iter().all(|call| call.starts_with("GET ")));
}

#[actix_web::test]
async fn a_change_is_deployed_once_and_what_is_not_wanted_any_more_goes() {
    let platform = Platform::start().await;
    let provisioner = platform.provisioner();
    provisioner.apply(&wanted()).await.unwrap();
    assert!(platform.the_app().environment.contains_key("PROMETHEUS_RULES"));
    for _ in 0..2 {
        provisioner.apply(&changed()).await.unwrap();
        let app = platform.the_app();
        assert_eq!((app.deploys.len(), app.restarts), (2, 0));
        assert!(app.environment["PROMETHEUS_CONFIG"].value.contains("\"7s\""));
        assert!(!app.environment.contains_key("PROMETHEUS_RULES"));
    }
    let image = Settings { image: "other".to_owned(), ..platform.settings() };
    with(image).apply(&changed()).await.unwrap();
    assert_eq!(platform.the_app().deploys, [IMAGE, IMAGE, "other"]);
}

#[actix_web::test]
async fn each_replica_is_an_app_and_all_of_them_go() {
    let platform = Platform::start().await;
    let provisioner = platform.provisioner();
    let mut two = wanted();
    two.spec.replicas = 2;
    let replicas = provisioner.apply(&two).await.unwrap();
    assert_eq!(replicas.iter().map(|it| it.number).collect::<Vec<_>>(), [0, 1]);
    let names = platform.api.apps();
    assert_eq!(names.len(), 2);
    let config = |name: &String| {
        platform.api.app(name).unwrap().environment["PROMETHEUS_CONFIG"].value.clone()
    };
    assert!(config(&names[0]).contains(r#""prometheus_replica": "0""#));
    assert!(config(&names[1]).contains(r#""prometheus_replica": "1""#));
    // An update that failed goes back to fewer.
    provisioner.apply(&wanted()).await.unwrap();
    assert_eq!(platform.api.apps(), [names[0].clone()]);
    provisioner.apply(&two).await.unwrap();
    // One that is gone does not hide the others.
    platform.api.remove(&names[0]);
    provisioner.remove(&id()).await.unwrap();
    assert!(platform.api.apps().is_empty());
}

#[actix_web::test]
async fn whoever_was_cut_at_any_request_is_followed_by_one_who_finishes() {
    let steps = {
        let platform = Platform::start().await;
        platform.provisioner().apply(&wanted()).await.unwrap();
        platform.api.asked().len()
    };
    for is_update in [false, true] {
        for step in 1..=steps {
            let platform = Platform::start().await;
            if is_update {
                platform.provisioner().apply(&wanted()).await.unwrap();
            }
            let before = platform.api.asked().len();
            platform.api.fault(Fault::Slow(Duration::from_millis(8)));
            let provisioner = platform.provisioner();
            let wanted = changed();
            tokio::select! {
                biased;
                () = eventually(|| platform.api.asked().len() >= before + step) => {}
                applied = provisioner.apply(&wanted) => drop(applied.unwrap()),
            }
            // Even steps are finished by us, odd ones by who comes after a restart.
            let next = if step % 2 == 0 { provisioner } else { platform.provisioner() };
            let replicas = next.apply(&wanted).await.unwrap();
            assert_eq!(replicas[0].state, ReplicaState::Ready);
            let app = platform.the_app();
            assert!(app.environment["PROMETHEUS_CONFIG"].value.contains("\"7s\""), "step {step}");
            assert!(!app.deploys.is_empty() && !app.environment.contains_key("PROMETHEUS_RULES"));
            next.remove(&id()).await.unwrap();
            assert!(platform.api.apps().is_empty(), "step {step}");
        }
    }
}

#[actix_web::test]
async fn what_was_cut_while_it_was_made_can_be_removed_at_once() {
    for step in 1..=8 {
        let platform = Platform::start().await;
        platform.api.fault(Fault::Slow(Duration::from_millis(40)));
        let provisioner = platform.provisioner();
        let wanted = wanted();
        tokio::select! {
            biased;
            () = eventually(|| platform.api.asked().len() >= step) => {}
            applied = provisioner.apply(&wanted) => drop(applied.unwrap()),
        }
        provisioner.remove(&id()).await.unwrap();
        assert!(platform.api.apps().is_empty(), "step {step}");
        sleep(Duration::from_millis(120)).await;
        assert!(platform.api.apps().is_empty(), "step {step}: it came afterwards");
    }
}

#[actix_web::test]
async fn a_removal_that_was_cut_is_finished_by_the_next() {
    for step in 1..=3 {
        let platform = Platform::start().await;
        let provisioner = platform.provisioner();
        provisioner.apply(&wanted()).await.unwrap();
        let before = platform.api.asked().len();
        platform.api.fault(Fault::Slow(Duration::from_millis(8)));
        let id = id();
        tokio::select! {
            biased;
            () = eventually(|| platform.api.asked().len() >= before + step) => {}
            removed = provisioner.remove(&id) => removed.unwrap(),
        }
        platform.provisioner().remove(&id).await.unwrap();
        assert!(platform.api.apps().is_empty(), "step {step}");
    }
}

#[actix_web::test]
async fn what_may_pass_is_tried_again_and_what_will_not_says_what_to_do() {
    let lasting = [
        (Fault::Status(401), "routes.tsuru.token"),
        (Fault::Status(403), "quota"),
        (Fault::Status(400), "prometheus.tsuru"),
        (Fault::Status(302), "routes.tsuru.api_url"),
    ];
    let passing = [
        (Fault::Status(500), "fails (500)"),
        (Fault::Status(503), "fails (503)"),
        (Fault::Status(429), "fails (429)"),
        // Where it is cut, or that the connection was.
        (Fault::Cut, " was "),
        (Fault::Endless, "longer than"),
        (Fault::Body(b"<html>Please log in</html>".to_vec()), ""),
        (Fault::InStream("no room for it".to_owned()), "no room for it"),
        (Fault::Slow(Duration::from_secs(3600)), "did not answer"),
    ];
    for (call, is_stream) in
        [("GET", false), ("POST", false), ("POST env", true), ("POST deploy", true)]
    {
        let cases = lasting.iter().map(|it| (it, false)).chain(passing.iter().map(|it| (it, true)));
        for ((fault, words), retry) in cases {
            let only_in_streams = matches!(fault, Fault::Cut | Fault::InStream(_));
            // Whatever is answered with 200 to that call makes an app.
            let is_made = call == "POST" && matches!(fault, Fault::Body(_) | Fault::Endless);
            if (only_in_streams && !is_stream) || is_made {
                continue;
            }
            let platform = Platform::start().await;
            platform.api.fault_at(call, fault.clone());
            let short = Duration::from_millis(500);
            let settings =
                Settings { timeout: short, deploy_timeout: short, ..platform.settings() };
            let limits = match fault {
                Fault::Slow(_) => settings,
                _ => platform.settings(),
            };
            let provisioner = with(limits);
            let failure = failure(provisioner.apply(&wanted()).await);
            assert_eq!(failure.retry, retry, "{call} {fault:?}: {failure}");
            assert!(failure.reason.contains(words), "{call} {fault:?}: {failure}");

            platform.api.fault_at(call, Fault::None);
            assert_eq!(platform.provisioner().apply(&wanted()).await.unwrap().len(), 1);
            provisioner.remove(&id()).await.unwrap();
            assert!(platform.api.apps().is_empty());
        }
    }
}

#[actix_web::test]
async fn an_api_that_is_down_is_waited_for() {
    let mut platform = Platform::start().await;
    let provisioner = platform.provisioner();
    platform.api.down().await;
    let down = failure(provisioner.apply(&wanted()).await);
    assert!(down.retry && down.reason.contains("cannot be reached"), "{down}");
    let left = provisioner.remove(&id()).await.unwrap_err();
    assert!(left.retry, "{left}");
    platform.api.up();
    provisioner.apply(&wanted()).await.unwrap();
}

#[actix_web::test]
async fn a_quota_is_the_operators_to_raise() {
    let platform = Platform::start().await;
    platform.api.quota(0);
    let failure = failure(platform.provisioner().apply(&wanted()).await);
    assert!(!failure.retry && failure.reason.contains("larger quota"), "{failure}");
    assert!(failure.reason.contains("Quota exceeded"), "{failure}");
}

#[actix_web::test]
async fn an_app_of_somebody_else_is_neither_changed_nor_removed() {
    let platform = Platform::start().await;
    let provisioner = platform.provisioner();
    provisioner.apply(&wanted()).await.unwrap();
    let name = platform.the_app().name;
    let others = [Vec::new(), vec!["managed-by:scrapebroker".to_owned()]];
    for tags in others {
        platform.api.put(TsuruApp { tags, ..TsuruApp::new(&name, "other", "pool-a") });
        let failure = failure(provisioner.apply(&wanted()).await);
        assert!(!failure.retry && failure.reason.contains(&name), "{failure}");
        assert!(failure.reason.contains("app_prefix"), "{failure}");
        provisioner.remove(&id()).await.unwrap();
        let app = platform.the_app();
        assert!(app.environment.is_empty() && app.deploys.is_empty() && app.team_owner == "other");
    }
}

#[actix_web::test]
async fn a_removal_that_tsuru_refuses_is_not_done() {
    let platform = Platform::start().await;
    let provisioner = platform.provisioner();
    provisioner.apply(&wanted()).await.unwrap();
    for (fault, retry) in [
        (Fault::Status(500), true),
        (Fault::InStream("event locked".to_owned()), true),
        (Fault::Cut, true),
        (Fault::Status(403), false),
    ] {
        platform.api.fault_at("DELETE", fault.clone());
        let failure = provisioner.remove(&id()).await.unwrap_err();
        assert_eq!(failure.retry, retry, "{fault:?}: {failure}");
        assert_eq!(platform.api.apps().len(), 1);
    }
    platform.api.fault_at("DELETE", Fault::None);
    provisioner.remove(&id()).await.unwrap();
    assert!(platform.api.apps().is_empty());
}

#[actix_web::test]
async fn a_prometheus_is_ready_when_it_says_so_or_tsuru_does() {
    let platform = Platform::start().await;
    platform.ready.store(503, Ordering::SeqCst);
    let impatient = with(Settings { ready_timeout: Duration::ZERO, ..platform.settings() });
    let failed = failure(impatient.apply(&wanted()).await);
    assert!(failed.retry && failed.reason.contains("it answers 503"), "{failed}");
    let provisioner = platform.provisioner();
    let wanted = wanted();
    let (applied, ()) = tokio::join!(provisioner.apply(&wanted), async {
        sleep(Duration::from_millis(200)).await;
        platform.ready.store(200, Ordering::SeqCst);
    });
    applied.unwrap();

    // Nobody answers at that address from here.
    let name = platform.the_app().name;
    platform.api.change(&name, |app| app.hosts = vec!["127.0.0.1:1".to_owned()]);
    let replicas = provisioner.apply(&wanted).await.unwrap();
    assert_eq!(replicas[0].url, "http://127.0.0.1:1");
    platform.api.change(&name, |app| {
        app.units[0]["Status"] = json!("error");
        app.units[0]["StatusReason"] = json!("OOMKilled");
    });
    let failed = failure(impatient.apply(&wanted).await);
    assert!(failed.reason.contains("OOMKilled"), "{failed}");
}

#[actix_web::test]
async fn how_it_does_is_seen_without_asking() {
    let mut platform = Platform::start().await;
    let provisioner = platform.provisioner();
    provisioner.apply(&wanted()).await.unwrap();
    let state = || {
        let replica = provisioner.observe()[&id()][0].clone();
        (replica.state, replica.problem)
    };
    platform.ready.store(503, Ordering::SeqCst);
    eventually(|| state().0 == ReplicaState::Starting).await;
    platform.ready.store(200, Ordering::SeqCst);
    eventually(|| state().0 == ReplicaState::Ready).await;
    // That nothing is known is no news.
    platform.api.down().await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(state(), (ReplicaState::Ready, String::new()));
    platform.api.up();
    let name = platform.the_app().name;
    platform.api.remove(&name);
    eventually(|| state().0 == ReplicaState::Failed).await;
    assert!(state().1.contains("gone"));
    provisioner.stop().await;
    assert!(provisioner.observe().is_empty());
}
