//! Finds replicas among the tasks of Marathon apps, with the login of DC/OS if it is configured.
//!
//! ```text
//! MarathonLocator ─► MarathonApi ─► HttpClients ─► first host that responds
//!        │                └─ 401 ─► DcosLogin ─► login endpoint
//!        └─ MarathonApp ─► addresses of the tasks that are running and healthy
//! ```

mod api;
mod app;
mod app_id;
mod call;
mod dcos;

pub use app_id::MarathonAppId;
pub use dcos::{DcosLogin, DcosSecret};

use crate::{
    domain::BaseUrl,
    query::{LocatedReplica, Locator, LocatorError},
    tls::{ClientSettings, TlsError},
};
use api::{MarathonApi, MarathonError};
use app::{MarathonApp, UnusedTasks};
use futures_util::future::LocalBoxFuture;

/// Settings of [`MarathonLocator`].
#[derive(Clone, Debug)]
pub struct MarathonSettings {
    /// Hosts of one Marathon; at least one.
    pub urls: Vec<BaseUrl>,
    /// Apps whose tasks are replicas; at least one.
    pub apps: Vec<MarathonAppId>,
    /// With a login, a URL without a path gets the path `/marathon`.
    pub login: Option<DcosLogin>,
    /// TLS to Marathon and to the login endpoint. The certificates are read at start.
    pub tls: ClientSettings,
    /// Whether the replicas use HTTPS.
    pub is_https: bool,
    /// Path of the replicas: empty, or begins with a slash.
    pub path_prefix: String,
    /// Position of the port of Prometheus in the definition of the app.
    pub port_index: usize,
}

/// Finds the tasks of Marathon apps that are running and healthy.
///
/// * A task is running in the state `TASK_RUNNING`. Old versions of Marathon report no state; there a
///   task is running once it has `startedAt`.
/// * If the app has health checks, a task is healthy once it has a result and no result is bad.
/// * If one app cannot be read, the others are still found, and the last replicas of that app are
///   kept. They are removed when Marathon responds that the app does not exist.
/// * If no app can be read, or there is no usable task at all, the result is an error, so the pool
///   keeps its replicas.
pub struct MarathonLocator {
    name: String,
    api: MarathonApi,
    apps: Vec<AppState>,
    format: ReplicaUrlFormat,
}

/// What is known about one app.
struct AppState {
    id: MarathonAppId,
    replicas: Vec<BaseUrl>,
    unused: UnusedTasks,
    /// The problem that was logged last.
    problem: Option<String>,
}

struct ReplicaUrlFormat {
    scheme: &'static str,
    path_prefix: String,
    port_index: usize,
}

impl MarathonLocator {
    /// Creates a locator of this thread, in a Tokio runtime.
    ///
    /// # Errors
    /// A certificate cannot be used.
    pub fn new(settings: MarathonSettings) -> Result<Self, TlsError> {
        let urls: Vec<_> = settings.urls.iter().map(BaseUrl::as_str).collect();
        let api = MarathonApi::new(&settings)?;
        Ok(Self {
            name: format!("marathon {}", urls.join(", ")),
            api,
            apps: settings.apps.into_iter().map(AppState::new).collect(),
            format: ReplicaUrlFormat {
                scheme: if settings.is_https { "https" } else { "http" },
                path_prefix: settings.path_prefix,
                port_index: settings.port_index,
            },
        })
    }

    async fn find(&mut self) -> Result<Vec<BaseUrl>, LocatorError> {
        let ids: Vec<_> = self.apps.iter().map(|app| &app.id).collect();
        let answers = self.api.apps(&ids).await;
        if answers.iter().all(Result::is_err) {
            return Err(LocatorError(describe(&ids, &answers)));
        }
        for (app, answer) in self.apps.iter_mut().zip(answers) {
            app.update(answer, &self.format);
        }
        let replicas: Vec<_> =
            self.apps.iter().flat_map(|app| app.replicas.iter().cloned()).collect();
        match replicas.is_empty() {
            true => Err(self.nothing_usable()),
            false => Ok(replicas),
        }
    }

    fn nothing_usable(&self) -> LocatorError {
        let describe = |app: &AppState| match &app.problem {
            Some(problem) => format!("app {}: {problem}", app.id),
            None => format!("app {} has {}", app.id, app.unused),
        };
        let apps: Vec<_> = self.apps.iter().map(describe).collect();
        LocatorError(format!("no task is usable: {}", apps.join("; ")))
    }
}

impl Locator for MarathonLocator {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn locate(&mut self) -> LocalBoxFuture<'_, Result<Vec<LocatedReplica>, LocatorError>> {
        Box::pin(async { self.find().await.map(LocatedReplica::of_urls) })
    }
}

impl AppState {
    fn new(id: MarathonAppId) -> Self {
        Self { id, replicas: Vec::new(), unused: UnusedTasks::default(), problem: None }
    }

    fn update(&mut self, answer: Result<MarathonApp, MarathonError>, format: &ReplicaUrlFormat) {
        let problem = match answer {
            Ok(app) => {
                (self.replicas, self.unused) = format.replicas(&app);
                let is_whole = self.unused.without_port == 0;
                (!is_whole).then(|| format!("it has {}", self.unused))
            }
            Err(error) => {
                if error == MarathonError::NoSuchApp {
                    self.replicas.clear();
                }
                Some(error.to_string())
            }
        };
        self.report(problem);
    }

    /// Logs a problem once.
    fn report(&mut self, problem: Option<String>) {
        if self.problem == problem {
            return;
        }
        let (app, replicas) = (&self.id, self.replicas.len());
        match &problem {
            Some(problem) => tracing::warn!(%app, %problem, replicas, "marathon app incomplete"),
            None => tracing::info!(%app, replicas, "marathon app complete again"),
        }
        self.problem = problem;
    }
}

impl ReplicaUrlFormat {
    fn replicas(&self, app: &MarathonApp) -> (Vec<BaseUrl>, UnusedTasks) {
        let mut addresses = app.addresses(self.port_index);
        let found = addresses.usable.len();
        let urls = addresses.usable.iter().filter_map(|(host, port)| self.url(host, *port));
        let urls: Vec<_> = urls.collect();
        // Marathon reports host names; one that is none makes no URL.
        addresses.unused.without_port += found - urls.len();
        (urls, addresses.unused)
    }

    fn url(&self, host: &str, port: u16) -> Option<BaseUrl> {
        let Self { scheme, path_prefix, .. } = self;
        let host = match host.contains(':') && !host.starts_with('[') {
            true => format!("[{host}]"),
            false => host.to_owned(),
        };
        format!("{scheme}://{host}:{port}{path_prefix}").parse().ok()
    }
}

/// The error of all apps, or of each app.
fn describe(ids: &[&MarathonAppId], answers: &[Result<MarathonApp, MarathonError>]) -> String {
    let errors = || answers.iter().filter_map(|answer| answer.as_ref().err());
    let Some(first) = errors().next() else { return String::new() };
    if errors().all(|error| error == first) && ids.len() > 1 {
        return format!("no app can be read: {first}");
    }
    let each = ids.iter().zip(errors()).map(|(id, error)| format!("app {id}: {error}"));
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
