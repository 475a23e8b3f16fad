//! Binds the demo's app by the requests that Cloud Controller sends for
//! `cf create-service` and `cf bind-service`.

use super::{
    ENDPOINT,
    gorouter::{APP_GUID, ORGANIZATION_GUID, SPACE_GUID},
};
use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// The broker's user in the demo.
pub(super) const USER: &str = "cloud-controller";

const INSTANCE: &str = "/v2/service_instances/4a1be0d2-93c6-4f0e-8f55-3c0a7a8e6d10";
const BINDING: &str = "/service_bindings/e0c7f5a9-1b7d-4b52-b0d4-86c9e2c7d3a1";

pub(super) async fn bind(broker: SocketAddr, password: &str) -> anyhow::Result<()> {
    let platform = Platform { broker, password, http: awc::Client::default() };
    let catalog = platform.ask("/v2/catalog", None).await?;
    let service = catalog.pointer("/services/0").context("the catalog has no service")?;
    let plan = service.pointer("/plans/0").context("the service has no plan")?;
    let provision = json!({
        "service_id": service["id"],
        "plan_id": plan["id"],
        "organization_guid": ORGANIZATION_GUID,
        "space_guid": SPACE_GUID,
    });
    platform.ask(INSTANCE, Some(provision)).await?;
    let bind = json!({
        "service_id": service["id"],
        "plan_id": plan["id"],
        "bind_resource": {"app_guid": APP_GUID},
        "parameters": {"endpoint": ENDPOINT},
    });
    platform.ask(&format!("{INSTANCE}{BINDING}"), Some(bind)).await?;
    Ok(())
}

struct Platform<'a> {
    broker: SocketAddr,
    password: &'a str,
    http: awc::Client,
}

impl Platform<'_> {
    /// PUTs `body` if there is one, else GETs.
    async fn ask(&self, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let url = format!("http://{}/broker{path}", self.broker);
        let request = match &body {
            Some(_) => self.http.put(url),
            None => self.http.get(url),
        };
        let request =
            request.basic_auth(USER, self.password).insert_header(("X-Broker-API-Version", "2.15"));
        let sent = match body {
            Some(body) => request.send_json(&body).await,
            None => request.send().await,
        };
        let mut response = sent.map_err(|error| anyhow!("the demo's broker: {error}"))?;
        if !response.status().is_success() {
            bail!("the demo's broker answered {}", response.status());
        }
        Ok(response.json().limit(1 << 20).await?)
    }
}
