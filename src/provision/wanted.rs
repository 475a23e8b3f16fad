//! What an instance should be like, with all that a provisioner has to know.

use crate::{
    domain::{
        InstanceId, OrganizationGuid, SpaceGuid,
        prometheus::{Spec, WEB_USER, segment, slug},
    },
    secrets::{AssociatedData, Keys},
    store::{Names, PrometheusInstance, ServiceInstance},
};
use secrecy::SecretString;
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything about one instance. Holds secrets, which `Debug` does not show.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The service instance.
    pub instance_id: InstanceId,
    /// The organization it belongs to.
    pub organization_guid: OrganizationGuid,
    /// The space it belongs to.
    pub space_guid: SpaceGuid,
    /// What people call it.
    pub names: Names,
    /// What it should be like.
    pub spec: Spec,
    /// Where samples are copied to.
    pub remote_write: Option<RemoteWrite>,
    /// With this it asks us for its targets, and scrapes them.
    pub scraper_token: SecretString,
    /// With this we ask it; the user is [`WEB_USER`](Self::WEB_USER).
    pub web_password: SecretString,
    /// Where we are.
    pub own: OwnAddress,
}

/// Where instances and their users find us, without slashes at the end.
#[derive(Clone, Debug)]
pub struct OwnAddress {
    /// For users, as configured.
    pub base_url: String,
    /// For instances, which may have a shorter way.
    pub scrape_url: String,
}

/// A target of `prometheus.remote_writes`.
#[derive(Clone, Debug)]
pub struct RemoteWrite {
    /// Full URL.
    pub url: String,
    /// User name and password.
    pub basic_auth: Option<(String, SecretString)>,
    /// A token.
    pub bearer_token: Option<SecretString>,
    /// Request headers.
    pub headers: BTreeMap<String, SecretString>,
}

/// All targets, by name.
pub type RemoteWrites = BTreeMap<String, RemoteWrite>;

/// Why it is not known what an instance should be like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WantedError {
    /// The stored text cannot be read.
    #[error("what the instance should be like cannot be read; is broker.token_key another one?")]
    Sealed,
    /// The operator has taken it away.
    #[error("the plan copies samples to {0}, which prometheus.remote_writes does not have")]
    NoRemoteWrite(String),
}

impl Wanted {
    /// The user of basic auth in front of an instance.
    pub const WEB_USER: &str = WEB_USER;

    /// Puts together what is stored.
    ///
    /// # Errors
    /// [`WantedError`] when something is missing.
    pub fn read(
        instance: ServiceInstance,
        row: &PrometheusInstance,
        keys: &Keys,
        remote_writes: &RemoteWrites,
        own: &OwnAddress,
    ) -> Result<Self, WantedError> {
        let id = instance.instance_id;
        let map = keys
            .decrypt(AssociatedData::Spec(id.as_str()), &row.spec)
            .ok_or(WantedError::Sealed)?;
        let spec: Spec =
            serde_json::from_value(Value::Object(map)).map_err(|_| WantedError::Sealed)?;
        let remote_write = match &spec.remote_write {
            None => None,
            Some(name) => {
                let known = remote_writes.get(name).cloned();
                Some(known.ok_or_else(|| WantedError::NoRemoteWrite(name.clone()))?)
            }
        };
        Ok(Self {
            organization_guid: instance.organization_guid,
            space_guid: instance.space_guid,
            names: instance.names,
            spec,
            remote_write,
            scraper_token: keys.scraper_token(&id, &row.secret_salt),
            web_password: keys.web_password(&id, &row.secret_salt),
            own: own.clone(),
            instance_id: id,
        })
    }

    /// The URL under which users find it, and which it knows as its own.
    pub fn external_url(&self) -> String {
        let segment = segment(&self.instance_id);
        format!("{}/prometheus/{segment}", self.own.base_url)
    }

    /// The path of [`external_url`](Self::external_url).
    pub fn route_prefix(&self) -> String {
        let url = self.external_url();
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/").to_owned()
    }

    /// A name for its folder or its app ([`slug`]).
    pub fn slug(&self) -> String {
        slug(&self.instance_id)
    }
}
