//! `scrapebroker demo`: everything embedded, to see the main job at work.
//!
//! Nothing is cut short: the instances are real ones, the stand-in for
//! gorouter serves its format over HTTP, and the app is bound by the same
//! requests that Cloud Controller sends. If there is a `prometheus` to run, the
//! app gets one of its own.

mod gorouter;
mod platform;
mod prometheus;

use super::{
    Environment, block_on,
    demo_app::{DemoApp, Options},
    failure::Failure,
    log, write_line,
};
use crate::{
    app::{
        Application, StartError,
        signals::{self, Stop},
    },
    config::{Config, LogFormat, catalog},
};
use anyhow::Context;
use futures_util::Stream;
use gorouter::FakeGorouter;
use platform::Platform;
use prometheus::Own;
use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    time::Duration,
};
use tempfile::TempDir;

/// Where the demo listens when it may choose and the port is free.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8085);

/// Where the demo's app has its metrics; the binding says so.
const ENDPOINT: &str = "/actuator/prometheus";

/// The demo's own requests are answered sooner.
const SLOWEST: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where to listen [default: 127.0.0.1:8085, or a free port]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

impl Arguments {
    pub(super) fn run(self, environment: &Environment) -> Result<(), Failure> {
        log("warn", LogFormat::Text)?;
        block_on(async {
            let stops = signals::stops().map_err(Failure::other)?;
            let demo = Demo::build(self.listen, environment).await?;
            Ok(demo.run_until(stops, |summary| write_line(summary)).await?)
        })
    }
}

/// The demo, listening.
struct Demo {
    application: Application,
    instances: Vec<DemoApp>,
    gorouter: FakeGorouter,
    password: String,
    /// The Prometheus to run.
    program: Option<PathBuf>,
    // Removed with everything in it when the demo ends.
    _folder: TempDir,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    /// The program itself did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Self {
        match error {
            DemoError::Start(error) => error.into(),
            DemoError::Other(error) => Self::other(error),
        }
    }
}

impl Demo {
    /// Starts three instances, a route table that names them, and the program;
    /// on `listen`, else on the usual port, else on a free one.
    ///
    /// # Errors
    /// When a port cannot be had or the disk cannot be written.
    async fn build(
        listen: Option<SocketAddr>,
        environment: &Environment,
    ) -> Result<Self, DemoError> {
        let folder = tempfile::tempdir().context("no place for the demo's files")?;
        let mut instances = Vec::new();
        for index in 0..3 {
            instances.push(instance(index).context("no port for an instance")?);
        }
        let addresses: Vec<_> = instances.iter().map(DemoApp::address).collect();
        let gorouter = FakeGorouter::bind(&addresses).context("no port for the route table")?;
        let listen = chosen(listen).context("no port to listen on")?;
        let password = uuid::Uuid::new_v4().to_string();
        let program = prometheus::program(environment);
        let more = prometheus::settings(program.as_deref(), folder.path());
        let more = more.context("no port for a Prometheus")?;
        let config = config(&folder, listen, &gorouter, &password, more)?;
        let application = Application::build(config).await?;
        Ok(Self { application, instances, gorouter, password, program, _folder: folder })
    }

    /// Serves; binds the app; calls `ready` with what there is to try; ends
    /// when `stops` asks for it.
    ///
    /// # Errors
    /// When a listener fails or the app cannot be bound.
    async fn run_until(
        self,
        stops: impl Stream<Item = Stop> + 'static,
        ready: impl FnOnce(&DemoSummary) -> io::Result<()>,
    ) -> Result<(), DemoError> {
        let Self { application, instances, gorouter, password, program, _folder } = self;
        for instance in instances {
            actix_web::rt::spawn(instance.run_until(std::future::pending()));
        }
        actix_web::rt::spawn(gorouter.server);
        let address = application.address();
        let mut serving = actix_web::rt::spawn(application.run_until(stops));
        let prepare = async {
            let http = awc::Client::builder().timeout(SLOWEST).finish();
            let platform = Platform { broker: address, password: &password, http };
            platform::bind(&platform).await?;
            Ok::<_, DemoError>(prometheus::make(program.as_deref(), &platform).await)
        };
        // It may be stopped before it is ready.
        let own = tokio::select! {
            served = &mut serving => return ended(served),
            own = prepare => own?,
        };
        ready(&DemoSummary { address, own }).context("cannot say what there is to try")?;
        ended(serving.await)
    }
}

fn ended(served: Result<io::Result<()>, impl Into<anyhow::Error>>) -> Result<(), DemoError> {
    match served {
        Ok(served) => Ok(served.context("the main listener")?),
        Err(error) => Err(DemoError::Other(error.into())),
    }
}

/// An address whose port is known, since links to it are shown.
fn chosen(listen: Option<SocketAddr>) -> io::Result<SocketAddr> {
    let free = |address: SocketAddr| TcpListener::bind(address)?.local_addr();
    match listen {
        Some(listen) if listen.port() == 0 => free(listen),
        Some(listen) => Ok(listen),
        None => free(USUAL).or_else(|_| free((Ipv4Addr::LOCALHOST, 0).into())),
    }
}

fn instance(index: u32) -> io::Result<DemoApp> {
    let path = ENDPOINT.parse().map_err(io::Error::other)?;
    DemoApp::bind((Ipv4Addr::LOCALHOST, 0).into(), Options { path, basic_auth: None, index })
}

fn config(
    folder: &TempDir,
    listen: SocketAddr,
    gorouter: &FakeGorouter,
    password: &str,
    more: Vec<(&'static str, String)>,
) -> anyhow::Result<Config> {
    let catalog = folder.path().join("broker-catalog.json");
    let modest = prometheus::modest(catalog::BUILT_IN).context("the catalog is no JSON")?;
    std::fs::write(&catalog, modest).context("cannot write the demo's files")?;
    let gorouters = format!("[{{\"url\": \"http://{}/routes\"}}]", gorouter.address);
    let settings = [
        ("LISTEN", listen.to_string()),
        ("DRAIN_WAIT", "0s".to_owned()),
        ("BASE_URL", format!("http://{listen}")),
        ("DATABASE_URL", format!("sqlite://{}", folder.path().join("demo.db").display())),
        ("BROKER__USERNAME", platform::USER.to_owned()),
        ("BROKER__PASSWORD", password.to_owned()),
        ("BROKER__CATALOG", catalog.display().to_string()),
        ("ROUTES__GOROUTERS", gorouters),
        ("ROUTES__REFRESH_INTERVAL", "5s".to_owned()),
    ];
    let settings = settings.into_iter().chain(more);
    let settings = settings.map(|(key, value)| (format!("SCRAPEBROKER__{key}"), value));
    Ok(Config::load(None, settings)?)
}

/// What there is to try, as text for a terminal.
#[derive(Clone, Debug)]
struct DemoSummary {
    address: SocketAddr,
    own: Own,
}

impl fmt::Display for DemoSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, own } = self;
        write!(
            f,
            "\
Scrapebroker runs with three instances of the app acme/demo/shop at the route shop.example.com,
bound with {{\"endpoint\": \"{ENDPOINT}\"}}.

Open in a browser:           http://{address}/
All instances in one answer: curl 'http://{address}/v1/apps/metrics?route_url=shop.example.com'
The same by name:            curl http://{address}/v1/apps/acme/demo/shop/metrics
One instance:                curl http://{address}/v1/apps/acme/demo/shop/instances/0/metrics
What is known of the app:    curl http://{address}/v1/apps/acme/demo/shop
Own metrics:                 curl http://{address}/metrics

{own}

For a Prometheus of your own (prometheus.yml):

scrape_configs:
- job_name: shop
  scrape_interval: 5s
  metrics_path: /v1/apps/metrics
  params:
    route_url: [shop.example.com]
  honor_labels: true
  static_configs:
  - targets: ['{address}']

Ctrl-C stops it."
        )
    }
}
