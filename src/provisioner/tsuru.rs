//! Prometheus instances as apps of Tsuru.
//!
//! ```text
//! for each replica:  app ─► variables (no restart) ─► deploy ─► mark as deployed ─► wait until ready
//! ```
//!
//! An app of a configured image runs each replica; what it is to do stands in its
//! environment ([`super::config_file`], `deploy/tsuru/prometheus`). Each step
//! can be repeated: which variables are set, and which are deployed, stands in
//! variables of the app itself, so that whoever comes after us goes on where we
//! were cut, and restarts nothing that is as it should be.
//!
//! Apps are ours by their tags. One of the same name without them is left alone.

mod api;
mod desired_app;
mod error;
mod in_flight_creations;
mod policy;
mod replica_watcher;
mod state;
mod stream;
mod wire;

pub use policy::TsuruPolicy;

use super::{DesiredInstance, Failure, Provisioner};
use crate::{
    domain::{
        InstanceId,
        prometheus::{MOST_REPLICAS, Replica, ReplicaState},
    },
    tls::ClientConfig,
};
use api::{Api, Created};
use desired_app::{DEPLOYED, DesiredApp, FINGERPRINT};
use error::ApiError;
use futures_util::future::LocalBoxFuture;
use in_flight_creations::InFlightCreations;
use replica_watcher::{ReplicaApp, ReplicaProbe, ReplicaWatcher};
use secrecy::SecretString;
use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use wire::AppInfo;

/// Where Tsuru is, and what it is told.
#[derive(Clone, Debug)]
pub struct TsuruSettings {
    /// Its API, without a slash at the end.
    pub api_url: String,
    /// Who we are to it.
    pub token: SecretString,
    /// The image of `deploy/tsuru/prometheus`.
    pub image: String,
    /// What the names of our apps begin with.
    pub app_prefix: String,
    /// Pool of the apps; empty: Tsuru's choice.
    pub pool: String,
    /// ReplicaPlan of the apps; empty: Tsuru's choice.
    pub plan: String,
    /// ReplicaPlan of apps that keep samples in memory.
    pub tmpfs_plan: Option<String>,
    /// Router of the apps; empty: Tsuru's choice.
    pub router: String,
    /// Platform of the apps; images need none.
    pub platform: String,
    /// The team that the apps belong to.
    pub team: Team,
    /// How apps are asked whose address has no scheme.
    pub scheme: String,
    /// Where samples are kept within a unit.
    pub storage_path: String,
    /// For calls that are answered at once.
    pub timeout: Duration,
    /// For deploys, and other calls that take their time.
    pub deploy_timeout: Duration,
    /// How long a replica may take until it is ready.
    pub ready_timeout: Duration,
    /// Pause between two looks at an app.
    pub observe_interval: Duration,
}

/// Which team an app belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Team {
    /// The one that asked for the instance.
    FromRequest,
    /// This one.
    Fixed(String),
}

/// Pause between two questions whether something has happened.
const PAUSE: Duration = Duration::from_secs(1);

/// Makes apps on Tsuru.
#[derive(Debug)]
pub struct TsuruProvisioner {
    api: Api,
    settings: TsuruSettings,
    probe: ReplicaProbe,
    in_flight_creations: InFlightCreations,
    watches: RefCell<HashMap<InstanceId, ReplicaWatcher>>,
}

impl TsuruProvisioner {
    /// A provisioner that reaches Tsuru, and the apps, with `tls`.
    pub fn new(settings: TsuruSettings, tls: Arc<ClientConfig>) -> Self {
        let api = Api {
            url: settings.api_url.clone(),
            token: settings.token.clone(),
            tls,
            timeout: settings.timeout,
            deploy_timeout: settings.deploy_timeout,
        };
        let probe = ReplicaProbe::new(&api, &settings);
        let (in_flight_creations, watches) = (InFlightCreations::default(), RefCell::default());
        Self { api, settings, probe, in_flight_creations, watches }
    }

    async fn apply(&self, desired: &DesiredInstance) -> Result<Vec<Replica>, Failure> {
        let id = &desired.instance_id;
        self.watches.borrow_mut().remove(id);
        let (mut replicas, mut apps) = (Vec::new(), Vec::new());
        let watch = |apps, replicas| {
            let interval = self.settings.observe_interval;
            let watch = ReplicaWatcher::start(self.probe.clone(), apps, replicas, interval);
            self.watches.borrow_mut().insert(id.clone(), watch);
        };
        // One after the other, so that of several there is always one that answers.
        for number in 0..desired.spec.replicas {
            let order = desired_app::build(&self.settings, desired, number)?;
            self.make(id, &order).await?;
            let app = ReplicaApp { number, app: order.app.name, password: order.password };
            apps.push(app.clone());
            match self.ready(&app).await {
                Ok(replica) => replicas.push(replica),
                Err(failure) => {
                    // It may be an instance that was ready before, which goes on.
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

    /// An app with its variables, deployed.
    async fn make(&self, id: &InstanceId, order: &DesiredApp) -> Result<(), ApiError> {
        let name = &order.app.name;
        self.in_flight_creations.finished(name).await;
        let (mut set, mut deployed) = (None, None);
        if self.is_there(id, name).await? {
            for variable in self.api.settings(name, &[FINGERPRINT, DEPLOYED]).await? {
                match &*variable.name {
                    FINGERPRINT => set = Some(variable.value),
                    DEPLOYED => deployed = Some(variable.value),
                    _ => {}
                }
            }
        } else if self.in_flight_creations.create(&self.api, &order.app).await? == Created::Before
            && !self.is_there(id, name).await?
        {
            return Err(ApiError::Gone(name.clone()));
        }
        let fingerprint = Some(&order.fingerprint);
        if deployed.as_ref() == fingerprint {
            return Ok(());
        }
        if set.as_ref() != fingerprint {
            // The mark of the last deploy is not among them, and goes.
            self.api.set(name, &order.settings, true).await?;
            // An answer that was cut between two lines looks whole.
            let now = self.api.settings(name, &[FINGERPRINT]).await?;
            if now.first().map(|variable| &variable.value) != fingerprint {
                return Err(ApiError::Cut);
            }
        }
        self.api.deploy(name, &self.settings.image).await?;
        let mark = desired_app::public(DEPLOYED, order.fingerprint.clone());
        self.api.set(name, &[mark], false).await
    }

    /// Whether there is such an app, and it is this instance's.
    async fn is_there(&self, id: &InstanceId, name: &str) -> Result<bool, ApiError> {
        match self.api.app(name).await? {
            None => Ok(false),
            Some(app) if is_ours(id, &app) => Ok(true),
            Some(_) => Err(ApiError::Foreign(name.to_owned())),
        }
    }

    /// Waits for a replica that was deployed.
    async fn ready(&self, app: &ReplicaApp) -> Result<Replica, Failure> {
        let deadline = Instant::now() + self.settings.ready_timeout;
        loop {
            // While Tsuru does not answer there is still time.
            let problem = match self.probe.look(app).await {
                Ok(replica) if replica.state == ReplicaState::Ready => return Ok(replica),
                Ok(replica) => replica.problem,
                Err(error) if error.may_pass() => error.to_string(),
                Err(error) => return Err(error.into()),
            };
            if Instant::now() >= deadline {
                let limit = humantime::format_duration(self.settings.ready_timeout);
                let reason = format!("app {} was not ready within {limit}: {problem}", app.app);
                return Err(Failure::transient(reason));
            }
            sleep(PAUSE).await;
        }
    }

    async fn remove(&self, id: &InstanceId) -> Result<(), Failure> {
        self.watches.borrow_mut().remove(id);
        // Each there may be: nobody knows how far an earlier try has come.
        for number in 0..MOST_REPLICAS {
            self.remove_replica(id, number).await?;
        }
        Ok(())
    }

    async fn remove_replica(&self, id: &InstanceId, number: u8) -> Result<(), ApiError> {
        let name = desired_app::app_name(&self.settings.app_prefix, id, number);
        self.in_flight_creations.finished(&name).await;
        let deadline = Instant::now() + self.settings.deploy_timeout;
        let mut is_deleted = false;
        loop {
            match self.api.app(&name).await? {
                Some(app) if is_ours(id, &app) => {}
                // Somebody else's is not what we are to remove.
                _ => return Ok(()),
            }
            if !is_deleted {
                is_deleted = true;
                self.api.delete(&name).await?;
                continue;
            }
            if Instant::now() >= deadline {
                return Err(ApiError::Timeout(self.settings.deploy_timeout));
            }
            sleep(PAUSE).await;
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
        let watches = self.watches.borrow();
        watches.iter().map(|(id, watch)| (id.clone(), watch.replicas())).collect()
    }

    /// Apps go on without us.
    fn stop(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async { self.watches.borrow_mut().clear() })
    }
}

fn is_ours(id: &InstanceId, app: &AppInfo) -> bool {
    desired_app::tags(id).iter().all(|tag| app.tags.contains(tag))
}

#[cfg(test)]
pub(super) mod testing;
