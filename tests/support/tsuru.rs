//! A fake of Tsuru's platform API, over real HTTP.
//!
//! Tsuru cannot be installed in the environment of the tests. The fake follows the source code of
//! Tsuru 1.31 in tsuru/tsuru. It implements the requests that the provisioner and the route source
//! send:
//!
//! | request | response |
//! | --- | --- |
//! | `GET /1.0/apps/{app}` | the app; the keys of units are in Go style |
//! | `POST /1.0/apps` | 201, 409 if the app exists, 403 if the quota is exceeded, 400 if the name is invalid |
//! | `DELETE /1.0/apps/{app}` | a JSON stream |
//! | `GET /1.0/apps/{app}/env` | names and values; `null` if there are none (api/app.go, `writeEnvVars`) |
//! | `POST /1.0/apps/{app}/env` | a JSON stream with status 200; errors are lines of the stream |
//! | `POST /1.0/apps/{app}/deploy` | a text stream that ends with `OK` on success |
//! | `GET /1.0/services/{service}/instances/{instance}` | bound apps and jobs (api/service_instance.go); 404 until a test adds a service instance |
//! | `PUT`, `DELETE /1.0/apps/{app}/units` | a JSON stream |
//! | `POST /1.0/apps/{app}/restart` | a JSON stream |
//!
//! Every request about an app returns 401 without the token, 403 if the token has no access to the
//! app, and 404 if the app does not exist. Tests can set a [`Fault`] at any time.

mod app;
mod fields;

pub use app::{TsuruApp, Variable, container, internal_address, pod};

use actix_web::{
    App as HttpApp, HttpRequest, HttpResponse, HttpServer,
    dev::ServerHandle,
    http::StatusCode,
    web::{self, Bytes, Data},
};
use fields::{Fields, fields};
use futures_util::stream;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// The accepted token, unless a test sets another one.
pub const TOKEN: &str = "tsuru-api-token";

/// A failure of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// No failure.
    #[default]
    None,
    /// Delays every response by this duration.
    Slow(Duration),
    /// Responds with this status, for example 500 or 401.
    Status(u16),
    /// Responds with this status and body.
    StatusWithBody(u16, &'static str),
    /// Responds to every request with status 200 and this body.
    Body(Vec<u8>),
    /// Streams begin with status 200 and contain this error. The operation is not performed.
    InStream(String),
    /// Streams begin with status 200 and end early. The operation is not performed.
    Truncated,
    /// Responses begin with status 200 and never end. The operation is not performed.
    Endless,
}

/// A request that the API received.
#[derive(Clone, Debug)]
pub struct ApiRequest {
    pub method: String,
    pub path: String,
    /// Fields with keys in lower case, for example `envs.0.name`.
    pub fields: Vec<(String, String)>,
}

/// Names of the apps and jobs that are bound to a service instance.
struct Bound {
    apps: Vec<String>,
    jobs: Vec<String>,
}

struct State {
    token: String,
    apps: BTreeMap<String, TsuruApp>,
    fault: Fault,
    faults: BTreeMap<String, Fault>,
    /// Faults by method and action, for example `POST deploy`.
    faults_at: BTreeMap<String, Fault>,
    /// Router address of new apps. By default it is a host name that cannot be resolved.
    host: Option<String>,
    /// Maximum number of apps.
    quota: usize,
    requests: Vec<ApiRequest>,
    events: usize,
    /// Bound apps and jobs by `service/instance`. With `None` the endpoint does not exist.
    service_instances: Option<BTreeMap<String, Bound>>,
}

/// The API on a free port of the loopback interface. It stops when it is dropped.
pub struct TsuruApi {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: Option<ServerHandle>,
}

impl TsuruApi {
    pub async fn start() -> Self {
        Self::start_on("127.0.0.1:0").await
    }

    pub async fn start_on(address: &str) -> Self {
        let state = State {
            token: TOKEN.to_owned(),
            apps: BTreeMap::new(),
            fault: Fault::None,
            faults: BTreeMap::new(),
            faults_at: BTreeMap::new(),
            host: None,
            quota: usize::MAX,
            requests: Vec::new(),
            events: 0,
            service_instances: None,
        };
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let mut api = Self { address, state: Arc::new(Mutex::new(state)), server: None };
        api.serve(listener);
        api
    }

    /// The value for the setting `routes.tsuru.api_url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops the server, so that connections are refused.
    pub async fn down(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(false).await;
        }
    }

    /// Restarts the server on the same address.
    pub fn up(&mut self) {
        if self.server.is_none() {
            self.serve(TcpListener::bind(self.address).unwrap());
        }
    }

    /// Sets the fault of all requests.
    pub fn fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// Sets the fault of all requests about one app.
    pub fn fault_of(&self, app: &str, fault: Fault) {
        self.state().faults.insert(app.to_owned(), fault);
    }

    /// Sets the fault of one kind of request, for example `POST deploy`, or `POST` for the creation
    /// of apps.
    pub fn fault_at(&self, call: &str, fault: Fault) {
        self.state().faults_at.insert(call.to_owned(), fault);
    }

    /// Sets the router address of new apps.
    pub fn host(&self, address: &str) {
        self.state().host = Some(address.to_owned());
    }

    /// Replaces the accepted token.
    pub fn accept(&self, token: &str) {
        self.state().token = token.to_owned();
    }

    /// Sets the maximum number of apps.
    pub fn quota(&self, apps: usize) {
        self.state().quota = apps;
    }

    /// Adds or replaces an app.
    pub fn put(&self, app: TsuruApp) {
        self.state().apps.insert(app.name.clone(), app);
    }

    /// Adds a service instance with bound apps and jobs.
    pub fn put_service_instance(&self, path: &str, apps: &[&str], jobs: &[&str]) {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let bound = Bound { apps: names(apps), jobs: names(jobs) };
        let mut state = self.state();
        state.service_instances.get_or_insert_default().insert(path.to_owned(), bound);
    }

    pub fn remove_service_instance(&self, path: &str) {
        self.state().service_instances.get_or_insert_default().remove(path);
    }

    /// Deletes an app without a request.
    pub fn remove(&self, app: &str) {
        self.state().apps.remove(app);
    }

    pub fn app(&self, name: &str) -> Option<TsuruApp> {
        self.state().apps.get(name).cloned()
    }

    pub fn apps(&self) -> Vec<String> {
        self.state().apps.keys().cloned().collect()
    }

    /// Modifies an app without a request.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut TsuruApp)) {
        change(self.state().apps.get_mut(name).unwrap());
    }

    /// All requests so far, including refused ones.
    pub fn requests(&self) -> Vec<ApiRequest> {
        self.state().requests.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn serve(&mut self, listener: TcpListener) {
        let state = Data::from(Arc::clone(&self.state));
        let server = HttpServer::new(move || {
            HttpApp::new().app_data(state.clone()).default_service(web::to(answer))
        });
        let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
        self.server = Some(server.handle());
        tokio::spawn(server);
    }
}

impl Drop for TsuruApi {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            drop(server.stop(false));
        }
    }
}

async fn answer(request: HttpRequest, body: Bytes, state: Data<Mutex<State>>) -> HttpResponse {
    let (method, path) = (request.method().as_str().to_owned(), request.path().to_owned());
    let fields = fields(&request, &body);
    if let Some(instance) = path.strip_prefix("/1.0/services/") {
        return service_instance(&state.lock().unwrap(), &instance.replace("/instances/", "/"));
    }
    let rest = path.strip_prefix("/1.0/apps").map(|rest| rest.trim_start_matches('/'));
    let (app, action) = match rest.map(|rest| rest.split_once('/').unwrap_or((rest, ""))) {
        Some((app, action)) => (app.to_owned(), action.to_owned()),
        None => return HttpResponse::NotFound().body("no such call"),
    };
    let fault = {
        let mut state = state.lock().unwrap();
        let api_request =
            ApiRequest { method: method.clone(), path: path.clone(), fields: fields.clone() };
        state.requests.push(api_request);
        let at = state.faults_at.get(format!("{method} {action}").trim_end());
        at.or_else(|| state.faults.get(&app)).unwrap_or(&state.fault).clone()
    };
    if let Fault::Slow(time) = fault {
        tokio::time::sleep(time).await;
    }
    match &fault {
        Fault::Status(status) => {
            return HttpResponse::build(StatusCode::from_u16(*status).unwrap()).body("a fault");
        }
        Fault::StatusWithBody(status, text) => {
            return HttpResponse::build(StatusCode::from_u16(*status).unwrap()).body(*text);
        }
        Fault::Body(body) => return HttpResponse::Ok().body(body.clone()),
        Fault::Endless => {
            let line = Bytes::from(format!("{{\"Message\":\"{}\"}}\n", "x".repeat(1 << 16)));
            let lines = stream::repeat_with(move || Ok::<_, io::Error>(line.clone()));
            return HttpResponse::Ok().streaming(lines);
        }
        _ => {}
    }
    let mut state = state.lock().unwrap();
    // Tsuru accepts the bare token, or one word followed by the token.
    let token = request.headers().get("Authorization").and_then(|value| value.to_str().ok());
    let token = token.map(|token| token.split_once(' ').map_or(token, |(_, token)| token));
    if token != Some(&state.token) {
        return HttpResponse::Unauthorized().body("invalid token");
    }
    if app.is_empty() {
        return match &*method {
            "POST" => create(&mut state, &fields),
            _ => HttpResponse::MethodNotAllowed().finish(),
        };
    }
    match state.apps.get(&app) {
        None => return HttpResponse::NotFound().body(format!("App {app} not found.")),
        Some(app) if app.is_forbidden => return HttpResponse::Forbidden().body("forbidden"),
        Some(_) => {}
    }
    state.events += 1;
    let event = format!("event-{}", state.events);
    let call = Call { app, fields: Fields(fields), fault, event };
    match (&*method, &*action) {
        ("GET", "") => HttpResponse::Ok().json(state.apps[&call.app].info()),
        ("DELETE", "") => call.stream("removing", || drop(state.apps.remove(&call.app))),
        ("GET", "env") => call.environment(&state),
        ("POST", "env") => call.set_environment(&mut state),
        ("POST", "deploy") => call.deploy(&mut state),
        ("PUT", "units") => call.scale(&mut state, true),
        ("DELETE", "units") => call.scale(&mut state, false),
        ("POST", "restart") => call.stream("restarting", || {
            state.apps.get_mut(&call.app).unwrap().restarts += 1;
        }),
        _ => HttpResponse::NotFound().body("no such call"),
    }
}

/// Like `serviceInstance` in Tsuru's api/service_instance.go.
fn service_instance(state: &State, path: &str) -> HttpResponse {
    if let Fault::Status(status) = state.fault {
        return HttpResponse::build(StatusCode::from_u16(status).unwrap()).body("a fault");
    }
    let Some(known) = &state.service_instances else {
        return HttpResponse::NotFound().body("no such call");
    };
    match known.get(path) {
        Some(Bound { apps, jobs }) => HttpResponse::Ok().json(json!({"Apps": apps, "Jobs": jobs})),
        None => HttpResponse::NotFound().body("service instance not found"),
    }
}

fn create(state: &mut State, fields: &[(String, String)]) -> HttpResponse {
    let fields = Fields(fields.to_vec());
    let name = fields.get("name");
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !is_name {
        return HttpResponse::BadRequest().body("Invalid app name");
    }
    if state.apps.contains_key(&name) {
        return HttpResponse::Conflict().body("there is already an app with this name");
    }
    if state.apps.len() >= state.quota {
        return HttpResponse::Forbidden().body("Quota exceeded");
    }
    let mut app = TsuruApp::new(&name, &fields.get("teamowner"), &fields.get("pool"));
    let host = state.host.clone().unwrap_or_else(|| format!("{name}.tsuru.example.test"));
    app.platform = fields.get("platform");
    app.plan = fields.get("plan");
    app.description = fields.get("description");
    app.router = fields.get("router");
    app.tags = fields.of("tag").chain(fields.of("tags")).map(str::to_owned).collect();
    app.hosts = vec![host.clone()];
    state.apps.insert(name, app);
    HttpResponse::Created().json(json!({"status": "success", "ip": host}))
}

/// A request about an existing app.
struct Call {
    app: String,
    fields: Fields,
    fault: Fault,
    event: String,
}

impl Call {
    fn environment(&self, state: &State) -> HttpResponse {
        let wanted: Vec<_> = self.fields.of("env").collect();
        let variables = state.apps[&self.app].environment.iter();
        let variables: Vec<_> = variables
            .filter(|(name, _)| wanted.is_empty() || wanted.contains(&name.as_str()))
            .map(|(name, it)| json!({"name": name, "value": it.value, "public": !it.is_private}))
            .collect();
        HttpResponse::Ok().json(Some(variables).filter(|variables| !variables.is_empty()))
    }

    fn set_environment(&self, state: &mut State) -> HttpResponse {
        let managed_by = self.fields.get("managedby");
        let is_pruned = self.fields.is_true("pruneunused");
        if is_pruned && managed_by.is_empty() {
            return HttpResponse::BadRequest().body("PruneUnused needs ManagedBy");
        }
        let mut variables = BTreeMap::new();
        for nth in 0.. {
            let name = self.fields.get(&format!("envs.{nth}.name"));
            if name.is_empty() {
                break;
            }
            let is_name = !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !is_name || name.starts_with("TSURU_") {
                return HttpResponse::BadRequest().body(format!("invalid variable {name}"));
            }
            let value = self.fields.get(&format!("envs.{nth}.value"));
            let is_private = self.fields.is_true("private")
                || self.fields.is_true(&format!("envs.{nth}.private"));
            let managed_by = managed_by.clone();
            variables.insert(name, Variable { value, is_private, managed_by });
        }
        if variables.is_empty() {
            return HttpResponse::BadRequest().body("You must provide the list of variables");
        }
        let is_restarted = !self.fields.is_true("norestart");
        self.stream("setting environment variables", || {
            let app = state.apps.get_mut(&self.app).unwrap();
            app.restarts += usize::from(is_restarted);
            if is_pruned {
                app.environment.retain(|_, variable| variable.managed_by != managed_by);
            }
            app.environment.extend(variables);
        })
    }

    fn deploy(&self, state: &mut State) -> HttpResponse {
        let ways = ["image", "archive-url", "dockerfile", "file"];
        if ways.iter().filter(|way| !self.fields.get(way).is_empty()).count() != 1 {
            return HttpResponse::BadRequest()
                .body("say one of image, archive-url, dockerfile, file");
        }
        let mut lines = vec!["---- Getting process ----\n".to_owned(), " ---> start".to_owned()];
        match &self.fault {
            Fault::InStream(error) => lines.push(format!("\n{error}\n")),
            Fault::Truncated => return self.answer("text", lines, true),
            _ => {
                let image = self.fields.get("image");
                let app = state.apps.get_mut(&self.app).unwrap();
                app.deploys.push(image);
                if app.units.is_empty() {
                    app.units.push(unit(app));
                }
                lines.extend(["ed\n".to_owned(), "\nOK\n".to_owned()]);
            }
        }
        self.answer("text", lines, false)
    }

    fn scale(&self, state: &mut State, is_added: bool) -> HttpResponse {
        let Ok(units @ 1..) = self.fields.get("units").parse::<usize>() else {
            return HttpResponse::BadRequest().body("Invalid number of units");
        };
        self.stream("changing units", || {
            let app = state.apps.get_mut(&self.app).unwrap();
            for _ in 0..units {
                if is_added {
                    app.units.push(unit(app));
                } else {
                    app.units.pop();
                }
            }
        })
    }

    /// A response of JSON lines. Runs `work` unless the fault prevents it.
    fn stream(&self, message: &str, work: impl FnOnce()) -> HttpResponse {
        let line = |line: Value| format!("{line}\n");
        let mut lines = vec![line(json!({"Message": format!("---- {message} ----\n")}))];
        match &self.fault {
            Fault::InStream(error) => lines.push(line(json!({"Message": "", "Error": error}))),
            Fault::Truncated => lines.push("{\"Mess".to_owned()),
            _ => {
                work();
                // A line can arrive in several chunks.
                lines.extend(["{\"Message\":".to_owned(), "\"done\\n\"}\n".to_owned()]);
            }
        }
        self.answer("application/x-json-stream", lines, self.fault == Fault::Truncated)
    }

    fn answer(&self, media_type: &str, lines: Vec<String>, is_truncated: bool) -> HttpResponse {
        let lines = lines.into_iter().map(|line| Ok(Bytes::from(line)));
        let end = is_truncated.then(|| Err(io::Error::other("truncated")));
        HttpResponse::Ok()
            .content_type(media_type)
            .insert_header(("X-Tsuru-Eventid", self.event.clone()))
            .streaming(stream::iter(lines.chain(end)))
    }
}

/// The next unit of an app.
fn unit(app: &TsuruApp) -> Value {
    let number = app.units.len();
    let id = format!("{}-web-{number}", app.name);
    pod(&app.name, "web", &id, &format!("127.250.0.{}", number % 250 + 1))
}
