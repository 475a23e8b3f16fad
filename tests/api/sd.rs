//! HTTP service discovery: visible targets per caller, and discovery by a real Prometheus.

use crate::test_app::*;
use futures_util::future::LocalBoxFuture;
use scrapebroker::{
    app::Stop,
    broker::{Broker, Provision, Provisioning},
    domain::{
        Catalog, InstanceId, InstanceNames, OperationState,
        prometheus::{ProvisionPolicy, Refusal, Spec},
    },
    secrets::Keys,
    store::{Store, operations, prometheus},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};
use support::{programs::Prometheus, *};
use tempfile::TempDir;

const TOKEN_KEY: &str = "a key that is long enough";
/// Service ID in the shipped catalog.
const PROMETHEUS: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a02";
const SMALL: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a21";

/// A database with provisioned instances of the service `prometheus`.
struct Instances {
    folder: TempDir,
    /// The random parts of the secrets, by instance ID.
    salts: HashMap<String, String>,
}

/// A policy that accepts every instance.
#[derive(Debug)]
struct AcceptingPolicy;

impl ProvisionPolicy for AcceptingPolicy {
    fn validate<'a>(
        &'a self,
        _: &'a Spec,
        _: Option<&'a Spec>,
    ) -> LocalBoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async { Ok(()) })
    }

    fn capacity(&self) -> Option<u64> {
        None
    }
}

impl Instances {
    async fn provision(ids: &[&str]) -> Self {
        let mut instances = Self { folder: tempfile::tempdir().unwrap(), salts: HashMap::new() };
        let store = Store::open(&instances.url().parse().unwrap(), 2).await.unwrap();
        let catalog: Value =
            serde_json::from_str(include_str!("../../broker-catalog.json")).unwrap();
        let catalog = Catalog::parse(&catalog, "http://localhost").unwrap();
        let key = SecretString::from(TOKEN_KEY);
        let broker = Broker::open(store.clone(), Some(&key), catalog.clone()).await.unwrap();
        let provisioning = Provisioning {
            max_instances: 9,
            max_instances_per_space: 9,
            policy: Arc::new(AcceptingPolicy),
            operations_changed: Arc::default(),
        };
        broker.enable_provisioning(provisioning, catalog);
        for id in ids {
            let provision = Provision {
                instance_id: id.parse().unwrap(),
                service_id: PROMETHEUS.parse().unwrap(),
                plan_id: SMALL.parse().unwrap(),
                organization_guid: "org-guid".parse().unwrap(),
                space_guid: "space-guid".parse().unwrap(),
                names: InstanceNames::default(),
                parameters: Map::new(),
                maintenance_version: None,
                accepts_incomplete: true,
            };
            broker.provision(provision).await.unwrap();
            let mut tx = store.begin_write().await.unwrap();
            let id: InstanceId = id.parse().unwrap();
            let mut operation = operations::find(&mut tx, &id).await.unwrap().unwrap();
            operation.state = OperationState::Succeeded;
            operations::put(&mut tx, &operation).await.unwrap();
            let row = prometheus::find(&mut tx, &id).await.unwrap().unwrap();
            instances.salts.insert(id.to_string(), row.secret_salt);
            tx.commit().await.unwrap();
        }
        store.close().await;
        instances
    }

    fn url(&self) -> String {
        format!("sqlite://{}/sd.db", self.folder.path().display())
    }

    /// The settings for this database. The program cannot start the servers of the instances; tests
    /// that need a server start one.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        vec![
            ("DATABASE_URL", self.url()),
            ("BROKER__TOKEN_KEY", TOKEN_KEY.to_owned()),
            ("PROMETHEUS__BINARY", path("no-prometheus")),
            ("PROMETHEUS__DATA_DIR", path("disk")),
            ("PROMETHEUS__TMPFS_DIR", path("memory")),
        ]
    }

    /// The token that the Prometheus of this instance would send.
    fn token(&self, id: &str) -> String {
        let keys = Keys::derive(&TOKEN_KEY.into()).unwrap();
        keys.scraper_token(&id.parse().unwrap(), &self.salts[id]).expose_secret().to_owned()
    }
}

impl TestApp {
    async fn sd(&self, path: &str, authorization: &str) -> Response {
        self.get_with(path, &[("Authorization", authorization)]).await
    }

    /// The `instance` labels of the targets that an operator sees.
    async fn operator_targets(&self, path: &str) -> Vec<String> {
        instances(&self.sd(path, &basic(USER, PASSWORD)).await)
    }

    /// Sends the request of `cf bind-service` for a dedicated Prometheus.
    async fn bind_to(&self, instance: &str, binding: &str, app: &str, parameters: Value) -> Value {
        let body = json!({
            "service_id": PROMETHEUS, "plan_id": SMALL,
            "bind_resource": {"app_guid": app}, "parameters": parameters,
        });
        let path = format!("/v2/service_instances/{instance}/service_bindings/{binding}");
        let bound = self.broker("PUT", &path, Some(body)).await;
        assert_eq!(bound.status, 201, "{}", bound.text());
        bound.json()
    }

    async fn unbind_from(&self, instance: &str, binding: &str) {
        let path = format!(
            "/v2/service_instances/{instance}/service_bindings/{binding}?service_id={PROMETHEUS}&plan_id={SMALL}"
        );
        assert_eq!(self.broker("DELETE", &path, None).await.status, 200);
    }

    async fn list_count(&self, outcome: &str) -> u32 {
        let series = format!("scrapebroker_sd_requests_total{{outcome=\"{outcome}\"}} ");
        let line = self.get("/metrics").await.lines(&series).remove(0);
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

fn instances(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/json");
    let list = answer.json();
    let label = |one: &Value, name: &str| one["labels"][name].as_str().unwrap().to_owned();
    let name = |one| format!("{} {}", label(one, "__meta_cf_app_id"), label(one, "instance"));
    list.as_array().unwrap().iter().map(name).collect()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A scrape configuration that discovers targets with `/sd`.
fn discovery_config(address: SocketAddr, token: &str) -> String {
    format!(
        "- job_name: bound
  honor_labels: true
  authorization: {{type: Bearer, credentials: {token}}}
  http_sd_configs:
  - url: http://{address}/sd
    refresh_interval: 1s
    authorization: {{credentials: {token}}}
"
    )
}

/// The `instance` label and the health of each active target of Prometheus.
async fn active_targets(prometheus: &Prometheus) -> Option<Vec<(String, String)>> {
    tokio::net::TcpStream::connect(prometheus.address).await.ok()?;
    let url = format!("http://{}/api/v1/targets?state=active", prometheus.address);
    let answer = send("GET", &url, &[], None).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let target = |one: &Value| (text(&one["labels"]["instance"]), text(&one["health"]));
    let answer = (answer.status == 200).then(|| answer.json())?;
    let mut targets: Vec<_> =
        answer["data"]["activeTargets"].as_array()?.iter().map(target).collect();
    targets.sort();
    Some(targets)
}

async fn wait_until_active(prometheus: &Prometheus, expected: &[&str]) {
    let expected: Vec<_> =
        expected.iter().map(|name| ((*name).to_owned(), "up".to_owned())).collect();
    eventually(async || (active_targets(prometheus).await? == expected).then_some(())).await;
}

#[actix_web::test]
async fn a_real_prometheus_follows_bindings_and_scaling() {
    let mut fleet = Vec::new();
    for _ in 0..4 {
        fleet.push(
            Instance::start(|seen| match seen.line.as_str() {
                "GET /own HTTP/1.1" => Reply::metrics("own 1\n"),
                _ => Reply::Http(404, vec![], vec![]),
            })
            .await,
        );
    }
    let database = Instances::provision(&["p1"]).await;
    let routes = RouteFile::of_app(&fleet[..2]);
    let app = spawn_app(&[vec![routes.setting()], database.settings()].concat()).await;
    app.bind_to("p1", "b1", "app-guid", json!({"endpoint": "/own", "labels": {"team": "t"}})).await;
    // This binding is newer and does not affect that Prometheus.
    assert_eq!(app.bind("b2", "app-guid", json!({"endpoint": "/other"})).await.status, 201);

    let token = database.token("p1");
    let prometheus = Prometheus::start(&discovery_config(app.address, &token));
    wait_until_active(&prometheus, &["web/0", "web/1"]).await;
    let up = prometheus.query("up{team=\"t\",app_name=\"app\",space_name=\"prod\"}").await;
    assert_eq!(up.len(), 2, "{up:?}");
    let samples = prometheus.query("own").await;
    let sample = &samples[0]["metric"];
    assert_eq!((&sample["team"], &sample["app_id"]), (&json!("t"), &json!("app-guid")));
    assert!(sample.as_object().unwrap().keys().all(|name| !name.contains("exported")));

    routes.rewrite(&fleet);
    wait_until_active(&prometheus, &["web/0", "web/1", "web/2", "web/3"]).await;
    app.unbind_from("p1", "b1").await;
    wait_until_active(&prometheus, &[]).await;
    for instance in &fleet {
        let seen = instance.requests();
        assert!(
            !seen.is_empty() && seen.iter().all(|it| !it.headers.contains_key("authorization"))
        );
    }
}

#[actix_web::test]
async fn a_real_prometheus_scrapes_instances_with_special_characters() {
    let odd = "pool:a b%41/ü?&#";
    let fleet = [
        Instance::with_metrics("odd 1\n").await,
        Instance::with_metrics("odd 2\n").await,
        Instance::with_metrics("odd 3\n").await,
    ];
    let mut endpoints: Vec<_> =
        (0..3).map(|index| endpoint("app", index, fleet[index].address)).collect();
    for one in &mut endpoints {
        one["tags"]["app_id"] = odd.into();
    }
    endpoints[0]["tags"].as_object_mut().unwrap().remove("instance_id");
    endpoints[1]["tags"]["process_type"] = "wor ker/&".into();
    let routes = RouteFile::new(&json!({"app.example.com": endpoints}));
    let database = Instances::provision(&["i 1/ü"]).await;
    let app = spawn_app(&[vec![routes.setting()], database.settings()].concat()).await;
    app.bind_to("i%201%2F%C3%BC", "b1", odd, json!({})).await;
    let prometheus = Prometheus::start(&discovery_config(app.address, &database.token("i 1/ü")));
    let without_index = format!("web/{}", fleet[0].address);
    wait_until_active(&prometheus, &[&without_index, "web/2", "wor ker/&/1"]).await;
    assert_eq!(prometheus.query("count(odd) == 3").await.len(), 1);
}

#[actix_web::test]
async fn targets_stay_active_while_the_routes_are_unknown() {
    let instance = Instance::with_metrics("a 1\n").await;
    let database = Instances::provision(&["i1"]).await;
    let routes = RouteFile::of_app([&instance]);
    let mut app = spawn_app(&[vec![routes.setting()], database.settings()].concat()).await;
    app.bind_to("i1", "b1", "app-guid", json!({})).await;
    let token = database.token("i1");
    let prometheus = Prometheus::start(&discovery_config(app.address, &token));
    wait_until_active(&prometheus, &["web/0"]).await;

    app.stop(Stop::Graceful).await.unwrap();
    let silent = Instance::start(|_| Reply::Hang).await;
    let gorouters = format!("[{{\"url\": \"http://{}/routes\"}}]", silent.address);
    let listen = ("LISTEN", app.address.to_string());
    let ours = vec![("ROUTES__GOROUTERS", gorouters), listen];
    let app = spawn_app(&[ours, database.settings()].concat()).await;
    let answer = app.sd("/sd", &bearer(&token)).await;
    assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (503, "5"));
    eventually(async || (app.list_count("unavailable").await >= 4).then_some(())).await;
    let targets = active_targets(&prometheus).await.unwrap();
    assert_eq!(targets.len(), 1, "{targets:?}");
}

#[actix_web::test]
async fn an_empty_target_list_requires_complete_route_tables() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let silent = Instance::start(|_| Reply::Hang).await;
    let gorouters = format!("[{{\"url\": \"http://{}/routes\"}}]", silent.address);
    let stale_after = ("ROUTES__STALE_AFTER", "1s".to_owned());
    let app = spawn_app(&[routes.setting(), ("ROUTES__GOROUTERS", gorouters), stale_after]).await;
    // The router can have more apps. It cannot have more instances of an app that is in the file.
    let answer = app.sd("/sd", &basic(USER, PASSWORD)).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(app.operator_targets("/sd?app=app-guid").await, ["app-guid web/0"]);
    let answer = app.sd("/sd?app=unknown", &basic(USER, PASSWORD)).await;
    assert_eq!(answer.status, 503, "{}", answer.text());

    let app = spawn_app(&[routes.setting()]).await;
    assert_eq!(app.sd("/sd?app=unknown", &basic(USER, PASSWORD)).await.text(), "[]\n");
}

#[actix_web::test]
async fn every_caller_sees_its_own_targets_in_both_access_modes() {
    let fleet = [Instance::with_metrics("a 1\n").await, Instance::with_metrics("a 1\n").await];
    let mut other = endpoint("other", 0, fleet[1].address);
    other["tags"]["space_id"] = "dev-guid".into();
    other["tags"]["space_name"] = "dev".into();
    let table = json!({
        "app.example.com": [endpoint("app", 0, fleet[0].address)], "other.example.com": [other],
    });
    let routes = RouteFile::new(&table);
    for mode in ["open", "token"] {
        let database = Instances::provision(&["i2", "i3"]).await;
        let access = ("SCRAPE__ACCESS", mode.to_owned());
        let base_url = ("BASE_URL", "https://broker.example.com/x/".to_owned());
        let ours = vec![routes.setting(), access, base_url];
        let app = spawn_app(&[ours, database.settings()].concat()).await;
        let reader =
            app.bind_to("i2", "b3", "app-guid", json!({"process_types": ["worker"]})).await;
        // The newest binding is active for all callers except that Prometheus.
        let bound = app.bind("b1", "app-guid", json!({})).await.json();
        let key = json!({"service_id": "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a01",
            "plan_id": "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a11"});
        let path = "/v2/service_instances/i1/service_bindings/k1";
        let key = app.broker("PUT", path, Some(key)).await.json();
        app.bind_to("i2", "b2", "other-guid", json!({})).await;
        let token = |bound: &Value| bearer(bound["credentials"]["token"].as_str().unwrap());
        let all = ["other-guid web/0", "app-guid web/0"];
        for (authorization, path, expected) in [
            (basic(USER, PASSWORD), "/sd", &all[..]),
            (basic(USER, PASSWORD), "/v1/sd/apps", &all),
            (basic(USER, PASSWORD), "/v1/sd/apps/acme/dev-guid", &all[..1]),
            (basic(USER, PASSWORD), "/v1/sd/apps/acme/prod/app?mode=direct", &all[1..]),
            (basic(USER, PASSWORD), "/sd?route_url=other.example.com", &all[..1]),
            (token(&bound), "/sd", &all[1..]),
            (token(&bound), "/sd?app=other-guid", &[]),
            (token(&key), "/sd", &all[1..]),
            (bearer(&database.token("i2")), "/sd", &all[..1]),
            (basic("x", &database.token("i2")), "/sd?mode=direct", &all[..1]),
            // Some versions of Prometheus send the token like this if `authorization.type` is not
            // configured.
            (database.token("i2"), "/sd", &all[..1]),
            (bearer(&database.token("i3")), "/sd", &[]),
            (bearer(&database.token("i3")), "/sd?app=app-guid", &[]),
        ] {
            let answer = app.sd(path, &authorization).await;
            assert_eq!(instances(&answer), expected, "{mode} {path}");
        }
        assert_eq!(app.get("/sd").await.status, 401, "{mode}");
        assert_eq!(app.sd("/sd", &bearer("sbt_wrong")).await.status, 401, "{mode}");
        let reader = reader["credentials"]["password"].as_str().unwrap().to_owned();
        assert_eq!(
            app.sd("/sd", &bearer(&reader)).await.status,
            403,
            "the token is only for queries"
        );
        let answer = app.sd("/sd?rout_url=x", &basic(USER, PASSWORD)).await;
        assert!(answer.status == 400 && answer.text().contains("route_url"), "{}", answer.text());
        let direct = app.sd("/sd?app=app-guid&mode=direct", &basic(USER, PASSWORD)).await.json();
        assert_eq!(direct[0]["targets"][0], fleet[0].address.to_string());
        let base = app.sd("/sd?app=app-guid", &basic(USER, PASSWORD)).await.json();
        assert_eq!(base[0]["targets"][0], "broker.example.com:443");
        let path = "/x/v1/apps/app-guid/instances/0/metrics";
        assert_eq!(base[0]["labels"]["__metrics_path__"], path);
        let own = app.sd("/sd", &bearer(&database.token("i2"))).await.json();
        assert_eq!(
            own[0]["targets"][0],
            app.address.to_string(),
            "child processes use the local address"
        );
        assert_eq!(send("POST", &app.url("/sd"), &[], None).await.status, 405);
    }
}

#[actix_web::test]
async fn without_configured_operators_all_requests_are_refused() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let no_credentials = [("BROKER__USERNAME", String::new()), ("BROKER__PASSWORD", String::new())];
    let [user, password] = no_credentials;
    let app = spawn_app(&[routes.setting(), user, password]).await;
    let answer = app.get("/sd").await;
    assert!(answer.status == 503 && answer.text().contains("broker.username"), "{}", answer.text());
}

#[actix_web::test]
async fn a_target_list_is_cached_until_something_changes() {
    let fleet = [Instance::with_metrics("a 1\n").await, Instance::with_metrics("a 1\n").await];
    let routes = RouteFile::of_app(&fleet[..1]);
    let app = spawn_app(&[routes.setting()]).await;
    let operator = basic(USER, PASSWORD);
    let first = app.sd("/sd", &operator).await;
    let second = app.sd("/sd", &operator).await;
    assert_eq!((&second.body, app.list_count("cached").await), (&first.body, 1));
    let tag = first.headers["etag"].clone();
    assert!(tag.starts_with('"'), "{tag}");
    let conditional = [("Authorization", operator.as_str()), ("If-None-Match", tag.as_str())];
    let same = app.get_with("/sd", &conditional).await;
    assert_eq!((same.status, same.body.len(), &same.headers["etag"]), (304, 0, &tag));
    let authorization = [("Authorization", operator.as_str())];
    let head = send("HEAD", &app.url("/sd"), &authorization, None).await;
    assert_eq!((head.status, head.body.len(), &head.headers["etag"]), (200, 0, &tag));
    assert_eq!(head.headers["content-length"], first.body.len().to_string());
    assert_eq!(app.list_count("rendered").await, 1);

    routes.rewrite(&fleet);
    let changed = eventually(async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let answer = app.get_with("/sd", &conditional).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(instances(&changed), ["app-guid web/0", "app-guid web/1"]);
    assert_ne!(changed.headers["etag"], tag);
    assert_eq!(app.list_count("rendered").await, 2);
    let bound = app.bind("b1", "app-guid", json!({"labels": {"team": "t"}})).await;
    assert_eq!(bound.status, 201);
    assert_eq!(app.sd("/sd", &operator).await.json()[0]["labels"]["team"], "t");
}

/// The service instance belongs to a Tsuru team and to no pool. Its jobs can scrape the apps of the
/// team in all pools.
#[actix_web::test]
async fn the_token_of_a_tsuru_job_lists_the_apps_that_it_can_scrape() {
    let instance = Instance::with_metrics("a 1\n").await;
    let mut table = crate::tsuru_binding::table_of_shop([&instance]);
    let mut foreign = table["shop.tsuru.example.com"][0].clone();
    for (name, value) in [
        ("app_id", "tsuru:payroll"),
        ("app_name", "payroll"),
        ("organization_id", "tsuru:checkout2"),
        ("space_id", "tsuru:checkout2/pool-a"),
    ] {
        foreign["tags"][name] = json!(value);
    }
    foreign["address"] = json!("127.0.0.1:1");
    table["payroll.tsuru.example.com"] = json!([foreign]);
    let routes = RouteFile::new(&table);
    for (name, form, seen) in [
        ("all", "name=all&team=checkout", &["tsuru:shop web/0"][..]),
        ("here", "name=here&team=checkout&tags=x", &["tsuru:shop web/0"]),
    ] {
        let access = ("SCRAPE__ACCESS", "token".to_owned());
        let app = spawn_app(&[routes.setting(), access]).await;
        let send_request = async |method, path: &str, form| {
            crate::tsuru_binding::tsuru_request(app.address, "metrics", method, path, form).await
        };
        assert_eq!(send_request("POST", "", form).await.unwrap().status, 201);
        let job =
            send_request("PUT", &format!("/{name}/binds/jobs/nightly"), "").await.unwrap().json();
        let token = bearer(job["METRICS_TOKEN"].as_str().unwrap());
        for path in ["/sd", "/sd?app=tsuru:shop", "/v1/sd/apps/checkout"] {
            assert_eq!(instances(&app.sd(path, &token).await), seen, "{name} {path}");
        }
        assert_eq!(app.sd("/v1/apps/tsuru:shop/metrics", &token).await.status, 200);
        assert_eq!(app.sd("/sd?app=tsuru:payroll", &token).await.json(), json!([]));
        assert_eq!(app.sd("/v1/apps/tsuru:payroll/metrics", &token).await.status, 403);
    }
}

/// The rate limit counts per token, regardless of the form of the `Authorization` header and of the
/// query.
#[actix_web::test]
async fn the_rate_limit_counts_per_token_and_not_per_header_value() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let bound = app.bind("b1", "app-guid", json!({})).await.json();
    let token = bound["credentials"]["token"].as_str().unwrap();
    let mut refused = 0;
    for port in 1..=60 {
        let authorization = match port % 4 {
            0 => basic(&port.to_string(), token),
            1 => format!("Bearer{}{token}", " ".repeat(port)),
            2 => format!("bearer {token}{}", " ".repeat(port)),
            _ => token.to_owned(),
        };
        let answer = app.sd(&format!("/sd?port={port}"), &authorization).await;
        refused += u32::from(answer.status == 429);
        assert!([200, 429].contains(&answer.status), "{}", answer.text());
    }
    assert!(refused > 20, "{refused} of 60");
    // The limit does not affect other tokens and operators.
    let other = app.bind("b2", "app-guid", json!({})).await.json();
    let other = bearer(other["credentials"]["token"].as_str().unwrap());
    assert_eq!(app.sd("/sd", &other).await.status, 200);
    assert_eq!(app.sd("/sd", &basic(USER, PASSWORD)).await.status, 200);
}

#[actix_web::test]
async fn the_rate_limit_applies_per_caller() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let bound = app.bind("b1", "app-guid", json!({})).await.json();
    let token = bearer(bound["credentials"]["token"].as_str().unwrap());
    let refused = eventually(async || {
        let answer = app.sd("/sd", &token).await;
        (answer.status == 429).then_some(answer)
    })
    .await;
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(app.sd("/sd", &basic(USER, PASSWORD)).await.status, 200);
    eventually(async || (app.sd("/sd", &token).await.status == 200).then_some(())).await;
}

#[actix_web::test]
async fn each_prometheus_scrapes_with_the_parameters_of_its_own_binding() {
    let instance = Instance::start(|seen| {
        let path = seen.line.split(' ').nth(1).unwrap().to_owned();
        let samples = "a{n=\"1\"} 1\na{n=\"2\"} 1\n".to_owned();
        match path.as_str() {
            "/first?x=1" | "/second" | "/newest" => Reply::Metrics(samples),
            _ => Reply::Http(404, vec![], vec![]),
        }
    })
    .await;
    let routes = RouteFile::of_app([&instance]);
    for mode in ["open", "token"] {
        let database = Instances::provision(&["first", "second", "none"]).await;
        let ours = vec![routes.setting(), ("SCRAPE__ACCESS", mode.to_owned())];
        let app = spawn_app(&[ours, database.settings()].concat()).await;
        let first = json!({
            "endpoint": "/first", "params": {"x": "1"}, "labels": {"of": "first"},
            "bearer_token": "for the app",
        });
        app.bind_to("first", "b1", "app-guid", first).await;
        let second = json!({"endpoint": "/second", "sample_limit": 1});
        app.bind_to("second", "b2", "app-guid", second).await;
        app.bind("b3", "app-guid", json!({"endpoint": "/newest"})).await;
        let path = "/v1/apps/app-guid/instances/0/metrics";
        let scrape = async |id: &str| app.sd(path, &bearer(&database.token(id))).await;

        let answer = scrape("first").await;
        assert_eq!(answer.lines("a{").len(), 2, "{mode}: {}", answer.text());
        assert!(answer.lines("a{")[0].contains("of=\"first\""), "{}", answer.text());
        let seen = instance.requests().pop().unwrap();
        assert_eq!(seen.line, "GET /first?x=1 HTTP/1.1");
        assert_eq!(seen.headers["authorization"], "Bearer for the app");

        let answer = scrape("second").await;
        assert_eq!(answer.status, 502, "{mode}: the sample limit is exceeded: {}", answer.text());
        assert!(!instance.requests().pop().unwrap().headers.contains_key("authorization"));
        assert_eq!(scrape("none").await.status, 403, "{mode}");
        let described = app.sd("/v1/apps/app-guid", &bearer(&database.token("second"))).await;
        assert_eq!(described.json()["apps"][0]["binding"]["endpoint"], "/second");

        let by_address = format!("/v1/apps/app-guid/instances/{}/metrics", instance.address);
        let answer = app.sd(&by_address, &basic(USER, PASSWORD)).await;
        assert_eq!(answer.lines("a{").len(), 2, "{mode}: {}", answer.text());
        assert_eq!(instance.requests().pop().unwrap().line, "GET /newest HTTP/1.1");
        let nowhere = "/v1/apps/app-guid/instances/10.9.9.9:1/metrics";
        assert_eq!(app.sd(nowhere, &basic(USER, PASSWORD)).await.status, 404);
    }
}
