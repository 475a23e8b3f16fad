//! Binds the demo's app and creates a Prometheus for it, with the requests that Cloud Controller
//! sends for `cf create-service` and `cf bind-service`.

use super::{
    ENDPOINT,
    gorouter::{APP_GUID, ORGANIZATION_GUID, SPACE_GUID},
};
use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};

/// The broker's user in the demo.
pub(super) const USER: &str = "cloud-controller";

const INSTANCE: &str = "/v2/service_instances/4a1be0d2-93c6-4f0e-8f55-3c0a7a8e6d10";
const EVENTS: &str = "/v2/service_instances/8d2c9b1e-6f3a-4c57-9e08-b4a1d7f0c325";
const EVENTS_BINDING: &str = "/service_bindings/27b7a6c4-0d5e-4f8b-8a91-e3c6f2d4b590";
const PROMETHEUS_BINDING: &str = "/service_bindings/0f6b2f0c-58a3-4f0d-9d0b-4f2f6a1f7e88";
const BINDING: &str = "/service_bindings/e0c7f5a9-1b7d-4b52-b0d4-86c9e2c7d3a1";

/// Id of the service instance that is a Prometheus.
pub(super) const PROMETHEUS: &str = "c51d6f0a-2e94-4b7e-8a3c-71f5d9b0e642";

/// Polling interval of an operation.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The credentials of the binding.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub(super) url: String,
    pub(super) username: String,
    pub(super) password: String,
}

/// Where the app posts its events.
#[derive(Clone, Debug)]
pub(super) struct EventsCredentials {
    pub(super) url: String,
    pub(super) token: String,
}

/// Sets the metrics path of the demo's app.
pub(super) async fn bind(platform: &Platform<'_>) -> anyhow::Result<()> {
    let catalog = platform.send("/v2/catalog", None).await?;
    let service = catalog.pointer("/services/0").context("the catalog has no service")?;
    let plan = service.pointer("/plans/0").context("the service has no plan")?;
    platform.send(INSTANCE, Some(provision(service, plan))).await?;
    let bind = bind_app(service, plan, json!({"endpoint": ENDPOINT}));
    platform.send(&format!("{INSTANCE}{BINDING}"), Some(bind)).await?;
    Ok(())
}

/// Creates a queue of events for the demo's app.
pub(super) async fn events(platform: &Platform<'_>) -> anyhow::Result<EventsCredentials> {
    let (service, plan) = offered(platform, "events", "default").await?;
    platform.send(EVENTS, Some(provision(&service, &plan))).await?;
    let bind = bind_app(&service, &plan, json!({}));
    let bound = platform.send(&format!("{EVENTS}{EVENTS_BINDING}"), Some(bind)).await?;
    Ok(EventsCredentials { url: credential(&bound, "url")?, token: credential(&bound, "token")? })
}

/// Creates a Prometheus with these rules, and binds the demo's app to it.
pub(super) async fn prometheus(
    platform: &Platform<'_>,
    rules: Option<Value>,
) -> anyhow::Result<Credentials> {
    let (service, plan) = offered(platform, "prometheus", "ha").await?;
    let instance = format!("/v2/service_instances/{PROMETHEUS}");
    let mut request = provision(&service, &plan);
    request["parameters"] = json!({"scrape_interval": "1s"});
    if let Some(rules) = rules {
        request["parameters"]["rules"] = rules;
    }
    platform.send(&format!("{instance}?accepts_incomplete=true"), Some(request)).await?;
    loop {
        let last = platform.send(&format!("{instance}/last_operation"), None).await?;
        match last["state"].as_str() {
            Some("in progress") => tokio::time::sleep(POLL_INTERVAL).await,
            Some("succeeded") => break,
            _ => bail!("{}", last["description"].as_str().unwrap_or("it could not be created")),
        }
    }
    let bind = bind_app(&service, &plan, json!({"endpoint": ENDPOINT}));
    let bound = platform.send(&format!("{instance}{PROMETHEUS_BINDING}"), Some(bind)).await?;
    Ok(Credentials {
        url: credential(&bound, "url")?,
        username: credential(&bound, "username")?,
        password: credential(&bound, "password")?,
    })
}

/// A service of the catalog and its plan.
async fn offered(
    platform: &Platform<'_>,
    service: &str,
    plan: &str,
) -> anyhow::Result<(Value, Value)> {
    let catalog = platform.send("/v2/catalog", None).await?;
    let named =
        |list: &Value, name: &str| list.as_array()?.iter().find(|one| one["name"] == name).cloned();
    let found = named(&catalog["services"], service);
    let found = found.with_context(|| format!("{service} is not offered"))?;
    let plan = named(&found["plans"], plan).with_context(|| format!("there is no plan {plan}"))?;
    Ok((found, plan))
}

fn credential(bound: &Value, key: &str) -> anyhow::Result<String> {
    let text = bound["credentials"][key].as_str().map(str::to_owned);
    text.with_context(|| format!("the binding has no {key}"))
}

fn provision(service: &Value, plan: &Value) -> Value {
    json!({
        "service_id": service["id"],
        "plan_id": plan["id"],
        "organization_guid": ORGANIZATION_GUID,
        "space_guid": SPACE_GUID,
        "context": {"instance_name": "demo"},
    })
}

fn bind_app(service: &Value, plan: &Value, parameters: Value) -> Value {
    json!({
        "service_id": service["id"],
        "plan_id": plan["id"],
        "bind_resource": {"app_guid": APP_GUID},
        "parameters": parameters,
    })
}

/// A client of the broker in place of Cloud Controller.
pub(super) struct Platform<'a> {
    pub(super) broker: SocketAddr,
    pub(super) password: &'a str,
    pub(super) http: awc::Client,
}

impl Platform<'_> {
    /// Sends a PUT request if there is a `body`, else a GET request.
    async fn send(&self, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
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
        let status = response.status();
        let answer: Value = response.json().limit(1 << 20).await?;
        if !status.is_success() {
            let reason = answer["description"].as_str().unwrap_or_default();
            bail!("the demo's broker answered {status} {reason}");
        }
        Ok(answer)
    }
}
