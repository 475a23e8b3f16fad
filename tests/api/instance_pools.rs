//! Replicas of provisioned instances in pools: the pool of an instance with several replicas, and
//! pools of the configuration with the locator `provisioned`.

use crate::{
    dedicated_prometheus::{HA, INSTANCE, InstanceDirs, SERVICE_ID, credentials},
    query::{Fixture, QUERY, server},
    query_pools::{self, history},
    query_replicas::{RealPrometheus, replica_of},
    test_app::{TestApp, spawn_app},
};
use scrapebroker::domain::prometheus::{Replica, ReplicaState};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::{cell::Cell, time::Duration};
use support::{Instance, Response, basic, eventually};

const HOUR: Duration = Duration::from_secs(3600);

fn url(server: &Instance) -> String {
    format!("http://{}", server.address)
}

/// The series of the program itself that contain this text.
async fn own_series(app: &TestApp, text: &str) -> Vec<String> {
    let metrics = app.get("/metrics").await.text();
    metrics.lines().filter(|it| it.contains(text)).map(str::to_owned).collect()
}

/// Waits until the pool of an instance has two healthy replicas.
async fn pool_is_healthy(app: &TestApp) {
    eventually(async || {
        let healthy = "scrapebroker_query_replica_healthy{pool=\"prometheus/own\"";
        let replicas = own_series(app, healthy).await;
        (replicas.len() == 2 && replicas.iter().all(|it| it.ends_with(" 1"))).then_some(())
    })
    .await;
}

async fn query(fixture: &Fixture, token: &str) -> Response {
    fixture.get(&format!("/prometheus/own{QUERY}"), token).await
}

#[actix_web::test]
async fn an_instance_with_several_replicas_has_a_pool_while_it_exists() {
    let fixture = Fixture::start().await;
    let short = query_pools::server("short", history(HOUR)).await;
    let long = query_pools::server("long", history(HOUR * 100)).await;
    let replicas = [server(0, &url(&short)), server(1, &url(&long))];
    let token = fixture.ha_instance("own", &replicas).await;
    let response = eventually(async || {
        let response = query(&fixture, &token).await;
        assert_eq!(response.status, 200, "queries succeed before the pool has replicas, too");
        (replica_of(&response) == "1").then_some(response)
    })
    .await;
    assert_eq!(response.text(), "long");
    assert!(!response.headers.contains_key("set-cookie"));
    let counted = "scrapebroker_query_pool_requests_total{pool=\"prometheus/own\",code=\"2xx\"}";
    assert_eq!(own_series(&fixture.app, counted).await, [format!("{counted} 1")]);
    let gaps = "scrapebroker_query_replica_gaps{pool=\"prometheus/own\"";
    assert_eq!(own_series(&fixture.app, gaps).await.len(), 2);
    // The requests of the page go through the pool, too.
    assert_eq!(fixture.get("/prometheus/own/", &token).await.status, 200);
    let series = own_series(&fixture.app, counted).await.remove(0);
    let requests: usize = series.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(requests >= 3, "{series}");
    let login = basic("scrapebroker", fixture.web_password("own").expose_secret());
    for received in [short.requests(), long.requests()].concat() {
        assert_eq!(received.headers["authorization"], login, "{}", received.line);
    }

    let single = query_pools::server("single", history(HOUR)).await;
    let token_of_single = fixture.instance("single", &[server(0, &url(&single))]).await;
    let path = format!("/prometheus/single{QUERY}");
    assert_eq!(fixture.get(&path, &token_of_single).await.text(), "single");
    assert_eq!(single.requests().len(), 1, "it is not probed");
    assert!(own_series(&fixture.app, "prometheus/single").await.is_empty());

    fixture.delete_instance("own").await;
    eventually(async || own_series(&fixture.app, "prometheus/own").await.is_empty().then_some(()))
        .await;
}

#[actix_web::test]
async fn users_read_why_no_replica_is_ready() {
    let fixture = Fixture::start().await;
    let servers = [
        query_pools::server("a", history(HOUR)).await,
        query_pools::server("b", history(HOUR * 9)).await,
    ];
    let replicas = [server(0, &url(&servers[0])), server(1, &url(&servers[1]))];
    let token = fixture.ha_instance("own", &replicas).await;
    pool_is_healthy(&fixture.app).await;
    let [first, second] = replicas;
    let failed = Replica {
        state: ReplicaState::Failed,
        problem: "out of memory".to_owned(),
        ..first.clone()
    };
    let starting = Replica { state: ReplicaState::Starting, ..second };
    fixture.set_servers("own", &[failed, starting.clone()]).await;
    let response = eventually(async || {
        let response = query(&fixture, &token).await;
        (response.status == 503).then_some(response)
    })
    .await;
    let reason = "server 0 is failed: out of memory; server 1 is starting";
    assert!(response.text().contains(reason), "{}", response.text());

    // The others respond while one starts.
    fixture.set_servers("own", &[first, starting]).await;
    eventually(async || (query(&fixture, &token).await.status == 200).then_some(())).await;
}

#[actix_web::test]
async fn real_replicas_that_hang_end_and_move_fail_no_query() {
    let fixture = Fixture::start().await;
    let password = fixture.web_password("own").expose_secret().to_owned();
    let servers = [RealPrometheus::start(&password), RealPrometheus::start(&password)];
    let replicas = [server(0, &servers[0].url), server(1, &servers[1].url)];
    let token = fixture.ha_instance("own", &replicas).await;
    pool_is_healthy(&fixture.app).await;
    let queries = async |count: usize| {
        let mut last = String::new();
        for number in 0..count {
            let response = query(&fixture, &token).await;
            assert_eq!(response.status, 200, "query {number}: {}", response.text());
            last = replica_of(&response).to_owned();
        }
        last
    };
    let selected = queries(1).await;
    let selected: usize = selected.parse().unwrap();
    servers[selected].signal("-STOP");
    queries(100).await;
    servers[selected].signal("-CONT");
    servers[selected].signal("-KILL");
    let other = queries(100).await;
    assert_eq!(other, (1 - selected).to_string());

    // A replica that was replaced at another URL is found, and takes over.
    let replaced = RealPrometheus::start(&password);
    let mut replicas = replicas;
    replicas[selected].url.clone_from(&replaced.url);
    fixture.set_servers("own", &replicas).await;
    let unused = format!(
        "scrapebroker_query_replica_queries_total{{pool=\"prometheus/own\",replica=\"{selected}\"}} 0"
    );
    eventually(async || (!own_series(&fixture.app, &unused).await.is_empty()).then_some(())).await;
    pool_is_healthy(&fixture.app).await;
    servers[1 - selected].signal("-KILL");
    let last = queries(100).await;
    assert_eq!(last, selected.to_string());
}

/// Settings of pools with these locators, by name.
fn pools(locators: &[(&str, Value)]) -> [(&'static str, String); 3] {
    let pool = |(name, locators): &(&str, Value)| {
        let login = json!({"username": "u", "password": "p"});
        json!({
            "name": name, "selection_interval": "300ms", "basic_auth": login, "locators": locators,
        })
    };
    let pools: Vec<_> = locators.iter().map(pool).collect();
    [
        ("QUERY__LISTEN", "127.0.0.1:0".to_owned()),
        ("QUERY__DEFAULT_POOL", locators[0].0.to_owned()),
        ("QUERY__POOLS", json!(pools).to_string()),
    ]
}

/// Names of the replicas of a pool, in order.
async fn replicas_of(app: &TestApp, pool: &str) -> Vec<String> {
    let accept = [("Accept", "application/json")];
    let status = app.query_with(&format!("/pools/{pool}/"), &accept).await.json();
    let replicas = status["replicas"].as_array().unwrap().iter();
    let mut names: Vec<_> = replicas.map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[actix_web::test]
async fn each_located_replica_gets_the_credentials_of_its_instance_only() {
    let [a, b, other] = [("a", 1), ("b", 2), ("other", 3)]
        .map(|(name, hours)| query_pools::server(name, history(HOUR * hours)));
    let (a, b, other) = tokio::join!(a, b, other);
    // The other locator finds a replica of an instance, too.
    let with_others = json!([{"static": [url(&a), url(&other)]}, {"provisioned": "all"}]);
    let settings = pools(&[("main", with_others), ("listed", json!([{"provisioned": ["b"]}]))]);
    let fixture = Fixture::start_with("http://metrics.example.com", &settings).await;
    fixture.instance("a", &[server(0, &url(&a))]).await;
    fixture.instance("b", &[server(0, &url(&b))]).await;
    let expected = ["a/0", &other.address.to_string(), "b/0"].map(str::to_owned);
    eventually(async || {
        let mut found = replicas_of(&fixture.app, "main").await;
        found.sort_by_key(|it| expected.iter().position(|name| name == it));
        (found == expected && replicas_of(&fixture.app, "listed").await == ["b/0"]).then_some(())
    })
    .await;
    let before = [&a, &b, &other].map(|it| it.requests().len());
    // Probes and queries have the same credentials.
    let enough = |(it, before): (&Instance, usize)| it.requests().len() > before + 4;
    eventually(async || {
        assert_eq!(fixture.app.query_with(QUERY, &[]).await.status, 200);
        let response = fixture.app.query_with(&format!("/pools/listed{QUERY}"), &[]).await;
        assert_eq!((response.status, &*response.text()), (200, "b"));
        [&a, &b, &other].into_iter().zip(before).all(enough).then_some(())
    })
    .await;
    let login = |instance| basic("scrapebroker", fixture.web_password(instance).expose_secret());
    let of_pool = basic("u", "p");
    // Before the first result of the locator it is a replica like any other.
    let received = a.requests().split_off(before[0]);
    assert!(received.iter().all(|it| it.headers["authorization"] == login("a")));
    assert!(b.requests().iter().all(|it| it.headers["authorization"] == login("b")));
    assert!(other.requests().iter().all(|it| it.headers["authorization"] == of_pool));

    fixture.delete_instance("b").await;
    eventually(async || replicas_of(&fixture.app, "listed").await.is_empty().then_some(())).await;
    let response = fixture.app.query_with(&format!("/pools/listed{QUERY}"), &[]).await;
    assert_eq!(response.status, 503);
    assert!(response.text().contains("its locators find no replicas"), "{}", response.text());
}

#[actix_web::test]
async fn an_update_of_an_instance_of_the_ha_plan_fails_no_query() {
    let instance_dirs = InstanceDirs::new();
    let mut settings = instance_dirs.settings();
    settings.extend(pools(&[("main", json!([{"provisioned": ["own"]}]))]));
    let app = spawn_app(&settings).await;
    let ids = json!({"service_id": SERVICE_ID, "plan_id": HA});
    let with_ids = |more: Value| {
        let mut body = ids.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Some(body)
    };
    let provision = json!({
        "organization_guid": "org-guid", "space_guid": "space-guid",
        "parameters": {"scrape_interval": "1s"},
    });
    let path = format!("{INSTANCE}?accepts_incomplete=true");
    assert_eq!(app.broker("PUT", &path, with_ids(provision)).await.status, 202);
    assert_eq!(app.end_of_operation().await, "succeeded");
    let key = format!("{INSTANCE}/service_bindings/k1");
    let key = app.broker("PUT", &key, with_ids(json!({"bind_resource": {}}))).await;
    let login = credentials(&key.json()["credentials"], "username", "password");
    // Without a bound app their databases are empty, but both are found.
    let found = "scrapebroker_query_replica_selected{pool=\"prometheus/own\"";
    eventually(async || (own_series(&app, found).await.len() == 2).then_some(())).await;
    eventually(async || (replicas_of(&app, "main").await == ["own/0", "own/1"]).then_some(()))
        .await;

    let before = instance_dirs.processes();
    assert_eq!(before.len(), 2);
    let has_ended = Cell::new(false);
    let update = async {
        let change = with_ids(json!({"parameters": {"retention": "16d"}}));
        assert_eq!(app.broker("PATCH", &path, change).await.status, 202);
        assert_eq!(app.end_of_operation().await, "succeeded");
        tokio::time::sleep(Duration::from_secs(2)).await;
        has_ended.set(true);
    };
    let queries = async {
        let mut count = 0;
        while !has_ended.get() {
            let response = app.query_api("own", &login, QUERY).await;
            assert_eq!(response.status, 200, "query {count}: {}", response.text());
            let response = app.query_with(QUERY, &[]).await;
            assert_eq!(response.status, 200, "query {count} of the pool: {}", response.text());
            count += 1;
        }
        count
    };
    let ((), count) = tokio::join!(update, queries);
    println!("{count} queries during an update");
    let after = instance_dirs.processes();
    assert!(after.len() == 2 && after.iter().all(|it| !before.contains(it)), "both restarted");
}
