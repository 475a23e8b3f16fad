//! The composition root: builds the components, binds the listeners, serves and drains.
//!
//! Everything that can fail at start fails in [`Application::build`], before a listener is ready.

mod certificates;
mod client_stream;
mod components;
mod connections;
mod descriptors;
mod drain;
mod file_watcher;
mod http1_head;
mod http2;
mod instance_pools;
mod listeners;
mod metrics;
pub(crate) mod passed_sockets;
mod provisioned_locator;
mod provisioning;
mod query_pools;
mod reload;
mod route_sources;
mod server;
mod service_manager;
pub(crate) mod signals;
mod start_error;
mod tls_handshake;
mod warnings;
mod web_config;

pub(crate) use certificates::check as check_certificates;
pub(crate) use server::bind;
pub use start_error::StartError;
pub(crate) use start_error::{broker_failure, store_failure};

use crate::{
    config::{Config, Platform},
    telemetry::running,
};
use actix_web::dev::{Server, ServerHandle};
use components::Components;
use descriptors::Descriptors;
use drain::{Drain, DrainOutcome};
use futures_util::{Stream, StreamExt, future::try_join_all};
use listeners::Listeners;
pub use reload::Reloader;
use service_manager::ServiceManager;
pub use signals::Stop;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
};

/// The complete application. Its listeners are bound, but do not accept connections yet.
pub struct Application {
    components: Components,
    /// The main listener, and those of the query proxy and of events.
    servers: Vec<Server>,
    health: Option<Server>,
    address: SocketAddr,
    /// Of the main listener, with `address` as the first.
    addresses: Vec<SocketAddr>,
    query_address: Option<SocketAddr>,
    events_address: Option<SocketAddr>,
    health_address: Option<SocketAddr>,
    drain: Drain,
    reloader: Reloader,
    service_manager: ServiceManager,
}

impl Application {
    /// Like [`build_on`](Self::build_on), and binds the main listener to `config.listen`.
    ///
    /// # Errors
    /// Like [`build_on`](Self::build_on).
    pub async fn build(config: Config) -> Result<Self, StartError> {
        Self::build_on(config, Vec::new()).await
    }

    /// Opens the database, starts the route sources and binds the listeners.
    ///
    /// It must run in an actix system, on a thread that serves no requests, because background
    /// loops run on this thread. If there are `sockets`, the main listener uses them in place of
    /// `config.listen`.
    ///
    /// # Errors
    /// [`StartError`] distinguishes an invalid configuration from an unavailable service.
    pub async fn build_on(config: Config, sockets: Vec<TcpListener>) -> Result<Self, StartError> {
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
        let service_manager = ServiceManager::new(&config.service_manager);
        let metrics = &components.reload_metrics;
        let reloader = Reloader::new(&config, &components, metrics, service_manager.clone());
        let listeners = Listeners::new(&config, &components, &drain, &reloader)?;
        let main = listeners.main(sockets)?;
        let address = main.addresses.first().copied().ok_or_else(no_address)?;
        components.start_reconciler(&config, main.local_address.ok_or_else(no_address)?);
        let (query, query_address) = listeners.query()?.unzip();
        let (events, events_address) = listeners.events()?.unzip();
        let (health, health_address) = listeners.health()?.unzip();
        let servers = [main.server].into_iter().chain(query).chain(events).collect();
        Ok(Self {
            components,
            servers,
            health,
            address,
            addresses: main.addresses,
            query_address,
            events_address,
            health_address,
            drain,
            reloader,
            service_manager,
        })
    }

    /// The first address of the main listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All addresses of the main listener.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Address of the listener of the query proxy.
    pub fn query_address(&self) -> Option<SocketAddr> {
        self.query_address
    }

    /// Address of the listener of events.
    pub fn events_address(&self) -> Option<SocketAddr> {
        self.events_address
    }

    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health_address
    }

    /// Returns the reloader for SIGHUP.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Serves until `stops` yields a signal. Then it clears readiness, waits for `drain_wait`, and
    /// stops the listeners with their running requests, the loops and the health listener. A
    /// second signal stops immediately.
    ///
    /// # Errors
    /// Returns an error if a listener fails.
    pub async fn run_until(self, stops: impl Stream<Item = Stop>) -> io::Result<()> {
        let Self { components, servers, health, drain, addresses, service_manager, .. } = self;
        let handles: Vec<ServerHandle> = servers.iter().map(Server::handle).collect();
        let mut serving = actix_web::rt::spawn(async { try_join_all(servers).await.map(drop) });
        let health_handle = health.as_ref().map(Server::handle);
        let health = health.map(actix_web::rt::spawn);
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        service_manager.ready(&format!("listening on {}", addresses.join(", ")));
        let watchdog = actix_web::rt::spawn(service_manager.clone().keep_alive());
        let mut stops = pin!(stops);
        let stop = tokio::select! {
            ended = &mut serving => return ended.unwrap_or_else(|error| Err(io::Error::other(error))),
            stop = stops.next() => stop.unwrap_or(Stop::Graceful),
        };
        service_manager.stopping(&format!("{} requests in progress", drain.running.count()));
        let outcome = drain.run(stop, stops, &handles, serving).await;
        match outcome {
            // Committed data is safe even if the database is not closed.
            Ok(DrainOutcome::Forced) => {}
            Ok(DrainOutcome::TimedOut) => components.stop_after_abort().await,
            Ok(DrainOutcome::Complete) | Err(_) => components.stop().await,
        }
        if let (Some(handle), Some(health)) = (health_handle, health) {
            handle.stop(false).await;
            // The program ends in any case.
            let _ = health.await;
        }
        watchdog.abort();
        tracing::info!("stopped");
        outcome.map(drop)
    }
}

fn no_address() -> StartError {
    StartError::Configuration(anyhow::anyhow!("listen: no address is given"))
}
