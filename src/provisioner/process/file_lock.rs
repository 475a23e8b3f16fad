//! Per-instance file lock.
//!
//! File operations run on another thread and continue when the future that waits for them is
//! dropped. So they hold the lock until they are finished, and check a flag that cancels them.

use crate::provisioner::Failure;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Lock for the files of one instance.
#[derive(Debug, Default)]
pub(super) struct FileLock(Arc<Mutex<()>>);

/// Guard of a [`FileLock`]. The lock is released when the guard is dropped and all its operations
/// have ended.
#[derive(Debug)]
pub(super) struct FileLockGuard {
    held: Arc<OwnedMutexGuard<()>>,
    is_cancelled: Arc<AtomicBool>,
}

/// Set when the result of a file operation is not needed any more.
#[derive(Clone, Debug, Default)]
pub(super) struct CancelFlag(Arc<AtomicBool>);

impl FileLock {
    pub(super) async fn lock(&self) -> FileLockGuard {
        let held = Arc::new(Arc::clone(&self.0).lock_owned().await);
        FileLockGuard { held, is_cancelled: Arc::default() }
    }
}

impl FileLockGuard {
    /// Runs `work` on a thread for blocking operations.
    pub(super) async fn run_blocking<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce(&CancelFlag) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (held, cancel) = (Arc::clone(&self.held), CancelFlag(Arc::clone(&self.is_cancelled)));
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&cancel);
            drop(held);
            done
        });
        let done = done.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|error| {
            tracing::error!(%error, what, "file operation failed");
            // Users must not see paths of the operator.
            Failure::transient(format!("the broker cannot {what}: {}", reason(&error)))
        })
    }
}

impl Drop for FileLockGuard {
    fn drop(&mut self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }
}

impl CancelFlag {
    /// Fails when the operation is cancelled.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::Interrupted.into()),
            false => Ok(()),
        }
    }
}

/// Description of an error without paths.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "no space is left".to_owned(),
        io::ErrorKind::Other => error.to_string(),
        kind => kind.to_string(),
    }
}
