//! The endpoints of a service.

use super::{stand_in::*, *};
use serde_json::{Value, json};
use support::Reply;

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices";
const SLICES_QUERY: &str = "?&labelSelector=kubernetes.io%2Fservice-name%3Dprom&limit=500";
const ENDPOINTS: &str = "/api/v1/namespaces/ns/endpoints/prom";

#[test]
fn all_slices_are_joined_and_only_ready_addresses_count() {
    block_on(async {
        let api = ApiServerStandIn::start(|_, _| {
            let terminating = json!({ "ready": false, "serving": true, "terminating": true });
            let first = json!([ready("10.0.0.1", "a"), endpoint("10.0.0.2", "b", terminating)]);
            let mut without_conditions = ready("10.0.0.4", "d");
            without_conditions.as_object_mut().unwrap().remove("conditions");
            let second = json!([
                ready("10.0.0.1", "a"),
                endpoint("10.0.0.3", "c", json!({})),
                without_conditions,
            ]);
            slices(json!([
                slice("IPv4", first, web()),
                slice("FQDN", json!([ready("prom.example.com", "e")]), web()),
                slice("IPv4", second, web()),
                slice("IPv4", Value::Null, web()),
            ]))
        })
        .await;
        let mut locator = KubernetesLocator::new(api.settings());
        assert_eq!(locator.name(), "kubernetes service ns/prom");
        let expected = ["http://10.0.0.1:9090", "http://10.0.0.3:9090", "http://10.0.0.4:9090"];
        assert_eq!(urls(&mut locator).await, expected);
        assert_eq!(urls(&mut locator).await, expected);
        assert_eq!(api.requests(), vec![format!("{SLICES}{SLICES_QUERY}"); 2]);
        let requests = api.instance.requests();
        assert_eq!(requests[0].headers["authorization"], "Bearer secret-token");
        assert_eq!(requests[1].nth, 2, "the connection is reused");
    });
}

#[test]
fn a_dual_stack_pod_is_one_replica() {
    block_on(async {
        let api = ApiServerStandIn::start(|_, _| {
            let v6 = json!([ready("fd00::1", "a"), ready("fd00::2", "b")]);
            slices(json!([
                slice("IPv6", v6, web()),
                slice("IPv4", json!([ready("10.0.0.1", "a")]), web()),
            ]))
        })
        .await;
        let settings = KubernetesSettings {
            is_https: true,
            path_prefix: "/prom".to_owned(),
            ..api.settings()
        };
        let mut locator = KubernetesLocator::new(settings);
        let expected = ["https://10.0.0.1:9090/prom", "https://[fd00::2]:9090/prom"];
        assert_eq!(urls(&mut locator).await, expected);
    });
}

#[test]
fn a_port_is_found_by_name_then_number_and_otherwise_the_first_tcp_port_is_used() {
    block_on(async {
        let api = ApiServerStandIn::start(|_, _| {
            let ports = json!([
                { "name": "dns", "port": 53, "protocol": "UDP" },
                { "name": "any" },
                { "name": "reloader", "port": 8080 },
                { "name": "web", "port": 9090, "protocol": "TCP" },
                { "name": "8080", "port": 9999, "protocol": "TCP" },
            ]);
            slices(json!([slice("IPv4", json!([ready("10.0.0.1", "a")]), ports)]))
        })
        .await;
        for (port, expected) in [
            (KubernetesPort::FirstTcp, 8080),
            (KubernetesPort::Name("web".to_owned()), 9090),
            (KubernetesPort::Number(9090), 9090),
            (KubernetesPort::Number(8080), 9999),
        ] {
            let mut locator = KubernetesLocator::new(KubernetesSettings { port, ..api.settings() });
            assert_eq!(urls(&mut locator).await, [format!("http://10.0.0.1:{expected}")]);
        }
        let port = KubernetesPort::Number(53);
        let mut locator = KubernetesLocator::new(KubernetesSettings { port, ..api.settings() });
        assert_eq!(
            error(&mut locator).await,
            "no endpoint is usable: pod a has no port `53`, only `reloader` (8080), `web` (9090), \
             `8080` (9999)"
        );
    });
}

#[test]
fn a_slice_without_the_port_costs_only_its_own_pods() {
    block_on(async {
        let api = ApiServerStandIn::start(|_, _| {
            let both = json!([ready("10.0.0.1", "a"), ready("10.0.0.2", "b")]);
            slices(json!([
                slice("IPv4", both, json!([{ "name": "reloader", "port": 8080 }])),
                slice("IPv4", json!([ready("10.0.0.1", "a")]), web()),
            ]))
        })
        .await;
        let mut locator = KubernetesLocator::new(api.settings());
        assert_eq!(urls(&mut locator).await, ["http://10.0.0.1:9090"]);
        let problem = locator.problem.unwrap();
        assert_eq!(problem, "pod b has no port `web`, only `reloader` (8080)");
    });
}

#[test]
fn a_service_without_ready_endpoints_has_no_replicas() {
    block_on(async {
        let api = ApiServerStandIn::start(|_, _| {
            let starting = endpoint("10.0.0.1", "a", json!({ "ready": false }));
            slices(json!([slice("IPv4", json!([starting]), web())]))
        })
        .await;
        assert!(urls(&mut KubernetesLocator::new(api.settings())).await.is_empty());
        assert_eq!(api.requests().len(), 1, "Endpoints are not read");
    });
}

fn page(number: usize, next: &str) -> Reply {
    let endpoint = ready(&format!("10.0.0.{number}"), &format!("pod-{number}"));
    slices_page(json!([slice("IPv4", json!([endpoint]), web())]), next)
}

#[test]
fn all_pages_are_read() {
    block_on(async {
        let api = ApiServerStandIn::start(|path, _| match path.split_once("&continue=") {
            None => page(1, "page2+="),
            Some((_, "page2%2B%3D")) => page(2, "page3"),
            Some(_) => page(3, ""),
        })
        .await;
        let mut locator = KubernetesLocator::new(api.settings());
        let expected = ["http://10.0.0.1:9090", "http://10.0.0.2:9090", "http://10.0.0.3:9090"];
        assert_eq!(urls(&mut locator).await, expected);
        let next = api.requests().swap_remove(1);
        assert_eq!(next, format!("{SLICES}{SLICES_QUERY}&continue=page2%2B%3D"));
    });
}

#[test]
fn an_expired_list_is_read_anew_once() {
    for expirations in [1, 2] {
        block_on(async move {
            let seen = std::cell::Cell::new(0);
            let api = ApiServerStandIn::start(move |path, _| {
                if !path.contains("&continue=") {
                    return page(1, "page2");
                }
                seen.set(seen.get() + 1);
                match seen.get() <= expirations {
                    true => status(410, "Expired", "The provided continue parameter is too old"),
                    false => page(2, ""),
                }
            })
            .await;
            let mut locator = KubernetesLocator::new(api.settings());
            match expirations {
                1 => {
                    let expected = ["http://10.0.0.1:9090", "http://10.0.0.2:9090"];
                    assert_eq!(urls(&mut locator).await, expected);
                }
                _ => assert!(error(&mut locator).await.contains("status 410")),
            }
            assert_eq!(api.requests().len(), 4);
        });
    }
}

#[test]
fn a_list_that_never_ends_is_an_error() {
    block_on(async {
        let api = ApiServerStandIn::start(|_, _| {
            slices_page(vec![slice("IPv4", json!([]), json!([])); 500].into(), "again")
        })
        .await;
        let problem = error(&mut KubernetesLocator::new(api.settings())).await;
        assert!(problem.contains("there are more than 10000"), "{problem}");
    });
}

fn old_endpoints() -> Reply {
    object(&json!({
        "kind": "Endpoints", "apiVersion": "v1", "metadata": { "name": "prom", "namespace": "ns" },
        "subsets": [
            {
                "addresses": [{ "ip": "10.0.0.1" }], "notReadyAddresses": [{ "ip": "10.0.0.2" }],
                "ports": [{ "name": "web", "port": 9090, "protocol": "TCP" }],
            },
            { "addresses": [{ "ip": "10.0.0.3" }], "ports": [{ "name": "web", "port": 9091 }] },
            { "notReadyAddresses": [{ "ip": "10.0.0.4" }] },
        ],
    }))
}

#[test]
fn endpoints_are_read_if_there_are_no_slices() {
    for no_slices in [no_such_path as fn() -> Reply, || slices(json!([]))] {
        block_on(async move {
            let api = ApiServerStandIn::start(move |path, _| match path {
                ENDPOINTS => old_endpoints(),
                _ => no_slices(),
            })
            .await;
            let mut locator = KubernetesLocator::new(api.settings());
            let expected = ["http://10.0.0.1:9090", "http://10.0.0.3:9091"];
            assert_eq!(urls(&mut locator).await, expected);
            assert_eq!(api.requests().len(), 2);
        });
    }
}

#[test]
fn a_service_that_does_not_exist_is_an_error() {
    block_on(async {
        let api = ApiServerStandIn::start(|path, _| match path {
            ENDPOINTS => status(404, "NotFound", "endpoints \"prom\" not found"),
            _ => slices(json!([])),
        })
        .await;
        assert_eq!(
            error(&mut KubernetesLocator::new(api.settings())).await,
            "the service has no EndpointSlice; cannot get endpoints in namespace ns: it does not \
             exist (status 404, endpoints \"prom\" not found)"
        );
    });
}
