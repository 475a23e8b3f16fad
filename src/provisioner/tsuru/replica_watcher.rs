//! Polls the apps of an instance, so that their state can be read without waiting.

use super::{
    TsuruSettings,
    api::{self, Api, ProbeResult},
    error::{ApiError, shown},
    state,
    wire::AppInfo,
};
use crate::{domain::prometheus::Replica, provisioner::DesiredInstance};
use secrecy::SecretString;
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::task::JoinHandle;

/// The app of a replica.
#[derive(Clone, Debug)]
pub(super) struct ReplicaApp {
    pub(super) number: u8,
    pub(super) app: String,
    pub(super) password: SecretString,
}

/// The state of the replicas of an instance. Polling ends on drop.
#[derive(Debug)]
pub(super) struct ReplicaWatcher {
    replicas: Rc<RefCell<Vec<Replica>>>,
    task: JoinHandle<()>,
}

impl ReplicaWatcher {
    /// Polls every `interval`. Requires a `LocalSet`.
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
                    // The state stays unchanged while Tsuru does not answer.
                    let Ok(now) = probe.probe(app).await else { continue };
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

/// Determines the state of a replica.
#[derive(Clone, Debug)]
pub(super) struct ReplicaProbe {
    pub(super) api: Api,
    pub(super) scheme: String,
    /// Timeout of a readiness request.
    pub(super) limit: Duration,
}

impl ReplicaProbe {
    pub(super) fn new(api: &Api, settings: &TsuruSettings) -> Self {
        Self {
            api: api.clone(),
            scheme: settings.scheme.clone(),
            limit: settings.timeout.min(MAX_PROBE_TIMEOUT),
        }
    }

    pub(super) async fn probe(&self, watched: &ReplicaApp) -> Result<Replica, ApiError> {
        match self.api.app(&watched.app).await? {
            None => Ok(state::gone(watched.number)),
            // Tsuru could not determine the units.
            Some(app) if app.units.is_empty() && !app.error.is_empty() => {
                Err(ApiError::InStream(shown(&app.error)))
            }
            Some(app) => Ok(self.probe_app(watched, &app).await),
        }
    }

    async fn probe_app(&self, watched: &ReplicaApp, app: &AppInfo) -> Replica {
        let url = app.url(&self.scheme);
        let answer = match &*url {
            "" => ProbeResult::NoResponse("Tsuru reports no address of the app".to_owned()),
            url => {
                let user = DesiredInstance::WEB_USER;
                api::probe_ready(&self.api.tls, url, user, &watched.password, self.limit).await
            }
        };
        state::replica(watched.number, &url, app, &answer)
    }
}

/// Maximum timeout of a readiness request.
const MAX_PROBE_TIMEOUT: Duration = Duration::from_secs(5);
