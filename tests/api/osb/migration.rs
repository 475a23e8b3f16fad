//! The migration from promfetcher, with recorded requests of Cloud Controller.

use super::client::*;
use crate::stores::on_both_stores;
use scrapebroker::{
    broker::Broker,
    config::{Config, promfetcher},
    domain::Catalog,
    http::auth::BasicCredentials,
    store::{self, Store},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection, Executor};
use std::{fs, path::Path};

/// Service and plan IDs of promfetcher's BOSH release.
const OLD_SERVICE: &str = "e44a55b7-b532-4247-89f3-4ea92054b793";
const OLD_PLAN: &str = "3294e4fa-42b3-4505-b289-8fb3695b5b3a";
/// The instance and the two bindings of the recorded requests.
const INSTANCE: &str = "c6b8a1d0-77aa-4a1c-8b6e-0a0b0c0d0001";
const BINDING: &str = "c6b8a1d0-77aa-4a1c-8b6e-0a0b0c0d0101";
const KEY: &str = "c6b8a1d0-77aa-4a1c-8b6e-0a0b0c0d0102";

/// The password in `CONFIGURATION`.
const PASSWORD: &str = "secretsecret";

const CONFIGURATION: &str = "
gorouters: [{ host: 127.0.0.1, port: 8082, user: router-status, pass: hunter2 }]
base_url: https://metrics.example.com
port: 8443
health_check_port: 8081
db_conn: mysql://promfetcher:hunter2@sql-db.service.cf.internal:3306/promfetcher
broker:
  broker_service_id: e44a55b7-b532-4247-89f3-4ea92054b793
  broker_plan_id: 3294e4fa-42b3-4505-b289-8fb3695b5b3a
  user: broker
  pass: secretsecret
";

/// Recorded requests, with promfetcher's IDs.
struct CloudController(Vec<Value>);

impl CloudController {
    fn new() -> Self {
        let recorded = include_str!("../../fixtures/cf_osb_requests.json");
        let moved = recorded.replace(SERVICE, OLD_SERVICE).replace(PLAN, OLD_PLAN);
        Self(serde_json::from_str(&moved).unwrap())
    }

    /// Sends the recorded request of this command. `ids` replaces the IDs of instance and binding.
    async fn send(&self, api: &Api, cli: &str, ids: &[(&str, &str)]) -> BrokerResponse {
        let is_meant = |sent: &&Value| sent["cli"].as_str().unwrap().starts_with(cli);
        let mut text = self.0.iter().find(is_meant).unwrap().to_string();
        for (recorded, other) in ids {
            text = text.replace(recorded, other);
        }
        let sent: Value = serde_json::from_str(&text).unwrap();
        let field = |key: &str| sent[key].as_str().unwrap();
        let mut request = api.bare(field("method"), field("path")).basic_auth("broker", PASSWORD);
        for (name, value) in sent["headers"].as_object().unwrap() {
            request = request.insert_header((name.as_str(), value.as_str().unwrap()));
        }
        send_request(request, (!sent["body"].is_null()).then_some(&sent["body"])).await
    }
}

/// A database with the schema of promfetcher.
async fn old_database(dir: &Path) -> SecretString {
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", dir.join("promfetcher.db").display());
    let mut connection = AnyConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
    let table = "CREATE TABLE app_endpoints (guid varchar(255) NOT NULL, app_guid varchar(255), \
                 endpoint varchar(255), PRIMARY KEY (guid))";
    connection.execute(table).await.unwrap();
    let rows = "INSERT INTO app_endpoints (guid, app_guid, endpoint) VALUES \
                ('old-binding', 'old-app', '/actuator/prometheus'), \
                ('other-binding', 'other-app', '/prom?all=1'), ('old-key', '', '/key')";
    connection.execute(rows).await.unwrap();
    connection.close().await.unwrap();
    url.into()
}

/// The configuration and the catalog that `check-config --promfetcher` generates.
fn converted_config(dir: &Path) -> (Config, Catalog) {
    let (old, new) = (dir.join("promfetcher.yml"), dir.join("scrapebroker.yml"));
    fs::write(&old, CONFIGURATION).unwrap();
    let converted = promfetcher::convert(&old, None).unwrap();
    fs::write(&new, converted.settings).unwrap();
    let config = Config::load(Some(&new), []).unwrap();
    let catalog = serde_json::from_str(&converted.catalog).unwrap();
    let catalog = Catalog::parse(&catalog, config.base_url.as_str()).unwrap();
    (config, catalog)
}

async fn migrated_api(store: &Store, config: &Config, catalog: Catalog) -> Api {
    let key = SecretString::from("a key that is long enough");
    let broker = Broker::open(store.clone(), Some(&key), catalog).await.unwrap();
    broker.adopt_unknown_instances(config.broker.adopt_unknown_instances);
    let credentials = config.broker.credentials.as_ref().unwrap();
    Api::serve(broker, Some(BasicCredentials::new(&credentials.username, &credentials.password)))
}

fn active_endpoint(api: &Api, app: &str) -> Option<String> {
    let binding = api.broker.binding_table().binding_for(app)?;
    binding.options.endpoint.as_ref().map(|endpoint| endpoint.as_str().to_owned())
}

#[actix_web::test]
async fn the_complete_migration_with_requests_of_cloud_controller() {
    on_both_stores(async |store| {
        let dir = tempfile::tempdir().unwrap();
        let (config, catalog) = converted_config(dir.path());
        let database = old_database(dir.path()).await;
        let cc = CloudController::new();
        let api = migrated_api(&store, &config, catalog).await;

        // After `cf update-service-broker` the service offering and its plan have the IDs of the
        // existing instances.
        let registered = cc.send(&api, "cf create-service-broker", &[]).await;
        let service = &registered.body["services"][0];
        assert_eq!((registered.status, &service["name"]), (200, &json!("promfetcher")));
        assert_eq!(service["id"], OLD_SERVICE);
        assert_eq!(service["plans"][0]["id"], OLD_PLAN);
        assert_eq!(service["plans"][0]["name"], "fetch-app");

        // `import-promfetcher` runs twice.
        for expected in [(2, 0), (0, 2)] {
            let rows = store::promfetcher::app_endpoints(&database).await.unwrap();
            let import = api.broker.import(&rows).await.unwrap();
            assert_eq!(
                (import.imported, import.known, import.without_app),
                (expected.0, expected.1, 1)
            );
        }
        assert_eq!(active_endpoint(&api, "old-app").as_deref(), Some("/actuator/prometheus"));
        assert_eq!(active_endpoint(&api, "other-app").as_deref(), Some("/prom?all=1"));

        // The platform sends requests about an instance of promfetcher.
        let old = [(BINDING, "old-binding")];
        let fetched = cc.send(&api, "fetch binding", &old).await;
        assert_eq!(fetched.status, 200);
        assert_eq!(fetched.body["parameters"], json!({"endpoint": "/actuator/prometheus"}));
        assert!(fetched.body["credentials"]["url"].as_str().unwrap().contains("old-app"));
        assert_eq!(
            cc.send(&api, "fetch instance", &[]).await.status,
            404,
            "the instance is not adopted yet"
        );
        assert_eq!(cc.send(&api, "cf update-service", &[]).await.status, 200);
        assert_eq!(cc.send(&api, "fetch instance", &[]).await.status, 200);
        assert_eq!(
            cc.send(&api, "cf rename-service", &[(INSTANCE, "other-instance")]).await.status,
            200
        );
        assert_eq!(
            cc.send(&api, "cf bind-service", &[(INSTANCE, "third-instance")]).await.status,
            201
        );
        assert_eq!(
            cc.send(&api, "cf bind-service", &[(INSTANCE, "third-instance")]).await.status,
            200
        );
        assert_eq!(
            cc.send(&api, "cf create-service-key", &[(INSTANCE, "fourth-instance")]).await.status,
            201
        );

        // The bindings of promfetcher are removed, including those that were not imported. Then the
        // instances are removed.
        assert_eq!(cc.send(&api, "cf unbind-service", &old).await.status, 200);
        assert_eq!(active_endpoint(&api, "old-app"), None);
        for unknown in [old, [(BINDING, "without-endpoint")]] {
            let gone = cc.send(&api, "cf unbind-service", &unknown).await;
            assert_eq!((gone.status, gone.body), (410, json!({})), "{unknown:?}");
        }
        for instance in ["never-seen", "other-instance"] {
            let ids = [(INSTANCE, instance)];
            assert_eq!(cc.send(&api, "cf delete-service", &ids).await.status, 200, "{instance}");
            assert_eq!(cc.send(&api, "cf delete-service", &ids).await.status, 410, "{instance}");
            let late = [(INSTANCE, instance), (KEY, "late")];
            assert_eq!(
                cc.send(&api, "cf create-service-key", &late).await.status,
                404,
                "{instance}"
            );
        }

        // A later import does not restore removed bindings.
        let rows = store::promfetcher::app_endpoints(&database).await.unwrap();
        assert_eq!(api.broker.import(&rows).await.unwrap().imported, 0);
        assert_eq!(active_endpoint(&api, "old-app"), None);

        // The migration is complete.
        api.broker.adopt_unknown_instances(false);
        let fifth = [(INSTANCE, "fifth-instance"), (BINDING, "fifth-binding")];
        assert_eq!(cc.send(&api, "cf bind-service", &fifth).await.status, 404);
        assert_eq!(cc.send(&api, "cf update-service", &fifth).await.status, 404);
        assert_eq!(cc.send(&api, "cf delete-service", &fifth).await.status, 410);
        let other = [(INSTANCE, "any-instance"), (BINDING, "other-binding")];
        assert_eq!(cc.send(&api, "cf unbind-service", &other).await.status, 200);
        assert_eq!(active_endpoint(&api, "other-app"), None);
    })
    .await;
}

#[actix_web::test]
async fn unknown_instances_without_space_service_or_plan_are_not_adopted() {
    on_both(async |api| {
        api.broker.adopt_unknown_instances(true);
        let context = json!({"organization_guid": "o", "space_guid": "s"});
        let whole = with(bind("app"), "context", context.clone());
        for (key, other, status) in [
            ("context", json!(null), 404),
            ("context", json!({"space_guid": "s"}), 404),
            ("context", json!({"organization_guid": 5, "space_guid": "s"}), 404),
            ("context", json!("cloudfoundry"), 404),
            ("plan_id", json!("unknown"), 400),
            ("service_id", json!("unknown"), 400),
            ("parameters", json!({"no": "such"}), 400),
        ] {
            let answer =
                api.put(&binding("i", "b"), &with(whole.clone(), key, other.clone())).await;
            assert_eq!(answer.status, status, "{key} {other}");
            assert_eq!(
                api.get(&instance("i")).await.status,
                404,
                "{key} {other}: no instance is stored"
            );
        }
        assert_eq!(api.put(&binding("i", "b"), &whole).await.status, 201);
        // The space may be part of `bind_resource`, which Cloud Controller sends as well.
        let beside = json!({"app_guid": "app", "space_guid": "s"});
        let whole = with(whole, "bind_resource", beside);
        let whole = with(whole, "context", json!({"organization_guid": "o"}));
        assert_eq!(api.put(&binding("j", "c"), &whole).await.status, 201);
        let update = json!({"service_id": SERVICE, "context": context});
        assert_eq!(
            api.patch(&instance("k"), &update).await.status,
            404,
            "an instance without a plan is not adopted"
        );
    })
    .await;
}
