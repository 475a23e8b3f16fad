//! The listeners and what they serve.

use super::{
    StartError, certificates,
    components::{Components, HttpData},
    descriptors::HEALTH_CONNECTIONS,
    drain::{ACTIX_MARGIN, Drain},
    reload::Reloader,
    server,
    tls_handshake::Tls,
};
use crate::{
    config::Config,
    http::{
        self,
        access::gate::{self, Gate},
        base_path::{self, BasePath},
        head_limits::{self, RequestMemory},
        lifecycle::{self, Lifecycle},
        reload::Reload,
    },
    query::PrometheusClient,
    scrape::ScrapeClient,
    telemetry::{RequestSpan, running},
    tls::Alpn,
};
use actix_web::{App, HttpServer, dev::Server, http::KeepAlive, middleware::from_fn, web};
use futures_util::future::BoxFuture;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tracing_actix_web::TracingLogger;

/// Longer than the idle timeouts of gorouter and Prometheus. They close idle connections first, so
/// no request is sent on a connection that Scrapebroker is closing.
const KEEP_ALIVE: Duration = Duration::from_secs(120);

/// Keep-alive of the listener of events. A scraper that uses its connection again has got the response
/// before. Prometheus keeps idle connections for 5 minutes, and usual scrape intervals are shorter
/// than half of that.
const EVENTS_KEEP_ALIVE: Duration = Duration::from_secs(330);

/// Timeout for receiving a request head.
const REQUEST_HEAD: Duration = Duration::from_secs(5);

/// What all listeners have in common.
pub(super) struct Listeners<'a> {
    config: &'a Config,
    components: &'a Components,
    data: HttpData,
    reload: web::Data<Reload>,
    lifecycle: web::Data<Lifecycle>,
    requests: web::Data<running::Running>,
    memory: web::Data<RequestMemory>,
    gate: web::Data<Gate>,
    settings: server::Settings,
}

/// The bound main listener.
pub(super) struct MainListener {
    pub(super) server: Server,
    pub(super) addresses: Vec<SocketAddr>,
    /// At which this machine reaches the first address.
    pub(super) local_address: Option<SocketAddr>,
}

impl<'a> Listeners<'a> {
    pub(super) fn new(
        config: &'a Config,
        components: &'a Components,
        drain: &Drain,
        reloader: &Reloader,
    ) -> Result<Self, StartError> {
        let settings = server::Settings {
            tls: tls(config, components, Alpn::Http2)?,
            connections: components.connections.clone(),
            keep_alive: KEEP_ALIVE,
            head_timeout: REQUEST_HEAD,
            write_timeout: config.write_timeout,
            shutdown_timeout: drain.grace + ACTIX_MARGIN,
        };
        components.watch_connections();
        Ok(Self {
            config,
            components,
            data: components.data(config),
            reload: web::Data::new(reload(components, reloader)),
            lifecycle: web::Data::new(drain.lifecycle.clone()),
            requests: web::Data::new(drain.running.clone()),
            memory: web::Data::new(RequestMemory::new(components.connections.max())),
            gate: web::Data::new(components.web_config.gate.clone()),
            settings,
        })
    }

    /// Binds the addresses of the main listener, unless there are `sockets` for it.
    pub(super) fn main(&self, sockets: Vec<TcpListener>) -> Result<MainListener, StartError> {
        let base_path = web::Data::new(BasePath::of(&self.config.base_url));
        let (data, lifecycle) = (self.data.clone(), self.lifecycle.clone());
        let (requests, memory) = (self.requests.clone(), self.memory.clone());
        let gate = self.gate.clone();
        let (idle_timeout, backends) =
            (self.config.backends.idle_timeout, self.components.backends.clone());
        let (resolver, outgoing) =
            (self.components.resolver.clone(), self.components.outgoing.clone());
        let (query_client, reload) = (self.query_client(), self.reload.clone());
        let app = move || {
            App::new()
                .wrap(from_fn(gate::check))
                .wrap(from_fn(http::ui::error_page::render))
                .wrap(from_fn(running::track))
                .wrap(from_fn(http::browser::guard))
                .wrap(from_fn(lifecycle::end_connections))
                .wrap(from_fn(head_limits::check))
                .wrap(TracingLogger::<RequestSpan>::new())
                .wrap(from_fn(gate::add_headers))
                .wrap(from_fn(http::paths::normalize))
                // Runs first, because handlers match complete paths.
                .wrap(from_fn(base_path::strip))
                .app_data(lifecycle.clone())
                .app_data(requests.clone())
                .app_data(base_path.clone())
                .app_data(memory.clone())
                .app_data(gate.clone())
                .app_data(data.apps.clone())
                .app_data(data.app_pages.clone())
                .app_data(data.health.clone())
                .app_data(reload.clone())
                .app_data(data.overview.clone())
                .app_data(data.doc.clone())
                .app_data(data.osb.clone())
                .app_data(data.tsuru.clone())
                .app_data(data.leftovers.clone())
                .app_data(data.routes.clone())
                .app_data(data.sd.clone())
                .app_data(data.access.clone())
                .app_data(data.own_origin.clone())
                .app_data(data.prometheus.clone())
                .app_data(data.pools.clone())
                .app_data(data.events.clone())
                // `awc::Client` is not `Send`, so each worker builds its own.
                .app_data(web::Data::new(ScrapeClient::new(
                    idle_timeout,
                    backends.clone(),
                    resolver.clone(),
                    outgoing.clone(),
                )))
                .app_data(web::Data::new(query_client()))
                .configure(http::apps::configure)
                .configure(http::health::configure)
                .configure(|config| http::own_metrics::configure(config, &data.own_metrics))
                .configure(http::reload::configure)
                .configure(http::overview::configure)
                .configure(http::doc::configure)
                .configure(http::routes::configure)
                .configure(http::prometheus::configure)
                .configure(http::pools::configure)
                .configure(http::events::configure)
                .configure(http::sd::configure)
                .configure(http::tsuru::configure_leftovers)
                .service(web::scope("/broker").configure(http::osb::configure))
                .service(web::scope("/tsuru").configure(http::tsuru::configure))
                .default_service(web::route().to(http::not_found))
        };
        let listeners = if sockets.is_empty() { self.bind_main()? } else { sockets };
        let addresses: io::Result<_> = listeners.iter().map(TcpListener::local_addr).collect();
        let local_address = listeners.first().map(server::local_address).transpose();
        let server = self.settings.clone().serve("main", listeners, app);
        Ok(MainListener {
            server: server.map_err(cannot_serve)?,
            addresses: addresses.map_err(cannot_serve)?,
            local_address: local_address.map_err(cannot_serve)?,
        })
    }

    fn bind_main(&self) -> Result<Vec<TcpListener>, StartError> {
        let listen = &self.config.listen;
        let bind = |address: &SocketAddr| {
            let is_shared = |it: &SocketAddr| it.is_ipv4() && it.port() == address.port();
            let only_v6 = address.is_ipv6() && listen.iter().any(is_shared);
            bind("listen", *address, only_v6).map(|(listener, _)| listener)
        };
        listen.iter().map(bind).collect()
    }

    /// Binds the listener of the query proxy, if it is configured.
    pub(super) fn query(&self) -> Result<Option<(Server, SocketAddr)>, StartError> {
        let Some(listen) = self.config.query.listen else { return Ok(None) };
        let (data, lifecycle) = (self.data.clone(), self.lifecycle.clone());
        let (requests, memory) = (self.requests.clone(), self.memory.clone());
        let gate = self.gate.clone();
        let query_client = self.query_client();
        let app = move || {
            App::new()
                .wrap(from_fn(gate::check))
                .wrap(from_fn(running::track))
                .wrap(from_fn(http::browser::guard))
                .wrap(from_fn(lifecycle::end_connections))
                .wrap(from_fn(head_limits::check))
                .wrap(TracingLogger::<RequestSpan>::new())
                .wrap(from_fn(gate::add_headers))
                .app_data(lifecycle.clone())
                .app_data(requests.clone())
                .app_data(memory.clone())
                .app_data(gate.clone())
                .app_data(data.own_origin.clone())
                .app_data(data.pools.clone())
                .app_data(data.health.clone())
                .app_data(web::Data::new(query_client()))
                .configure(http::health::configure_liveness)
                .configure(http::pools::configure_listener)
        };
        let (listener, address) = bind("query.listen", listen, false)?;
        let server = self.settings.clone().serve("query", vec![listener], app);
        Ok(Some((server.map_err(cannot_serve)?, address)))
    }

    /// Binds the listener of events, if it is configured. It offers HTTP/1.1 only: a connection of
    /// HTTP/2 gives no evidence that a response was received.
    pub(super) fn events(&self) -> Result<Option<(Server, SocketAddr)>, StartError> {
        let Some(listen) = self.config.events.listen else { return Ok(None) };
        let (data, lifecycle) = (self.data.clone(), self.lifecycle.clone());
        let (requests, memory) = (self.requests.clone(), self.memory.clone());
        let gate = self.gate.clone();
        let (token_required, health) =
            (self.config.events.token_required, self.data.health.clone());
        let events = web::Data::new(data.events.as_ref().clone().for_listener(token_required));
        let app = move || {
            App::new()
                .wrap(from_fn(gate::check))
                .wrap(from_fn(running::track))
                .wrap(from_fn(http::browser::guard))
                .wrap(from_fn(lifecycle::end_connections))
                .wrap(from_fn(head_limits::check))
                .wrap(TracingLogger::<RequestSpan>::new())
                .wrap(from_fn(gate::add_headers))
                .wrap(from_fn(http::paths::normalize))
                .app_data(lifecycle.clone())
                .app_data(requests.clone())
                .app_data(memory.clone())
                .app_data(gate.clone())
                .app_data(data.own_origin.clone())
                .app_data(events.clone())
                .app_data(health.clone())
                .configure(http::events::configure_listener)
                .configure(http::health::configure_liveness)
        };
        let tls = tls(self.config, self.components, Alpn::Http1)?;
        let settings =
            server::Settings { tls, keep_alive: EVENTS_KEEP_ALIVE, ..self.settings.clone() };
        let (listener, address) = bind("events.listen", listen, false)?;
        let server = settings.serve("events", vec![listener], app);
        Ok(Some((server.map_err(cannot_serve)?, address)))
    }

    /// Creates the query clients of workers. The look-ups run on this thread, which serves no
    /// requests.
    fn query_client(&self) -> impl Fn() -> PrometheusClient + Clone + Send + 'static {
        let Components { servers, resolver, outgoing, server_states, .. } = self.components;
        let (servers, resolver) = (Arc::clone(servers), resolver.clone());
        let (outgoing, states) = (outgoing.clone(), server_states.clone());
        move || {
            PrometheusClient::new(
                Arc::clone(&servers),
                resolver.clone(),
                outgoing.clone(),
                states.clone(),
            )
        }
    }

    /// Binds the listener for health checks, if it is configured.
    pub(super) fn health(&self) -> Result<Option<(Server, SocketAddr)>, StartError> {
        let Some(listen) = self.config.health_listen else { return Ok(None) };
        let health = web::Data::new(self.components.health());
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
        .max_connections(HEALTH_CONNECTIONS);
        let (listener, address) = bind("health_listen", listen, false)?;
        let server = server.listen(listener).map_err(cannot_serve)?;
        Ok(Some((server.run(), address)))
    }
}

fn reload(components: &Components, reloader: &Reloader) -> Reload {
    let reloader = reloader.clone();
    let reload = move || -> BoxFuture<'static, _> {
        let reloader = reloader.clone();
        Box::pin(async move { reloader.reload().await })
    };
    Reload { access: components.access(), reload: Arc::new(reload) }
}

/// TLS of a listener, if it is configured.
fn tls(config: &Config, components: &Components, alpn: Alpn) -> Result<Option<Tls>, StartError> {
    let acceptor = match (components.web_config.acceptor(alpn), &components.listener) {
        (Some(acceptor), _) => acceptor,
        (None, Some(listener)) => listener.acceptor(alpn).map_err(certificates::failure)?,
        (None, None) => return Ok(None),
    };
    let failures = components.handshake_failures.clone();
    Ok(Some(Tls { acceptor, handshake_timeout: config.handshake_timeout, failures }))
}

/// Listens on the address that `key` sets. Also returns the address with its port.
fn bind(
    key: &str,
    address: SocketAddr,
    only_v6: bool,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = server::bind(address, only_v6)
        .and_then(|listener| listener.local_addr().map(|address| (listener, address)));
    bound.map_err(|error| cannot_listen(error, key, address))
}

fn cannot_serve(error: io::Error) -> StartError {
    StartError::Unavailable(anyhow::Error::from(error).context("the listeners cannot be served"))
}

fn cannot_listen(error: io::Error, key: &str, address: SocketAddr) -> StartError {
    let what = format!("{key}: cannot listen on {address}");
    StartError::Unavailable(anyhow::Error::from(error).context(what))
}
