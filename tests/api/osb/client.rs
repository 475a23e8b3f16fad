//! A broker on a free port, and a client for it.

use crate::{
    served_api::{credentials, open_broker, serve},
    stores::*,
};
use actix_web::{http::Method, web};
use awc::ClientRequest;
use scrapebroker::{
    broker::Broker,
    domain::Catalog,
    http::{
        auth::BasicCredentials,
        osb::{self, OsbState},
    },
    store::Store,
};
use serde_json::{Value, json};

/// IDs of the shipped catalog.
pub(crate) const SERVICE: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a01";
pub(crate) const PLAN: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a11";
/// A second plan with a maintenance version. The shipped catalog does not contain it.
pub(crate) const SECOND_PLAN: &str = "second";
/// A third plan whose instances cannot change to another plan.
pub(crate) const FIXED_PLAN: &str = "fixed";
pub(crate) const BASE_URL: &str = "https://metrics.example.com";

pub(crate) fn catalog() -> Catalog {
    let mut document: Value =
        serde_json::from_str(include_str!("../../../broker-catalog.json")).unwrap();
    let plans = document["services"][0]["plans"].as_array_mut().unwrap();
    let mut second = plans[0].clone();
    second["id"] = json!(SECOND_PLAN);
    second["name"] = json!("second");
    second["maintenance_info"] = json!({"version": "1.2.0"});
    let mut fixed = plans[0].clone();
    fixed["id"] = json!(FIXED_PLAN);
    fixed["name"] = json!("fixed");
    fixed["plan_updateable"] = json!(false);
    plans.extend([second, fixed]);
    Catalog::parse(&document, BASE_URL).unwrap()
}

/// A broker that listens on a free port.
pub(crate) struct Api {
    pub(crate) url: String,
    pub(crate) broker: Broker,
    client: awc::Client,
}

/// A response.
#[derive(Debug)]
pub(crate) struct BrokerResponse {
    pub(crate) status: u16,
    pub(crate) headers: awc::http::header::HeaderMap,
    /// The JSON body. Null if there is no body.
    pub(crate) body: Value,
}

impl BrokerResponse {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn description(&self) -> &str {
        self.body["description"].as_str().unwrap_or_else(|| panic!("no description: {self:?}"))
    }
}

impl Api {
    pub(crate) async fn start(store: &Store) -> Self {
        Self::serve(open_broker(store, catalog()).await, credentials())
    }

    pub(crate) fn serve(broker: Broker, credentials: Option<BasicCredentials>) -> Self {
        let base_url = BASE_URL.parse().unwrap();
        let state = web::Data::new(OsbState { broker: broker.clone(), credentials, base_url });
        let (url, client) = serve("/broker", move |config| {
            config.app_data(state.clone());
            osb::configure(config);
        });
        Self { url, broker, client }
    }

    /// A request without credentials and headers.
    pub(crate) fn bare(&self, method: &str, path: &str) -> ClientRequest {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// A request with valid credentials and API version.
    pub(crate) fn request(&self, method: &str, path: &str) -> ClientRequest {
        self.bare(method, path)
            .basic_auth("broker", "secret")
            .insert_header(("X-Broker-API-Version", "2.15"))
    }

    pub(crate) async fn get(&self, path: &str) -> BrokerResponse {
        send_request(self.request("GET", path), None).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> BrokerResponse {
        send_request(self.request("PUT", path), Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> BrokerResponse {
        send_request(self.request("PATCH", path), Some(body)).await
    }

    /// Sends a DELETE with the required `service_id` and `plan_id`.
    pub(crate) async fn delete(&self, path: &str) -> BrokerResponse {
        let path = format!("{path}?plan_id={PLAN}&service_id={SERVICE}");
        send_request(self.request("DELETE", &path), None).await
    }
}

/// Sends a request with an optional JSON body.
pub(crate) async fn send_request(request: ClientRequest, body: Option<&Value>) -> BrokerResponse {
    let response = match body {
        Some(body) => request.send_json(body).await,
        None => request.send().await,
    };
    let mut response = response.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.body().await.unwrap();
    let body = match bytes.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| panic!("{status}, not JSON: {}", String::from_utf8_lossy(&bytes))),
    };
    assert!(body.is_object() || body.is_null(), "the body is not an object: {body}");
    BrokerResponse { status, headers, body }
}

pub(crate) fn instance(id: &str) -> String {
    format!("/v2/service_instances/{id}")
}

pub(crate) fn binding(instance: &str, id: &str) -> String {
    format!("/v2/service_instances/{instance}/service_bindings/{id}")
}

/// The body of a provision request with only the required fields.
pub(crate) fn provision() -> Value {
    json!({"service_id": SERVICE, "plan_id": PLAN, "organization_guid": "o", "space_guid": "s"})
}

/// The body of a bind request for an app.
pub(crate) fn bind(app: &str) -> Value {
    json!({"service_id": SERVICE, "plan_id": PLAN, "bind_resource": {"app_guid": app}})
}

/// Replaces the value of a key in `value`. Null removes the key.
pub(crate) fn with(mut value: Value, key: &str, other: Value) -> Value {
    match other {
        Value::Null => drop(value.as_object_mut().unwrap().remove(key)),
        other => value[key] = other,
    }
    value
}

/// Runs `test` with a broker on an empty SQLite database, and then on an empty PostgreSQL schema.
pub(crate) async fn on_both(test: impl AsyncFn(Api)) {
    on_both_stores(async |store| test(Api::start(&store).await).await).await;
}

/// Runs `test` on an empty SQLite database. For tests that do not depend on the kind of database.
pub(crate) async fn on_sqlite(test: impl AsyncFn(Api)) {
    on_sqlite_store(async |store| test(Api::start(&store).await).await).await;
}
