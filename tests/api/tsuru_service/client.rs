//! The API on a free port, and a client that sends requests like Tsuru.

use crate::{
    served_api::{credentials, open_broker, serve},
    stores::*,
};
use actix_web::{http::Method, web};
use awc::ClientRequest;
use scrapebroker::{
    broker::Broker,
    discovery::{RouteTable, Snapshot},
    domain::{CallsWithoutEventId, Catalog},
    http::{
        auth::BasicCredentials,
        tsuru::{self, TsuruState},
    },
    net::{ConnectionLimiter, ConnectionLimiterMetrics, Resolver},
    query,
    store::Store,
    tls,
};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) const BASE_URL: &str = "https://metrics.example.com";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
/// The event ID of a request. Tsuru sends it in the header and in the body.
pub(crate) const EVENT: &str = "665f1c2ab8d5e9a1c0ffee01";
pub(crate) const EVENT_ID: &str = "X-Tsuru-Eventid";

/// The shipped service `metrics` with two more plans that have parameters, and another service
/// whose plan cannot be changed.
pub(crate) fn catalog() -> Catalog {
    let mut document: Value =
        serde_json::from_str(include_str!("../../../broker-catalog.json")).unwrap();
    let mut metrics = document["services"][0].clone();
    let schema = json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "properties": {
            "scrape_interval": {"type": "string"},
            "paths": {"type": "array", "items": {"type": "string"}},
            "limits": {"type": "object", "properties": {"series": {"type": "integer"}}},
        },
        "additionalProperties": false,
    });
    for name in ["small", "large"] {
        let mut plan = metrics["plans"][0].clone();
        plan["id"] = json!(name);
        plan["name"] = json!(name);
        plan["description"] = json!(format!("the {name} one"));
        plan["schemas"]["service_instance"] =
            json!({"create": {"parameters": schema}, "update": {"parameters": schema}});
        metrics["plans"].as_array_mut().unwrap().push(plan);
    }
    let mut other = metrics.clone();
    other["id"] = json!("other");
    other["name"] = json!("other");
    other["plan_updateable"] = json!(false);
    for plan in other["plans"].as_array_mut().unwrap() {
        plan["id"] = json!(format!("other-{}", plan["id"].as_str().unwrap()));
    }
    document["services"] = json!([metrics, other]);
    Catalog::parse(&document, BASE_URL).unwrap()
}

/// The API on a free port.
pub(crate) struct Api {
    pub(crate) url: String,
    pub(crate) broker: Broker,
    client: awc::Client,
}

/// A response.
#[derive(Debug)]
pub(crate) struct ServiceResponse {
    pub(crate) status: u16,
    pub(crate) headers: awc::http::header::HeaderMap,
    pub(crate) text: String,
}

impl ServiceResponse {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// A variable of a bind response. All values must be strings, because Tsuru cannot parse other
    /// types.
    pub(crate) fn variable(&self, name: &str) -> String {
        let variables = self.json();
        let variables = variables.as_object().unwrap();
        assert!(variables.values().all(Value::is_string), "{self:?}");
        variables[name].as_str().unwrap().to_owned()
    }
}

impl Api {
    pub(crate) async fn start(store: &Store) -> Self {
        Self::serve(open_broker(store, catalog()).await, credentials())
    }

    pub(crate) fn serve(broker: Broker, credentials: Option<BasicCredentials>) -> Self {
        Self::serve_accepting(broker, credentials, CallsWithoutEventId::Refuse)
    }

    /// Like [`Api::serve`], with a setting for requests without an event ID.
    pub(crate) fn serve_accepting(
        broker: Broker,
        credentials: Option<BasicCredentials>,
        accepted: CallsWithoutEventId,
    ) -> Self {
        let base_url = BASE_URL.parse().unwrap();
        let state = web::Data::new(TsuruState {
            broker: broker.clone(),
            credentials,
            base_url,
            api: None,
            calls_without_event_id: accepted,
            table: RouteTable::new(Snapshot::default()),
            last: Arc::default(),
            pools: query::InstancePools::default(),
        });
        let tls = Arc::new(tls::ClientSettings::default().config().unwrap());
        let resolver = Resolver::new(tokio::runtime::Handle::current());
        let outgoing = ConnectionLimiter::new(100, ConnectionLimiterMetrics::default());
        let (url, client) = serve("/tsuru", move |config| {
            config.app_data(state.clone());
            config.app_data(web::Data::new(query::PrometheusClient::new(
                Arc::clone(&tls),
                resolver.clone(),
                outgoing.clone(),
                query::ServerStates::default(),
            )));
            tsuru::configure(config);
        });
        Self { url, broker, client }
    }

    /// A request without credentials and headers.
    pub(crate) fn bare(&self, method: &str, path: &str) -> ClientRequest {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// A request with valid credentials.
    pub(crate) fn request(&self, method: &str, path: &str) -> ClientRequest {
        self.bare(method, path).basic_auth("broker", "secret")
    }

    /// A request that Tsuru itself sends. Its body must contain [`EVENT`].
    pub(crate) fn own(&self, method: &str, path: &str) -> ClientRequest {
        self.request(method, path).insert_header((EVENT_ID, EVENT))
    }

    pub(crate) async fn get(&self, path: &str) -> ServiceResponse {
        send_request(self.request("GET", path), "").await
    }

    pub(crate) async fn post(&self, path: &str, form: &str) -> ServiceResponse {
        self.form("POST", path, form).await
    }

    pub(crate) async fn put(&self, path: &str, form: &str) -> ServiceResponse {
        self.form("PUT", path, form).await
    }

    pub(crate) async fn delete(&self, path: &str, form: &str) -> ServiceResponse {
        self.form("DELETE", path, form).await
    }

    /// Sends a request of Tsuru itself. If the form has no event ID, one is added.
    pub(crate) async fn form(&self, method: &str, path: &str, form: &str) -> ServiceResponse {
        let named = form.split('&').find_map(|field| field.strip_prefix("eventid="));
        let (event, form) = match named {
            Some(event) => (event, form.to_owned()),
            None => (EVENT, format!("{form}&eventid={EVENT}")),
        };
        let request = self.request(method, path).insert_header(("Content-Type", FORM));
        send_request(request.insert_header((EVENT_ID, event)), form).await
    }

    /// Creates an instance that must not exist yet.
    pub(crate) async fn created(&self, name: &str) {
        let made = self.post("/metrics/resources", &format!("name={name}&team=checkout")).await;
        assert_eq!(made.status, 201, "{made:?}");
    }

    /// The known hosts of a bound app.
    pub(crate) fn hosts(&self, app: &str) -> Option<Vec<String>> {
        let apps = self.broker.binding_table().tsuru_apps();
        apps.iter().find(|known| known.name == app).map(|app| app.hosts.clone())
    }

    /// The endpoint in the active binding of an app.
    pub(crate) fn endpoint(&self, app: &str) -> Option<String> {
        let active_binding = self.broker.binding_table().binding_for(app)?;
        active_binding.options.endpoint.as_ref().map(|path| path.as_str().to_owned())
    }
}

/// Sends a request without changes.
pub(crate) async fn send_request(
    request: ClientRequest,
    body: impl Into<String>,
) -> ServiceResponse {
    let mut response = request.send_body(body.into()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.body().await.unwrap();
    ServiceResponse { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
}

/// Runs `test` with the API on an empty SQLite database, and then on an empty PostgreSQL schema.
pub(crate) async fn on_both(test: impl AsyncFn(Api)) {
    on_both_stores(async |store| test(Api::start(&store).await).await).await;
}

/// Runs `test` on an empty SQLite database. For tests that do not depend on the kind of database.
pub(crate) async fn on_sqlite(test: impl AsyncFn(Api)) {
    on_sqlite_store(async |store| test(Api::start(&store).await).await).await;
}
