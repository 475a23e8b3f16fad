//! Finds replicas in Kubernetes: the endpoints of a service, or pods by their labels.
//!
//! ```text
//! KubernetesLocator ─► client (kubeconfig or service account) ─► KubernetesApi: list, get
//!        │                                                            │
//!        └─ ReplicaFormat ◄─ KubernetesEndpoint ◄─ endpoints, pods ◄──┘
//! ```
//!
//! # Decisions
//!
//! * **Polling, no watch.** Each [`Locator::locate`] lists the objects anew. The list of one service
//!   is a few kilobytes, and health probes notice a failed replica before Kubernetes does. A watch
//!   would save little, and can become stale without an error.
//! * **The client lives on the thread of its first call.** It spawns a task on the current runtime. So it
//!   is created by the first `locate`, and created anew after every failure: then a changed
//!   kubeconfig, token or CA counts at once. Between failures, `kube` re-reads the files of the
//!   token and of the service account's CA within a minute.
//! * **No plugins.** A kubeconfig whose user runs a program for its credentials (`exec`,
//!   `auth-provider`) is rejected. `kube` runs such a program without a time limit and blocks its
//!   thread meanwhile, so a hung one would stop the locators of all pools.

mod api;
mod api_error;
mod client;
mod endpoint;
mod endpoints;
mod pods;
mod replica_format;

use super::kubernetes_settings::{KubernetesSettings, KubernetesSource};
use crate::{
    domain::BaseUrl,
    query::{LocatedReplica, Locator, LocatorError},
};
use api::KubernetesApi;
use api_error::KubernetesError;
use endpoint::KubernetesEndpoint;
use futures_util::future::LocalBoxFuture;
use k8s_openapi::api::{
    core::v1::{Endpoints, Pod},
    discovery::v1::EndpointSlice,
};
use replica_format::{KubernetesReplicas, ReplicaFormat};
use std::{path::PathBuf, time::Duration};

/// Limit of one call. The pool limits all calls of a `locate` together.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The label of an `EndpointSlice` that names its service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Finds the ready endpoints of a service, or the ready pods that a selector selects.
///
/// An endpoint without a usable port is logged and omitted. If no endpoint has one, the result is an
/// error.
pub struct KubernetesLocator {
    namespace: String,
    source: KubernetesSource,
    kubeconfig: Option<PathBuf>,
    format: ReplicaFormat,
    call_timeout: Duration,
    api: Option<KubernetesApi>,
    /// The problem that was logged last.
    problem: Option<String>,
}

impl KubernetesLocator {
    pub fn new(settings: KubernetesSettings) -> Self {
        Self {
            namespace: settings.namespace.to_string(),
            source: settings.source,
            kubeconfig: settings.kubeconfig,
            format: ReplicaFormat {
                port: settings.port,
                scheme: if settings.is_https { "https" } else { "http" },
                path_prefix: settings.path_prefix,
            },
            call_timeout: CALL_TIMEOUT,
            api: None,
            problem: None,
        }
    }

    async fn find(&mut self) -> Result<Vec<BaseUrl>, LocatorError> {
        let endpoints = match self.endpoints().await {
            // The credentials may have been rotated.
            Err(error) if error.is_unauthorized() => {
                self.api = None;
                self.endpoints().await
            }
            result => result,
        };
        let endpoints = endpoints.map_err(|error| {
            self.api = None;
            LocatorError(error.to_string())
        })?;
        let replicas = self.format.replicas(&endpoints);
        let problem = replicas.problem();
        if replicas.urls.is_empty()
            && let Some(problem) = problem
        {
            return Err(LocatorError(format!("no endpoint is usable: {problem}")));
        }
        self.report(problem, &replicas);
        Ok(replicas.urls)
    }

    async fn endpoints(&mut self) -> Result<Vec<KubernetesEndpoint>, KubernetesError> {
        let api = match &mut self.api {
            Some(api) => api,
            empty => {
                let connected = client::connect(self.kubeconfig.as_deref()).await?;
                empty.insert(KubernetesApi::new(connected, &self.namespace, self.call_timeout))
            }
        };
        match &self.source {
            KubernetesSource::Pods(selector) => {
                let pods: Vec<Pod> = api.list(selector.as_str()).await?;
                Ok(pods::endpoints_of(pods))
            }
            KubernetesSource::Service(service) => service_endpoints(api, service.as_str()).await,
        }
    }

    /// Logs a problem once.
    fn report(&mut self, problem: Option<String>, replicas: &KubernetesReplicas) {
        if self.problem == problem {
            return;
        }
        let (locator, replicas) = (self.name(), replicas.urls.len());
        match &problem {
            Some(problem) => {
                tracing::warn!(locator, problem, replicas, "kubernetes endpoints without a port");
            }
            None => tracing::info!(locator, replicas, "all kubernetes endpoints have a port again"),
        }
        self.problem = problem;
    }
}

impl Locator for KubernetesLocator {
    fn name(&self) -> String {
        let namespace = &self.namespace;
        match &self.source {
            KubernetesSource::Service(service) => {
                format!("kubernetes service {namespace}/{service}")
            }
            KubernetesSource::Pods(selector) => format!("kubernetes pods {namespace}/{selector}"),
        }
    }

    fn locate(&mut self) -> LocalBoxFuture<'_, Result<Vec<LocatedReplica>, LocatorError>> {
        Box::pin(async { self.find().await.map(LocatedReplica::of_urls) })
    }
}

/// Reads `Endpoints` if the API has no `EndpointSlice`s, or none of this service.
async fn service_endpoints(
    api: &KubernetesApi,
    service: &str,
) -> Result<Vec<KubernetesEndpoint>, KubernetesError> {
    let slices = api.list::<EndpointSlice>(&format!("{SERVICE_LABEL}={service}")).await;
    match slices {
        Ok(slices) if !slices.is_empty() => return Ok(endpoints::of_slices(slices)),
        Err(error) if !error.is_not_found() => return Err(error),
        _ => {}
    }
    match api.get::<Endpoints>(service).await {
        Ok(endpoints) => Ok(endpoints::of_subsets(endpoints)),
        Err(error) => Err(error.after("the service has no EndpointSlice")),
    }
}

#[cfg(test)]
mod tests;
