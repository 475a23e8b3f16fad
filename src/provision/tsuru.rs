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

mod admission;
mod api;
mod creations;
mod error;
mod order;
mod state;
mod stream;
mod watch;
mod wire;

pub use admission::TsuruAdmission;

use super::{Failure, Provisioner, Wanted};
use crate::{
    domain::{
        InstanceId,
        prometheus::{MOST_REPLICAS, Replica, ReplicaState},
    },
    tls::ClientConfig,
};
use api::{Api, Created};
use creations::Creations;
use error::ApiError;
use futures_util::future::LocalBoxFuture;
use order::{DEPLOYED, FINGERPRINT, Order};
use secrecy::SecretString;
use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use watch::{Eye, Watch, Watched};
use wire::AppInfo;

/// Where Tsuru is, and what it is told.
#[derive(Clone, Debug)]
pub struct Settings {
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
    /// Plan of the apps; empty: Tsuru's choice.
    pub plan: String,
    /// Plan of apps that keep samples in memory.
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
pub struct Tsuru {
    api: Api,
    settings: Settings,
    eye: Eye,
    creations: Creations,
    watches: RefCell<HashMap<InstanceId, Watch>>,
}

impl Tsuru {
    /// A provisioner that reaches Tsuru, and the apps, with `tls`.
    pub fn new(settings: Settings, tls: Arc<ClientConfig>) -> Self {
        let api = Api {
            url: settings.api_url.clone(),
            token: settings.token.clone(),
            tls,
            timeout: settings.timeout,
            deploy_timeout: settings.deploy_timeout,
        };
        let eye = Eye::new(&api, &settings);
        let (creations, watches) = (Creations::default(), RefCell::default());
        Self { api, settings, eye, creations, watches }
    }

    async fn apply(&self, wanted: &Wanted) -> Result<Vec<Replica>, Failure> {
        let id = &wanted.instance_id;
        self.watches.borrow_mut().remove(id);
        let (mut replicas, mut apps) = (Vec::new(), Vec::new());
        let watch = |apps, replicas| {
            let interval = self.settings.observe_interval;
            let watch = Watch::start(self.eye.clone(), apps, replicas, interval);
            self.watches.borrow_mut().insert(id.clone(), watch);
        };
        // One after the other, so that of several there is always one that answers.
        for number in 0..wanted.spec.replicas {
            let order = order::order(&self.settings, wanted, number)?;
            self.make(id, &order).await?;
            let app = Watched { number, app: order.app.name, password: order.password };
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
        for number in order::surplus(wanted.spec.replicas) {
            self.remove_replica(id, number).await?;
        }
        watch(apps, replicas.clone());
        Ok(replicas)
    }

    /// An app with its variables, deployed.
    async fn make(&self, id: &InstanceId, order: &Order) -> Result<(), ApiError> {
        let name = &order.app.name;
        self.creations.finished(name).await;
        let (mut set, mut deployed) = (None, None);
        if self.is_there(id, name).await? {
            for variable in self.api.settings(name, &[FINGERPRINT, DEPLOYED]).await? {
                match &*variable.name {
                    FINGERPRINT => set = Some(variable.value),
                    DEPLOYED => deployed = Some(variable.value),
                    _ => {}
                }
            }
        } else if self.creations.create(&self.api, &order.app).await? == Created::Before
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
        let mark = order::public(DEPLOYED, order.fingerprint.clone());
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
    async fn ready(&self, app: &Watched) -> Result<Replica, Failure> {
        let deadline = Instant::now() + self.settings.ready_timeout;
        loop {
            // While Tsuru does not answer there is still time.
            let problem = match self.eye.look(app).await {
                Ok(replica) if replica.state == ReplicaState::Ready => return Ok(replica),
                Ok(replica) => replica.problem,
                Err(error) if error.may_pass() => error.to_string(),
                Err(error) => return Err(error.into()),
            };
            if Instant::now() >= deadline {
                let limit = humantime::format_duration(self.settings.ready_timeout);
                let reason = format!("app {} was not ready within {limit}: {problem}", app.app);
                return Err(Failure::passing(reason));
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
        let name = order::app_name(&self.settings.app_prefix, id, number);
        self.creations.finished(&name).await;
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

impl Provisioner for Tsuru {
    fn apply<'a>(
        &'a self,
        wanted: &'a Wanted,
    ) -> LocalBoxFuture<'a, Result<Vec<Replica>, Failure>> {
        Box::pin(self.apply(wanted))
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
    order::tags(id).iter().all(|tag| app.tags.contains(tag))
}

#[cfg(test)]
pub(super) mod testing;
