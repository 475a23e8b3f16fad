//! `scrapebroker demo-app`: one instance of a sample app, whose metrics are an example of
//! instrumentation.
//!
//! It simulates jobs and visits its own pages, so that metrics of all types change without traffic.
//! The demo runs three instances in one process. docs/INSTRUMENTING.md describes the techniques.

mod endpoints;
mod metrics;
mod render;
mod state_set;
mod summary;
mod visitor;
mod workload;

use super::{Environment, block_on, failure::Failure, print};
use crate::{
    app::{self, signals},
    config,
    domain::{BasicAuth, MetricsPath},
};
use actix_web::{App, HttpServer, dev::Server, web};
use anyhow::anyhow;
use endpoints::{Instance, respond};
use futures_util::StreamExt;
use metrics::Metrics;
use std::{
    convert::Infallible,
    io,
    net::{Ipv6Addr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use workload::Workload;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Address and port, such as :9121 or 127.0.0.1:9121 [default: all addresses, and the port of
    /// the variable PORT or 8080]
    #[arg(long = "web.listen-address", value_name = "ADDR", value_parser = config::listen_address)]
    listen_address: Option<SocketAddr>,
    /// Path of its metrics
    #[arg(
        long,
        visible_alias = "web.telemetry-path",
        value_name = "P",
        default_value = "/metrics"
    )]
    path: MetricsPath,
    /// User name and password for its metrics
    // Parsed below, because an error message of clap would contain the password.
    #[arg(long, value_name = "U:P")]
    basic_auth: Option<String>,
}

impl Arguments {
    pub(super) fn run(self, environment: &Environment) -> Result<(), Failure> {
        let listen = match self.listen_address {
            Some(listen) => listen,
            None => (Ipv6Addr::UNSPECIFIED, number(environment, "PORT", 8080)?).into(),
        };
        let index = number(environment, "CF_INSTANCE_INDEX", 0)?.into();
        let basic_auth = self.basic_auth.map(credentials).transpose()?;
        let path = self.path;
        block_on(run(
            listen,
            Options { path, basic_auth, index, fails_on_purpose: false, has_visitor: true },
        ))
    }
}

fn number(environment: &Environment, name: &str, default: u16) -> Result<u16, Failure> {
    match environment.get(name).map(|text| text.trim()) {
        None | Some("") => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| Failure::usage(anyhow!("{name} is not a number from 0 to 65535"))),
    }
}

fn credentials(text: String) -> Result<BasicAuth, Failure> {
    match text.split_once(':') {
        Some((username, password)) if !username.is_empty() => {
            Ok(BasicAuth { username: username.to_owned(), password: password.into() })
        }
        _ => {
            Err(Failure::usage(anyhow!("--basic-auth must be a user name, a colon and a password")))
        }
    }
}

async fn run(listen: SocketAddr, options: Options) -> Result<(), Failure> {
    // Registered before the listener, so that no signal is missed.
    let stops = signals::stops().map_err(Failure::other)?;
    let metrics = options.path.to_string();
    let app = DemoApp::bind(listen, options).map_err(|error| {
        Failure::unavailable(
            anyhow::Error::from(error)
                .context(format!("cannot listen on {listen}; set --web.listen-address or PORT")),
        )
    })?;
    print(&format_args!("demo app on http://{}, its metrics at {metrics}", app.address()))?;
    let stop = async {
        pin!(stops).next().await;
    };
    app.run_until(stop).await.map_err(Failure::other)
}

#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// Path of the metrics; a query in it is ignored.
    pub(super) path: MetricsPath,
    /// Credentials for the metrics. If unset, the metrics are public.
    pub(super) basic_auth: Option<BasicAuth>,
    /// Index of the instance, starting at 0.
    pub(super) index: u32,
    /// Whether requests for the metrics are answered with an error.
    pub(super) fails_on_purpose: bool,
    /// Whether a simulated client visits the pages.
    pub(super) has_visitor: bool,
}

/// An instance with an open listener. It responds to requests after [`run_until`](Self::run_until)
/// is polled.
pub(super) struct DemoApp {
    address: SocketAddr,
    server: Server,
    instance: Arc<Instance>,
    workload: Workload,
}

/// Interval of the simulation steps.
const TICK: Duration = Duration::from_secs(1);

impl DemoApp {
    /// Listens on `listen`. With port 0, the system chooses a free port.
    ///
    /// # Errors
    ///
    /// Returns an error if the address is in use or does not belong to this machine.
    pub(super) fn bind(listen: SocketAddr, options: Options) -> io::Result<Self> {
        let listener = app::bind(listen, false)?;
        let address = listener.local_addr()?;
        let metrics = Metrics::new();
        let workload = Workload::new(options.index, &metrics);
        let instance = Arc::new(Instance { options, metrics });
        let data = web::Data::from(Arc::clone(&instance));
        let app = move || App::new().app_data(data.clone()).default_service(web::to(respond));
        let server = HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(1);
        Ok(Self { address, server: server.listen(listener)?.run(), instance, workload })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves, then waits for requests in progress.
    ///
    /// # Errors
    ///
    /// Returns an error if the server fails.
    pub(super) async fn run_until(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let handle = self.server.handle();
        let mut server = pin!(self.server);
        tokio::select! {
            result = &mut server => return result,
            never = simulate(self.workload, &self.instance.metrics) => match never {},
            never = visitor::visit(self.address), if self.instance.options.has_visitor => {
                match never {}
            }
            () = shutdown => {}
        }
        let ((), result) = tokio::join!(handle.stop(true), server);
        result
    }
}

async fn simulate(mut workload: Workload, metrics: &Metrics) -> Infallible {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        workload.tick(metrics);
    }
}

/// The content of a mutex, also after a panic of another thread.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
