//! The web configuration file: applies it, and reads it again when it or its certificates change.
//!
//! A change is applied only when two checks in a row find the same content, because a certificate
//! and its key are not replaced at the same time. If the new content is invalid, the previous
//! settings stay active.

use super::{StartError, certificates};
use crate::{
    config::{Config, WebFile},
    http::access::gate::Gate,
    telemetry::metrics::{CounterByLabel, register},
    tls::{Alpn, CurrentAcceptor, Pem, TlsError, WebTls},
};
use anyhow::bail;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

const CHECK_INTERVAL: Duration = Duration::from_secs(1);

const APPLIED: &str = "applied";
const FAILED: &str = "failed";

/// The settings of the file, which several listeners use. Clones share them.
#[derive(Clone)]
pub(super) struct WebConfig {
    pub(super) gate: Gate,
    tls: Option<WebTls>,
    /// The file, and what it and its certificates contained at the start.
    first: Option<(PathBuf, Contents)>,
    reload: Arc<Notify>,
    metrics: WebConfigMetrics,
}

#[derive(Clone)]
struct WebConfigMetrics {
    reloads: CounterByLabel,
    last_successful: Gauge,
}

/// Digests of the file and its certificates, to detect changes. Errors of reading are contents too.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    digest: Result<Vec<u8>, String>,
    pems: Vec<Option<Result<Vec<u8>, TlsError>>>,
}

impl WebConfig {
    /// `gate` has the settings of the file already.
    pub(super) fn open(
        config: &Config,
        gate: Gate,
        registry: &mut Registry,
    ) -> Result<Self, StartError> {
        let file = config.web_file.as_ref();
        // They are taken before the certificates are read, so that no change is missed.
        let contents = |file: &WebFile| Contents::of(Ok(file.digest.clone()), Some(file));
        let first = file.map(|file| (file.path.clone(), contents(file)));
        let tls = file.and_then(|file| Some((file.tls.as_ref()?, file.has_http2)));
        let tls = tls.map(|(tls, has_http2)| WebTls::open(tls, has_http2)).transpose();
        Ok(Self {
            gate,
            tls: tls.map_err(certificates::failure)?,
            first,
            reload: Arc::default(),
            metrics: WebConfigMetrics::register(registry),
        })
    }

    /// The acceptor of a listener, if the file enables TLS.
    pub(super) fn acceptor(&self, alpn: Alpn) -> Option<CurrentAcceptor> {
        self.tls.as_ref().map(|tls| tls.acceptor(alpn))
    }

    /// Reads the file again, even if it has not changed.
    pub(super) fn trigger(&self) {
        self.reload.notify_one();
    }

    /// Checks the files until `shutdown`.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        if let Some((path, contents)) = &self.first {
            shutdown.run_until_cancelled(self.watch(path, contents)).await;
        }
    }

    async fn watch(&self, path: &Path, first: &Contents) {
        let mut ticks = interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut seen, mut tried) = (first.clone(), first.clone());
        loop {
            let triggered = tokio::select! {
                _ = ticks.tick() => false,
                () = self.reload.notified() => true,
            };
            let watched = path.to_owned();
            // The task fails only when the runtime shuts down.
            let Ok((file, found)) = spawn_blocking(move || observe(&watched)).await else { return };
            let is_stable = found == seen;
            seen.clone_from(&found);
            if !triggered && (found == tried || !is_stable) {
                continue;
            }
            tried = found;
            let own = self.clone();
            let applied = spawn_blocking(move || file.and_then(|file| own.apply(&file))).await;
            let Ok(applied) = applied else { return };
            self.metrics.count(applied.is_ok());
            let path = path.display();
            match applied {
                Ok(()) => tracing::info!(%path, "web configuration applied"),
                Err(error) => {
                    tracing::error!(%path, %error, "web configuration not applied; keeping the previous one");
                }
            }
        }
    }

    /// Applies all of `file`, or nothing.
    fn apply(&self, file: &WebFile) -> anyhow::Result<()> {
        match (&self.tls, &file.tls) {
            (Some(tls), Some(settings)) => tls.replace(settings, file.has_http2)?,
            (None, None) => {}
            (Some(_), None) => bail!("tls_server_config: TLS cannot be disabled without a restart"),
            (None, Some(_)) => bail!("tls_server_config: TLS cannot be enabled without a restart"),
        }
        self.gate.replace(file.gate.clone());
        Ok(())
    }
}

/// Reads the file, and what it and its certificates contain.
fn observe(path: &Path) -> (anyhow::Result<WebFile>, Contents) {
    let digest = WebFile::digest(path).map_err(|error| error.to_string());
    let file = WebFile::read(path);
    let contents = Contents::of(digest, file.as_ref().ok());
    (file.map_err(anyhow::Error::from), contents)
}

impl Contents {
    fn of(digest: Result<Vec<u8>, String>, file: Option<&WebFile>) -> Self {
        let pems = file.into_iter().filter_map(|file| file.tls.as_ref()).flat_map(|tls| tls.pems());
        Self { digest, pems: pems.map(Pem::fingerprint).collect() }
    }
}

impl WebConfigMetrics {
    fn register(registry: &mut Registry) -> Self {
        let reloads = CounterByLabel::register(
            registry,
            "scrapebroker_web_config_reloads",
            "Times that the web configuration file was read again, by outcome",
            "outcome",
            [APPLIED, FAILED],
        );
        let last_successful = register(
            registry,
            "scrapebroker_web_config_last_reload_successful",
            "1 if the web configuration file was valid when it was read last, otherwise 0",
            Gauge::default(),
        );
        last_successful.set(1);
        Self { reloads, last_successful }
    }

    fn count(&self, is_applied: bool) {
        self.reloads.count(if is_applied { APPLIED } else { FAILED });
        self.last_successful.set(is_applied.into());
    }
}
