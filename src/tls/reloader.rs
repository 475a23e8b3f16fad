//! Reloads certificates when their files change or when triggered.
//!
//! Files are polled rather than watched, because polling detects changes that notifications miss,
//! such as a replaced symbolic link of a config map. A certificate and its key are two files that
//! are not replaced at the same time, so a change is applied only when two checks in a row find the
//! same content.

use super::{Pem, TlsError};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Fingerprints of the files.
type Fingerprints = Vec<Option<Result<Vec<u8>, TlsError>>>;

type Apply = Arc<dyn Fn() -> Result<(), TlsError> + Send + Sync>;

/// Reloads one set of certificates; clones share the trigger.
#[derive(Clone)]
pub struct Reloader {
    section: &'static str,
    pems: Vec<Pem>,
    first: Fingerprints,
    apply: Apply,
    reload: Arc<Notify>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("section", &self.section).finish_non_exhaustive()
    }
}

impl Reloader {
    pub(super) fn fingerprints(pems: &[Pem]) -> Fingerprints {
        pems.iter().map(Pem::fingerprint).collect()
    }

    pub(super) fn new(
        section: &'static str,
        pems: Vec<Pem>,
        first: Fingerprints,
        apply: impl Fn() -> Result<(), TlsError> + Send + Sync + 'static,
    ) -> Self {
        Self { section, pems, first, apply: Arc::new(apply), reload: Arc::default() }
    }

    /// Reloads the certificates now, even if they have not changed.
    pub fn trigger(&self) {
        self.reload.notify_one();
    }

    /// Checks the files until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.watch()).await;
    }

    async fn watch(&self) {
        let mut ticks = interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut seen, mut tried) = (self.first.clone(), self.first.clone());
        loop {
            let triggered = tokio::select! {
                _ = ticks.tick() => false,
                () = self.reload.notified() => true,
            };
            let pems = self.pems.clone();
            // The task fails only when the runtime shuts down.
            let Ok(found) = spawn_blocking(move || Self::fingerprints(&pems)).await else { return };
            let is_stable = found == seen;
            seen.clone_from(&found);
            if !triggered && (found == tried || !is_stable) {
                continue;
            }
            tried = found;
            let apply = Arc::clone(&self.apply);
            let section = self.section;
            match spawn_blocking(move || apply()).await {
                Err(_) => return,
                Ok(Ok(())) => tracing::info!(section, "certificates reloaded"),
                Ok(Err(error)) => {
                    tracing::error!(section, %error, "certificate reload failed; keeping the previous ones");
                }
            }
        }
    }
}
