//! Listeners for users: accept connections up to a limit, perform TLS handshakes, and pass
//! requests to the application.

use super::{
    client_stream::{ClientIo, ClientStream},
    connections::Connections,
    descriptors::{UNREFUSED_PER_WORKER, workers},
    http1_head::HeadGuard,
    http2,
    tls_handshake::Tls,
};
use crate::telemetry::running::Use;
use actix_http::{HttpService, Request};
use actix_server::{GracefulShutdownSignal, ServerBuilder};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, always_ready, fn_factory, fn_service,
};
use actix_web::{
    HttpMessage,
    body::MessageBody,
    dev::{AppConfig, Server, ServiceResponse},
    rt::net::TcpStream,
};
use futures_util::future::LocalBoxFuture;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    rc::Rc,
    time::Duration,
};

/// Maximum number of connections in the accept queue of the kernel.
const BACKLOG: i32 = 1024;
/// Time for a client to close its side of the connection after the last response.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) tls: Option<Tls>,
    pub(super) connections: Connections,
    /// Idle timeout of a connection after a response.
    pub(super) keep_alive: Duration,
    /// Timeout for the head of the first request of a connection.
    pub(super) head_timeout: Duration,
    /// Timeout for a client that reads nothing of a response.
    pub(super) write_timeout: Duration,
    /// Time for running requests during shutdown.
    pub(super) shutdown_timeout: Duration,
}

impl Settings {
    /// Maximum time without a running request, also while the head of a request arrives slowly.
    fn idle_limit(&self) -> Duration {
        self.keep_alive + self.head_timeout
    }

    /// Serves `app` on `listeners`; `name` appears in logs. Each worker builds its own application
    /// for each of them.
    pub(super) fn serve<F, I, S, B>(
        self,
        name: &str,
        listeners: Vec<TcpListener>,
        app: F,
    ) -> io::Result<Server>
    where
        F: Fn() -> I + Send + Clone + 'static,
        I: IntoServiceFactory<S, Request> + 'static,
        S: Application<B>,
        S::Service: 'static,
        <S::Service as Service<Request>>::Future: 'static,
        B: MessageBody + 'static,
    {
        let workers = workers();
        let mut builder = ServerBuilder::new()
            .workers(workers)
            .disable_signals()
            .max_concurrent_connections(self.connections.max() / workers + UNREFUSED_PER_WORKER)
            // Request bodies are validated on these threads, which takes CPU time.
            .worker_max_blocking_threads(workers)
            .shutdown_timeout(self.shutdown_timeout.as_secs());
        let stopping = builder.graceful_shutdown_signal();
        for listener in listeners {
            let (app, settings, stopping) = (app.clone(), self.clone(), stopping.clone());
            builder = builder.listen(name, listener, move || {
                let (app, settings, stopping) = (app.clone(), settings.clone(), stopping.clone());
                fn_factory(move || worker(app(), settings.clone(), stopping.clone()))
            })?;
        }
        Ok(builder.run())
    }
}

/// Listens on `address`. `[::]` accepts connections to IPv4 addresses too, unless `only_v6` is set.
/// If the kernel has no IPv6, it is `0.0.0.0`.
pub(crate) fn bind(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    match bind_socket(address, only_v6) {
        Err(error) if has_no_ipv6(&error) && address.ip() == Ipv6Addr::UNSPECIFIED && !only_v6 => {
            bind_socket((Ipv4Addr::UNSPECIFIED, address.port()).into(), false)
        }
        bound => bound,
    }
}

fn has_no_ipv6(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn bind_socket(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // The default depends on the system.
        socket.set_only_v6(only_v6)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// An address at which this machine reaches the listener.
pub(super) fn local_address(listener: &TcpListener) -> io::Result<SocketAddr> {
    let mut address = listener.local_addr()?;
    if address.ip().is_unspecified() {
        // Interfaces without IPv6 addresses are more frequent than those without IPv4 addresses.
        let is_v6 = address.is_ipv6() && SockRef::from(listener).only_v6()?;
        address.set_ip(if is_v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() });
    }
    Ok(address)
}

pub(super) trait Application<B>:
    ServiceFactory<
        Request,
        Config = AppConfig,
        Response = ServiceResponse<B>,
        Error = actix_web::Error,
        InitError: fmt::Debug,
        Future: 'static,
    > + 'static
{
}

impl<B, S> Application<B> for S where
    S: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<B>,
            Error = actix_web::Error,
            InitError: fmt::Debug,
            Future: 'static,
        > + 'static
{
}

/// Builds the state of one worker.
async fn worker<I, S, B>(
    app: I,
    settings: Settings,
    stopping: GracefulShutdownSignal,
) -> Result<impl Service<TcpStream, Response = (), Error = ()>, ()>
where
    I: IntoServiceFactory<S, Request>,
    S: Application<B>,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let app = app.into_factory().new_service(AppConfig::default()).await;
    let app = Rc::new(app.map_err(|error| tracing::error!(?error, "the application failed"))?);
    let (of_http1, stops) = (Rc::clone(&app), stopping.clone());
    let http1 = HttpService::build()
        .graceful_shutdown_signal(move || {
            let stops = stops.clone();
            async move { stops.notified().await }
        })
        .keep_alive(settings.keep_alive)
        .client_request_timeout(settings.head_timeout)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        // Otherwise actix does not cancel handlers when a client closes its connection.
        .h1_allow_half_closed(false)
        .on_connect_ext(|io: &HeadGuard, data| {
            let in_use = io.stream().connection().in_use();
            if let Some(ends) = io.stream().ends() {
                in_use.set_ends(ends);
            }
            data.insert(in_use);
        })
        .h1(fn_service(move |request: Request| {
            if let Some(in_use) = request.conn_data::<Use>().cloned() {
                request.extensions_mut().insert(in_use);
            }
            of_http1.call(request)
        }))
        .new_service(())
        .await?;
    Ok(Worker { http1: Rc::new(http1), app, settings, stopping })
}

struct Worker<H, S> {
    http1: Rc<H>,
    app: Rc<S>,
    settings: Settings,
    stopping: GracefulShutdownSignal,
}

impl<H, S, B> Service<TcpStream> for Worker<H, S>
where
    H: Service<(HeadGuard, Option<SocketAddr>), Response = ()> + 'static,
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ();
    type Error = ();
    type Future = LocalBoxFuture<'static, Result<(), ()>>;

    always_ready!();

    fn call(&self, socket: TcpStream) -> Self::Future {
        let settings = self.settings.clone();
        // Dropping the socket closes the connection.
        let Some(connection) = settings.connections.admit(settings.idle_limit()) else {
            return Box::pin(std::future::ready(Ok(())));
        };
        let stream = ClientStream::new(socket, connection, settings.write_timeout);
        let (http1, app) = (Rc::clone(&self.http1), Rc::clone(&self.app));
        let stopping = self.stopping.clone();
        Box::pin(async move {
            let io = match &settings.tls {
                Some(tls) => tls.accept(stream).await.ok_or(())?,
                None => ClientIo::Plain(stream),
            };
            if io.negotiated_http2() {
                let settings = http2::Settings {
                    preface_timeout: settings.head_timeout,
                    write_timeout: settings.write_timeout,
                };
                http2::serve(io, app, &settings, stopping.notified()).await;
                return Ok(());
            }
            let peer = io.socket().peer();
            http1.call((HeadGuard::new(io), peer)).await.map_err(drop)
        })
    }
}

#[cfg(test)]
mod tests;
