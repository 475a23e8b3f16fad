//! Validation of instances that does not depend on the provisioner.
//!
//! Prometheus evaluates the rules of its user and sends alerts to a URL of its user, from inside
//! the platform. Therefore promtool checks the rules, and internal addresses are refused unless the
//! operator allows them. Names are resolved once. The owner of a name can point it to another
//! address later (DNS rebinding); only network rules of the platform prevent that.

mod rules;

use crate::{
    domain::{
        BindingError,
        prometheus::{AlertmanagerUrl, Allowed, ProvisionPolicy, Refusal, Spec, is_public},
    },
    net::Resolver,
};
use futures_util::future::LocalBoxFuture;
use rules::Promtool;
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Semaphore, time::timeout};

/// Timeout of a DNS lookup, and of waiting for one.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of concurrent DNS lookups of Alertmanagers. Each blocks a thread, even after its
/// request was cancelled.
pub const ALERTMANAGER_LOOKUPS: usize = 8;

#[derive(Clone, Debug)]
pub struct PolicySettings {
    /// Path of promtool, or a name that is looked up in `search`.
    pub promtool: PathBuf,
    /// Folders of `PATH`.
    pub search: Vec<PathBuf>,
    /// Internal addresses to which alerts may be sent.
    pub alertmanager_allow: Vec<Allowed>,
}

/// Validates what is common to all provisioners, then applies the policy of the provisioner.
#[derive(Debug)]
pub struct CommonPolicy {
    provisioner: Box<dyn ProvisionPolicy>,
    promtool: Promtool,
    lookups: Arc<Semaphore>,
    alertmanager_allow: Vec<Allowed>,
    remote_writes: BTreeSet<String>,
    resolver: Resolver,
}

impl CommonPolicy {
    /// `provisioner` is the policy of the provisioner, which is applied last. `remote_writes` are
    /// the names of the configured targets. The runtime of `resolver` must serve no requests.
    pub fn new(
        provisioner: Box<dyn ProvisionPolicy>,
        settings: PolicySettings,
        remote_writes: BTreeSet<String>,
        resolver: Resolver,
    ) -> Self {
        let PolicySettings { promtool, search, alertmanager_allow } = settings;
        let promtool = Promtool::new(promtool, &search);
        let lookups = Arc::new(Semaphore::new(ALERTMANAGER_LOOKUPS));
        Self { provisioner, promtool, lookups, alertmanager_allow, remote_writes, resolver }
    }

    fn remote_write(&self, name: &str) -> Result<(), Refusal> {
        if self.remote_writes.contains(name) {
            return Ok(());
        }
        Err(Refusal::Capacity(format!(
            "the plan copies samples to {name}, which prometheus.remote_writes does not have; ask the operator"
        )))
    }

    async fn alertmanager(&self, alertmanager: &AlertmanagerUrl) -> Result<(), Refusal> {
        let addresses = match (alertmanager.address(), alertmanager.name()) {
            (Some(address), _) => vec![address],
            (None, Some(name)) if self.alertmanager_allow.iter().any(|it| it.names(name)) => {
                return Ok(());
            }
            (None, Some(name)) => self.lookup(name).await?,
            (None, None) => return Err(unresolved()),
        };
        let is_allowed = |address: &IpAddr| {
            is_public(*address) || self.alertmanager_allow.iter().any(|it| it.contains(*address))
        };
        if addresses.iter().all(is_allowed) {
            return Ok(());
        }
        Err(refused(
            "alertmanager_url",
            "leads to an address inside the platform; ask the operator to name it in prometheus.alertmanager_allow",
        ))
    }

    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, Refusal> {
        let permit = timeout(LOOKUP_TIMEOUT, Arc::clone(&self.lookups).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(lookup_timed_out()) };
        let (name, resolver) = (name.to_owned(), self.resolver.clone());
        let lookup = tokio::spawn(async move {
            let found = resolver.addresses(&name, 0).await;
            drop(permit);
            found
        });
        match timeout(LOOKUP_TIMEOUT, lookup).await {
            Ok(Ok(Ok(found))) if !found.is_empty() => {
                Ok(found.iter().map(SocketAddr::ip).collect())
            }
            Ok(_) => Err(unresolved()),
            Err(_) => Err(lookup_timed_out()),
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
            self.provisioner.validate(spec, before).await
        })
    }

    fn capacity(&self) -> Option<u64> {
        self.provisioner.capacity()
    }
}

fn unresolved() -> Refusal {
    refused("alertmanager_url", "names a host that is not found")
}

fn lookup_timed_out() -> Refusal {
    refused("alertmanager_url", "names a host whose DNS lookup timed out; try again later")
}

fn refused(field: &str, problem: impl Into<String>) -> Refusal {
    Refusal::Parameter(BindingError { field: field.to_owned(), problem: problem.into() })
}

#[cfg(test)]
mod tests;
