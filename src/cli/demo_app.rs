//! `scrapebroker demo-app`: one instance of a sample app, whose metrics are an example of
//! instrumentation.
//!
//! It counts requests and simulates jobs, so that metrics of all types change without traffic. The
//! demo runs three instances in one process. docs/INSTRUMENTING.md describes the techniques.

mod metrics;
mod render;
mod state_set;
mod summary;
mod workload;

use super::{Environment, block_on, failure::Failure, print};
use crate::{
    app::signals,
    domain::{BasicAuth, MetricsPath},
    http::accepts_gzip,
};
use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::Server,
    http::{
        Method,
        header::{self, HeaderValue},
    },
    web,
};
use anyhow::anyhow;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::StreamExt;
use metrics::{HANDLERS, HandlerLabel, Metrics, RequestLabels, TraceLabel};
use ring::digest::{SHA256, digest};
use secrecy::ExposeSecret;
use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};
use workload::Workload;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Address and port, such as :9121 or 127.0.0.1:9121 [default: all addresses, and the port of
    /// the variable PORT or 8080]
    #[arg(long = "web.listen-address", value_name = "ADDR", value_parser = listen_address)]
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
            None => (Ipv4Addr::UNSPECIFIED, number(environment, "PORT", 8080)?).into(),
        };
        let index = number(environment, "CF_INSTANCE_INDEX", 0)?.into();
        let basic_auth = self.basic_auth.map(credentials).transpose()?;
        let path = self.path;
        block_on(run(listen, Options { path, basic_auth, index, fails_on_purpose: false }))
    }
}

/// Parses an address as exporters do: without a host it is all addresses.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let host = if text.starts_with(':') { "0.0.0.0" } else { "" };
    let addresses = format!("{host}{text}").to_socket_addrs();
    let first = addresses.ok().and_then(|mut addresses| addresses.next());
    first.ok_or_else(|| "must be an address and a port, such as :9121 or 127.0.0.1:9121".to_owned())
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
}

/// An instance with an open listener. It responds to requests after [`run_until`](Self::run_until)
/// is polled.
pub(super) struct DemoApp {
    address: SocketAddr,
    server: Server,
    instance: Arc<Instance>,
    workload: Workload,
}

/// Shared by all workers of the server.
struct Instance {
    options: Options,
    metrics: Metrics,
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
        let listener = TcpListener::bind(listen)?;
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

impl Instance {
    fn metrics_path(&self) -> &str {
        self.options.path.without_query()
    }

    fn may_read(&self, request: &HttpRequest) -> bool {
        let Some(BasicAuth { username, password }) = &self.options.basic_auth else { return true };
        let expected = format!("{username}:{}", password.expose_secret());
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| {
            let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
            let is_basic = scheme.eq_ignore_ascii_case("basic");
            is_basic.then(|| STANDARD.decode(credentials.trim()).ok())?
        });
        // Digests are compared, so that the duration reveals nothing about the password.
        let hash = |bytes: &[u8]| digest(&SHA256, bytes).as_ref().to_vec();
        given.is_some_and(|given| hash(&given) == hash(expected.as_bytes()))
    }
}

async fn respond(request: HttpRequest, instance: web::Data<Instance>) -> HttpResponse {
    let started = Instant::now();
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return HttpResponse::MethodNotAllowed()
            .insert_header((header::ALLOW, "GET, HEAD"))
            .finish();
    }
    if request.path() == instance.metrics_path() {
        return serve_metrics(&request, &instance);
    }
    if request.path() == "/health" {
        return HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n");
    }
    match HANDLERS.into_iter().find(|handler| *handler == request.path()) {
        Some(handler) => {
            let page = page(&instance);
            instance.count(&request, handler, started.elapsed());
            page
        }
        None => HttpResponse::NotFound().body("There is nothing here; go to /\n"),
    }
}

impl Instance {
    /// Counts a request to one of [`HANDLERS`].
    fn count(&self, request: &HttpRequest, handler: &'static str, duration: Duration) {
        let Metrics { requests, request_duration, .. } = &self.metrics;
        let method = match *request.method() {
            Method::HEAD => metrics::Method::HEAD,
            _ => metrics::Method::GET,
        };
        let trace = trace_id(request.headers().get("traceparent"));
        let trace = trace.map(|trace_id| TraceLabel { trace_id });
        let now = Some(SystemTime::now());
        let labels = RequestLabels { method, handler };
        requests.get_or_create(&labels).inc_by(1, trace.clone(), now);
        let duration_of = request_duration.get_or_create(&HandlerLabel { handler });
        duration_of.observe(duration.as_secs_f64(), trace, now);
    }
}

/// The trace of a request by its header `traceparent` (W3C Trace Context, version 00), or a new one
/// if it is missing or invalid. `None` if the trace is not sampled: it could not be opened.
fn trace_id(traceparent: Option<&HeaderValue>) -> Option<String> {
    let Some((id, flags)) = traceparent.and_then(trace_and_flags) else {
        return Some(format!("{:032x}", fastrand::u128(1..)));
    };
    (flags & SAMPLED != 0).then(|| id.to_owned())
}

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

fn trace_and_flags(traceparent: &HeaderValue) -> Option<(&str, u8)> {
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = traceparent.to_str().ok()?.split('-');
    let (_version, id, _parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_id = id.len() == 32 && is_hex(id) && id.bytes().any(|byte| byte != b'0');
    let is_valid = is_id && flags.len() == 2 && is_hex(flags);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    is_valid.then_some((id, flags))
}

fn serve_metrics(request: &HttpRequest, instance: &Instance) -> HttpResponse {
    if !instance.may_read(request) {
        let challenge = (header::WWW_AUTHENTICATE, "Basic realm=\"metrics\", charset=\"UTF-8\"");
        return HttpResponse::Unauthorized()
            .insert_header(challenge)
            .body("Credentials are required.\n");
    }
    if instance.options.fails_on_purpose {
        return HttpResponse::InternalServerError()
            .content_type("text/plain; charset=utf-8")
            .body("This instance fails on purpose, to show a failed scrape.\n");
    }
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    // A scraper that accepts no known format gets text 0.0.4. It is never refused with 406.
    let output = exposition::negotiate(text(header::ACCEPT));
    let gzip = accepts_gzip(text(header::ACCEPT_ENCODING).unwrap_or_default());
    match render::render(&instance.metrics, output, gzip) {
        Ok(body) => {
            let mut response = HttpResponse::Ok();
            response.content_type(&*output.content_type());
            response.insert_header((header::VARY, "Accept, Accept-Encoding"));
            if gzip {
                response.insert_header((header::CONTENT_ENCODING, "gzip"));
            }
            response.body(body)
        }
        Err(error) => HttpResponse::InternalServerError()
            .content_type("text/plain; charset=utf-8")
            .body(format!("The metrics cannot be written: {error:#}\n")),
    }
}

fn page(instance: &Instance) -> HttpResponse {
    let (index, path) = (instance.options.index, instance.metrics_path());
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Demo app</title>\
         <h1>Demo app, instance {index}</h1>\
         <p>Each visit of <a href=\"/\">/</a>, <a href=\"/path1\">/path1</a> and \
         <a href=\"/path2\">/path2</a> is counted.</p>\
         <ul><li><a href=\"{path}\">Metrics</a> at {path}: counters, gauges, histograms, a summary, \
         a state set and an info, in all formats of Prometheus</li>\
         <li><a href=\"/health\">Health</a></li></ul>\
         <p>Scrapebroker {version}</p></html>\n",
        version = env!("CARGO_PKG_VERSION"),
    ))
}

#[cfg(test)]
mod tests;
