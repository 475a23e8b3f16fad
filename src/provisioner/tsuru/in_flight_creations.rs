//! Apps that are being made right now.
//!
//! Whoever waits for an app to be made may be dropped, but a request that Tsuru
//! has begun to carry out cannot be called back: the app would appear after it
//! was looked for, and be nobody's. So such a request goes on by itself, and
//! who comes next waits for its end.

use super::{
    api::{Api, Created, NewApp},
    error::ApiError,
};
use std::sync::{Arc, Weak};
use std::{cell::RefCell, collections::HashMap, rc::Rc};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// One lock for each app that is being made.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlightCreations(Rc<RefCell<HashMap<String, Weak<Mutex<()>>>>>);

impl InFlightCreations {
    /// Resolves when nobody makes this app.
    pub(super) async fn finished(&self, app: &str) {
        drop(self.lock(app).await);
    }

    /// Makes it, also when nobody waits for that any more. Needs a `LocalSet`.
    pub(super) async fn create(&self, api: &Api, app: &NewApp) -> Result<Created, ApiError> {
        let (own, api, app) = (self.clone(), api.clone(), app.clone());
        let creation = tokio::task::spawn_local(async move {
            let _lock = own.lock(&app.name).await;
            api.create(&app).await
        });
        creation.await.unwrap_or(Err(ApiError::Cut))
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
