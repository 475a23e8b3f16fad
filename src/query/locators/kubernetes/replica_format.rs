//! URLs of endpoints.

use super::endpoint::KubernetesEndpoint;
use crate::{domain::BaseUrl, query::locators::kubernetes_settings::KubernetesPort};
use std::{collections::HashSet, net::SocketAddr};

/// At most this many endpoints are named in a message.
const MAX_NAMED: usize = 3;

/// How the URL of a replica is made.
pub(super) struct ReplicaFormat {
    pub(super) port: KubernetesPort,
    pub(super) scheme: &'static str,
    pub(super) path_prefix: String,
}

/// Replicas, and the endpoints that are none.
pub(super) struct KubernetesReplicas {
    pub(super) urls: Vec<BaseUrl>,
    unusable: Vec<String>,
}

impl ReplicaFormat {
    /// One URL per pod: the first of its addresses that has the port.
    pub(super) fn replicas(&self, endpoints: &[KubernetesEndpoint]) -> KubernetesReplicas {
        let mut pods = HashSet::new();
        let mut is_new = |endpoint: &KubernetesEndpoint| pods.insert(identity(endpoint));
        let mut urls = Vec::new();
        let mut without_port = Vec::new();
        for endpoint in endpoints {
            match self.url(endpoint) {
                Some(url) if is_new(endpoint) => urls.push(url),
                Some(_) => {}
                None => without_port.push(endpoint),
            }
        }
        // A pod may have the port in another slice only.
        without_port.retain(|endpoint| is_new(endpoint));
        let unusable = without_port.iter().map(|endpoint| endpoint.missing_port(&self.port));
        KubernetesReplicas { urls, unusable: unusable.collect() }
    }

    fn url(&self, endpoint: &KubernetesEndpoint) -> Option<BaseUrl> {
        let address = SocketAddr::new(endpoint.ip, endpoint.port(&self.port)?);
        let Self { scheme, path_prefix, .. } = self;
        format!("{scheme}://{address}{path_prefix}").parse().ok()
    }
}

fn identity(endpoint: &KubernetesEndpoint) -> String {
    endpoint.uid.clone().unwrap_or_else(|| endpoint.ip.to_string())
}

impl KubernetesReplicas {
    /// The endpoints without a usable port, in one line.
    pub(super) fn problem(&self) -> Option<String> {
        let mut text = self.unusable.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join("; ");
        if let Some(more @ 1..) = self.unusable.len().checked_sub(MAX_NAMED) {
            text.push_str(&format!("; and {more} more"));
        }
        (!text.is_empty()).then_some(text)
    }
}
