//! Credentials, certificates, and servers that fail.

use super::{stand_in::*, *};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use std::time::Instant;
use support::{Reply, certificates::Authority, closed_address};

fn one_replica() -> Reply {
    slices(json!([slice("IPv4", json!([ready("10.0.0.1", "a")]), web())]))
}

const ONE_REPLICA: [&str; 1] = ["http://10.0.0.1:9090"];

#[test]
fn errors_of_the_api_say_what_to_change() {
    let forbidden = "endpointslices.discovery.k8s.io is forbidden: User \"u\" cannot list resource";
    let long = "x".repeat(1000);
    let cases = [
        (status(401, "Unauthorized", "Unauthorized"), vec!["credentials are missing, wrong"]),
        (
            status(403, "Forbidden", forbidden),
            vec![
                "the credentials do not allow it",
                forbidden,
                "a Role with the verb `list` for the resource `endpointslices` in the API group \
                 `discovery.k8s.io`",
            ],
        ),
        (text(429, "Too many requests, please try again later.\n"), vec!["is overloaded", "429"]),
        (text(503, "<html>\u{7}down"), vec!["the API server failed", "<html>\\u{7}down"]),
        (text(500, &long), vec!["xxx…"]),
        (text(200, "<html>"), vec!["not what the Kubernetes API returns (line 1, column 1)"]),
        (object(&json!({ "kind": "Pod" })), vec!["not what the Kubernetes API returns"]),
        (Reply::Close, vec!["cannot be reached"]),
        (
            Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec()),
            vec!["the response cannot be read"],
        ),
        (Reply::Raw(b"\x15\x03\x01".to_vec()), vec!["cannot be reached"]),
    ];
    for (reply, parts) in cases {
        block_on(async move {
            let api = ApiServerStandIn::start(move |_, _| reply.clone()).await;
            let problem = error(&mut KubernetesLocator::new(api.settings())).await;
            let start = "cannot list endpointslices in namespace ns: ";
            assert!(problem.starts_with(start), "{problem}");
            assert!(parts.iter().all(|part| problem.contains(part)), "{problem}");
            assert!(problem.len() < 600 && !problem.contains("secret-token"), "{problem}");
        });
    }
}

#[test]
fn a_call_has_a_deadline() {
    let hung = [Reply::Hang, Reply::Late(Duration::from_secs(30), Box::new(Reply::Close))];
    for reply in hung {
        block_on(async move {
            let api = ApiServerStandIn::start(move |_, _| reply.clone()).await;
            let mut locator = KubernetesLocator::new(api.settings());
            locator.call_timeout = Duration::from_millis(200);
            let started = Instant::now();
            assert_eq!(
                error(&mut locator).await,
                "cannot list endpointslices in namespace ns: no response within 200ms"
            );
            assert!(started.elapsed() < Duration::from_secs(10));
        });
    }
}

#[test]
fn a_server_that_is_down_is_named_and_used_again_later() {
    block_on(async {
        let api = ApiServerStandIn::start(|_, _| one_replica()).await;
        let running = format!("server: 'http://{}'", api.instance.address);
        api.write_kubeconfig(&format!("server: 'http://{}'", closed_address()), "token: t");
        let mut locator = KubernetesLocator::new(api.settings());
        let problem = error(&mut locator).await;
        let expected = format!("the API server {} cannot be reached: ", closed_address());
        assert!(problem.contains(&expected) && problem.contains("refused"), "{problem}");
        api.write_kubeconfig(&running, "token: t");
        assert_eq!(urls(&mut locator).await, ONE_REPLICA);
    });
}

/// `kube` itself re-reads a token file after 50 seconds. The API rejects the old token earlier here.
#[test]
fn a_rotated_token_is_used_at_once() {
    block_on(async {
        let api = ApiServerStandIn::start(|_, authorization| match authorization {
            "Bearer first" => one_replica(),
            _ => status(401, "Unauthorized", "Unauthorized"),
        })
        .await;
        let server = format!("server: 'http://{}'", api.instance.address);
        api.write_kubeconfig(&server, "tokenFile: token");
        api.write("token", "old");
        let mut locator = KubernetesLocator::new(api.settings());
        assert!(error(&mut locator).await.contains("status 401"));
        api.write("token", "first");
        assert_eq!(urls(&mut locator).await, ONE_REPLICA);
    });
}

#[test]
fn a_token_that_expires_between_two_calls_costs_no_result() {
    block_on(async {
        let current = std::rc::Rc::new(std::cell::Cell::new("Bearer first"));
        let accepted = std::rc::Rc::clone(&current);
        let api = ApiServerStandIn::start(move |_, authorization| {
            match authorization == accepted.get() {
                true => one_replica(),
                false => status(401, "Unauthorized", "Unauthorized"),
            }
        })
        .await;
        let server = format!("server: 'http://{}'", api.instance.address);
        api.write_kubeconfig(&server, "tokenFile: token");
        api.write("token", "first");
        let mut locator = KubernetesLocator::new(api.settings());
        assert_eq!(urls(&mut locator).await, ONE_REPLICA);
        current.set("Bearer second");
        api.write("token", "second");
        assert_eq!(urls(&mut locator).await, ONE_REPLICA);
        assert_eq!(api.requests().len(), 3);
    });
}

#[test]
fn an_api_server_with_a_private_ca_is_verified() {
    block_on(async {
        let (ours, other) = (Authority::new("ours"), Authority::new("other"));
        let api = ApiServerStandIn::start_https(&ours, one_replica).await;
        let server = format!("server: 'https://{}'", api.instance.address);
        let trust = |authority: &Authority| {
            let ca = STANDARD.encode(&authority.pem);
            format!("{server}, certificate-authority-data: {ca}")
        };
        let mut locator = KubernetesLocator::new(api.settings());
        for (cluster, is_trusted) in
            [(trust(&ours), true), (trust(&other), false), (server.clone(), false)]
        {
            api.write_kubeconfig(&cluster, "token: t");
            locator.api = None;
            match is_trusted {
                true => assert_eq!(urls(&mut locator).await, ONE_REPLICA),
                false => {
                    let problem = error(&mut locator).await;
                    let expected =
                        format!("the API server {} cannot be reached", api.instance.address);
                    assert!(problem.contains(&expected), "{problem}");
                    assert!(problem.contains("certificate"), "{problem}");
                }
            }
        }
        api.write("ca.pem", &ours.pem);
        api.write_kubeconfig(&format!("{server}, certificate-authority: ca.pem"), "token: t");
        assert_eq!(urls(&mut locator).await, ONE_REPLICA);
    });
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_explained() {
    block_on(async {
        let api = ApiServerStandIn::start(|_, _| one_replica()).await;
        let server = format!("server: 'http://{}'", api.instance.address);
        let mut locator = KubernetesLocator::new(api.settings());
        let cases = [
            ("server: 'http://x', proxy-url: 'http://user:hunter2@p'", "token: t", "proxy-url"),
            (
                &server,
                "exec: { apiVersion: client.authentication.k8s.io/v1, command: aws }",
                "exec",
            ),
            (&server, "auth-provider: { name: gcp, config: {} }", "auth-provider"),
            (&server, "tokenFile: missing", "missing"),
            (&server, "client-certificate: missing, client-key: missing", "missing"),
            ("certificate-authority-data: '!'", "token: t", "cluster url is missing"),
            ("server: 'https://x', certificate-authority-data: '!hunter2'", "token: t", "base64"),
            (&server, "token: [hunter2, hunter2]", "is not valid YAML of a kubeconfig, line 6"),
        ];
        for (cluster, user, part) in cases {
            api.write_kubeconfig(cluster, user);
            let problem = error(&mut locator).await;
            let start = format!("kubeconfig {}: ", api.kubeconfig().display());
            assert!(problem.starts_with(&start) && problem.contains(part), "{user}: {problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
        for (text, part) in [
            ("users: [", "is not valid YAML of a kubeconfig"),
            ("", "current context"),
            ("current-context: x", "current context: x"),
        ] {
            api.write("kubeconfig", text);
            let problem = error(&mut locator).await;
            assert!(problem.contains(part), "{problem}");
        }
        std::fs::remove_file(api.kubeconfig()).unwrap();
        assert!(error(&mut locator).await.contains("cannot be read: No such file"));
        api.write_kubeconfig(&server, "token: t");
        assert_eq!(urls(&mut locator).await, ONE_REPLICA);
    });
}
