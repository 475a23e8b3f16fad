//! A fake Tsuru API with a fake Prometheus at the address of its apps, and desired instances.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use scrapebroker::{
    domain::{
        BaseUrl, InstanceId, InstanceNames,
        prometheus::{Replica, Spec, Storage},
    },
    provisioner::{
        DesiredInstance, Failure, OwnAddress,
        tsuru::{Team, TsuruProvisioner, TsuruSettings},
    },
    tls::ClientSettings,
    tsuru,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};
use support::tsuru::{ApiRequest, TOKEN, TsuruApi, TsuruApp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{sleep, timeout},
};

pub(crate) const ID: &str = "tsuru:prometheus:shop";
pub(crate) const IMAGE: &str = "registry.example.com/prometheus:v2";

/// A fake Tsuru API, and a fake Prometheus at the address of all new apps.
pub(crate) struct Platform {
    pub(crate) api: TsuruApi,
    pub(crate) ready: Arc<AtomicU16>,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        let api = TsuruApi::start().await;
        let ready = Arc::new(AtomicU16::new(200));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        api.host(&listener.local_addr().unwrap().to_string());
        actix_web::rt::spawn(prometheus(listener, Arc::clone(&ready)));
        Self { api, ready }
    }

    pub(crate) fn settings(&self) -> TsuruSettings {
        TsuruSettings {
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
            storage_is_kept: false,
            timeout: Duration::from_secs(10),
            deploy_timeout: Duration::from_secs(10),
            ready_timeout: Duration::from_secs(10),
            observe_interval: Duration::from_millis(20),
        }
    }

    pub(crate) fn provisioner(&self) -> TsuruProvisioner {
        self.provisioner_with(self.settings())
    }

    pub(crate) fn provisioner_with(&self, settings: TsuruSettings) -> TsuruProvisioner {
        let tls = ClientSettings::default();
        let api =
            tsuru::TsuruApi::new(self.api.url().parse().unwrap(), TOKEN.into(), &tls).unwrap();
        TsuruProvisioner::new(settings, &api, Arc::new(tls.config().unwrap()))
    }

    /// All requests after the first `since` ones, for example `POST /1.0/apps`. The placeholder
    /// `{app}` replaces the name of the app.
    pub(crate) fn calls(&self, since: usize) -> Vec<String> {
        let call = |request: &ApiRequest| {
            let path: Vec<_> = request.path.split('/').collect();
            let path: Vec<_> = path
                .iter()
                .map(|part| if part.starts_with("prometheus-") { "{app}" } else { part })
                .collect();
            format!("{} {}", request.method, path.join("/"))
        };
        self.api.requests().iter().skip(since).map(call).collect()
    }

    pub(crate) fn the_app(&self) -> TsuruApp {
        let [name] = &self.api.apps()[..] else { panic!("{:?}", self.api.apps()) };
        self.api.app(name).unwrap()
    }
}

/// A fake Prometheus that responds to `/-/ready` if the password is correct.
pub(crate) async fn prometheus(listener: TcpListener, ready: Arc<AtomicU16>) {
    let credentials = BASE64_STANDARD.encode(format!("{}:web-password", DesiredInstance::WEB_USER));
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        let is_allowed = request.contains(&format!("Basic {credentials}"));
        let status = match request.starts_with("GET /-/ready ") && is_allowed {
            true => ready.load(Ordering::SeqCst),
            false => 401,
        };
        // A proxy in front of Prometheus can send interim responses.
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nA: b\r\n\r\n";
        let answer = format!("{interim}HTTP/1.1 {status} X\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

pub(crate) fn desired() -> DesiredInstance {
    let own: BaseUrl = "https://broker.example.com".parse().unwrap();
    DesiredInstance {
        instance_id: id(),
        organization_guid: "tsuru:checkout".parse().unwrap(),
        space_guid: "tsuru:checkout/pool-a".parse().unwrap(),
        names: InstanceNames::default(),
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

pub(crate) fn id() -> InstanceId {
    ID.parse().unwrap()
}

pub(crate) fn changed() -> DesiredInstance {
    let mut desired = desired();
    desired.spec.scrape_interval = "7s".parse().unwrap();
    desired.spec.rules = None;
    desired
}

pub(crate) async fn eventually(mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(20), waited).await.unwrap();
}

/// Unwraps the failure and asserts that its reason contains no secret.
pub(crate) fn failure(result: Result<Vec<Replica>, Failure>) -> Failure {
    let failure = result.unwrap_err();
    for secret in [TOKEN, "scraper-token", "web-password"] {
        assert!(!failure.reason.contains(secret), "{failure}");
    }
    failure
}
