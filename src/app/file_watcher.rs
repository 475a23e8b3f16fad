//! Applies files again when they change or when a reload is requested.
//!
//! Files are polled rather than watched, because polling detects changes that notifications miss,
//! such as a replaced symbolic link of a config map. Several files that belong together, such as a
//! certificate and its key, are not replaced at the same time. So a change is applied only when two
//! checks in a row find the same content.

use crate::{telemetry::metrics::register, tls::CertificateFiles};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of queued requests of a reload.
const MAX_REQUESTS: usize = 16;

/// Digests of files, or why they cannot be read.
pub(super) type Contents = Vec<Result<Vec<u8>, String>>;

/// Files that are applied together.
pub(super) struct WatchedFiles {
    /// The section of the configuration that names the files, as in `tls`.
    pub(super) section: String,
    /// What was applied at the start.
    pub(super) first: Contents,
    /// The current files.
    pub(super) paths: Box<dyn Fn() -> Vec<PathBuf> + Send + Sync>,
    pub(super) contents: Box<dyn Fn() -> Contents + Send + Sync>,
    /// Applies the files and logs that. The error is one line, and then nothing has changed.
    pub(super) apply: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl WatchedFiles {
    pub(super) fn certificates(section: String, files: CertificateFiles) -> Self {
        let files = Arc::new(files);
        let (paths, contents) = (Arc::clone(&files), Arc::clone(&files));
        let applied = section.clone();
        Self {
            section,
            first: texts(files.first()),
            paths: Box::new(move || paths.paths()),
            contents: Box::new(move || texts(contents.fingerprints())),
            apply: Box::new(move || {
                files.apply().map_err(|error| error.to_string())?;
                tracing::info!(section = applied, "certificates reloaded");
                Ok(())
            }),
        }
    }
}

fn texts<E: ToString>(results: Vec<Result<Vec<u8>, E>>) -> Contents {
    results.into_iter().map(|it| it.map_err(|error| error.to_string())).collect()
}

/// Requests reloads of watched files. Clones share the watcher.
#[derive(Clone)]
pub(super) struct FileWatcher {
    files: Arc<WatchedFiles>,
    requests: mpsc::Sender<oneshot::Sender<Result<(), String>>>,
}

impl FileWatcher {
    /// Checks the files until `shutdown`.
    pub(super) fn start(
        files: WatchedFiles,
        metrics: &ReloadMetrics,
        loops: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Self {
        // Without files nothing can fail.
        let metrics =
            (!(files.paths)().is_empty()).then(|| metrics.of_section(files.section.clone()));
        let (requests, received) = mpsc::channel(MAX_REQUESTS);
        let files = Arc::new(files);
        let watching = watch(Arc::clone(&files), received, metrics);
        let shutdown = shutdown.clone();
        loops.spawn_local(async move {
            shutdown.run_until_cancelled(watching).await;
        });
        Self { files, requests }
    }

    pub(super) fn section(&self) -> &str {
        &self.files.section
    }

    /// Reads the files now, even if they have not changed.
    ///
    /// # Errors
    /// Returns why they were not applied, in one line. The log contains it too.
    pub(super) async fn reload(&self) -> Result<(), String> {
        let (sender, outcome) = oneshot::channel();
        let ended = || "the program stops".to_owned();
        self.requests.send(sender).await.map_err(|_| ended())?;
        outcome.await.unwrap_or_else(|_| Err(ended()))
    }

    /// The files that are read.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        (self.files.paths)()
    }
}

async fn watch(
    files: Arc<WatchedFiles>,
    mut requests: mpsc::Receiver<oneshot::Sender<Result<(), String>>>,
    metrics: Option<SectionMetrics>,
) {
    let mut ticks = interval(CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut seen, mut tried) = (files.first.clone(), files.first.clone());
    loop {
        let request = tokio::select! {
            _ = ticks.tick() => None,
            Some(request) = requests.recv() => Some(request),
        };
        let reading = Arc::clone(&files);
        // The task fails only when the runtime shuts down.
        let Ok(found) = spawn_blocking(move || (reading.contents)()).await else { return };
        let is_stable = found == seen;
        seen.clone_from(&found);
        if request.is_none() && (found == tried || !is_stable) {
            continue;
        }
        tried = found;
        let applying = Arc::clone(&files);
        let Ok(applied) = spawn_blocking(move || (applying.apply)()).await else { return };
        if let Err(error) = &applied {
            let section = &*files.section;
            tracing::error!(section, error, "files not reloaded; keeping the previous content");
        }
        if let Some(metrics) = &metrics {
            metrics.count(applied.is_ok());
        }
        if let Some(request) = request {
            // A client may have stopped waiting.
            let _ = request.send(applied);
        }
    }
}

const APPLIED: &str = "applied";
const FAILED: &str = "failed";

/// Metrics of all files that are reloaded.
#[derive(Clone, Default)]
pub(super) struct ReloadMetrics {
    reloads: Family<[(&'static str, String); 2], Counter>,
    last_successful: Family<[(&'static str, String); 1], Gauge>,
}

/// Metrics of the files of one section.
#[derive(Clone)]
pub(super) struct SectionMetrics {
    applied: Counter,
    failed: Counter,
    last_successful: Gauge,
}

impl ReloadMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            reloads: register(
                registry,
                "scrapebroker_file_reloads",
                "Times that files of a section of the configuration were read again, by outcome",
                Family::default(),
            ),
            last_successful: register(
                registry,
                "scrapebroker_file_last_reload_successful",
                "1 if the files of a section of the configuration were valid when they were read last, otherwise 0",
                Family::default(),
            ),
        }
    }

    /// The series of a section, which exist from then on.
    pub(super) fn of_section(&self, section: String) -> SectionMetrics {
        let reloads = |outcome: &str| {
            let labels = [("section", section.clone()), ("outcome", outcome.to_owned())];
            self.reloads.get_or_create(&labels).clone()
        };
        let (applied, failed) = (reloads(APPLIED), reloads(FAILED));
        let last_successful =
            self.last_successful.get_or_create(&[("section", section.clone())]).clone();
        last_successful.set(1);
        SectionMetrics { applied, failed, last_successful }
    }
}

impl SectionMetrics {
    pub(super) fn count(&self, is_applied: bool) {
        if is_applied { &self.applied } else { &self.failed }.inc();
        self.last_successful.set(is_applied.into());
    }
}

#[cfg(test)]
mod tests;
