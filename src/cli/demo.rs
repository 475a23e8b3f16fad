//! `scrapebroker demo`: runs Scrapebroker with everything it needs for a first look.
//!
//! The demo starts real app instances, one of which fails, and a fake gorouter that serves routes
//! over HTTP. It binds the app with the requests that Cloud Controller sends. If a `prometheus`
//! executable is in the PATH, the demo also provisions a dedicated Prometheus with two servers and
//! an alert, and a query pool of them. Otherwise it scrapes the app itself.

mod events;
mod gorouter;
mod login;
mod output;
mod platform;
mod prometheus;
mod scraper;

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
use events::DemoEvents;
use futures_util::{Stream, StreamExt};
use gorouter::FakeGorouter;
use login::DemoLogin;
use output::{DemoSummary, StartProgress};
use platform::Platform;
use prometheus::{DemoPrometheus, PrometheusPrograms};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// The default address. If its port is in use, the demo listens on a free port.
const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8085);

/// Metrics path of the demo's app, set by its binding.
const ENDPOINT: &str = "/actuator/prometheus";

const INSTANCES: u32 = 3;

/// Index of the instance whose metrics fail.
const FAILING_INSTANCE: u32 = 2;

/// Timeout of the demo's requests to its own broker.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

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
            let progress = StartProgress::begin("Scrapebroker");
            let demo = Demo::build(self.listen, environment).await?;
            Ok(demo.run_until(stops, progress, |summary| write_line(summary)).await?)
        })
    }
}

/// A demo whose listeners are open.
struct Demo {
    application: Application,
    instances: Vec<DemoApp>,
    gorouter: FakeGorouter,
    /// The password of the platform for the broker.
    password: String,
    login: DemoLogin,
    programs: Option<PrometheusPrograms>,
    /// Listener of the query pool.
    pool: SocketAddr,
    /// Listener of events.
    events: SocketAddr,
    // The directory is removed with its contents when the demo ends.
    _folder: TempDir,
}

/// Reasons why the demo ended with an error.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    /// Scrapebroker did not start.
    #[error(transparent)]
    Start(#[from] StartError),
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
    /// Starts three instances, a route table that contains them, and Scrapebroker. It listens on
    /// `listen`, else on the default port, else on a free port.
    ///
    /// # Errors
    /// Returns an error if no port is available or the disk is not writable.
    async fn build(
        listen: Option<SocketAddr>,
        environment: &Environment,
    ) -> Result<Self, DemoError> {
        let folder = tempfile::tempdir().context("no place for the demo's files")?;
        let mut instances = Vec::new();
        for index in 0..INSTANCES {
            instances.push(instance(index).context("no port for an instance")?);
        }
        let addresses: Vec<_> = instances.iter().map(DemoApp::address).collect();
        let gorouter = FakeGorouter::bind(&addresses).context("no port for the route table")?;
        let listen = listen_address(listen).context("no port to listen on")?;
        let password = uuid::Uuid::new_v4().to_string();
        let login = DemoLogin::random()?;
        let programs = PrometheusPrograms::find(environment);
        let pool = free_address().context("no port for the query pool")?;
        let events = free_address().context("no port for events")?;
        let extra_settings = prometheus::settings(programs.as_ref(), folder.path(), pool);
        let mut extra_settings = extra_settings.context("no port for a Prometheus")?;
        extra_settings.push(("EVENTS__LISTEN", events.to_string()));
        extra_settings.push(("OPERATORS", login.operators()?));
        let config = config(&folder, listen, &gorouter, &password, extra_settings)?;
        let application = Application::build(config).await?;
        Ok(Self {
            application,
            instances,
            gorouter,
            password,
            login,
            programs,
            pool,
            events,
            _folder: folder,
        })
    }

    /// Serves requests until `stops` yields. Binds the app, starts what uses it, ends `progress`,
    /// and then calls `ready` with a summary.
    ///
    /// # Errors
    /// Returns an error if a listener fails or the app cannot be bound.
    async fn run_until(
        self,
        stops: impl Stream<Item = Stop> + 'static,
        progress: StartProgress,
        ready: impl FnOnce(&DemoSummary) -> io::Result<()>,
    ) -> Result<(), DemoError> {
        let Self {
            application,
            instances,
            gorouter,
            password,
            login,
            programs,
            pool,
            events,
            _folder,
        } = self;
        for instance in instances {
            actix_web::rt::spawn(instance.run_until(std::future::pending()));
        }
        actix_web::rt::spawn(gorouter.server);
        let address = application.address();
        let stopped = CancellationToken::new();
        let stops = stops.inspect({
            let stopped = stopped.clone();
            move |_| stopped.cancel()
        });
        let mut serving = actix_web::rt::spawn(application.run_until(stops));
        let prepare = async {
            let http = awc::Client::builder().timeout(REQUEST_TIMEOUT).finish();
            let platform = Platform { broker: address, password: &password, http };
            platform::bind(&platform).await?;
            let app = platform::events(&platform).await?;
            DemoEvents { app, listen: events }.start(&platform).await?;
            let provisioned = prometheus::provision(programs.as_ref(), &platform, pool, &progress);
            let prometheus = provisioned.await;
            if !matches!(prometheus, DemoPrometheus::Runs) {
                let app = format!("http://{address}/v1/apps/acme/demo/shop/metrics");
                scraper::start(platform.http.clone(), app).await;
            }
            drop(progress);
            Ok::<_, DemoError>(prometheus)
        };
        // A signal may stop the demo before it is ready.
        let prometheus = tokio::select! {
            served = &mut serving => return serve_result(served),
            prepared = prepare => match prepared {
                // Requests fail once the listeners are closed.
                Err(_) if stopped.is_cancelled() => return serve_result(serving.await),
                prepared => prepared?,
            },
        };
        ready(&DemoSummary { address, login, events, pool, prometheus })
            .context("cannot say what there is to try")?;
        serve_result(serving.await)
    }
}

fn serve_result(served: Result<io::Result<()>, impl Into<anyhow::Error>>) -> Result<(), DemoError> {
    match served {
        Ok(served) => Ok(served.context("the main listener")?),
        Err(error) => Err(DemoError::Other(error.into())),
    }
}

/// An address with a known port, because URLs with this address are printed.
fn listen_address(listen: Option<SocketAddr>) -> io::Result<SocketAddr> {
    let free = |address: SocketAddr| TcpListener::bind(address)?.local_addr();
    match listen {
        Some(listen) if listen.port() == 0 => free(listen),
        Some(listen) => Ok(listen),
        None => free(DEFAULT_ADDRESS).or_else(|_| free((Ipv4Addr::LOCALHOST, 0).into())),
    }
}

fn free_address() -> io::Result<SocketAddr> {
    listen_address(Some((Ipv4Addr::LOCALHOST, 0).into()))
}

fn instance(index: u32) -> io::Result<DemoApp> {
    let path = ENDPOINT.parse().map_err(io::Error::other)?;
    let fails_on_purpose = index == FAILING_INSTANCE;
    let options = Options { path, basic_auth: None, index, fails_on_purpose, has_visitor: true };
    DemoApp::bind((Ipv4Addr::LOCALHOST, 0).into(), options)
}

fn config(
    folder: &TempDir,
    listen: SocketAddr,
    gorouter: &FakeGorouter,
    password: &str,
    extra_settings: Vec<(&'static str, String)>,
) -> anyhow::Result<Config> {
    let catalog = folder.path().join("broker-catalog.json");
    let small_catalog =
        prometheus::small_catalog(catalog::BUILT_IN).context("the catalog is no JSON")?;
    std::fs::write(&catalog, small_catalog).context("cannot write the demo's files")?;
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
    let settings = settings.into_iter().chain(extra_settings);
    let settings = settings.map(|(key, value)| (format!("SCRAPEBROKER__{key}"), value));
    Ok(Config::load(None, settings)?)
}
