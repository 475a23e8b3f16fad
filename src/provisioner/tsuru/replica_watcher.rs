//! Looks after the apps of an instance, so that others can ask how it does
//! without waiting.

use super::{
    TsuruSettings,
    api::{self, Answer, Api},
    error::{ApiError, shown},
    state,
    wire::AppInfo,
};
use crate::{domain::prometheus::Replica, provisioner::DesiredInstance};
use secrecy::SecretString;
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::task::JoinHandle;

/// One of the apps of an instance.
#[derive(Clone, Debug)]
pub(super) struct ReplicaApp {
    pub(super) number: u8,
    pub(super) app: String,
    pub(super) password: SecretString,
}

/// What was last seen of an instance; nobody looks any more when it is dropped.
#[derive(Debug)]
pub(super) struct ReplicaWatcher {
    replicas: Rc<RefCell<Vec<Replica>>>,
    task: JoinHandle<()>,
}

impl ReplicaWatcher {
    /// Looks again every `interval`. Needs a `LocalSet`.
    pub(super) fn start(
        probe: ReplicaProbe,
        apps: Vec<ReplicaApp>,
        replicas: Vec<Replica>,
        interval: Duration,
    ) -> Self {
        let replicas = Rc::new(RefCell::new(replicas));
        let seen = Rc::clone(&replicas);
        let task = tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(interval).await;
                for app in &apps {
                    // While Tsuru does not answer nothing is known, which is no news.
                    let Ok(now) = probe.look(app).await else { continue };
                    let mut seen = seen.borrow_mut();
                    if let Some(replica) = seen.iter_mut().find(|it| it.number == now.number) {
                        *replica = now;
                    }
                }
            }
        });
        Self { replicas, task }
    }

    pub(super) fn replicas(&self) -> Vec<Replica> {
        self.replicas.borrow().clone()
    }
}

impl Drop for ReplicaWatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sees how a replica does.
#[derive(Clone, Debug)]
pub(super) struct ReplicaProbe {
    pub(super) api: Api,
    pub(super) scheme: String,
    /// How long a Prometheus may take to say that it is ready.
    pub(super) limit: Duration,
}

impl ReplicaProbe {
    pub(super) fn new(api: &Api, settings: &TsuruSettings) -> Self {
        Self {
            api: api.clone(),
            scheme: settings.scheme.clone(),
            limit: settings.timeout.min(LONGEST_ANSWER),
        }
    }

    pub(super) async fn look(&self, watched: &ReplicaApp) -> Result<Replica, ApiError> {
        match self.api.app(&watched.app).await? {
            None => Ok(state::gone(watched.number)),
            // Nothing is known of the units, which is no news of them.
            Some(app) if app.units.is_empty() && !app.error.is_empty() => {
                Err(ApiError::InStream(shown(&app.error)))
            }
            Some(app) => Ok(self.look_at(watched, &app).await),
        }
    }

    async fn look_at(&self, watched: &ReplicaApp, app: &AppInfo) -> Replica {
        let url = app.url(&self.scheme);
        let answer = match &*url {
            "" => Answer::Nothing("Tsuru names no address of it".to_owned()),
            url => {
                let user = DesiredInstance::WEB_USER;
                api::ask_ready(&self.api.tls, url, user, &watched.password, self.limit).await
            }
        };
        state::replica(watched.number, &url, app, &answer)
    }
}

/// Who is asked whether it is ready and needs longer than this, is not.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);
