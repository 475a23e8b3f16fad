//! Several replicas of the program that share a PostgreSQL database.

use crate::server_process::*;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use std::time::{Duration, Instant};
use support::*;

/// Maximum delay until a binding that one replica created is active in the others.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// A PostgreSQL database that only one test uses.
pub(crate) struct Database {
    server: url::Url,
    name: String,
}

impl Database {
    #[expect(
        clippy::disallowed_methods,
        reason = "this variable configures the tests, not the program"
    )]
    pub(crate) async fn create() -> Self {
        let server = std::env::var("SCRAPEBROKER_TEST_POSTGRES").expect(
            "this test needs a PostgreSQL: run `make test`, or `scripts/with-postgres cargo test`",
        );
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let database = Self { server: server.parse().unwrap(), name };
        database.on_server(format!("CREATE DATABASE {}", database.name)).await;
        database
    }

    pub(crate) fn url(&self) -> String {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.into()
    }

    async fn connect(&self) -> AnyConnection {
        AnyConnection::connect(&self.url()).await.unwrap()
    }

    async fn on_server(&self, statement: String) {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(self.server.as_str()).await.unwrap();
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
        connection.close().await.unwrap();
    }

    pub(crate) async fn drop(self) {
        self.on_server(format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

/// Starts three replicas concurrently on an empty database.
fn start_three(
    database: &Database,
    settings: &[(&str, &str)],
) -> (Vec<tempfile::TempDir>, Vec<StartingServer>) {
    let url = database.url();
    let shared = [
        ("SCRAPEBROKER__DATABASE_URL", &*url),
        ("SCRAPEBROKER__BROKER__TOKEN_KEY", "shared by all of them"),
        ("SCRAPEBROKER__PROMETHEUS__PROVISIONER", "none"),
    ];
    let settings: Vec<_> = shared.iter().chain(settings).copied().collect();
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let starting: Vec<_> =
        folders.iter().map(|folder| Server::spawn(folder.path(), &settings)).collect();
    (folders, starting)
}

fn three_replicas(
    database: &Database,
    settings: &[(&str, &str)],
) -> (Vec<tempfile::TempDir>, Vec<Server>) {
    let (folders, starting) = start_three(database, settings);
    (folders, starting.into_iter().map(StartingServer::listening).collect())
}

/// The bodies of a provision request and of a bind request for an app.
async fn bodies(server: &Server, app: &str) -> (Value, Value) {
    let (service, plan) = catalog_ids(server.address).await;
    let provision = json!({
        "service_id": service, "plan_id": plan, "organization_guid": "o", "space_guid": "s",
    });
    let bind = json!({
        "service_id": service, "plan_id": plan, "bind_resource": {"app_guid": app},
        "parameters": {"labels": {"team": "checkout"}},
    });
    (provision, bind)
}

/// The active binding of the app in a replica.
async fn active_binding(server: &Server) -> Value {
    let url = format!("http://{}/v1/apps/app-guid", server.address);
    let answer = send("GET", &url, &[], None).await;
    match answer.status {
        200 => answer.json()["apps"][0]["binding"]["binding_id"].clone(),
        _ => Value::Null,
    }
}

#[actix_web::test]
async fn a_new_binding_is_active_in_all_replicas_within_two_seconds() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let (_, file) = routes.setting();
    let database = Database::create().await;
    let (_folders, servers) = three_replicas(&database, &[("SCRAPEBROKER__ROUTES__FILE", &*file)]);
    let (provision, bind) = bodies(&servers[0], "app-guid").await;
    for server in &servers {
        let url = format!("http://{}/-/ready", server.address);
        eventually(async || (send("GET", &url, &[], None).await.status == 200).then_some(())).await;
    }
    let everywhere = async |expected: Value| {
        let since = Instant::now();
        let mut waiting: Vec<_> = servers.iter().collect();
        while !waiting.is_empty() {
            let mut still = Vec::new();
            for server in waiting {
                if active_binding(server).await != expected {
                    still.push(server);
                }
            }
            waiting = still;
            // The documentation guarantees this delay.
            assert!(
                since.elapsed() < MAX_DELAY,
                "{expected} is not active in {} replicas",
                waiting.len()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let made =
        servers[0].broker_request("PUT", "/v2/service_instances/i", Some(provision)).await.unwrap();
    assert_eq!(made.status, 201);
    let path = "/v2/service_instances/i/service_bindings/b";
    let bound = servers[1].broker_request("PUT", path, Some(bind.clone())).await.unwrap();
    assert_eq!(bound.status, 201);
    everywhere(json!("b")).await;
    for server in &servers {
        let url = format!("http://{}/v1/apps/app-guid/metrics", server.address);
        let lines = send("GET", &url, &[], None).await.lines("a{");
        assert!(lines.iter().all(|line| line.contains("team=\"checkout\"")), "{lines:?}");
        // A repeated PUT to another replica returns the same response, including the token.
        let again = server.broker_request("PUT", path, Some(bind.clone())).await.unwrap();
        assert_eq!((again.status, again.json()), (200, bound.json()));
    }
    let (service, plan) = (&bind["service_id"], &bind["plan_id"]);
    let query =
        format!("?service_id={}&plan_id={}", service.as_str().unwrap(), plan.as_str().unwrap());
    let gone = servers[2].broker_request("DELETE", &format!("{path}{query}"), None).await.unwrap();
    assert_eq!(gone.status, 200);
    everywhere(Value::Null).await;
    drop(servers);
    database.drop().await;
}

#[actix_web::test]
async fn concurrent_equal_requests_to_all_replicas_are_executed_once() {
    let database = Database::create().await;
    let (_folders, servers) = three_replicas(&database, &[]);
    let (provision, bind) = bodies(&servers[0], "app").await;
    let at_all = async |method: &str, path: &str, body: Option<&Value>| {
        let requests = servers
            .iter()
            .chain(&servers)
            .map(|server| server.broker_request(method, path, body.cloned()));
        let answers = join_all(requests).await.into_iter().map(Option::unwrap);
        let answers: Vec<_> = answers.map(|answer| (answer.status, answer.json())).collect();
        let mut statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
        statuses.sort_unstable();
        assert!(answers.iter().all(|(_, body)| *body == answers[0].1), "{answers:?}");
        statuses
    };
    let query = format!(
        "?service_id={}&plan_id={}",
        bind["service_id"].as_str().unwrap(),
        bind["plan_id"].as_str().unwrap()
    );
    for round in 0..5 {
        let instance = format!("/v2/service_instances/i{round}");
        let binding = format!("{instance}/service_bindings/b{round}");
        let once = [200, 200, 200, 200, 200, 201];
        assert_eq!(at_all("PUT", &instance, Some(&provision)).await, once);
        assert_eq!(at_all("PUT", &binding, Some(&bind)).await, once);
        let gone = [200, 410, 410, 410, 410, 410];
        assert_eq!(at_all("DELETE", &format!("{binding}{query}"), None).await, gone);
        assert_eq!(at_all("DELETE", &format!("{instance}{query}"), None).await, gone);
    }
    drop(servers);
    database.drop().await;
}

#[actix_web::test]
async fn replicas_wait_while_one_migrates_the_database() {
    let database = Database::create().await;
    // A replica holds this advisory lock during a migration.
    let mut crc = flate2::Crc::new();
    crc.update(database.name.as_bytes());
    let lock = 0x3d32_ad9e * i64::from(crc.sum());
    let mut migrating = database.connect().await;
    let count = async |connection: &mut AnyConnection, what: &str| -> i64 {
        let statement = format!("SELECT count(*) FROM {what}");
        sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(connection).await.unwrap()
    };
    count(&mut migrating, &format!("pg_advisory_lock({lock})")).await;
    let (_folders, mut starting) = start_three(&database, &[]);
    let waiting = format!(
        "pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = \
         (SELECT oid FROM pg_database WHERE datname = '{}')",
        database.name
    );
    eventually(async || (count(&mut migrating, &waiting).await == 3).then_some(())).await;
    let tables = "pg_tables WHERE schemaname = 'public'";
    assert_eq!(count(&mut migrating, tables).await, 0, "no migration has begun");
    assert_eq!(
        starting.pop().unwrap().stopped().await,
        Some(0),
        "a waiting replica can be stopped"
    );
    count(&mut migrating, &format!("pg_advisory_unlock({lock})")).await;

    let servers: Vec<_> = starting.into_iter().map(StartingServer::listening).collect();
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    let taken = count(&mut migrating, "_sqlx_migrations WHERE success").await;
    assert_eq!(usize::try_from(taken).unwrap(), files.count(), "each migration is applied once");
    for server in &servers {
        assert_eq!(server.broker_request("GET", "/v2/catalog", None).await.unwrap().status, 200);
    }
    drop(servers);
    migrating.close().await.unwrap();
    database.drop().await;
}

#[actix_web::test]
async fn the_process_provisioner_is_refused_on_a_second_machine_but_not_after_a_restart() {
    let database = Database::create().await;
    let url = database.url();
    let settings = [
        ("SCRAPEBROKER__DATABASE_URL", &*url),
        ("SCRAPEBROKER__BROKER__TOKEN_KEY", "shared by all of them"),
    ];
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Server::start_with(one.path(), &settings);
    let (code, output) = Server::spawn(other.path(), &settings).failed();
    assert_eq!(code, Some(69), "{output}");
    let reason = output.lines().last().unwrap();
    assert!(reason.contains("prometheus.provisioner: another Scrapebroker"), "{reason}");
    assert!(reason.contains(&one.path().display().to_string()), "{reason}");
    assert!(reason.contains("Stop the other one, or set prometheus.provisioner to"), "{reason}");
    assert!(!reason.contains("shared by all of them"), "{reason}");

    // A replica without a provisioner is not refused.
    let none = [("SCRAPEBROKER__PROMETHEUS__PROVISIONER", "none")];
    let none: Vec<_> = settings.iter().chain(&none).copied().collect();
    drop(Server::start_with(other.path(), &none));

    // The killed replica is restarted in the same folder and then in another folder.
    drop(first);
    drop(Server::start_with(one.path(), &settings));
    drop(Server::start_with(other.path(), &settings));
    database.drop().await;
}
