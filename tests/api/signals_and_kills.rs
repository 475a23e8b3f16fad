//! Kills and signals: the program loses no acknowledged change when it is killed, and signals stop
//! it.

use crate::server_process::*;
use serde_json::{Value, json};
use std::{process::Command, time::Duration};
use support::*;

#[actix_web::test]
async fn acknowledged_changes_survive_sigkill_and_others_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    let mut round = 0;
    // Each round kills the program after a different delay.
    for delay in [3, 7, 12, 18, 25] {
        round += 1;
        let server = Server::start(folder.path());
        let (service, plan) = catalog_ids(server.address).await;
        let provision = |id: String| {
            let body = json!({
                "service_id": service, "plan_id": plan,
                "organization_guid": "o", "space_guid": "s",
            });
            let address = server.address;
            async move {
                let path = format!("/v2/service_instances/{id}");
                (id, broker_request(address, "PUT", &path, Some(body)).await)
            }
        };
        let requests: Vec<_> =
            (0..40).map(|n| actix_web::rt::spawn(provision(format!("r{round}-{n}")))).collect();
        tokio::time::sleep(Duration::from_millis(delay)).await;
        server.signal("KILL");
        for request in requests {
            let (id, answer) = request.await.unwrap();
            if answer.is_some_and(|answer| answer.status == 201) {
                acknowledged.push(id);
            }
        }
        drop(server);
        let server = Server::start(folder.path());
        for id in &acknowledged {
            let path = format!("/v2/service_instances/{id}");
            let answer = broker_request(server.address, "GET", &path, None).await.unwrap();
            assert_eq!(answer.status, 200, "{id} was acknowledged and was lost");
        }
        // Cloud Controller repeats requests without a response.
        for n in 0..40 {
            let id = format!("r{round}-{n}");
            let body = json!({
                "service_id": service, "plan_id": plan,
                "organization_guid": "o", "space_guid": "s",
            });
            let path = format!("/v2/service_instances/{id}");
            let answer = broker_request(server.address, "PUT", &path, Some(body)).await.unwrap();
            let expected: &[u16] = if acknowledged.contains(&id) { &[200] } else { &[200, 201] };
            assert!(expected.contains(&answer.status), "{id}: {}", answer.status);
            acknowledged.push(id);
        }
    }
}

#[actix_web::test]
async fn each_stop_signal_ends_the_program_with_exit_code_0() {
    for signal in ["TERM", "INT", "USR1"] {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Server::start(folder.path());
        server.signal(signal);
        assert_eq!(server.exit_code().await, Some(0), "{signal}");
    }
}

#[actix_web::test]
async fn a_second_program_on_the_same_address_exits_69() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let other = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_scrapebroker"))
        .arg("serve")
        .env_clear()
        .current_dir(other.path())
        .env("SCRAPEBROKER__LISTEN", server.address.to_string())
        .env("SCRAPEBROKER__BROKER__CATALOG", CATALOG)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains(&server.address.to_string()), "{message}");
}

#[actix_web::test]
async fn sighup_reloads_the_catalog_and_an_invalid_one_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let description = async || {
        let catalog =
            broker_request(server.address, "GET", "/v2/catalog", None).await.unwrap().json();
        catalog["services"][0]["description"].as_str().unwrap().to_owned()
    };
    let file = folder.path().join("broker-catalog.json");
    let mut catalog: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    catalog["services"][0]["description"] = json!("Another description");
    std::fs::write(&file, catalog.to_string()).unwrap();
    server.signal("HUP");
    eventually(async || (description().await == "Another description").then_some(())).await;

    std::fs::write(&file, "{\"services\": []}").unwrap();
    server.signal("HUP");
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(description().await, "Another description");
    }
}

#[actix_web::test]
async fn file_descriptors_are_not_leaked_while_instances_change() {
    let folder = tempfile::tempdir().unwrap();
    let routes = RouteFile::of_addresses([]);
    let (_, path) = routes.setting();
    let settings = [
        ("SCRAPEBROKER__ROUTES__FILE", path.as_str()),
        ("SCRAPEBROKER__BACKENDS__IDLE_TIMEOUT", "300ms"),
    ];
    let server = Server::start_with(folder.path(), &settings);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    let url = format!("http://{}/v1/apps/app-guid/metrics", server.address);
    let mut kept = Vec::new();
    let mut after_first = 0;
    for round in 0..4 {
        let mut instances = Vec::new();
        for _ in 0..20 {
            instances.push(Instance::with_metrics(&format!("round {round}\n")).await);
        }
        routes.rewrite(&instances);
        eventually(async || {
            let lines = send("GET", &url, &[], None).await.lines("round{");
            let current = lines.iter().filter(|line| line.ends_with(&format!(" {round}")));
            (current.count() == 20).then_some(())
        })
        .await;
        // The instances keep listening and are not scraped again.
        kept.extend(instances);
        eventually(async || kept.iter().all(|one| one.open_connections() == 0).then_some(())).await;
        if round == 0 {
            after_first = open();
        }
    }
    let now = open();
    assert!(now <= after_first + 5, "{after_first} after the first round, {now} after the last");
}
