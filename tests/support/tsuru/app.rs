//! Apps and units of the fake API.

use serde_json::{Value, json};
use std::{collections::BTreeMap, net::SocketAddr};

/// An environment variable of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub value: String,
    pub is_private: bool,
    pub managed_by: String,
}

/// An app in the fake API.
#[derive(Clone, Debug, Default)]
pub struct TsuruApp {
    pub name: String,
    pub platform: String,
    pub team_owner: String,
    pub pool: String,
    pub plan: String,
    pub description: String,
    pub tags: Vec<String>,
    pub router: String,
    /// Router addresses of the app.
    pub hosts: Vec<String>,
    pub environment: BTreeMap<String, Variable>,
    /// The image of each deployment.
    pub deploys: Vec<String>,
    pub restarts: usize,
    /// Units in the format of the response.
    pub units: Vec<Value>,
    /// Internal addresses in the format of the response.
    pub internal_addresses: Vec<Value>,
    /// The token has no access to the app: requests return 403.
    pub is_forbidden: bool,
}

impl TsuruApp {
    pub fn new(name: &str, team: &str, pool: &str) -> Self {
        let (name, team_owner, pool) = (name.to_owned(), team.to_owned(), pool.to_owned());
        Self { name, team_owner, pool, ..Self::default() }
    }

    /// The response to `GET /1.0/apps/{app}`.
    pub(super) fn info(&self) -> Value {
        let routers: Vec<_> = (self.hosts.iter())
            .map(|host| json!({"name": self.router, "address": host, "addresses": [host]}))
            .collect();
        json!({
            "name": self.name, "platform": self.platform, "teamowner": self.team_owner,
            "teams": [self.team_owner], "pool": self.pool, "plan": {"name": self.plan},
            "description": self.description, "tags": self.tags, "cname": [],
            "deploys": self.deploys.len(), "router": self.router, "routers": routers,
            "provisioner": "kubernetes", "cluster": "cluster", "units": self.units,
            "internalAddresses": self.internal_addresses, "serviceInstanceBinds": [],
        })
    }
}

/// A unit on Kubernetes. It has no `Address`; `IP` is the address of the node and `InternalIP` that
/// of the pod.
pub fn pod(app: &str, process: &str, id: &str, ip: &str) -> Value {
    json!({
        "ID": id, "Name": id, "AppName": app, "ProcessName": process, "Type": "", "IP": "127.255.0.1",
        "InternalIP": ip, "Status": "started", "StatusReason": "", "Address": null,
        "Addresses": null, "Version": 1, "Routable": true, "Restarts": 0,
        "CreatedAt": "2026-11-20T09:00:00Z", "Ready": true, "HostAddr": "", "HostPort": "",
    })
}

/// A unit whose address the API reports.
pub fn container(app: &str, process: &str, id: &str, address: SocketAddr) -> Value {
    let mut unit = pod(app, process, id, "");
    unit["IP"] = json!(address.ip().to_string());
    unit["Address"] = json!({"Scheme": "http", "Host": address.to_string(), "Path": ""});
    unit["HostAddr"] = json!(address.ip().to_string());
    unit["HostPort"] = json!(address.port().to_string());
    unit
}

/// The address of a process inside the cluster, shared by all versions of the app.
pub fn internal_address(app: &str, process: &str, target_port: u16) -> Value {
    json!({
        "Domain": format!("{app}-{process}.tsuru-{app}.svc.cluster.local"), "Protocol": "TCP",
        "Port": 80, "TargetPort": target_port, "Version": "", "Process": process,
    })
}
