use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A message of route-emitter with fields replaced by `change`.
fn message(change: Value) -> Vec<u8> {
    let mut message = json!({
        "app": "0b5b2b5c-6cd1-4a41-a53e-6fa1b2f1e1c1",
        "availability_zone": "z1",
        "endpoint_updated_at_ns": 1_700_000_000_000_000_000_i64,
        "host": "10.0.1.11",
        "isolation_segment": "",
        "port": 61_000,
        "tls_port": 61_001,
        "private_instance_id": "i-1",
        "private_instance_index": "3",
        "protocol": "http1",
        "route_service_url": "",
        "server_cert_domain_san": "i-1",
        "uris": ["App.Example.com/API/"],
        "tags": {"app_id": "a", "app_name": "shop", "instance_id": "3"},
    });
    for (key, value) in change.as_object().unwrap() {
        message[key] = value.clone();
    }
    message.to_string().into_bytes()
}

#[test]
fn a_message_of_route_emitter_is_parsed_completely() {
    let payload = message(json!({}));
    let read = parse(&payload).unwrap();
    assert_eq!(read.address().to_string(), "10.0.1.11:61001");
    assert!(read.endpoint.tls.is_true());
    assert_eq!(read.routes().collect::<Vec<_>>(), ["app.example.com/api"]);
    assert_eq!(read.stale_threshold, None);
    assert_eq!(read.endpoint.server_cert_domain_san.text(), Some("i-1"));
    assert_eq!(read.endpoint.process_instance_id(), Some("i-1"));
    assert_eq!(read.endpoint.tags.app_name.text(), Some("shop"));
}

#[test]
fn the_tls_port_takes_precedence() {
    for (change, expected) in [
        (json!({"tls_port": 0}), ("10.0.1.11:61000", false)),
        (json!({"tls_port": null}), ("10.0.1.11:61000", false)),
        (json!({"port": 0}), ("10.0.1.11:61001", true)),
        (json!({"port": null}), ("10.0.1.11:61001", true)),
        (json!({"host": "fd00::1"}), ("[fd00::1]:61001", true)),
        (json!({"address": "1.1.1.1:1", "tls": false}), ("10.0.1.11:61001", true)),
    ] {
        let payload = message(change.clone());
        let read = parse(&payload).unwrap();
        let found = (read.address().to_string(), read.endpoint.tls.is_true());
        assert_eq!((found.0.as_str(), found.1), expected, "{change}");
    }
}

#[test]
fn a_host_may_be_ipv6_with_and_without_brackets() {
    for (host, address) in [
        ("::1", "[::1]:61000"),
        ("[::1]", "[::1]:61000"),
        ("FD00:0::A", "[fd00::a]:61000"),
        ("::ffff:10.0.0.1", "10.0.0.1:61000"),
    ] {
        let payload = message(json!({"host": host, "tls_port": null, "port": 61000}));
        assert_eq!(parse(&payload).unwrap().address.to_string(), address, "{host}");
    }
}

#[test]
fn app_and_route_of_a_rejected_message_are_logged_if_readable() {
    let payload =
        message(json!({"host": "cell-1.internal", "uris": ["a.test"], "tags": {"app_id": "a"}}));
    assert_eq!(subject(&payload), ("a".to_owned(), "a.test".to_owned()));
    let untagged = br#"{"app": "b", "uris": ["", "b.test"]}"#;
    assert_eq!(subject(untagged), ("b".to_owned(), "b.test".to_owned()));
    for nothing in [&b""[..], b"[]", b"{", &[b'{'; MAX_MESSAGE + 1]] {
        assert_eq!(subject(nothing), (String::new(), String::new()));
    }
}

#[test]
fn missing_or_mistyped_fields_are_ignored() {
    let bare = br#"{"host":"10.0.0.1","port":80,"uris":["a"]}"#;
    let read = parse(bare).unwrap();
    assert!(!read.endpoint.tls.is_true());
    assert_eq!(read.endpoint.tags.app_id.text(), None);
    for odd in [
        json!({"protocol": 7, "availability_zone": ["z"], "private_instance_id": {}}),
        json!({"stale_threshold_in_seconds": -5}),
        json!({"stale_threshold_in_seconds": 0}),
        json!({"stale_threshold_in_seconds": "30"}),
        json!({"tags": null, "options": {"loadbalancing": "hash"}, "unknown": [1]}),
    ] {
        let payload = message(odd.clone());
        assert_eq!(parse(&payload).unwrap().stale_threshold, None, "{odd}");
    }
    let payload = message(json!({"stale_threshold_in_seconds": 30}));
    assert_eq!(parse(&payload).unwrap().stale_threshold, Some(Duration::from_secs(30)));
    let payload = message(json!({"tags": {"app_id": "a"}}));
    assert_eq!(parse(&payload).unwrap().endpoint.tags.index.text(), Some("3"));
}

#[test]
fn each_invalid_message_is_rejected_with_its_reason() {
    let many: Vec<_> = (0..10_000).map(|n| format!("r{n}.test")).collect();
    for (change, reason) in [
        (json!({"host": "cell-1.internal"}), MessageError::Host),
        (json!({"host": null}), MessageError::Host),
        (json!({"host": "10.0.0.1:80"}), MessageError::Host),
        (json!({"port": 0, "tls_port": 0}), MessageError::Port),
        (json!({"tls_port": 65_536}), MessageError::Port),
        (json!({"tls_port": "61001"}), MessageError::Port),
        (json!({"port": -1, "tls_port": null}), MessageError::Port),
        (json!({"port": 80.5, "tls_port": null}), MessageError::Port),
        (json!({"uris": []}), MessageError::NoUris),
        (json!({"uris": null}), MessageError::NoUris),
        (json!({"uris": ["", "/", 7]}), MessageError::NoUris),
        (json!({"uris": "app.test"}), MessageError::Syntax),
        (json!({"uris": many}), MessageError::TooManyUris),
        (json!({"uris": ["x".repeat(3000)]}), MessageError::LongUri),
        (json!({"route_service_url": "http://insecure.test"}), MessageError::RouteService),
        (json!({"tags": "web"}), MessageError::Syntax),
        (json!({"tags": {"app_name": "x".repeat(1 << 20)}}), MessageError::TooLarge),
    ] {
        let payload = message(change);
        assert_eq!(parse(&payload).unwrap_err(), reason);
    }
    for payload in [&b""[..], b"[]", b"null", b"\xff", b"{\"host\":", b"<html>", b"{} {}"] {
        assert_eq!(parse(payload).unwrap_err(), MessageError::Syntax, "{payload:?}");
    }
}

#[test]
fn a_duplicate_route_counts_once() {
    let payload = message(json!({"uris": ["A.test", "a.test/", "http://a.test:80", "b.test"]}));
    assert_eq!(parse(&payload).unwrap().routes().collect::<Vec<_>>(), ["a.test", "b.test"]);
}

proptest! {
    #[test]
    fn any_bytes_are_rejected_or_a_valid_registration(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(read) = parse(&payload) {
            prop_assert!(read.address().port() != 0);
            prop_assert!(read.routes().count() > 0);
        }
    }

    #[test]
    fn a_truncated_message_is_rejected(end in 0usize..300) {
        let payload = message(json!({}));
        prop_assert_eq!(parse(&payload[..end.min(payload.len() - 1)]).unwrap_err(), MessageError::Syntax);
    }

    #[test]
    fn any_port_from_1_to_65535_is_accepted(port in any::<i64>(), tls_port in 0i64..=70_000) {
        let payload = message(json!({"port": port, "tls_port": tls_port}));
        let effective = if tls_port == 0 { port } else { tls_port };
        match parse(&payload) {
            Ok(read) => prop_assert_eq!(i64::from(read.address().port()), effective),
            Err(error) => {
                prop_assert_eq!(error, MessageError::Port);
                prop_assert!(!(1..=65_535).contains(&effective));
            }
        }
    }
}
