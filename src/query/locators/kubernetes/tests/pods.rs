//! Pods by a selector.

use super::{stand_in::*, *};
use serde_json::{Value, json};

async fn locator(api: &ApiServerStandIn, port: KubernetesPort) -> KubernetesLocator {
    let source = KubernetesSource::Pods("a=b,c in (d, e),!f".parse().unwrap());
    KubernetesLocator::new(KubernetesSettings { source, port, ..api.settings() })
}

fn web_port() -> Value {
    json!([{ "containerPort": 8080 }, { "name": "web", "containerPort": 9090 }])
}

fn changed(mut pod: Value, change: impl FnOnce(&mut Value)) -> Value {
    change(&mut pod);
    pod
}

#[test]
fn only_ready_pods_are_replicas() {
    block_on(async {
        let api = ApiServerStandIn::start(|_, _| {
            let other = |name| pod(name, "10.0.0.9", web_port());
            pods(json!([
                pod("ready", "10.0.0.1", web_port()),
                pod("ipv6", "fd00::1", web_port()),
                changed(other("not-ready"), |it| it["status"]["conditions"][1]["status"] =
                    "False".into()),
                changed(other("no-conditions"), |it| it["status"]["conditions"] = Value::Null),
                changed(other("pending"), |it| it["status"]["phase"] = "Pending".into()),
                changed(other("terminating"), |it| it["metadata"]["deletionTimestamp"] =
                    "2026-11-20T11:00:05Z".into()),
                changed(other("no-ip"), |it| it["status"]["podIP"] = Value::Null),
                changed(other("empty-ip"), |it| it["status"]["podIP"] = "".into()),
                json!({ "metadata": { "name": "new" } }),
            ]))
        })
        .await;
        let mut locator = locator(&api, KubernetesPort::Name("web".to_owned())).await;
        assert_eq!(locator.name(), "kubernetes pods ns/a=b,c in (d,e),!f");
        let expected = ["http://10.0.0.1:9090", "http://[fd00::1]:9090"];
        assert_eq!(urls(&mut locator).await, expected);
        assert_eq!(
            api.requests(),
            ["/api/v1/namespaces/ns/pods?&labelSelector=a%3Db%2Cc+in+%28d%2Ce%29%2C%21f&limit=500"]
        );
    });
}

#[test]
fn a_pod_without_the_port_does_not_affect_the_others() {
    block_on(async {
        let api = ApiServerStandIn::start(|_, _| {
            let udp = json!([{ "name": "web", "containerPort": 53, "protocol": "UDP" }]);
            pods(json!([
                pod("a", "10.0.0.1", Value::Null),
                pod("b", "10.0.0.2", web_port()),
                pod("c", "10.0.0.3", udp),
            ]))
        })
        .await;
        for port in ["web", "9090", ""] {
            let port = port.parse().unwrap_or(KubernetesPort::FirstTcp);
            let number = if port == KubernetesPort::FirstTcp { 8080 } else { 9090 };
            let mut locator = locator(&api, port).await;
            assert_eq!(urls(&mut locator).await, [format!("http://10.0.0.2:{number}")]);
            let problem = locator.problem.unwrap();
            assert!(problem.contains("pod a") && problem.contains("pod c"), "{problem}");
        }
        let mut locator = locator(&api, KubernetesPort::Name("http".to_owned())).await;
        assert_eq!(
            error(&mut locator).await,
            "no endpoint is usable: pod a has no port `http`, and no other TCP port; pod b has no \
             port `http`, only 8080, `web` (9090); pod c has no port `http`, and no other TCP port"
        );
    });
}

#[test]
fn a_message_names_at_most_three_pods() {
    block_on(async {
        let api = ApiServerStandIn::start(|_, _| {
            let pod = |number| pod(&format!("p{number}"), &format!("10.0.0.{number}"), json!([]));
            pods((1..6).map(pod).collect())
        })
        .await;
        let mut locator = locator(&api, KubernetesPort::FirstTcp).await;
        assert_eq!(
            error(&mut locator).await,
            "no endpoint is usable: pod p1 has no TCP port; pod p2 has no TCP port; pod p3 has no \
             TCP port; and 2 more"
        );
    });
}

#[test]
fn no_pod_is_no_error() {
    block_on(async {
        let api = ApiServerStandIn::start(|_, _| pods(json!([]))).await;
        assert!(urls(&mut locator(&api, KubernetesPort::FirstTcp).await).await.is_empty());
    });
}
