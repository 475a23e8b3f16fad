//! Requests to Tsuru without failures.

use super::platform::*;
use scrapebroker::{
    domain::prometheus::ReplicaState,
    provisioner::{Provisioner, tsuru::TsuruSettings},
};
use serde_json::json;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::sleep;

const MADE: [&str; 8] = [
    "GET /1.0/apps/{app}",
    "POST /1.0/apps",
    "POST /1.0/apps/{app}/env",
    "GET /1.0/apps/{app}/env",
    "POST /1.0/apps/{app}/deploy",
    "POST /1.0/apps/{app}/env",
    "GET /1.0/apps/{app}",
    // The provisioner checks that no surplus replicas exist.
    "GET /1.0/apps/{app}",
];

#[actix_web::test]
async fn an_instance_is_an_app_with_variables_and_an_image() {
    let platform = Platform::start().await;
    let provisioner = platform.provisioner();
    let replicas = provisioner.apply(&desired()).await.unwrap();
    let calls = platform.calls(0);
    assert_eq!(calls[..8], MADE);
    assert!(calls[8..].iter().all(|call| call == "GET /1.0/apps/{app}"), "{calls:?}");

    let requests = platform.api.requests();
    let fields = |nth: usize| -> Vec<(&str, &str)> {
        requests[nth].fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    };
    let app = platform.the_app();
    assert!(app.name.starts_with("prometheus-"), "{}", app.name);
    let description = format!("Prometheus of {ID}, replica 0");
    assert_eq!(
        fields(1),
        [
            ("name", app.name.as_str()),
            ("platform", ""),
            ("pool", "pool-a"),
            ("plan", "c1m1"),
            ("router", "ingress"),
            ("teamowner", "checkout"),
            ("description", &description),
            ("tags.0", "managed-by:scrapebroker"),
            ("tags.1", "scrapebroker-instance:tsuru%3Aprometheus%3Ashop"),
        ]
    );
    assert!(fields(2).contains(&("norestart", "true")), "{:?}", fields(2));
    assert_eq!(fields(4), [("image", IMAGE), ("origin", "image"), ("message", "scrapebroker")]);
    assert_eq!((app.deploys, app.restarts), (vec![IMAGE.to_owned()], 0));
    let config = &app.environment["PROMETHEUS_CONFIG"];
    assert!(config.is_private && config.value.contains("scraper-token"));
    for (name, variable) in &app.environment {
        let has_secret =
            ["scraper-token", "web-password"].iter().any(|it| variable.value.contains(it));
        assert!(variable.is_private || !has_secret, "{name}");
    }
    let [replica] = &replicas[..] else { panic!("{replicas:?}") };
    assert_eq!((replica.number, replica.state), (0, ReplicaState::Ready));
    assert_eq!(replica.url, format!("http://{}", app.hosts[0]));
    assert_eq!(provisioner.observe()[&id()], replicas);

    // The apps are up to date, so another provisioner changes nothing.
    let before = platform.api.requests().len();
    assert_eq!(platform.provisioner().apply(&desired()).await.unwrap(), replicas);
    assert!(platform.calls(before).iter().all(|call| call.starts_with("GET ")));

    provisioner.remove(&id()).await.unwrap();
    assert!(platform.api.apps().is_empty() && provisioner.observe().is_empty());
    let before = platform.api.requests().len();
    provisioner.remove(&id()).await.unwrap();
    assert!(platform.calls(before).iter().all(|call| call.starts_with("GET ")));
}

#[actix_web::test]
async fn a_change_is_deployed_once_and_surplus_variables_are_removed() {
    let platform = Platform::start().await;
    let provisioner = platform.provisioner();
    provisioner.apply(&desired()).await.unwrap();
    assert!(platform.the_app().environment.contains_key("PROMETHEUS_RULES"));
    for _ in 0..2 {
        provisioner.apply(&changed()).await.unwrap();
        let app = platform.the_app();
        assert_eq!((app.deploys.len(), app.restarts), (2, 0));
        assert!(app.environment["PROMETHEUS_CONFIG"].value.contains("\"7s\""));
        assert!(!app.environment.contains_key("PROMETHEUS_RULES"));
    }
    let image = TsuruSettings { image: "other".to_owned(), ..platform.settings() };
    platform.provisioner_with(image).apply(&changed()).await.unwrap();
    assert_eq!(platform.the_app().deploys, [IMAGE, IMAGE, "other"]);
}

#[actix_web::test]
async fn each_replica_is_an_app_and_all_apps_are_removed() {
    let platform = Platform::start().await;
    let provisioner = platform.provisioner();
    let mut two = desired();
    two.spec.replicas = 2;
    let replicas = provisioner.apply(&two).await.unwrap();
    assert_eq!(replicas.iter().map(|it| it.number).collect::<Vec<_>>(), [0, 1]);
    let names = platform.api.apps();
    assert_eq!(names.len(), 2);
    let config = |name: &String| {
        platform.api.app(name).unwrap().environment["PROMETHEUS_CONFIG"].value.clone()
    };
    assert!(config(&names[0]).contains(r#""prometheus_replica": "0""#));
    assert!(config(&names[1]).contains(r#""prometheus_replica": "1""#));
    // A failed update restores the smaller number of replicas.
    provisioner.apply(&desired()).await.unwrap();
    assert_eq!(platform.api.apps(), [names[0].clone()]);
    provisioner.apply(&two).await.unwrap();
    // A missing app does not prevent the removal of the others.
    platform.api.remove(&names[0]);
    provisioner.remove(&id()).await.unwrap();
    assert!(platform.api.apps().is_empty());
}

#[actix_web::test]
async fn readiness_comes_from_prometheus_or_else_from_tsuru() {
    let platform = Platform::start().await;
    platform.ready.store(503, Ordering::SeqCst);
    let impatient = platform
        .provisioner_with(TsuruSettings { ready_timeout: Duration::ZERO, ..platform.settings() });
    let failed = failure(impatient.apply(&desired()).await);
    assert!(
        failed.retry && failed.reason.contains("readiness probe returned status 503"),
        "{failed}"
    );
    let seen = impatient.observe()[&id()].clone();
    assert_eq!((seen.len(), seen[0].state), (1, ReplicaState::Starting));
    let provisioner = platform.provisioner();
    let desired = desired();
    let (applied, ()) = tokio::join!(provisioner.apply(&desired), async {
        sleep(Duration::from_millis(200)).await;
        platform.ready.store(200, Ordering::SeqCst);
    });
    applied.unwrap();

    // The address of the app is not reachable.
    let name = platform.the_app().name;
    platform.api.change(&name, |app| app.hosts = vec!["127.0.0.1:1".to_owned()]);
    let replicas = provisioner.apply(&desired).await.unwrap();
    assert_eq!(replicas[0].url, "http://127.0.0.1:1");
    platform.api.change(&name, |app| {
        app.units[0]["Status"] = json!("error");
        app.units[0]["StatusReason"] = json!("OOMKilled");
    });
    let failed = failure(impatient.apply(&desired).await);
    assert!(failed.reason.contains("OOMKilled"), "{failed}");
}

#[actix_web::test]
async fn the_state_of_replicas_is_polled_in_the_background() {
    let mut platform = Platform::start().await;
    let provisioner = platform.provisioner();
    provisioner.apply(&desired()).await.unwrap();
    let state = || {
        let replica = provisioner.observe()[&id()][0].clone();
        (replica.state, replica.problem)
    };
    platform.ready.store(503, Ordering::SeqCst);
    eventually(|| state().0 == ReplicaState::Starting).await;
    platform.ready.store(200, Ordering::SeqCst);
    eventually(|| state().0 == ReplicaState::Ready).await;
    // A failed poll does not change the state.
    platform.api.down().await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(state(), (ReplicaState::Ready, String::new()));
    platform.api.up();
    let name = platform.the_app().name;
    platform.api.remove(&name);
    eventually(|| state().0 == ReplicaState::Failed).await;
    assert!(state().1.contains("gone"));
    provisioner.stop().await;
    assert!(provisioner.observe().is_empty());
}
