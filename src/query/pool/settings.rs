//! Settings of a pool.

use super::strategy::Strategy;
use crate::{
    domain::{BaseUrl, BasicAuth, InstanceId},
    query::{Authorization, KubernetesSettings, MarathonSettings, TryLimits, Writes},
    tls::ClientSettings,
};
use ipnet::IpNet;
use secrecy::SecretString;
use std::{path::PathBuf, time::Duration};

/// `query.pools[]`
#[derive(Clone, Debug)]
pub struct PoolSettings {
    pub name: String,
    pub strategy: Strategy,
    /// How often replicas are located, probed and selected.
    pub selection_interval: Duration,
    pub affinity: Affinity,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Timeout of a query, until the response starts.
    pub timeout: Duration,
    pub limits: TryLimits,
    /// Maximum number of queries at once.
    pub max_concurrent: usize,
    pub writes: Writes,
    /// Whether gaps of a replica are filled from the others.
    pub fill_gaps: bool,
    /// Certificates for replicas.
    pub tls: ClientSettings,
    pub credentials: Option<PoolCredentials>,
    pub locators: Vec<LocatorSettings>,
}

/// How queries of one client reach the same replica, if several are selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    pub cookies: bool,
    pub source_ip: bool,
}

/// Credentials for the replicas of a pool.
#[derive(Clone, Debug)]
pub enum PoolCredentials {
    Basic(BasicAuth),
    Bearer(SecretString),
}

#[derive(Clone, Debug)]
pub enum LocatorSettings {
    Static(Vec<BaseUrl>),
    EndpointsFile(PathBuf),
    Marathon(Box<MarathonSettings>),
    Kubernetes(Box<KubernetesSettings>),
    Provisioned(ProvisionedInstances),
}

/// Provisioned instances whose replicas belong to a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProvisionedInstances {
    All,
    /// Instances with these ids, or with these path segments.
    Listed(Vec<InstanceId>),
}

impl PoolCredentials {
    pub(super) fn authorization(&self) -> Option<Authorization> {
        match self {
            Self::Basic(login) => Authorization::basic(login),
            Self::Bearer(token) => Authorization::bearer(token),
        }
    }
}
