//! Route tables in gorouter's format, and the labels that follow from them.

use crate::Instance;
use serde_json::{Value, json};
use std::{net::SocketAddr, path::PathBuf};
use tempfile::TempDir;

/// An endpoint of the app `app` in the format of gorouter.
pub fn endpoint(app: &str, index: usize, address: SocketAddr) -> Value {
    json!({
        "address": address.to_string(), "availability_zone": "z1", "protocol": "http1",
        "tls": false, "ttl": 120, "private_instance_id": format!("{app}-instance-{index}"),
        "tags": {
            "app_id": format!("{app}-guid"), "app_name": app, "component": "route-emitter",
            "instance_id": index.to_string(), "process_type": "web",
            "process_instance_id": format!("{app}-instance-{index}"),
            "organization_id": "org-guid", "organization_name": "acme",
            "space_id": "space-guid", "space_name": "prod",
        },
    })
}

/// A file with a route table, for the setting `routes.file`.
pub struct RouteFile {
    path: PathBuf,
    _folder: TempDir,
}

impl RouteFile {
    pub fn new(table: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = Self { path: folder.path().join("routes.json"), _folder: folder };
        file.write(table);
        file
    }

    /// A table with one app named `app` that has these instances and the route `app.example.com`.
    pub fn of_app<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Self {
        Self::of_addresses(instances.into_iter().map(|instance| instance.address))
    }

    pub fn of_addresses(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self::new(&table_of(addresses))
    }

    /// Replaces the instances of the app.
    pub fn rewrite<'a>(&self, instances: impl IntoIterator<Item = &'a Instance>) {
        self.write(&table_of(instances.into_iter().map(|instance| instance.address)));
    }

    pub fn write(&self, table: &Value) {
        let next = self.path.with_extension("next");
        std::fs::write(&next, table.to_string()).unwrap();
        std::fs::rename(next, &self.path).unwrap();
    }

    pub fn setting(&self) -> (&'static str, String) {
        ("ROUTES__FILE", self.path.display().to_string())
    }
}

fn table_of(addresses: impl IntoIterator<Item = SocketAddr>) -> Value {
    let endpoints = addresses.into_iter().enumerate();
    let endpoints: Vec<_> =
        endpoints.map(|(index, address)| endpoint("app", index, address)).collect();
    json!({ "app.example.com": endpoints })
}

/// The nine labels of an instance of the app `app`.
pub fn labels(index: usize, address: SocketAddr) -> String {
    format!(
        "organization_id=\"org-guid\",space_id=\"space-guid\",app_id=\"app-guid\",\
         organization_name=\"acme\",space_name=\"prod\",app_name=\"app\",\
         index=\"{index}\",instance_id=\"{index}\",instance=\"{address}\""
    )
}
