//! Fields of Tsuru's JSON that are used.
//!
//! Empty lists may be `null`, as Go writes them.

use serde::{Deserialize, Deserializer};

/// `GET /1.0/apps/{app}`
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct AppInfo {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) units: Vec<Unit>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) routers: Vec<Router>,
    #[serde(default, deserialize_with = "or_default", rename = "internalAddresses")]
    pub(super) internal_addresses: Vec<InternalAddress>,
    /// Error that Tsuru reports for the app.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) error: String,
    /// Address of the first router; older versions have it only here.
    #[serde(default, deserialize_with = "or_default")]
    ip: String,
}

/// A unit. Tsuru has no JSON tags for its fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Unit {
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) status: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) status_reason: String,
    pub(super) ready: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Router {
    #[serde(deserialize_with = "or_default")]
    address: String,
    #[serde(deserialize_with = "or_default")]
    addresses: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct InternalAddress {
    #[serde(deserialize_with = "or_default")]
    domain: String,
    #[serde(deserialize_with = "or_default")]
    port: i64,
    #[serde(deserialize_with = "or_default")]
    version: String,
}

/// `GET /1.0/apps/{app}/env`
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Variable {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) value: String,
}

impl AppInfo {
    /// URL of the app without a trailing slash; empty if Tsuru reports no address. Addresses
    /// without a scheme get `scheme`.
    pub(super) fn url(&self, scheme: &str) -> String {
        let of_router = |router: &Router| {
            router.addresses.iter().chain([&router.address]).find(|a| !a.is_empty()).cloned()
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
        internal.map(|it| format!("http://{}:{}", it.domain, it.port)).unwrap_or_default()
    }
}

fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn url(app: Value) -> String {
        serde_json::from_value::<AppInfo>(app).unwrap().url("https")
    }

    #[test]
    fn an_app_is_reached_through_its_router_or_within_its_cluster() {
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
}
