//! The desired state of an instance, which a provisioner applies.

use crate::{
    domain::{
        BaseUrl, BasicAuth, InstanceId, InstanceNames, OrganizationGuid, ServiceInstance,
        SpaceGuid,
        prometheus::{Spec, StoredPrometheus, WEB_USER, segment, slug},
    },
    secrets::{Keys, PrometheusInstance},
};
use secrecy::SecretString;
use std::collections::BTreeMap;

/// The desired state of one instance. It contains secrets, which `Debug` does not show.
#[derive(Clone, Debug)]
pub struct DesiredInstance {
    pub instance_id: InstanceId,
    pub organization_guid: OrganizationGuid,
    pub space_guid: SpaceGuid,
    /// Names for display.
    pub names: InstanceNames,
    pub spec: Spec,
    /// The target of the plan's `remote_write`.
    pub remote_write: Option<RemoteWrite>,
    /// Bearer token with which Prometheus requests its targets and scrapes them.
    pub scraper_token: SecretString,
    /// Basic auth password of Prometheus; the user is [`WEB_USER`](Self::WEB_USER).
    pub web_password: SecretString,
    pub own: OwnAddress,
}

/// The addresses of Scrapebroker.
#[derive(Clone, Debug)]
pub struct OwnAddress {
    /// `base_url` of the configuration, for users.
    pub base_url: BaseUrl,
    /// For instances: child processes use the loopback interface.
    pub scrape_url: BaseUrl,
}

/// A target of `prometheus.remote_writes`.
#[derive(Clone, Debug)]
pub struct RemoteWrite {
    pub url: String,
    pub basic_auth: Option<BasicAuth>,
    pub bearer_token: Option<SecretString>,
    pub headers: BTreeMap<String, SecretString>,
}

/// Remote write targets by name.
pub type RemoteWrites = BTreeMap<String, RemoteWrite>;

/// Why the desired state of an instance cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DesiredInstanceError {
    #[error("the stored spec of the instance cannot be decrypted; was broker.token_key changed?")]
    Unreadable,
    /// The operator removed the target from the configuration.
    #[error("the plan copies samples to {0}, which prometheus.remote_writes does not have")]
    NoRemoteWrite(String),
}

impl DesiredInstance {
    /// Basic auth user of every instance.
    pub const WEB_USER: &str = WEB_USER;

    /// Decrypts the stored spec and adds the secrets and the settings of the operator.
    ///
    /// # Errors
    /// [`DesiredInstanceError`] when the spec cannot be decrypted or its remote write target is missing.
    pub fn read(
        service_instance: ServiceInstance,
        stored: &StoredPrometheus,
        keys: &Keys,
        remote_writes: &RemoteWrites,
        own: &OwnAddress,
    ) -> Result<Self, DesiredInstanceError> {
        let PrometheusInstance { service_instance, spec, scraper_token, web_password } = keys
            .prometheus_instance(service_instance, stored)
            .map_err(|_| DesiredInstanceError::Unreadable)?;
        let remote_write = match &spec.remote_write {
            None => None,
            Some(name) => {
                let known = remote_writes.get(name).cloned();
                Some(known.ok_or_else(|| DesiredInstanceError::NoRemoteWrite(name.clone()))?)
            }
        };
        Ok(Self {
            instance_id: service_instance.instance_id,
            organization_guid: service_instance.organization_guid,
            space_guid: service_instance.space_guid,
            names: service_instance.names,
            spec,
            remote_write,
            scraper_token,
            web_password,
            own: own.clone(),
        })
    }

    /// The URL of the instance for users, and the value of `--web.external-url`.
    pub fn external_url(&self) -> String {
        let segment = segment(&self.instance_id);
        format!("{}/prometheus/{segment}", self.own.base_url)
    }

    /// The path of [`external_url`](Self::external_url).
    pub fn route_prefix(&self) -> String {
        format!("{}/prometheus/{}", self.own.base_url.path(), segment(&self.instance_id))
    }

    /// Name for the folder or the app of the instance ([`slug`]).
    pub fn slug(&self) -> String {
        slug(&self.instance_id)
    }
}
