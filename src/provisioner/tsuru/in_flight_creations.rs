//! Creations of apps that are in progress.
//!
//! A creation is never cancelled: a request that Tsuru has accepted may create the app after a
//! later operation has looked for it, and nothing would remove the app. So the request runs in its
//! own task, and the next operation on the app waits for its end.

use crate::tsuru::{Created, NewApp, TsuruApiError, TsuruClient};
use std::sync::{Arc, Weak};
use std::{cell::RefCell, collections::HashMap, rc::Rc};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// One lock per app that is being created.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlightCreations(Rc<RefCell<HashMap<String, Weak<Mutex<()>>>>>);

impl InFlightCreations {
    /// Waits for a creation of this app that is in progress.
    pub(super) async fn wait(&self, app: &str) {
        drop(self.lock(app).await);
    }

    /// Creates the app, even if this future is dropped. Requires a `LocalSet`.
    pub(super) async fn create(
        &self,
        client: &TsuruClient,
        app: &NewApp,
    ) -> Result<Created, TsuruApiError> {
        let (own, client, app) = (self.clone(), client.clone(), app.clone());
        let creation = tokio::task::spawn_local(async move {
            let _lock = own.lock(&app.name).await;
            client.create(&app).await
        });
        creation.await.unwrap_or(Err(TsuruApiError::Truncated))
    }

    async fn lock(&self, app: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.borrow_mut();
            locks.retain(|_, lock| lock.strong_count() > 0);
            let known = locks.get(app).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::default();
                locks.insert(app.to_owned(), Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }
}
