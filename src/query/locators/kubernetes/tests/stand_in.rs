//! A stand-in for the API server of Kubernetes, which cannot be installed. It answers with the
//! objects and errors that the documentation of the API describes.

use super::{KubernetesSettings, settings};
use serde_json::{Value, json};
use std::path::PathBuf;
use support::{Instance, Reply, certificates::Authority};
use tempfile::TempDir;

pub(super) struct ApiServerStandIn {
    pub(super) instance: Instance,
    folder: TempDir,
}

impl ApiServerStandIn {
    /// `reply` gets the path with the query, and the header `Authorization`.
    pub(super) async fn start(reply: impl Fn(&str, &str) -> Reply + 'static) -> Self {
        let instance = Instance::start(move |request| {
            let path = request.line.split(' ').nth(1).unwrap();
            reply(path, request.headers.get("authorization").map_or("", String::as_str))
        })
        .await;
        let stand_in = Self { instance, folder: tempfile::tempdir().unwrap() };
        let server = format!("http://{}", stand_in.instance.address);
        stand_in.write_kubeconfig(&format!("server: '{server}'"), "token: secret-token");
        stand_in
    }

    /// The same with TLS, and a certificate of `authority`.
    pub(super) async fn start_https(
        authority: &Authority,
        reply: impl Fn() -> Reply + 'static,
    ) -> Self {
        let acceptor = authority.issue("127.0.0.1").acceptor(None);
        let reply = move |_: &_| reply();
        let instance = Instance::start_secured("127.0.0.1:0", Some(acceptor), reply).await;
        Self { instance, folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn write_kubeconfig(&self, cluster: &str, user: &str) {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             contexts: [{{ name: c, context: {{ cluster: k, user: u }} }}]\n\
             clusters: [{{ name: k, cluster: {{ {cluster} }} }}]\n\
             users: [{{ name: u, user: {{ {user} }} }}]\n"
        );
        self.write("kubeconfig", &text);
    }

    pub(super) fn settings(&self) -> KubernetesSettings {
        settings(self.kubeconfig())
    }

    /// Paths with queries of all requests.
    pub(super) fn requests(&self) -> Vec<String> {
        let requests = self.instance.requests();
        requests.iter().map(|it| it.line.split(' ').nth(1).unwrap().to_owned()).collect()
    }
}

pub(super) fn object(value: &Value) -> Reply {
    let json_type = ("Content-Type", "application/json".to_owned());
    Reply::Http(200, vec![json_type], value.to_string().into_bytes())
}

/// An error as the API reports it.
pub(super) fn status(code: u16, reason: &str, message: &str) -> Reply {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    let json_type = ("Content-Type", "application/json".to_owned());
    Reply::Http(code, vec![json_type], status.to_string().into_bytes())
}

/// An error without an object, as for unknown paths and during overload.
pub(super) fn text(code: u16, text: &str) -> Reply {
    Reply::Http(code, vec![("Content-Type", "text/plain".to_owned())], text.as_bytes().to_vec())
}

pub(super) fn no_such_path() -> Reply {
    text(404, "404 page not found\n")
}

pub(super) fn slices(items: Value) -> Reply {
    slices_page(items, "")
}

/// A page, after which `next` continues.
pub(super) fn slices_page(items: Value, next: &str) -> Reply {
    object(&json!({
        "kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
        "metadata": { "resourceVersion": "3400", "continue": next }, "items": items,
    }))
}

pub(super) fn slice(family: &str, endpoints: Value, ports: Value) -> Value {
    json!({
        "metadata": {
            "name": "prom-aaaaa", "namespace": "ns",
            "labels": { "kubernetes.io/service-name": "prom" },
        },
        "addressType": family, "endpoints": endpoints, "ports": ports,
    })
}

pub(super) fn web() -> Value {
    json!([
        { "name": "reloader", "port": 8080, "protocol": "TCP" },
        { "name": "web", "port": 9090, "protocol": "TCP" },
    ])
}

/// A ready endpoint of the pod with this name and uid.
pub(super) fn ready(address: &str, pod: &str) -> Value {
    endpoint(address, pod, json!({ "ready": true, "serving": true, "terminating": false }))
}

pub(super) fn endpoint(address: &str, pod: &str, conditions: Value) -> Value {
    json!({
        "addresses": [address], "conditions": conditions, "nodeName": "node-a",
        "targetRef": { "kind": "Pod", "namespace": "ns", "name": pod, "uid": format!("uid-{pod}") },
    })
}

pub(super) fn pods(items: Value) -> Reply {
    object(&json!({
        "kind": "PodList", "apiVersion": "v1", "metadata": { "resourceVersion": "2200" },
        "items": items,
    }))
}

/// A pod that runs and is ready.
pub(super) fn pod(name: &str, ip: &str, ports: Value) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "ns", "uid": format!("uid-{name}") },
        "spec": { "containers": [
            { "name": "sidecar" },
            { "name": "prometheus", "ports": ports },
        ] },
        "status": {
            "phase": "Running", "podIP": ip,
            "conditions": [
                { "type": "PodScheduled", "status": "True" },
                { "type": "Ready", "status": "True" },
            ],
        },
    })
}
