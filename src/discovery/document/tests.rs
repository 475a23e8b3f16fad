use super::*;
use proptest::prelude::*;
use serde_json::json;

fn endpoint(address: &str) -> serde_json::Value {
    json!({"address": address, "tags": {"app_id": "a", "app_name": "shop"}})
}

fn read(value: &serde_json::Value) -> Document {
    parse(value.to_string().as_bytes()).unwrap()
}

fn addresses(document: &Document) -> Vec<(String, Option<String>)> {
    let address = |endpoint: &Arc<Endpoint>| endpoint.address.to_string();
    let pair = |e: &Entry| (e.route.to_string(), e.endpoint.as_ref().map(address));
    document.entries.iter().map(pair).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
    let owned = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    expected.iter().map(|(route, address)| ((*route).to_owned(), owned(address))).collect()
}

#[test]
fn all_fields_of_a_real_response_are_parsed() {
    let body = include_bytes!("../../../tests/fixtures/routes/captured.json");
    let document = parse(body).unwrap();
    assert_eq!((document.skipped, document.without_app), (0, 2));
    let find = |route: &str| {
        let entry = document.entries.iter().find(|entry| &*entry.route == route).unwrap();
        entry.endpoint.clone()
    };
    assert_eq!(find("login.sys.example.com"), None);
    assert!(find("h2.example.com").unwrap().http2);
    let url = find("secure.example.com").unwrap().route_service_url.clone();
    assert_eq!(url.as_deref(), Some("https://rs.example.com/x"));
    let shop = find("*.wild.example.com").unwrap();
    assert_eq!(shop.address.to_string(), "127.0.0.2:61101");
    assert_eq!(shop.app.id.as_str(), "b5a3d5a1-0f9b-4c0e-8e56-0d8a4c7b8f11");
    let names = [&shop.app.organization_name, &shop.app.space_name, &shop.app.name];
    assert_eq!(names.map(|name| &**name), ["acme", "prod", "shop"]);
    assert_eq!((shop.index.as_deref(), &*shop.process_type), (Some("0"), "web"));
    assert_eq!(shop.server_cert_domain_san, shop.process_instance_id);
    assert!(shop.tls && !shop.http2 && shop.availability_zone.is_none());
}

#[test]
fn the_format_of_2022_without_zones_is_parsed() {
    let then = parse(include_bytes!("../../../tests/fixtures/routes/shape_2022.json")).unwrap();
    let now = parse(include_bytes!("../../../tests/fixtures/routes/full.json")).unwrap();
    assert_eq!(addresses(&then), addresses(&now));
    let zone = |entry: &Entry| entry.endpoint.as_ref()?.availability_zone.clone();
    assert!(then.entries.iter().all(|entry| zone(entry).is_none()));
    assert!(now.entries.iter().any(|entry| zone(entry).is_some()));
}

#[test]
fn missing_unknown_and_mistyped_fields_do_not_affect_others() {
    let strange = json!({
        "address": "[::1]:8080", "tls": "yes", "ttl": "soon", "protocol": 2, "new": {"a": [1]},
        "availability_zone": ["z1"], "server_cert_domain_san": {"x": null},
        "tags": {"app_id": "not a uuid/ü", "instance_id": 7, "label": [], "space_id": "a\u{0}b"},
    });
    let document = read(&json!({"r": [strange]}));
    let endpoint = document.entries[0].endpoint.clone().unwrap();
    assert_eq!(endpoint.address.to_string(), "[::1]:8080");
    assert_eq!(endpoint.app.id.as_str(), "not a uuid/ü");
    assert_eq!((endpoint.tls, endpoint.index.as_deref()), (false, None));
    assert_eq!((endpoint.app.space_id.as_ref(), &*endpoint.process_type), (None, "web"));
    assert_eq!(document.skipped, 0);
}

#[test]
fn the_instance_id_field_is_used_without_the_tag() {
    let mut old = endpoint("10.0.0.1:1");
    old["private_instance_id"] = json!("guid-1");
    let document = read(&json!({"r": [old]}));
    let endpoint = document.entries[0].endpoint.clone().unwrap();
    assert_eq!(endpoint.process_instance_id.as_deref(), Some("guid-1"));
}

#[test]
fn an_invalid_endpoint_is_counted_and_does_not_affect_others() {
    let good = endpoint("10.0.0.1:1").to_string();
    let cases = [
        endpoint("nowhere").to_string(),
        endpoint("host.example:80").to_string(),
        endpoint("10.0.0.1").to_string(),
        endpoint("10.0.0.1:0").to_string(),
        endpoint("10.0.0.1:99999").to_string(),
        endpoint("").to_string(),
        json!({"tags": {"app_id": "a"}}).to_string(),
        json!({"address": "10.0.0.2:1", "tags": {"app_id": "a\nb"}}).to_string(),
        json!({"address": "10.0.0.2:1", "tags": {"app_id": "x".repeat(300)}}).to_string(),
        json!({"address": "10.0.0.2:1", "tags": "none"}).to_string(),
        "5".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        r#"{"address": "\ud800"}"#.to_owned(),
        r#"{"ttl": 1e999, "isolation_segment": 1e999}"#.to_owned(),
        format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)),
    ];
    for case in cases {
        let body = format!(r#"{{"a": [{case}, {good}], "b": [{good}]}}"#);
        let document = parse(body.as_bytes()).unwrap();
        assert_eq!(document.skipped, 1, "{case}");
        let expected = pairs(&[("a", "10.0.0.1:1"), ("b", "10.0.0.1:1")]);
        assert_eq!(addresses(&document), expected, "{case}");
    }
}

#[test]
fn a_pool_that_is_not_a_list_is_empty() {
    for (pool, skipped) in [("[]", 0), ("null", 0), ("5", 1), ("{\"a\": [1]}", 1), ("\"x\"", 1)] {
        let document = parse(format!(r#"{{"r": {pool}}}"#).as_bytes()).unwrap();
        assert_eq!(addresses(&document), pairs(&[("r", "")]), "{pool}");
        assert_eq!(document.skipped, skipped, "{pool}");
    }
}

#[test]
fn keys_of_the_same_route_are_merged_and_the_last_entry_counts() {
    let mut second = endpoint("10.0.0.1:1");
    second["tags"]["instance_id"] = json!("9");
    let (one, two) = (endpoint("10.0.0.1:1"), endpoint("10.0.0.2:1"));
    let body = format!(r#"{{"B": [], "a": [{one}], "A/": [{two}], "a": [{second}]}}"#);
    let document = parse(body.as_bytes()).unwrap();
    let expected = pairs(&[("a", "10.0.0.1:1"), ("a", "10.0.0.2:1"), ("b", "")]);
    assert_eq!(addresses(&document), expected);
    assert_eq!(document.entries[0].endpoint.as_ref().unwrap().index.as_deref(), Some("9"));
}

#[test]
fn a_broken_document_is_rejected_with_a_reason_that_does_not_quote_it() {
    let syntax = |line, column| DocumentError::Syntax { line, column };
    let cases: [(&[u8], DocumentError); 10] = [
        (b"", DocumentError::NotAnObject),
        (b"<html>secret</html>", DocumentError::NotAnObject),
        (b"401 Unauthorized\n", DocumentError::NotAnObject),
        (b"[]", DocumentError::NotAnObject),
        (b"null", DocumentError::NotAnObject),
        (b"{\"a\": [{\"address\": \"10.", DocumentError::Truncated),
        (b"{", DocumentError::Truncated),
        (b"{\"a\": []} {", syntax(1, 11)),
        (b"{a: 1}", syntax(1, 2)),
        (b"{\"a\": [\"\xff\"]}", DocumentError::NotUtf8),
    ];
    for (body, expected) in cases {
        let error = parse(body).unwrap_err();
        assert_eq!(error, expected, "{:?}", String::from_utf8_lossy(body));
        assert!(!error.to_string().contains("secret"));
    }
}

#[test]
fn known_values_are_shared_and_not_copied() {
    let body = include_bytes!("../../../tests/fixtures/routes/full.json");
    let mut interner = Interner::default();
    let first = parse_into(body, &mut interner).unwrap();
    let second = parse_into(body, &mut interner).unwrap();
    let shared = |(a, b): (&Entry, &Entry)| {
        let endpoints = match (&a.endpoint, &b.endpoint) {
            (Some(a), Some(b)) => Arc::ptr_eq(&a.app, &b.app) && a == b,
            (a, b) => a == b,
        };
        Arc::ptr_eq(&a.route, &b.route) && endpoints
    };
    assert!(first.entries.iter().zip(&second.entries).all(shared));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_rejected(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&body);
    }

    #[test]
    fn a_truncated_document_is_rejected(at in 0_usize..100) {
        let body = include_bytes!("../../../tests/fixtures/routes/captured.json");
        let end = body.iter().rposition(|b| *b == b'}').unwrap();
        prop_assert!(parse(&body[..end * at / 100]).is_err());
    }
}
