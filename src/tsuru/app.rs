//! Tsuru's description of an app, `GET /1.0/apps/{app}`.
//!
//! The keys of a unit are those of a Go struct without JSON names, and Go encodes an empty list as
//! `null`. A value of another type counts as missing, so it affects at most one unit.

use super::{TsuruClient, client::segment, error::TsuruApiError};
use serde_json::Value;

/// An app. Texts that Tsuru does not report are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppInfo {
    pub name: String,
    pub team: String,
    pub pool: String,
    pub tags: Vec<String>,
    pub cnames: Vec<String>,
    /// None if there is no list. A unit that is not an object is None.
    pub units: Option<Vec<Option<Unit>>>,
    pub routers: Vec<Router>,
    pub internal_addresses: Vec<InternalAddress>,
    /// Why the description lacks a part.
    pub error: String,
    /// Address of the first router; older versions have it only here.
    pub ip: String,
}

/// On Kubernetes, `IP` is the node's address and must not be used, and a unit does not contain its
/// port. Other provisioners of Tsuru report a complete address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    pub id: String,
    pub name: String,
    pub process: String,
    pub status: String,
    pub status_reason: String,
    pub ready: Option<bool>,
    pub version: String,
    /// Address of the pod.
    pub internal_ip: String,
    /// Host and port.
    pub address: String,
    pub host_address: String,
    pub host_port: Option<u16>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Router {
    pub address: String,
    pub addresses: Vec<String>,
}

/// A port of a process within the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InternalAddress {
    pub domain: String,
    pub protocol: String,
    pub process: String,
    /// Empty: for all versions.
    pub version: String,
    pub port: Option<u16>,
    /// The port of the process in its pods.
    pub target_port: Option<u16>,
}

impl TsuruClient {
    /// None if there is no such app.
    ///
    /// # Errors
    /// The call failed.
    pub async fn app(&self, name: &str) -> Result<Option<AppInfo>, TsuruApiError> {
        let path = app_path(name, "");
        let json: Option<Value> = self.read(&path, |body| is_about(body, name)).await?;
        Ok(json.as_ref().map(AppInfo::from_json))
    }
}

pub(super) fn app_path(app: &str, rest: &str) -> String {
    format!("/1.0/apps/{}{rest}", segment(app))
}

/// Tsuru's 404 contains the name of the app. That of a proxy does not, and must not count: the app
/// would never be removed.
pub(super) fn is_about(body: &str, app: &str) -> bool {
    body.contains(app)
}

impl AppInfo {
    pub fn from_json(json: &Value) -> Self {
        let unit = |unit: &Value| unit.is_object().then(|| Unit::from_json(unit));
        let units = json.get("units").and_then(Value::as_array);
        Self {
            name: text(json, "name"),
            team: text(json, "teamowner"),
            pool: text(json, "pool"),
            tags: texts(json, "tags"),
            cnames: texts(json, "cname"),
            units: units.map(|units| units.iter().map(unit).collect()),
            routers: list(json, "routers").iter().map(Router::from_json).collect(),
            internal_addresses: list(json, "internalAddresses")
                .iter()
                .map(InternalAddress::from_json)
                .collect(),
            error: match json.get("error") {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(error)) => error.clone(),
                Some(other) => other.to_string(),
            },
            ip: text(json, "ip"),
        }
    }

    /// URL of the app without a trailing slash; empty if Tsuru reports no address. Addresses
    /// without a scheme get `scheme`.
    pub fn url(&self, scheme: &str) -> String {
        let of_router = |router: &Router| {
            router.addresses.iter().chain([&router.address]).find(|it| !it.is_empty()).cloned()
        };
        let routed = self.routers.iter().find_map(of_router);
        if let Some(address) = routed.or_else(|| Some(self.ip.clone()).filter(|ip| !ip.is_empty()))
        {
            let address = address.trim_end_matches('/');
            return match address.contains("://") {
                true => address.to_owned(),
                false => format!("{scheme}://{address}"),
            };
        }
        // Without a router an app is reachable only within its cluster.
        let internal = self.internal_addresses.iter().find(|it| it.version.is_empty());
        let internal = internal.and_then(|it| Some(format!("http://{}:{}", it.domain, it.port?)));
        internal.unwrap_or_default()
    }
}

impl Unit {
    fn from_json(json: &Value) -> Self {
        Self {
            id: text(json, "ID"),
            name: text(json, "Name"),
            process: text(json, "ProcessName"),
            status: text(json, "Status"),
            status_reason: text(json, "StatusReason"),
            ready: json.get("Ready").and_then(Value::as_bool),
            version: json.get("Version").map(Value::to_string).unwrap_or_default(),
            internal_ip: text(json, "InternalIP"),
            address: json.get("Address").map(|it| text(it, "Host")).unwrap_or_default(),
            host_address: text(json, "HostAddr"),
            host_port: port(json, "HostPort"),
        }
    }

    pub fn is_ready(&self) -> bool {
        self.status == "started" && self.ready != Some(false)
    }
}

impl Router {
    fn from_json(json: &Value) -> Self {
        Self { address: text(json, "address"), addresses: texts(json, "addresses") }
    }
}

impl InternalAddress {
    fn from_json(json: &Value) -> Self {
        Self {
            domain: text(json, "Domain"),
            protocol: text(json, "Protocol"),
            process: text(json, "Process"),
            version: text(json, "Version"),
            port: port(json, "Port"),
            target_port: port(json, "TargetPort"),
        }
    }
}

fn text(json: &Value, key: &str) -> String {
    json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list<'a>(json: &'a Value, key: &str) -> &'a [Value] {
    json.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(json: &Value, key: &str) -> Vec<String> {
    list(json, key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Accepts a number or a numeric text.
fn port(json: &Value, key: &str) -> Option<u16> {
    let number = match json.get(key)? {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64().and_then(|number| u16::try_from(number).ok()),
    };
    number.filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_app_is_reached_through_its_router_or_within_its_cluster() {
        let url = |app: Value| AppInfo::from_json(&app).url("https");
        let internal = json!([
            {"Domain": "p-web-v1.svc", "Protocol": "TCP", "Port": 80, "Version": "1"},
            {"Domain": "p-web.svc", "Protocol": "TCP", "Port": 80, "Version": ""},
        ]);
        let both = json!({"routers": [{"addresses": null, "address": ""}, {"addresses": ["a.test/"]}],
            "ip": "b.test", "internalAddresses": internal});
        assert_eq!(url(both), "https://a.test");
        assert_eq!(url(json!({"routers": [{"address": "http://a.test:81"}]})), "http://a.test:81");
        assert_eq!(url(json!({"routers": null, "ip": "b.test"})), "https://b.test");
        assert_eq!(url(json!({"internalAddresses": internal, "ip": ""})), "http://p-web.svc:80");
        assert_eq!(url(json!({"units": null, "tags": null})), "");
    }

    #[test]
    fn a_value_of_another_type_counts_as_missing() {
        for json in
            [json!([]), json!(7), json!({"name": 7, "tags": {}, "units": "x", "routers": 1})]
        {
            assert_eq!(AppInfo::from_json(&json), AppInfo::default(), "{json}");
        }
        let app =
            json!({"tags": ["a", 7], "units": [7, {"Name": 7, "HostPort": "80"}], "error": 7});
        let unit = Unit { host_port: Some(80), ..Unit::default() };
        let expected = AppInfo {
            tags: vec!["a".to_owned()],
            units: Some(vec![None, Some(unit)]),
            error: "7".to_owned(),
            ..AppInfo::default()
        };
        assert_eq!(AppInfo::from_json(&app), expected);
    }
}
