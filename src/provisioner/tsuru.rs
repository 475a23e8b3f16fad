//! Prometheus instances as apps of Tsuru.
//!
//! ```text
//! for each replica:  create app ─► set variables (no restart) ─► deploy ─► store fingerprint ─► wait until ready
//! ```
//!
//! Each replica is an app with the configured image. Its configuration is in environment variables
//! of the app ([`super::config_file`], `deploy/tsuru/prometheus`). Each step can be repeated:
//! variables of the app contain the fingerprint of the current and of the deployed variables, so
//! that an interrupted operation is resumed, and an up-to-date app is not restarted.
//!
//! Tags mark the apps of Scrapebroker. An app with the same name and without the tags is never
//! changed.

mod desired_app;
mod failure;
mod in_flight_creations;
mod policy;
mod replica_watcher;
mod state;

pub use policy::TsuruPolicy;

use super::{DesiredInstance, Failure, Provisioner};
use crate::{
    domain::{
        InstanceId,
        prometheus::{MAX_REPLICAS, Replica, ReplicaState},
    },
    tls::ClientConfig,
    tsuru::{AppInfo, CallLimits, Created, TsuruApi, TsuruApiError, TsuruClient},
};
use desired_app::{DEPLOYED, DesiredApp, FINGERPRINT};
use futures_util::future::LocalBoxFuture;
use in_flight_creations::InFlightCreations;
use replica_watcher::{ReplicaApp, ReplicaProbe, ReplicaWatcher};
use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// Settings of the provisioner `tsuru`.
#[derive(Clone, Debug)]
pub struct TsuruSettings {
    /// The image of `deploy/tsuru/prometheus`.
    pub image: String,
    /// Prefix of the names of apps.
    pub app_prefix: String,
    /// Pool of the apps; empty: chosen by Tsuru.
    pub pool: String,
    /// Plan of the apps; empty: chosen by Tsuru.
    pub plan: String,
    /// Plan of apps with storage `tmpfs`.
    pub tmpfs_plan: Option<String>,
    /// Router of the apps; empty: chosen by Tsuru.
    pub router: String,
    /// Platform of the apps; optional for images.
    pub platform: String,
    pub team: Team,
    /// Scheme for addresses of apps without one.
    pub scheme: String,
    /// Folder of the samples in a unit.
    pub storage_path: String,
    /// Whether the samples in it survive a restart of an app.
    pub storage_is_kept: bool,
    /// Timeout of short API calls.
    pub timeout: Duration,
    /// Timeout of deploys and other long API calls.
    pub deploy_timeout: Duration,
    /// Timeout until a deployed replica is ready.
    pub ready_timeout: Duration,
    /// Interval at which the state of an app is polled.
    pub observe_interval: Duration,
}

/// The team that owns the apps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Team {
    /// The team of the service instance.
    FromRequest,
    Fixed(String),
}

/// Maximum size of a response of Tsuru, in bytes; deploy logs are the longest.
const MAX_RESPONSE_SIZE: u64 = 8 << 20;
/// Polling interval while an operation waits for Tsuru.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Runs Prometheus servers as apps of Tsuru.
#[derive(Debug)]
pub struct TsuruProvisioner {
    client: TsuruClient,
    settings: TsuruSettings,
    probe: ReplicaProbe,
    in_flight_creations: InFlightCreations,
    watchers: RefCell<HashMap<InstanceId, ReplicaWatcher>>,
}

impl TsuruProvisioner {
    /// `tls` is used for connections to the apps. Must be called on the thread that uses it.
    pub fn new(settings: TsuruSettings, api: &TsuruApi, tls: Arc<ClientConfig>) -> Self {
        let client = api.client(CallLimits {
            timeout: settings.timeout,
            stream_timeout: settings.deploy_timeout,
            body_bytes: MAX_RESPONSE_SIZE,
        });
        let probe = ReplicaProbe::new(client.clone(), tls, &settings);
        let (in_flight_creations, watchers) = (InFlightCreations::default(), RefCell::default());
        Self { client, settings, probe, in_flight_creations, watchers }
    }

    async fn apply(&self, desired: &DesiredInstance) -> Result<Vec<Replica>, Failure> {
        let id = &desired.instance_id;
        self.watchers.borrow_mut().remove(id);
        let (mut replicas, mut apps) = (Vec::new(), Vec::new());
        let watch = |apps, replicas| {
            let interval = self.settings.observe_interval;
            let watcher = ReplicaWatcher::start(self.probe.clone(), apps, replicas, interval);
            self.watchers.borrow_mut().insert(id.clone(), watcher);
        };
        // One replica after the other, so that one of several always answers queries.
        for number in 0..desired.spec.replicas {
            let desired_app = desired_app::build(&self.settings, desired, number)?;
            self.create_and_deploy(id, &desired_app).await?;
            let app =
                ReplicaApp { number, app: desired_app.app.name, password: desired_app.password };
            apps.push(app.clone());
            match self.wait_until_ready(&app).await {
                Ok(replica) => replicas.push(replica),
                Err(failure) => {
                    // A replica that was ready before continues to run, so it is still watched.
                    replicas.push(state::starting(number, &failure.reason));
                    watch(apps, replicas);
                    return Err(failure);
                }
            }
        }
        for number in desired_app::surplus(desired.spec.replicas) {
            self.remove_replica(id, number).await?;
        }
        watch(apps, replicas.clone());
        Ok(replicas)
    }

    /// Creates the app if it is missing, sets its variables and deploys it, as far as that is
    /// necessary.
    async fn create_and_deploy(
        &self,
        id: &InstanceId,
        desired_app: &DesiredApp,
    ) -> Result<(), Failure> {
        let name = &desired_app.app.name;
        self.in_flight_creations.wait(name).await;
        let mut known = HashMap::new();
        if self.exists(id, name).await? {
            known = self.client.variables(name, &[FINGERPRINT, DEPLOYED]).await?;
        } else if self.in_flight_creations.create(&self.client, &desired_app.app).await?
            == Created::AlreadyExists
            && !self.exists(id, name).await?
        {
            return Err(TsuruApiError::Gone(name.clone()).into());
        }
        let fingerprint = Some(&desired_app.fingerprint);
        if known.get(DEPLOYED) == fingerprint {
            return Ok(());
        }
        if known.get(FINGERPRINT) != fingerprint {
            // This removes the fingerprint of the last deploy.
            self.client.set(name, &desired_app.variables, true).await?;
            // A response that was truncated between two lines looks complete.
            let now = self.client.variables(name, &[FINGERPRINT]).await?;
            if now.get(FINGERPRINT) != fingerprint {
                return Err(TsuruApiError::Truncated.into());
            }
        }
        self.client.deploy(name, &self.settings.image).await?;
        let fingerprint = desired_app::public(DEPLOYED, desired_app.fingerprint.clone());
        Ok(self.client.set(name, &[fingerprint], false).await?)
    }

    /// Whether the app exists. Fails if it belongs to something else.
    async fn exists(&self, id: &InstanceId, name: &str) -> Result<bool, Failure> {
        match self.client.app(name).await? {
            None => Ok(false),
            Some(app) if belongs_to(id, &app) => Ok(true),
            Some(_) => Err(failure::foreign(name)),
        }
    }

    /// Waits until a deployed replica is ready.
    async fn wait_until_ready(&self, app: &ReplicaApp) -> Result<Replica, Failure> {
        let deadline = Instant::now() + self.settings.ready_timeout;
        loop {
            // Transient errors of Tsuru are retried until the timeout.
            let problem = match self.probe.probe(app).await {
                Ok(replica) if replica.state == ReplicaState::Ready => return Ok(replica),
                Ok(replica) => replica.problem,
                Err(error) if error.is_transient() => error.to_string(),
                Err(error) => return Err(error.into()),
            };
            if Instant::now() >= deadline {
                let limit = humantime::format_duration(self.settings.ready_timeout);
                let reason = format!("app {} was not ready within {limit}: {problem}", app.app);
                return Err(Failure::transient(reason));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn remove(&self, id: &InstanceId) -> Result<(), Failure> {
        self.watchers.borrow_mut().remove(id);
        // All possible replicas, because an interrupted operation may have created any of them.
        for number in 0..MAX_REPLICAS {
            self.remove_replica(id, number).await?;
        }
        Ok(())
    }

    async fn remove_replica(&self, id: &InstanceId, number: u8) -> Result<(), TsuruApiError> {
        let name = desired_app::app_name(&self.settings.app_prefix, id, number);
        self.in_flight_creations.wait(&name).await;
        let deadline = Instant::now() + self.settings.deploy_timeout;
        let mut is_deleted = false;
        loop {
            match self.client.app(&name).await? {
                Some(app) if belongs_to(id, &app) => {}
                // A foreign app is not removed.
                _ => return Ok(()),
            }
            if !is_deleted {
                is_deleted = true;
                self.client.delete(&name).await?;
                continue;
            }
            if Instant::now() >= deadline {
                return Err(TsuruApiError::Timeout(self.settings.deploy_timeout));
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

impl Provisioner for TsuruProvisioner {
    fn apply<'a>(
        &'a self,
        desired: &'a DesiredInstance,
    ) -> LocalBoxFuture<'a, Result<Vec<Replica>, Failure>> {
        Box::pin(self.apply(desired))
    }

    fn remove<'a>(&'a self, id: &'a InstanceId) -> LocalBoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.remove(id))
    }

    fn observe(&self) -> HashMap<InstanceId, Vec<Replica>> {
        let watchers = self.watchers.borrow();
        watchers.iter().map(|(id, watcher)| (id.clone(), watcher.replicas())).collect()
    }

    /// Apps continue to run without Scrapebroker.
    fn stop(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async { self.watchers.borrow_mut().clear() })
    }
}

fn belongs_to(id: &InstanceId, app: &AppInfo) -> bool {
    desired_app::tags(id).iter().all(|tag| app.tags.contains(tag))
}

#[cfg(test)]
pub(super) mod testing;
