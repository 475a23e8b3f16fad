//! A stand-in for Tsuru's platform API, over real HTTP.
//!
//! Tsuru cannot be installed where the tests run, so its API is played here.
//! It is built strictly from our contract of it (part 3.5: the calls that a
//! provisioner and a scraper use, which was read out of the sources of Tsuru
//! 1.31) and from the samples of that contract; what the contract does not
//! say, this server does not do. It answers:
//!
//! | call | answer |
//! | --- | --- |
//! | `GET /1.0/apps/{app}` | the app, units with Go-style keys |
//! | `POST /1.0/apps` | 201, 409 exists, 403 quota, 400 bad |
//! | `DELETE /1.0/apps/{app}` | a JSON stream |
//! | `GET /1.0/apps/{app}/env` | names and values; `null` when there are none (beside the contract, from Tsuru's api/app.go, writeEnvVars, of the same commit) |
//! | `POST /1.0/apps/{app}/env` | a JSON stream; errors are lines of a 200 |
//! | `POST /1.0/apps/{app}/deploy` | a text stream that ends with `OK` if all went well |
//! | `GET /1.0/services/{service}/instances/{instance}` | what is bound (from Tsuru's api/service_instance.go), once a test has said what there is |
//! | `PUT`, `DELETE /1.0/apps/{app}/units` | a JSON stream |
//! | `POST /1.0/apps/{app}/restart` | a JSON stream |
//!
//! Each of them is 401 without the token, 403 where the token may not see the
//! app, 404 where there is no such app. [`Fault`]s are switched at any time.

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

/// The token that is accepted, unless a test sets another one.
pub const TOKEN: &str = "tsuru-api-token";

/// What goes wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every answer comes this much later.
    Slow(Duration),
    /// Answers with this status, as in 500 or 401.
    Status(u16),
    /// Answers with this status and text.
    Says(u16, &'static str),
    /// Answers 200 with this body, whatever was asked.
    Body(Vec<u8>),
    /// A stream begins with 200 and then says this error; nothing is done.
    InStream(String),
    /// A stream begins with 200 and breaks; nothing is done.
    Cut,
    /// A stream begins with 200 and never ends; nothing is done.
    Endless,
}

/// A request, as the API saw it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// Keys in lower case, as in `envs.0.name`.
    pub fields: Vec<(String, String)>,
}

/// Makes the `nth` unit of an app that is deployed or scaled.
type MakeUnit = Box<dyn Fn(&TsuruApp, usize) -> Value + Send>;

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
    /// By method and what follows the app, as in `POST deploy`.
    faults_at: BTreeMap<String, Fault>,
    /// Address of new apps, instead of one that nobody answers at.
    host: Option<String>,
    /// Most apps that can be made.
    quota: usize,
    make_unit: MakeUnit,
    asked: Vec<Asked>,
    events: usize,
    /// What is bound to each service instance, by `service/instance`. None: no such call.
    service_instances: Option<BTreeMap<String, Bound>>,
}

/// The API on a free port of the loopback interface; gone when dropped.
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
        let make_unit: MakeUnit = Box::new(|app, nth| {
            let id = format!("{}-web-{nth}", app.name);
            pod(&app.name, "web", &id, &format!("127.250.0.{}", nth % 250 + 1))
        });
        let state = State {
            token: TOKEN.to_owned(),
            apps: BTreeMap::new(),
            fault: Fault::None,
            faults: BTreeMap::new(),
            faults_at: BTreeMap::new(),
            host: None,
            quota: usize::MAX,
            make_unit,
            asked: Vec::new(),
            events: 0,
            service_instances: None,
        };
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let mut api = Self { address, state: Arc::new(Mutex::new(state)), server: None };
        api.serve(listener);
        api
    }

    /// What to set as the address of the API.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on connections are refused.
    pub async fn down(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(false).await;
        }
    }

    /// It is back, at the same address.
    pub fn up(&mut self) {
        if self.server.is_none() {
            self.serve(TcpListener::bind(self.address).unwrap());
        }
    }

    /// Of every call from now on.
    pub fn fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// Of every call about an app from now on.
    pub fn fault_of(&self, app: &str, fault: Fault) {
        self.state().faults.insert(app.to_owned(), fault);
    }

    /// Of every such call from now on, as in `POST deploy`, or `POST` for new apps.
    pub fn fault_at(&self, call: &str, fault: Fault) {
        self.state().faults_at.insert(call.to_owned(), fault);
    }

    /// From now on routers have this address for new apps.
    pub fn host(&self, address: &str) {
        self.state().host = Some(address.to_owned());
    }

    /// From now on this token is right, and no other.
    pub fn accept(&self, token: &str) {
        self.state().token = token.to_owned();
    }

    /// Most apps that can be made.
    pub fn quota(&self, apps: usize) {
        self.state().quota = apps;
    }

    /// How units of apps come to be that are deployed or scaled.
    pub fn units_are_made_by(&self, make: impl Fn(&TsuruApp, usize) -> Value + Send + 'static) {
        self.state().make_unit = Box::new(make);
    }

    /// There is this app from now on, as it is.
    pub fn put(&self, app: TsuruApp) {
        self.state().apps.insert(app.name.clone(), app);
    }

    /// From now on the API tells of service instances, this one among them.
    pub fn put_service_instance(&self, path: &str, apps: &[&str], jobs: &[&str]) {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let bound = Bound { apps: names(apps), jobs: names(jobs) };
        let mut state = self.state();
        state.service_instances.get_or_insert_default().insert(path.to_owned(), bound);
    }

    pub fn remove_service_instance(&self, path: &str) {
        self.state().service_instances.get_or_insert_default().remove(path);
    }

    /// Somebody deletes it.
    pub fn remove(&self, app: &str) {
        self.state().apps.remove(app);
    }

    pub fn app(&self, name: &str) -> Option<TsuruApp> {
        self.state().apps.get(name).cloned()
    }

    pub fn apps(&self) -> Vec<String> {
        self.state().apps.keys().cloned().collect()
    }

    /// Something happens to an app.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut TsuruApp)) {
        change(self.state().apps.get_mut(name).unwrap());
    }

    /// Every request so far, those that were refused too.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
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
        let asked = Asked { method: method.clone(), path: path.clone(), fields: fields.clone() };
        state.asked.push(asked);
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
        Fault::Says(status, text) => {
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
    // "Any word and the token, or the bare token".
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

/// As Tsuru's api/service_instance.go, `serviceInstance`.
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

/// A call about an app that there is.
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
            Fault::Cut => return self.answer("text", lines, true),
            _ => {
                let image = self.fields.get("image");
                let app = state.apps.get_mut(&self.app).unwrap();
                app.deploys.push(image);
                if app.units.is_empty() {
                    app.units.push((state.make_unit)(app, 0));
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
                    let unit = (state.make_unit)(app, app.units.len());
                    app.units.push(unit);
                } else {
                    app.units.pop();
                }
            }
        })
    }

    /// Lines of JSON, and what they tell of is done unless one is an error.
    fn stream(&self, message: &str, work: impl FnOnce()) -> HttpResponse {
        let line = |line: Value| format!("{line}\n");
        let mut lines = vec![line(json!({"Message": format!("---- {message} ----\n")}))];
        match &self.fault {
            Fault::InStream(error) => lines.push(line(json!({"Message": "", "Error": error}))),
            Fault::Cut => lines.push("{\"Mess".to_owned()),
            _ => {
                work();
                // A line need not come in one piece.
                lines.extend(["{\"Message\":".to_owned(), "\"done\\n\"}\n".to_owned()]);
            }
        }
        self.answer("application/x-json-stream", lines, self.fault == Fault::Cut)
    }

    fn answer(&self, media_type: &str, lines: Vec<String>, is_cut: bool) -> HttpResponse {
        let lines = lines.into_iter().map(|line| Ok(Bytes::from(line)));
        let end = is_cut.then(|| Err(io::Error::other("cut")));
        HttpResponse::Ok()
            .content_type(media_type)
            .insert_header(("X-Tsuru-Eventid", self.event.clone()))
            .streaming(stream::iter(lines.chain(end)))
    }
}
