//! Reloads the catalog, the route file, the certificates and the web configuration, on SIGHUP and for `POST /-/reload`.

use super::{
    components::Components,
    file_watcher::{FileWatcher, ReloadMetrics, SectionMetrics},
    service_manager::ServiceManager,
};
use crate::{
    broker::Broker,
    config::{Config, catalog},
    discovery::Reload,
    domain::BaseUrl,
    http::reload::ReloadOutcome,
    telemetry,
};
use futures_util::future::{BoxFuture, join_all};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{runtime::Handle, sync::Mutex, task::spawn_blocking, time::timeout};

/// Timeout for the outcomes of all files.
const TIMEOUT: Duration = Duration::from_secs(10);

const ROUTES: &str = "routes.file";
const CATALOG: &str = "broker.catalog";

/// Reloads all files. Clones share its lock.
#[derive(Clone)]
pub struct Reloader(Arc<Inner>);

struct Inner {
    broker: Broker,
    /// None for the built-in catalog, which does not change.
    catalog: Option<(PathBuf, SectionMetrics)>,
    base_url: BaseUrl,
    may_offer_prometheus: bool,
    routes: Reload,
    watchers: Vec<FileWatcher>,
    service_manager: ServiceManager,
    /// systemd expects the end of a reload before the start of the next one.
    running: Mutex<()>,
    runtime: Handle,
}

impl Reloader {
    pub(super) fn new(
        config: &Config,
        components: &Components,
        metrics: &ReloadMetrics,
        service_manager: ServiceManager,
    ) -> Self {
        let catalog = config.broker.catalog.clone();
        Self(Arc::new(Inner {
            broker: components.broker.clone(),
            catalog: catalog.map(|path| (path, metrics.of_section(CATALOG.to_owned()))),
            base_url: config.base_url.clone(),
            may_offer_prometheus: components.may_offer_prometheus,
            routes: components.discovery.reload.clone(),
            watchers: components.watchers.clone(),
            service_manager,
            running: Mutex::default(),
            runtime: Handle::current(),
        }))
    }

    /// Reads all files again, and returns the outcome of each section of the configuration that
    /// names files. What is invalid is logged, and its previous content remains active. `None`:
    /// the program stops.
    pub async fn reload(&self) -> Option<Vec<ReloadOutcome>> {
        let inner = Arc::clone(&self.0);
        // It ends even if a client disconnects, so that systemd is notified.
        let reload = async move {
            let _running = inner.running.lock().await;
            inner.service_manager.reloading();
            let outcomes = inner.reload_all().await;
            let failed = failed_sections(&outcomes);
            // Each failure is logged with its reason.
            match failed.is_empty() {
                true => tracing::info!("reload succeeded"),
                false => tracing::error!(sections = failed, "reload failed"),
            }
            inner.service_manager.reloaded(&failed);
            outcomes
        };
        self.0.runtime.spawn(reload).await.ok()
    }
}

/// The sections that failed, separated by commas.
fn failed_sections(outcomes: &[ReloadOutcome]) -> String {
    let failed = outcomes.iter().filter(|it| it.result.is_err()).map(|it| &*it.section);
    failed.collect::<Vec<_>>().join(", ")
}

async fn in_time(reload: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let late = || format!("no outcome within {} s; the log will have it", TIMEOUT.as_secs());
    timeout(TIMEOUT, reload).await.unwrap_or_else(|_| Err(late()))
}

impl Inner {
    async fn reload_all(self: &Arc<Self>) -> Vec<ReloadOutcome> {
        let mut reloads: Vec<BoxFuture<'_, ReloadOutcome>> = Vec::new();
        for watcher in &self.watchers {
            reloads.push(Box::pin(async {
                let result = in_time(watcher.reload()).await;
                // A section without files has nothing that could be invalid.
                ReloadOutcome {
                    section: watcher.section().to_owned(),
                    files: watcher.paths(),
                    result,
                }
            }));
        }
        if let Some((path, reload)) = self.routes.file() {
            reloads.push(Box::pin(async {
                let (section, files) = (ROUTES.to_owned(), vec![path.to_owned()]);
                ReloadOutcome { section, files, result: in_time(reload).await }
            }));
        }
        if let Some((path, metrics)) = &self.catalog {
            reloads.push(Box::pin(async {
                let (section, files) = (CATALOG.to_owned(), vec![path.clone()]);
                let result = in_time(self.reload_catalog(path, metrics)).await;
                ReloadOutcome { section, files, result }
            }));
        }
        let outcomes = join_all(reloads).await;
        outcomes.into_iter().filter(|it| !it.files.is_empty()).collect()
    }

    async fn reload_catalog(
        self: &Arc<Self>,
        path: &Path,
        metrics: &SectionMetrics,
    ) -> Result<(), String> {
        let inner = Arc::clone(self);
        let read = path.to_owned();
        let reloaded = spawn_blocking(move || inner.replace_catalog(&read)).await;
        let reloaded = reloaded.unwrap_or_else(|_| Err("the program stops".to_owned()));
        metrics.count(reloaded.is_ok());
        let path = path.display();
        match &reloaded {
            Ok(()) => tracing::info!(%path, "catalog reloaded"),
            Err(error) => {
                tracing::error!(%path, error, "catalog not reloaded; keeping the previous one");
            }
        }
        reloaded
    }

    fn replace_catalog(&self, path: &Path) -> Result<(), String> {
        let catalog =
            catalog::read(Some(path), &self.base_url).map_err(|error| telemetry::causes(&error))?;
        if catalog.offers_prometheus() && !self.may_offer_prometheus {
            return Err(
                "the first plans of Prometheus need a restart, which checks that no other \
                        Scrapebroker provisions with this database"
                    .to_owned(),
            );
        }
        self.broker.replace_catalog(catalog);
        Ok(())
    }
}
