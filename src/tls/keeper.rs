//! Reads certificates again when their files change, or when told to.
//!
//! Files are looked at rather than watched: a look sees what notifications
//! miss, such as a config map's exchanged link. A certificate and its key are
//! two files, and nobody exchanges both at once; so a change counts when two
//! looks in a row found the same.

use super::{Pem, TlsError};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What was found in the files.
type Look = Vec<Option<Result<Vec<u8>, TlsError>>>;

type Apply = Arc<dyn Fn() -> Result<(), TlsError> + Send + Sync>;

/// Keeps one set of certificates current; clones are the same one.
#[derive(Clone)]
pub struct Keeper {
    section: &'static str,
    pems: Vec<Pem>,
    first: Look,
    apply: Apply,
    reload: Arc<Notify>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("section", &self.section).finish_non_exhaustive()
    }
}

impl Keeper {
    pub(super) fn look(pems: &[Pem]) -> Look {
        pems.iter().map(Pem::fingerprint).collect()
    }

    pub(super) fn new(
        section: &'static str,
        pems: Vec<Pem>,
        first: Look,
        apply: impl Fn() -> Result<(), TlsError> + Send + Sync + 'static,
    ) -> Self {
        Self { section, pems, first, apply: Arc::new(apply), reload: Arc::default() }
    }

    /// Asks for the files to be read again now, changed or not.
    pub fn trigger(&self) {
        self.reload.notify_one();
    }

    /// Looks after the files until `shutdown`.
    pub async fn keep_current(self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.watch()).await;
    }

    async fn watch(&self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut seen, mut tried) = (self.first.clone(), self.first.clone());
        loop {
            let asked = tokio::select! {
                _ = ticks.tick() => false,
                () = self.reload.notified() => true,
            };
            let pems = self.pems.clone();
            // An error of the task itself: the runtime is going away.
            let Ok(found) = spawn_blocking(move || Self::look(&pems)).await else { return };
            let settled = found == seen;
            seen.clone_from(&found);
            if !asked && (found == tried || !settled) {
                continue;
            }
            tried = found;
            let apply = Arc::clone(&self.apply);
            let section = self.section;
            match spawn_blocking(move || apply()).await {
                Err(_) => return,
                Ok(Ok(())) => tracing::info!("the certificates of {section} were read again"),
                Ok(Err(error)) => {
                    tracing::error!("keeping the certificates of {section} from before: {error}");
                }
            }
        }
    }
}
