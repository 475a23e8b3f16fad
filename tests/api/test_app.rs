//! The program under test, in the process of the test.

use futures_util::{StreamExt, stream};
use scrapebroker::{
    app::{Application, Stop},
    config::Config,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::SocketAddr};
use support::{Response, basic, eventually, send};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

pub(crate) const USER: &str = "cloud-controller";
pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const SERVICE: &str = "service_id";

/// The program under test. It stops when this is dropped.
pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    pub(crate) health_address: Option<SocketAddr>,
    pub(crate) query_address: Option<SocketAddr>,
    pub(crate) events_address: Option<SocketAddr>,
    /// The folder of the database.
    _folder: TempDir,
    stop: mpsc::UnboundedSender<Stop>,
    stopped: Option<oneshot::Receiver<()>>,
}

/// Starts the program like `serve`, on a free port and with a new database. The settings are
/// environment variables without the prefix.
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
    let query_address = application.query_address();
    let events_address = application.events_address();
    let (stop, mut stopping) = mpsc::unbounded_channel();
    let (done, stopped) = oneshot::channel();
    actix_web::rt::spawn(async move {
        let stops = stream::poll_fn(move |context| stopping.poll_recv(context));
        let dropped = stream::iter([Stop::Graceful]);
        application.run_until(stops.chain(dropped)).await.unwrap();
        let _ = done.send(());
    });
    let stopped = Some(stopped);
    let app = TestApp {
        address,
        health_address,
        query_address,
        events_address,
        _folder: folder,
        stop,
        stopped,
    };
    // A route file is read shortly after the start. With HTTPS or users, only the test has what
    // a readiness probe needs.
    let set = |name: &str| settings.iter().any(|(key, _)| *key == name);
    if set("ROUTES__FILE") && !set("TLS__CERT_FILE") && !set("WEB_CONFIG_FILE") {
        eventually(async || (app.get("/-/ready").await.status == 200).then_some(())).await;
    }
    app
}

impl TestApp {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        send("GET", &self.url(path), &[], None).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        send("GET", &self.url(path), headers, None).await
    }

    /// The page `/` with the credentials of an operator.
    pub(crate) async fn status_page(&self) -> Response {
        self.get_with("/", &[("Authorization", &basic(USER, PASSWORD))]).await
    }

    /// The JSON of the page `/` with the credentials of an operator.
    pub(crate) async fn overview(&self) -> Value {
        let authorization = basic(USER, PASSWORD);
        let headers = [("Authorization", &*authorization), ("Accept", "application/json")];
        self.get_with("/", &headers).await.json()
    }

    /// Sends a request to the broker like Cloud Controller.
    pub(crate) async fn broker(&self, method: &str, path: &str, body: Option<Value>) -> Response {
        let authorization = basic(USER, PASSWORD);
        let headers = [
            ("X-Broker-Api-Version", "2.15"),
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = body.map(|body| body.to_string());
        send(method, &self.url(&format!("/broker{path}")), &headers, body).await
    }

    /// Sends the requests of `cf create-service` and `cf bind-service`.
    pub(crate) async fn bind(&self, binding: &str, app: &str, parameters: Value) -> Response {
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

    pub(crate) async fn unbind(&self, binding: &str) -> Response {
        let catalog = self.broker("GET", "/v2/catalog", None).await.json();
        let service = catalog["services"][0]["id"].as_str().unwrap().to_owned();
        let plan = catalog["services"][0]["plans"][0]["id"].as_str().unwrap().to_owned();
        let path = format!(
            "/v2/service_instances/i1/service_bindings/{binding}?service_id={service}&plan_id={plan}"
        );
        self.broker("DELETE", &path, None).await
    }

    /// Sends a stop signal. The receiver resolves when the program has stopped.
    pub(crate) fn stop(&mut self, stop: Stop) -> oneshot::Receiver<()> {
        self.stop_again(stop);
        self.stopped.take().unwrap()
    }

    pub(crate) fn stop_again(&self, stop: Stop) {
        self.stop.send(stop).unwrap();
    }
}

/// How often the files of a section could not be applied, from the own metrics.
pub(crate) fn failed_reloads(own: &Response, section: &str) -> u64 {
    let name =
        format!("scrapebroker_file_reloads_total{{section=\"{section}\",outcome=\"failed\"}} ");
    let lines = own.lines(&name);
    lines[0].strip_prefix(&name).unwrap().parse().unwrap()
}
