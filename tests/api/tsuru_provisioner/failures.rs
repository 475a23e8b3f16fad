//! Interrupted operations and failures of Tsuru: the next call completes the operation and no
//! orphans remain.

use super::platform::*;
use support::tsuru::{Fault, TsuruApp};

use scrapebroker::{
    domain::prometheus::ReplicaState,
    provisioner::{Provisioner, tsuru::TsuruSettings},
};
use std::time::Duration;
use tokio::time::sleep;

#[actix_web::test]
async fn an_interrupted_apply_is_completed_by_the_next_one() {
    let steps = {
        let platform = Platform::start().await;
        platform.provisioner().apply(&desired()).await.unwrap();
        platform.api.requests().len()
    };
    for is_update in [false, true] {
        for step in 1..=steps {
            let platform = Platform::start().await;
            if is_update {
                platform.provisioner().apply(&desired()).await.unwrap();
            }
            let before = platform.api.requests().len();
            platform.api.fault(Fault::Slow(Duration::from_millis(8)));
            let provisioner = platform.provisioner();
            let desired = changed();
            tokio::select! {
                biased;
                () = eventually(|| platform.api.requests().len() >= before + step) => {}
                applied = provisioner.apply(&desired) => drop(applied.unwrap()),
            }
            // Even steps are completed by the same provisioner, odd steps by a new one, as after a
            // restart.
            let next = if step % 2 == 0 { provisioner } else { platform.provisioner() };
            let replicas = next.apply(&desired).await.unwrap();
            assert_eq!(replicas[0].state, ReplicaState::Ready);
            let app = platform.the_app();
            assert!(app.environment["PROMETHEUS_CONFIG"].value.contains("\"7s\""), "step {step}");
            assert!(!app.deploys.is_empty() && !app.environment.contains_key("PROMETHEUS_RULES"));
            next.remove(&id()).await.unwrap();
            assert!(platform.api.apps().is_empty(), "step {step}");
        }
    }
}

#[actix_web::test]
async fn an_interrupted_apply_can_be_removed_immediately() {
    for step in 1..=8 {
        let platform = Platform::start().await;
        platform.api.fault(Fault::Slow(Duration::from_millis(40)));
        let provisioner = platform.provisioner();
        let desired = desired();
        tokio::select! {
            biased;
            () = eventually(|| platform.api.requests().len() >= step) => {}
            applied = provisioner.apply(&desired) => drop(applied.unwrap()),
        }
        provisioner.remove(&id()).await.unwrap();
        assert!(platform.api.apps().is_empty(), "step {step}");
        sleep(Duration::from_millis(120)).await;
        assert!(platform.api.apps().is_empty(), "step {step}: an app was created afterwards");
    }
}

#[actix_web::test]
async fn an_interrupted_removal_is_completed_by_the_next_one() {
    for step in 1..=3 {
        let platform = Platform::start().await;
        let provisioner = platform.provisioner();
        provisioner.apply(&desired()).await.unwrap();
        let before = platform.api.requests().len();
        platform.api.fault(Fault::Slow(Duration::from_millis(8)));
        let id = id();
        tokio::select! {
            biased;
            () = eventually(|| platform.api.requests().len() >= before + step) => {}
            removed = provisioner.remove(&id) => removed.unwrap(),
        }
        platform.provisioner().remove(&id).await.unwrap();
        assert!(platform.api.apps().is_empty(), "step {step}");
    }
}

#[actix_web::test]
async fn transient_failures_are_retried_and_permanent_ones_name_the_setting() {
    let lasting = [
        (Fault::Status(401), "routes.tsuru.token"),
        (Fault::Status(403), "quota"),
        (Fault::Status(400), "prometheus.tsuru"),
        (Fault::Status(302), "routes.tsuru.api_url"),
    ];
    let passing = [
        (Fault::Status(500), "fails (500)"),
        (Fault::Status(503), "fails (503)"),
        (Fault::Status(429), "fails (429)"),
        // The message reports either the truncated stream or the closed connection.
        (Fault::Truncated, " was "),
        (Fault::Endless, "longer than"),
        (Fault::Body(b"<html>Please log in</html>".to_vec()), ""),
        (Fault::InStream("no room for it".to_owned()), "no room for it"),
        (Fault::Slow(Duration::from_secs(3600)), "did not answer"),
    ];
    for (call, is_stream) in
        [("GET", false), ("POST", false), ("POST env", true), ("POST deploy", true)]
    {
        let cases = lasting.iter().map(|it| (it, false)).chain(passing.iter().map(|it| (it, true)));
        for ((fault, words), retry) in cases {
            let only_in_streams = matches!(fault, Fault::Truncated | Fault::InStream(_));
            // Any 200 response to this request means that the app was created.
            let is_made = call == "POST" && matches!(fault, Fault::Body(_) | Fault::Endless);
            if (only_in_streams && !is_stream) || is_made {
                continue;
            }
            let platform = Platform::start().await;
            platform.api.fault_at(call, fault.clone());
            let short = Duration::from_millis(500);
            let settings =
                TsuruSettings { timeout: short, deploy_timeout: short, ..platform.settings() };
            let limits = match fault {
                Fault::Slow(_) => settings,
                _ => platform.settings(),
            };
            let provisioner = platform.provisioner_with(limits);
            let failure = failure(provisioner.apply(&desired()).await);
            assert_eq!(failure.retry, retry, "{call} {fault:?}: {failure}");
            assert!(failure.reason.contains(words), "{call} {fault:?}: {failure}");

            platform.api.fault_at(call, Fault::None);
            assert_eq!(platform.provisioner().apply(&desired()).await.unwrap().len(), 1);
            provisioner.remove(&id()).await.unwrap();
            assert!(platform.api.apps().is_empty());
        }
    }
}

#[actix_web::test]
async fn a_500_about_a_plan_pool_platform_or_router_is_a_permanent_failure() {
    for text in [
        "plan not found",
        "default plan not found",
        "no plan found for pool",
        "Pool does not exist.",
        "Platform doesn't exist.",
        "Invalid platform",
        "router \"ingress\" not found",
        "No default router found",
        "you have access to \"pool-a\",\"pool-b\" pools. Please choose one in app creation",
        "tsuru failed to create the app \"p\": Pool does not exist.",
    ] {
        let platform = Platform::start().await;
        platform.api.fault_at("POST", Fault::StatusWithBody(500, text));
        let failure = failure(platform.provisioner().apply(&desired()).await);
        assert!(!failure.retry, "{text}: {failure}");
        assert!(failure.reason.contains(text), "{text}: {failure}");
        assert!(failure.reason.contains("prometheus.tsuru"), "{text}: {failure}");
    }
    for text in ["dial tcp: i/o timeout", "no reachable servers", "event locked: plan", ""] {
        let platform = Platform::start().await;
        platform.api.fault_at("POST", Fault::StatusWithBody(500, text));
        let failure = failure(platform.provisioner().apply(&desired()).await);
        assert!(failure.retry, "{text}: {failure}");
    }
}

#[actix_web::test]
async fn an_unreachable_api_is_a_transient_failure() {
    let mut platform = Platform::start().await;
    let provisioner = platform.provisioner();
    platform.api.down().await;
    let down = failure(provisioner.apply(&desired()).await);
    assert!(down.retry && down.reason.contains("cannot be reached"), "{down}");
    let left = provisioner.remove(&id()).await.unwrap_err();
    assert!(left.retry, "{left}");
    platform.api.up();
    provisioner.apply(&desired()).await.unwrap();
}

#[actix_web::test]
async fn an_exceeded_quota_is_a_permanent_failure() {
    let platform = Platform::start().await;
    platform.api.quota(0);
    let failure = failure(platform.provisioner().apply(&desired()).await);
    assert!(!failure.retry && failure.reason.contains("larger quota"), "{failure}");
    assert!(failure.reason.contains("Quota exceeded"), "{failure}");
}

#[actix_web::test]
async fn a_foreign_app_is_neither_changed_nor_removed() {
    let platform = Platform::start().await;
    let provisioner = platform.provisioner();
    provisioner.apply(&desired()).await.unwrap();
    let name = platform.the_app().name;
    let others = [Vec::new(), vec!["managed-by:scrapebroker".to_owned()]];
    for tags in others {
        platform.api.put(TsuruApp { tags, ..TsuruApp::new(&name, "other", "pool-a") });
        let failure = failure(provisioner.apply(&desired()).await);
        assert!(!failure.retry && failure.reason.contains(&name), "{failure}");
        assert!(failure.reason.contains("app_prefix"), "{failure}");
        provisioner.remove(&id()).await.unwrap();
        let app = platform.the_app();
        assert!(app.environment.is_empty() && app.deploys.is_empty() && app.team_owner == "other");
    }
}

#[actix_web::test]
async fn a_removal_fails_when_tsuru_refuses_it() {
    let platform = Platform::start().await;
    let provisioner = platform.provisioner();
    provisioner.apply(&desired()).await.unwrap();
    for (fault, retry) in [
        (Fault::Status(500), true),
        (Fault::InStream("event locked".to_owned()), true),
        (Fault::Truncated, true),
        (Fault::Status(403), false),
    ] {
        platform.api.fault_at("DELETE", fault.clone());
        let failure = provisioner.remove(&id()).await.unwrap_err();
        assert_eq!(failure.retry, retry, "{fault:?}: {failure}");
        assert_eq!(platform.api.apps().len(), 1);
    }
    platform.api.fault_at("DELETE", Fault::None);
    provisioner.remove(&id()).await.unwrap();
    assert!(platform.api.apps().is_empty());
}

#[actix_web::test]
async fn a_404_of_another_server_does_not_count_as_removed() {
    let platform = Platform::start().await;
    let provisioner = platform.provisioner();
    provisioner.apply(&desired()).await.unwrap();
    platform.api.fault(Fault::Status(404));
    let failure = provisioner.remove(&id()).await.unwrap_err();
    assert!(failure.retry && failure.reason.contains("routes.tsuru.api_url"), "{failure}");
    platform.api.fault(Fault::None);
    provisioner.remove(&id()).await.unwrap();
    assert!(platform.api.apps().is_empty());
}
