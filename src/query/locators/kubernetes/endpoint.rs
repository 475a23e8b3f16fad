//! What the kinds of objects have in common: an address with ports.

use crate::query::locators::kubernetes_settings::KubernetesPort;
use std::net::IpAddr;

/// A ready address of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KubernetesEndpoint {
    /// The pod's name if it is known, for messages.
    pub(super) pod: Option<String>,
    /// Identifies the pod. Endpoints that an operator wrote may have none.
    pub(super) uid: Option<String>,
    pub(super) ip: IpAddr,
    pub(super) ports: Vec<TcpPort>,
}

/// A port, in the order of its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TcpPort {
    pub(super) name: Option<String>,
    pub(super) number: u16,
}

impl TcpPort {
    /// Returns none for another protocol, and for a port without a number.
    pub(super) fn new(
        name: Option<String>,
        number: Option<i32>,
        protocol: Option<&str>,
    ) -> Option<Self> {
        let number = u16::try_from(number?).ok().filter(|number| *number > 0)?;
        let name = name.filter(|name| !name.is_empty());
        protocol.is_none_or(|protocol| protocol == "TCP").then_some(Self { name, number })
    }
}

impl KubernetesEndpoint {
    pub(super) fn port(&self, wanted: &KubernetesPort) -> Option<u16> {
        let named = |name: &str| self.ports.iter().find(|port| port.name.as_deref() == Some(name));
        let port = match wanted {
            KubernetesPort::FirstTcp => self.ports.first(),
            KubernetesPort::Name(name) => named(name),
            KubernetesPort::Number(number) => named(&number.to_string())
                .or_else(|| self.ports.iter().find(|port| port.number == *number)),
        };
        port.map(|port| port.number)
    }

    /// Why [`port`](Self::port) returned none, with the ports that exist.
    pub(super) fn missing_port(&self, wanted: &KubernetesPort) -> String {
        let endpoint = match &self.pod {
            Some(pod) => format!("pod {pod}"),
            None => format!("address {}", self.ip),
        };
        let ports: Vec<_> = self.ports.iter().map(TcpPort::shown).collect();
        let wanted = match wanted {
            KubernetesPort::FirstTcp => return format!("{endpoint} has no TCP port"),
            KubernetesPort::Name(name) => name.clone(),
            KubernetesPort::Number(number) => number.to_string(),
        };
        match ports.is_empty() {
            true => format!("{endpoint} has no port `{wanted}`, and no other TCP port"),
            false => format!("{endpoint} has no port `{wanted}`, only {}", ports.join(", ")),
        }
    }
}

impl TcpPort {
    fn shown(&self) -> String {
        match &self.name {
            Some(name) => format!("`{name}` ({})", self.number),
            None => self.number.to_string(),
        }
    }
}
