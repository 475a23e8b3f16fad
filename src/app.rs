//! The composition root: builds the components, binds the listeners, serves and drains.
//!
//! Everything that can fail at start fails in [`Application::build`], before a listener is ready.

mod certificates;
mod client_stream;
mod components;
mod connections;
mod descriptors;
mod drain;
mod http1_head;
mod http2;
mod metrics;
mod provisioning;
mod route_sources;
mod server;
pub(crate) mod signals;
mod start_error;
mod warnings;

pub(crate) use certificates::check as check_certificates;
pub use start_error::StartError;
pub(crate) use start_error::{broker_failure, store_failure};

use crate::{
    broker::Broker,
    config::{Config, Platform, catalog},
    discovery::Reload,
    domain::BaseUrl,
    http::{
        self,
        base_path::{self, BasePath},
        head_limits, lifecycle,
    },
    query, scrape,
    telemetry::{RequestSpan, running},
    tls,
};
use actix_web::{App, HttpServer, dev::Server, http::KeepAlive, middleware::from_fn, web};
use components::Components;
use descriptors::{Descriptors, HEALTH_CONNECTIONS};
use drain::{Drain, DrainOutcome};
use futures_util::{Stream, StreamExt};
pub use signals::Stop;
use std::{io, net::SocketAddr, path::PathBuf, pin::pin, sync::Arc, time::Duration};
use tracing_actix_web::TracingLogger;

/// Longer than the idle timeouts of gorouter and Prometheus. They close idle connections first, so
/// no request is sent on a connection that Scrapebroker is closing.
const KEEP_ALIVE: Duration = Duration::from_secs(120);

/// Timeout for receiving a request head.
const REQUEST_HEAD: Duration = Duration::from_secs(5);

/// Timeout for stopping loops and closing the database after requests were aborted.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// The complete application. Its listeners are bound, but do not accept connections yet.
pub struct Application {
    components: Components,
    server: Server,
    health: Option<Server>,
    address: SocketAddr,
    health_address: Option<SocketAddr>,
    drain: Drain,
    reloader: Reloader,
}

/// Reloads the catalog, the route file and the certificates on SIGHUP.
#[derive(Clone, Debug)]
pub struct Reloader {
    broker: Broker,
    catalog: Option<PathBuf>,
    base_url: BaseUrl,
    may_offer_prometheus: bool,
    routes: Reload,
    certificates: Vec<tls::Reloader>,
}

impl Application {
    /// Opens the database, starts the route sources and binds the listeners.
    ///
    /// It must run in an actix system, on a thread that serves no requests, because background
    /// loops run on this thread.
    ///
    /// # Errors
    /// [`StartError`] distinguishes an invalid configuration from an unavailable service.
    pub async fn build(config: Config) -> Result<Self, StartError> {
        let descriptors = Descriptors::allocate(&config);
        let components = Components::open(&config, descriptors).await?;
        let drain = Drain {
            drain_wait: config.drain_wait,
            grace: config.shutdown_grace,
            lifecycle: components.lifecycle.clone(),
            running: running::Running::default(),
        };
        if config.platform == Some(Platform::CloudFoundry) {
            drain.check_cloud_foundry();
        }
        let (server, address) = serve(&config, &components, &drain)?;
        components.start_reconciler(&config, address);
        let health = match config.health_listen {
            Some(listen) => Some(serve_health(listen, &components)?),
            None => None,
        };
        let (health, health_address) = health.unzip();
        let reloader = Reloader {
            broker: components.broker.clone(),
            catalog: config.broker.catalog.clone(),
            base_url: config.base_url.clone(),
            may_offer_prometheus: components.may_offer_prometheus,
            routes: components.discovery.reload.clone(),
            certificates: components.certificates.clone(),
        };
        Ok(Self { components, server, health, address, health_address, drain, reloader })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health_address
    }

    /// Returns the reloader for SIGHUP.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Serves until `stops` yields a signal. Then it clears readiness, waits for `drain_wait`, and
    /// stops the main listener with its running requests, the loops and the health listener. A
    /// second signal stops immediately.
    ///
    /// # Errors
    /// Returns an error if a listener fails.
    pub async fn run_until(self, stops: impl Stream<Item = Stop>) -> io::Result<()> {
        let Self { components, server, health, drain, .. } = self;
        let main = server.handle();
        let mut serving = actix_web::rt::spawn(server);
        let health_handle = health.as_ref().map(Server::handle);
        let health = health.map(actix_web::rt::spawn);
        let mut stops = pin!(stops);
        let stop = tokio::select! {
            ended = &mut serving => return ended.unwrap_or_else(|error| Err(io::Error::other(error))),
            stop = stops.next() => stop.unwrap_or(Stop::Graceful),
        };
        let outcome = drain.run(stop, stops, main, serving).await;
        match outcome {
            // Committed data is safe even if the database is not closed.
            Ok(DrainOutcome::Forced) => {}
            Ok(DrainOutcome::TimedOut) => {
                drop(tokio::time::timeout(STOP_TIMEOUT, components.stop()).await)
            }
            Ok(DrainOutcome::Complete) | Err(_) => components.stop().await,
        }
        if let (Some(handle), Some(health)) = (health_handle, health) {
            handle.stop(false).await;
            // The program ends in any case.
            let _ = health.await;
        }
        tracing::info!("stopped");
        outcome.map(drop)
    }
}

impl Reloader {
    /// Reads the catalog, the route file and the certificates again. If one is invalid, an error is
    /// logged and the previous one remains active.
    pub fn reload(&self) {
        self.routes.trigger();
        self.certificates.iter().for_each(tls::Reloader::trigger);
        // The built-in catalog does not change.
        let Some(catalog) = &self.catalog else { return };
        match catalog::read(Some(catalog), &self.base_url) {
            Ok(catalog) if catalog.offers_prometheus() && !self.may_offer_prometheus => {
                tracing::error!(
                    "catalog not reloaded: the first plans of Prometheus need a restart, which checks that no \
                     other Scrapebroker provisions with this database"
                );
            }
            Ok(catalog) => {
                self.broker.replace_catalog(catalog);
                tracing::info!("catalog reloaded");
            }
            Err(error) => {
                tracing::error!(%error, "catalog not reloaded; keeping the previous one");
            }
        }
    }
}

fn serve(
    config: &Config,
    components: &Components,
    drain: &Drain,
) -> Result<(Server, SocketAddr), StartError> {
    let data = components.data(config);
    let lifecycle = web::Data::new(drain.lifecycle.clone());
    let requests = web::Data::new(drain.running.clone());
    let base_path = web::Data::new(BasePath::of(&config.base_url));
    let (idle_timeout, backends) = (config.backends.idle_timeout, components.backends.clone());
    // This thread serves no requests.
    let (servers, resolver) = (Arc::clone(&components.servers), components.resolver.clone());
    let (outgoing, server_states) = (components.outgoing.clone(), components.server_states.clone());
    let heads = web::Data::new(head_limits::RequestHeads::default());
    let app = move || {
        App::new()
            .wrap(from_fn(running::track))
            .wrap(from_fn(http::browser::guard))
            .wrap(from_fn(lifecycle::end_connections))
            .wrap(from_fn(head_limits::check))
            .wrap(TracingLogger::<RequestSpan>::new())
            .wrap(from_fn(http::paths::normalize))
            // Runs first, because handlers match complete paths.
            .wrap(from_fn(base_path::strip))
            .app_data(lifecycle.clone())
            .app_data(requests.clone())
            .app_data(base_path.clone())
            .app_data(heads.clone())
            .app_data(data.apps.clone())
            .app_data(data.health.clone())
            .app_data(data.ui.clone())
            .app_data(data.osb.clone())
            .app_data(data.tsuru.clone())
            .app_data(data.leftovers.clone())
            .app_data(data.routes.clone())
            .app_data(data.sd.clone())
            .app_data(data.access.clone())
            .app_data(data.own_origin.clone())
            .app_data(data.prometheus.clone())
            // `awc::Client` is not `Send`, so each worker builds its own.
            .app_data(web::Data::new(scrape::ScrapeClient::new(
                idle_timeout,
                backends.clone(),
                resolver.clone(),
                outgoing.clone(),
            )))
            .app_data(web::Data::new(query::PrometheusClient::new(
                Arc::clone(&servers),
                resolver.clone(),
                outgoing.clone(),
                server_states.clone(),
            )))
            .configure(http::apps::configure)
            .configure(http::health::configure)
            .configure(http::ui::configure)
            .configure(http::routes::configure)
            .configure(http::prometheus::configure)
            .configure(http::sd::configure)
            .configure(http::tsuru::configure_leftovers)
            .service(web::scope("/broker").configure(http::osb::configure))
            .service(web::scope("/tsuru").configure(http::tsuru::configure))
            .default_service(web::route().to(http::not_found))
    };
    let tls = components.listener.as_ref().zip(config.tls.as_ref());
    let tls = tls.map(|(listener, tls)| {
        let acceptor = listener.acceptor().map_err(certificates::failure)?;
        Ok::<_, StartError>(server::Tls { acceptor, handshake_timeout: tls.handshake_timeout })
    });
    let settings = server::Settings {
        tls: tls.transpose()?,
        connections: components.connections.clone(),
        keep_alive: KEEP_ALIVE,
        head_timeout: REQUEST_HEAD,
        write_timeout: config.write_timeout,
        shutdown_timeout: drain.grace + drain::ACTIX_MARGIN,
    };
    components.watch_connections(KEEP_ALIVE + REQUEST_HEAD);
    let served = settings.serve(config.listen, app);
    served.map_err(|error| cannot_listen(error, "listen", config.listen))
}

fn serve_health(
    listen: SocketAddr,
    components: &Components,
) -> Result<(Server, SocketAddr), StartError> {
    let health = web::Data::new(components.health());
    let server = HttpServer::new(move || {
        App::new()
            .wrap(from_fn(http::paths::normalize))
            .app_data(health.clone())
            .configure(http::health::configure_health)
    })
    .disable_signals()
    // Health checks are rare, and kept connections would delay the shutdown.
    .keep_alive(KeepAlive::Disabled)
    .client_request_timeout(REQUEST_HEAD)
    .workers(1)
    .max_connections(HEALTH_CONNECTIONS)
    .bind(listen)
    .map_err(|error| cannot_listen(error, "health_listen", listen))?;
    let address = server.addrs().first().copied().unwrap_or(listen);
    Ok((server.run(), address))
}

fn cannot_listen(error: io::Error, key: &str, address: SocketAddr) -> StartError {
    let what = format!("{key}: cannot listen on {address}");
    StartError::Unavailable(anyhow::Error::from(error).context(what))
}
