//! Creates the client of the Kubernetes API from a kubeconfig or from the pod's service account.

use super::api_error::KubernetesError;
use crate::telemetry::causes;
use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use std::{path::Path, time::Duration};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Closes a connection on which nothing is received. It is longer than the usual time between two
/// calls, so that they share a connection.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A client and the API server that it uses.
pub(super) struct Connected {
    pub(super) client: Client,
    /// Host and port, for error messages.
    pub(super) server: String,
}

/// Reads the configuration and creates a client, whose tasks run on the current runtime. It
/// connects with its first call.
///
/// The files are small and local, so they are read on this thread, which serves no requests.
pub(super) async fn connect(kubeconfig: Option<&Path>) -> Result<Connected, KubernetesError> {
    let (mut config, origin) = match kubeconfig {
        Some(path) => (from_file(path).await?, format!("kubeconfig {}", path.display())),
        None => {
            let config = Config::incluster().map_err(|error| outside_of_cluster(&error))?;
            (config, "the service account".to_owned())
        }
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    // Otherwise the time between two calls would count.
    config.reset_reader_on_write = true;
    // A retry could last longer than the interval of selections, and the next one calls again.
    config.default_retry = false;
    let url = &config.cluster_url;
    let server = match (url.host(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    let client = Client::try_from(config)
        .map_err(|error| KubernetesError::Config(format!("{origin}: {}", causes(&error))))?;
    Ok(Connected { client, server })
}

async fn from_file(path: &Path) -> Result<Config, KubernetesError> {
    let wrong = |problem: &str| {
        KubernetesError::Config(format!("kubeconfig {}: {problem}", path.display()))
    };
    let file = Kubeconfig::read_from(path).map_err(|error| wrong(&in_words(&error)))?;
    let has_proxy = has_proxy(&file);
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| wrong(&in_words(&error)))?;
    if config.auth_info.exec.is_some() || config.auth_info.auth_provider.is_some() {
        return Err(wrong(
            "its user has an exec or auth-provider plugin, which is not supported; use a token, \
             a tokenFile or a client certificate, for example those of a service account",
        ));
    }
    if has_proxy {
        return Err(wrong("proxy-url is not supported"));
    }
    // The variable HTTPS_PROXY, which Scrapebroker does not use elsewhere either.
    config.proxy_url = None;
    Ok(config)
}

/// Whether the cluster of the current context is reached through a proxy.
fn has_proxy(file: &Kubeconfig) -> bool {
    let current = file.current_context.as_ref();
    let context = file.contexts.iter().find(|context| Some(&context.name) == current);
    let name = context.and_then(|context| Some(&context.context.as_ref()?.cluster));
    let cluster = file.clusters.iter().find(|cluster| Some(&cluster.name) == name);
    let proxy = cluster.and_then(|cluster| cluster.cluster.as_ref()?.proxy_url.as_ref());
    proxy.is_some_and(|proxy| !proxy.is_empty())
}

/// The reason without lines of the file, which contains secrets.
fn in_words(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(error) => match error.location() {
            Some(at) => {
                format!(
                    "is not valid YAML of a kubeconfig, line {} column {}",
                    at.line(),
                    at.column()
                )
            }
            None => "is not valid YAML of a kubeconfig".to_owned(),
        },
        KubeconfigError::ReadConfig(error, _) => format!("cannot be read: {error}"),
        error => causes(error),
    }
}

fn outside_of_cluster(error: &InClusterError) -> KubernetesError {
    let reason = causes(error);
    KubernetesError::Config(match error {
        InClusterError::ReadEnvironmentVariable(_) => {
            "Scrapebroker does not run in a pod of Kubernetes (KUBERNETES_SERVICE_HOST and \
             KUBERNETES_SERVICE_PORT are not set); set `kubeconfig`"
                .to_owned()
        }
        _ => format!(
            "the pod's service account cannot be used: {reason}; set `kubeconfig`, or mount the \
             token (automountServiceAccountToken)"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env::VarError, io};

    #[test]
    fn a_missing_service_account_is_explained() {
        for (error, part) in [
            (InClusterError::ReadEnvironmentVariable(VarError::NotPresent), "set `kubeconfig`"),
            (
                InClusterError::ReadDefaultNamespace(io::ErrorKind::NotFound.into()),
                "automountServiceAccountToken",
            ),
        ] {
            let text = outside_of_cluster(&error).to_string();
            assert!(text.contains(part), "{text}");
        }
    }
}
