//! Ready endpoints of a service.

use super::endpoint::{KubernetesEndpoint, TcpPort};
use k8s_openapi::api::{
    core::v1::{EndpointAddress, EndpointSubset, Endpoints, ObjectReference},
    discovery::v1::{Endpoint, EndpointSlice},
};
use std::net::IpAddr;

/// The ready endpoints of all slices. In a dual-stack cluster a pod is in one slice per address
/// family; those with IPv4 addresses come first, so that the choice stays the same.
pub(super) fn of_slices(mut slices: Vec<EndpointSlice>) -> Vec<KubernetesEndpoint> {
    // Their names are not resolved: a replica is one address.
    slices.retain(|slice| slice.address_type != "FQDN");
    slices.sort_by_key(|slice| slice.address_type != "IPv4");
    slices.into_iter().flat_map(of_slice).collect()
}

fn of_slice(slice: EndpointSlice) -> Vec<KubernetesEndpoint> {
    let ports: Vec<_> = slice
        .ports
        .into_iter()
        .flatten()
        .filter_map(|port| TcpPort::new(port.name, port.port, port.protocol.as_deref()))
        .collect();
    let ready = slice.endpoints.into_iter().filter(is_ready);
    ready.filter_map(|it| endpoint(it.addresses.first()?, it.target_ref, &ports)).collect()
}

/// A missing condition means ready.
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

/// The ready addresses of all subsets.
pub(super) fn of_subsets(endpoints: Endpoints) -> Vec<KubernetesEndpoint> {
    endpoints.subsets.into_iter().flatten().flat_map(of_subset).collect()
}

fn of_subset(subset: EndpointSubset) -> Vec<KubernetesEndpoint> {
    let ports: Vec<_> = subset
        .ports
        .into_iter()
        .flatten()
        .filter_map(|port| TcpPort::new(port.name, Some(port.port), port.protocol.as_deref()))
        .collect();
    let addresses = subset.addresses.into_iter().flatten();
    addresses
        .filter_map(|EndpointAddress { ip, target_ref, .. }| endpoint(&ip, target_ref, &ports))
        .collect()
}

fn endpoint(
    address: &str,
    target: Option<ObjectReference>,
    ports: &[TcpPort],
) -> Option<KubernetesEndpoint> {
    let ip: IpAddr = address.parse().ok()?;
    let ObjectReference { kind, name, uid, .. } = target.unwrap_or_default();
    let is_pod = kind.as_deref() == Some("Pod");
    Some(KubernetesEndpoint { pod: name.filter(|_| is_pod), uid, ip, ports: ports.to_vec() })
}
