//! The JSON of an app, and the addresses of its tasks.
//!
//! Only the fields that are used are read. Marathon writes absent values as `null` or leaves them
//! out, depending on its version (docs/docs/rest-api in the repository mesosphere/marathon).

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use std::fmt;

/// `GET /v2/apps/{id}`
#[derive(Deserialize)]
pub(super) struct AppDocument {
    pub(super) app: MarathonApp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MarathonApp {
    tasks: Vec<MarathonTask>,
    #[serde(default, deserialize_with = "or_default")]
    health_checks: Vec<IgnoredAny>,
    #[serde(default, deserialize_with = "or_default")]
    networks: Vec<AppNetwork>,
    container: Option<AppContainer>,
    /// Before Marathon 1.5: set if each task has an address of its own.
    ip_address: Option<AppIpAddress>,
}

#[derive(Deserialize)]
struct AppNetwork {
    #[serde(default)]
    mode: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppContainer {
    #[serde(default, deserialize_with = "or_default")]
    port_mappings: Vec<PortMapping>,
    docker: Option<DockerSettings>,
}

/// Before Marathon 1.5, the mappings were here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerSettings {
    network: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    port_mappings: Vec<PortMapping>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PortMapping {
    #[serde(default, deserialize_with = "or_default")]
    container_port: u32,
    host_port: Option<u32>,
}

#[derive(Deserialize)]
struct AppIpAddress {
    #[serde(default, deserialize_with = "or_default")]
    discovery: PortDiscovery,
}

#[derive(Default, Deserialize)]
struct PortDiscovery {
    #[serde(default, deserialize_with = "or_default")]
    ports: Vec<DiscoveryPort>,
}

#[derive(Deserialize)]
struct DiscoveryPort {
    #[serde(default, deserialize_with = "or_default")]
    number: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MarathonTask {
    host: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    ports: Vec<u32>,
    #[serde(default, deserialize_with = "or_default")]
    ip_addresses: Vec<TaskIpAddress>,
    /// Absent in Marathon before 1.0.
    state: Option<String>,
    started_at: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    health_check_results: Vec<Option<HealthCheckResult>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TaskIpAddress {
    ip_address: Option<String>,
}

#[derive(Deserialize)]
struct HealthCheckResult {
    #[serde(default)]
    alive: bool,
}

/// A port of the app's definition.
struct DefinedPort {
    container_port: u32,
    /// Whether a port of the host leads to it.
    is_on_host: bool,
}

/// Host and port of each usable task, and the number of the other tasks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TaskAddresses {
    pub(super) usable: Vec<(String, u16)>,
    pub(super) unused: UnusedTasks,
}

/// Number of tasks by the reason why they are not replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UnusedTasks {
    pub(super) not_running: usize,
    pub(super) not_healthy: usize,
    pub(super) without_port: usize,
}

impl fmt::Display for UnusedTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = [
            (self.not_running, "not running"),
            (self.not_healthy, "not healthy"),
            (self.without_port, "without a usable port"),
        ];
        let counted = reasons.iter().filter(|(count, _)| *count > 0);
        let texts: Vec<_> = counted.map(|(count, reason)| format!("{count} {reason}")).collect();
        match texts.is_empty() {
            true => f.write_str("no tasks"),
            false => write!(f, "tasks: {}", texts.join(", ")),
        }
    }
}

impl MarathonApp {
    /// Addresses of the running, healthy tasks. `port_index` is the position of the port in the
    /// definition of the app.
    pub(super) fn addresses(&self, port_index: usize) -> TaskAddresses {
        let mut addresses = TaskAddresses::default();
        let TaskAddresses { usable, unused } = &mut addresses;
        for task in &self.tasks {
            if !task.is_running() {
                unused.not_running += 1;
            } else if !self.is_healthy(task) {
                unused.not_healthy += 1;
            } else if let Some(address) = self.address(task, port_index) {
                usable.push(address);
            } else {
                unused.without_port += 1;
            }
        }
        addresses
    }

    /// All results that exist are good, and there is one. Results are `null` before the first check.
    fn is_healthy(&self, task: &MarathonTask) -> bool {
        let mut results = task.health_check_results.iter().flatten().peekable();
        self.health_checks.is_empty()
            || results.peek().is_some() && results.all(|result| result.alive)
    }

    /// The port of the host if there is one, else the port of the container at the task's own
    /// address.
    fn address(&self, task: &MarathonTask, port_index: usize) -> Option<(String, u16)> {
        let defined = self.defined_ports();
        let port = defined.get(port_index);
        // `ports` of a task contains only the ports of the host.
        let host_index = match port {
            None => Some(port_index),
            Some(port) if port.is_on_host => {
                let before = defined.iter().take(port_index).filter(|port| port.is_on_host);
                Some(before.count())
            }
            Some(_) => None,
        };
        let host_port =
            host_index.and_then(|index| task.ports.get(index)).and_then(|it| usable(*it));
        if let (Some(port), Some(host)) = (host_port, &task.host) {
            return Some((host.clone(), port));
        }
        if !self.has_container_network() {
            return None;
        }
        let ip = task.ip_addresses.iter().find_map(|address| address.ip_address.clone());
        Some((ip?, usable(port?.container_port)?))
    }

    /// `portDefinitions` are not read: they are ports of the host or of a load balancer.
    fn defined_ports(&self) -> Vec<DefinedPort> {
        let mappings = self.port_mappings();
        if !mappings.is_empty() {
            let is_container = self.has_container_network();
            let defined = |mapping: &PortMapping| DefinedPort {
                container_port: mapping.container_port,
                is_on_host: !is_container || mapping.host_port.is_some(),
            };
            return mappings.iter().map(defined).collect();
        }
        let discovered = self.ip_address.iter().flat_map(|address| &address.discovery.ports);
        let defined =
            |port: &DiscoveryPort| DefinedPort { container_port: port.number, is_on_host: false };
        discovered.map(defined).collect()
    }

    fn port_mappings(&self) -> &[PortMapping] {
        let Some(container) = &self.container else { return &[] };
        match (&container.docker, container.port_mappings.is_empty()) {
            (Some(docker), true) => &docker.port_mappings,
            _ => &container.port_mappings,
        }
    }

    /// Whether each task has an address of its own.
    fn has_container_network(&self) -> bool {
        let docker = self.container.as_ref().and_then(|container| container.docker.as_ref());
        self.networks.iter().any(|network| network.mode == "container")
            || self.ip_address.is_some()
            || docker.and_then(|docker| docker.network.as_deref()) == Some("USER")
    }
}

impl MarathonTask {
    /// A task without a state is from an old Marathon, which sets `startedAt` when the task runs.
    fn is_running(&self) -> bool {
        match &self.state {
            Some(state) => state == "TASK_RUNNING",
            None => self.started_at.is_some(),
        }
    }
}

fn usable(port: u32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port > 0)
}

/// Reads `null` as the default value.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    json: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(json)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
