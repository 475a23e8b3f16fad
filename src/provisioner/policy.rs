//! What every provisioner asks before anything is operations_changed.
//!
//! A Prometheus evaluates the rules of its user and posts alerts where its user
//! says, from inside the platform. So rules are checked by the program that
//! reads them later, and an address that only the inside has is refused unless
//! the operator names it. A name is looked up once, now: whoever owns it can
//! lead it elsewhere afterwards, which only the platform's network rules prevent.

mod rules;

use crate::domain::{
    BindingError,
    prometheus::{AlertmanagerUrl, Allowed, ProvisionPolicy, Refusal, Spec, is_public},
};
use futures_util::future::LocalBoxFuture;
use rules::Promtool;
use std::{collections::BTreeSet, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};

/// The longest look-up of a name.
const LOOKUP: Duration = Duration::from_secs(5);

/// Look-ups of Alertmanagers' names at once. Each blocks a thread, also when no request waits for it
/// any more.
pub const ALERTMANAGER_LOOKUPS: usize = 8;

/// What the operator has set.
#[derive(Clone, Debug)]
pub struct PolicySettings {
    /// The program that checks rules.
    pub promtool: PathBuf,
    /// Inside addresses to which alerts may go.
    pub alertmanager_allow: Vec<Allowed>,
    /// Names of the paths to which plans may copy samples.
    pub remote_writes: BTreeSet<String>,
    /// A runtime that serves no requests: a look-up blocks one of its threads.
    pub elsewhere: Handle,
}

/// Checks what has nothing to do with where an instance is made; the
/// provisioner's own policy has the last word.
#[derive(Debug)]
pub struct CommonPolicy {
    own: Box<dyn ProvisionPolicy>,
    promtool: Promtool,
    lookups: Arc<Semaphore>,
    settings: PolicySettings,
}

impl CommonPolicy {
    /// Asked before `own`.
    pub fn new(own: Box<dyn ProvisionPolicy>, settings: PolicySettings) -> Self {
        let promtool = Promtool::new(settings.promtool.clone());
        let lookups = Arc::new(Semaphore::new(ALERTMANAGER_LOOKUPS));
        Self { own, promtool, lookups, settings }
    }

    fn remote_write(&self, name: &str) -> Result<(), Refusal> {
        if self.settings.remote_writes.contains(name) {
            return Ok(());
        }
        Err(Refusal::NoRoom(format!(
            "the plan copies samples to {name}, which prometheus.remote_writes does not have; ask the operator"
        )))
    }

    async fn alertmanager(&self, alertmanager: &AlertmanagerUrl) -> Result<(), Refusal> {
        let addresses = match (alertmanager.address(), alertmanager.name()) {
            (Some(address), _) => vec![address],
            (None, Some(name))
                if self.settings.alertmanager_allow.iter().any(|it| it.names(name)) =>
            {
                return Ok(());
            }
            (None, Some(name)) => self.lookup(name).await?,
            (None, None) => return Err(unresolved()),
        };
        let may_be_asked = |address: &IpAddr| {
            is_public(*address)
                || self.settings.alertmanager_allow.iter().any(|it| it.contains(*address))
        };
        if addresses.iter().all(may_be_asked) {
            return Ok(());
        }
        Err(wrong(
            "alertmanager_url",
            "leads to an address inside the platform; ask the operator to name it in prometheus.alertmanager_allow",
        ))
    }

    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, Refusal> {
        let turn = timeout(LOOKUP, Arc::clone(&self.lookups).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(not_looked_up()) };
        let name = name.to_owned();
        let lookup = async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            drop(turn);
            found.map(|addresses| addresses.map(|it| it.ip()).collect::<Vec<_>>())
        };
        match timeout(LOOKUP, self.settings.elsewhere.spawn(lookup)).await {
            Ok(Ok(Ok(addresses))) if !addresses.is_empty() => Ok(addresses),
            Ok(_) => Err(unresolved()),
            Err(_) => Err(not_looked_up()),
        }
    }
}

impl ProvisionPolicy for CommonPolicy {
    fn validate<'a>(
        &'a self,
        spec: &'a Spec,
        before: Option<&'a Spec>,
    ) -> LocalBoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            if let Some(name) = &spec.remote_write {
                self.remote_write(name)?;
            }
            if let Some(alertmanager) = &spec.alertmanager_url {
                self.alertmanager(alertmanager).await?;
            }
            let unchanged = before.is_some_and(|before| before.rules == spec.rules);
            if let (Some(rules), false) = (&spec.rules, unchanged) {
                self.promtool.check(rules).await?;
            }
            self.own.validate(spec, before).await
        })
    }

    fn capacity(&self) -> Option<u64> {
        self.own.capacity()
    }
}

fn unresolved() -> Refusal {
    wrong("alertmanager_url", "names a host that is not found")
}

fn not_looked_up() -> Refusal {
    wrong("alertmanager_url", "names a host that could not be looked up in time; try again later")
}

fn wrong(field: &str, problem: impl Into<String>) -> Refusal {
    Refusal::Parameter(BindingError { field: field.to_owned(), problem: problem.into() })
}

#[cfg(test)]
mod tests;
