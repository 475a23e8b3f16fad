//! One at a time works on the files of an instance.
//!
//! Work on files runs on another thread, and goes on there when the future that
//! waits for it is dropped. So it holds the turn until it is done, and is told
//! that nobody waits for it.

use crate::provisioner::Failure;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct FileLock(Arc<Mutex<()>>);

/// Ours, until it and all work that began with it has ended.
#[derive(Debug)]
pub(super) struct FileLockGuard {
    held: Arc<OwnedMutexGuard<()>>,
    is_over: Arc<AtomicBool>,
}

/// Tells long work that it may leave.
#[derive(Clone, Debug, Default)]
pub(super) struct CancelFlag(Arc<AtomicBool>);

impl FileLock {
    pub(super) async fn take(&self) -> FileLockGuard {
        let held = Arc::new(Arc::clone(&self.0).lock_owned().await);
        FileLockGuard { held, is_over: Arc::default() }
    }
}

impl FileLockGuard {
    /// Does `work` where waiting for a disk stops nobody.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce(&CancelFlag) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (held, cancel) = (Arc::clone(&self.held), CancelFlag(Arc::clone(&self.is_over)));
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&cancel);
            drop(held);
            done
        });
        let done = done.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|error| {
            tracing::error!(%error, "cannot {what}");
            // The operator's paths are none of the user's business.
            Failure::transient(format!("the broker cannot {what}: {}", reason(&error)))
        })
    }
}

impl Drop for FileLockGuard {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl CancelFlag {
    /// An error when nobody waits for the work any more.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::Interrupted.into()),
            false => Ok(()),
        }
    }
}

/// In words, without the paths that our own errors begin with.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "no space is left".to_owned(),
        io::ErrorKind::Other => error.to_string(),
        kind => kind.to_string(),
    }
}
