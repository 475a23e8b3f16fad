//! `scrapebroker demo-app`: one instance of a sample app.
//!
//! It counts requests and simulates jobs, so that metrics of all types change without traffic. The
//! demo runs three instances in one process.

mod sample;

use super::{Environment, block_on, failure::Failure, print};
use crate::{
    app::signals,
    domain::{BasicAuth, MetricsPath},
};
use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::Server,
    http::{Method, header},
    web,
};
use anyhow::anyhow;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::StreamExt;
use ring::digest::{SHA256, digest};
use sample::{HANDLERS, Sample};
use secrecy::ExposeSecret;
use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Path of its metrics
    #[arg(long, value_name = "P", default_value = "/metrics")]
    path: MetricsPath,
    /// User name and password for its metrics
    // Parsed below, because an error message of clap would contain the password.
    #[arg(long, value_name = "U:P")]
    basic_auth: Option<String>,
}

impl Arguments {
    pub(super) fn run(self, environment: &Environment) -> Result<(), Failure> {
        let listen = SocketAddr::from(([0, 0, 0, 0], number(environment, "PORT", 8080)?));
        let index = number(environment, "CF_INSTANCE_INDEX", 0)?.into();
        let basic_auth = self.basic_auth.map(credentials).transpose()?;
        let path = self.path;
        block_on(run(listen, Options { path, basic_auth, index, fails_on_purpose: false }))
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
                .context(format!("cannot listen on {listen}; set PORT to another port")),
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
}

/// Shared by all workers of the server.
struct Instance {
    options: Options,
    sample: Mutex<Sample>,
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
        let sample = Mutex::new(Sample::new(options.index));
        let instance = Arc::new(Instance { options, sample });
        let data = web::Data::from(Arc::clone(&instance));
        let app = move || App::new().app_data(data.clone()).default_service(web::to(respond));
        let server = HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(1);
        Ok(Self { address, server: server.listen(listener)?.run(), instance })
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
            never = simulate(&self.instance) => match never {},
            () = shutdown => {}
        }
        let ((), result) = tokio::join!(handle.stop(true), server);
        result
    }
}

async fn simulate(instance: &Instance) -> Infallible {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        instance.sample().tick();
    }
}

impl Instance {
    fn sample(&self) -> MutexGuard<'_, Sample> {
        self.sample.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metrics_path(&self) -> &str {
        self.options.path.as_str().split('?').next().unwrap_or_default()
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
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return HttpResponse::MethodNotAllowed()
            .insert_header((header::ALLOW, "GET, HEAD"))
            .finish();
    }
    if request.path() == instance.metrics_path() {
        return metrics(&request, &instance);
    }
    match HANDLERS.into_iter().find(|handler| *handler == request.path()) {
        Some(handler) => {
            instance.sample().count(request.method() == Method::HEAD, handler);
            page(&instance)
        }
        None => HttpResponse::NotFound().body("There is nothing here; go to /\n"),
    }
}

fn metrics(request: &HttpRequest, instance: &Instance) -> HttpResponse {
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
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    HttpResponse::Ok().content_type(content_type).body(instance.sample().expose())
}

fn page(instance: &Instance) -> HttpResponse {
    let (index, path) = (instance.options.index, instance.metrics_path());
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(format!(
        "<!doctype html><html lang=\"en\"><title>Demo app</title>\
         <h1>Demo app, instance {index}</h1>\
         <p>Each visit of <a href=\"/\">/</a>, <a href=\"/path1\">/path1</a> and \
         <a href=\"/path2\">/path2</a> is counted in <a href=\"{path}\">{path}</a>.</p></html>\n"
    ))
}

#[cfg(test)]
mod tests;
