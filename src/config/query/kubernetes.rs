//! The keys of a locator `kubernetes`.

use crate::{
    config::{
        section::{Read, Section},
        values,
    },
    query::{KubernetesPort, KubernetesSettings, KubernetesSource},
};

pub(super) fn kubernetes(s: &mut Section<'_>) -> Read<KubernetesSettings> {
    let namespace = s.value("namespace", "default", str::parse);
    let service = s.optional("service", str::parse);
    let pod_selector = s.optional("pod_selector", str::parse);
    let port = s.optional("port", str::parse);
    let kubeconfig = s.optional("kubeconfig", values::path);
    let schemes = [("http", false), ("https", true)];
    let is_https = s.value("scheme", "http", values::choice(&schemes));
    let path_prefix = s.optional("path_prefix", values::path_prefix);
    if !cfg!(feature = "kubernetes") {
        return Err(s.mistake(
            "namespace",
            "cannot be used: the program was built without the cargo feature `kubernetes`",
        ));
    }
    let source = match (service?, pod_selector?) {
        (Some(service), None) => KubernetesSource::Service(service),
        (None, Some(selector)) => KubernetesSource::Pods(selector),
        (None, None) => {
            return Err(s.mistake("service", "is missing; set either service or pod_selector"));
        }
        (Some(_), Some(_)) => {
            return Err(s.mistake("pod_selector", "cannot be used together with service"));
        }
    };
    Ok(KubernetesSettings {
        namespace: namespace?,
        source,
        port: port?.unwrap_or(KubernetesPort::FirstTcp),
        kubeconfig: kubeconfig?,
        is_https: is_https?,
        path_prefix: path_prefix?.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests;
