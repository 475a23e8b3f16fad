//! Ready pods.

use super::endpoint::{KubernetesEndpoint, TcpPort};
use k8s_openapi::api::core::v1::{Pod, PodStatus};

/// The pods that run, are ready and do not terminate.
pub(super) fn endpoints_of(pods: Vec<Pod>) -> Vec<KubernetesEndpoint> {
    pods.into_iter().filter_map(endpoint).collect()
}

fn endpoint(pod: Pod) -> Option<KubernetesEndpoint> {
    let status = pod.status.unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() || !is_ready(&status) {
        return None;
    }
    let ip = status.pod_ip.as_deref().and_then(|ip| ip.parse().ok())?;
    let containers = pod.spec.into_iter().flat_map(|spec| spec.containers);
    let ports = containers.flat_map(|container| container.ports.unwrap_or_default());
    let ports = ports.filter_map(|port| {
        TcpPort::new(port.name, Some(port.container_port), port.protocol.as_deref())
    });
    Some(KubernetesEndpoint {
        pod: pod.metadata.name,
        uid: pod.metadata.uid,
        ip,
        ports: ports.collect(),
    })
}

/// The condition includes readiness gates, the readiness of containers does not.
fn is_ready(status: &PodStatus) -> bool {
    let conditions = status.conditions.iter().flatten();
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    status.phase.as_deref() == Some("Running") && ready.any(|condition| condition.status == "True")
}
