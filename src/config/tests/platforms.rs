use super::*;

const APPLICATION: &str = r#"{
    "application_id": "fa05c1a9-0fc1-4fbd-bae1-139850dec7a3",
    "application_name": "scrapebroker",
    "application_uris": ["metrics.apps.example.com", "other.apps.example.com"],
    "uris": ["metrics.apps.example.com", "other.apps.example.com"],
    "limits": {"fds": 16384, "mem": 256},
    "process_type": "web",
    "space_name": "system"
}"#;

const KEY: (&str, &str) = ("SCRAPEBROKER__BROKER__TOKEN_KEY", "a key");

fn bound(services: &str) -> Loaded {
    load("", &[("VCAP_APPLICATION", APPLICATION), ("VCAP_SERVICES", services), KEY])
}

fn database(loaded: Loaded) -> String {
    database_url(&loaded.unwrap().0)
}

#[test]
fn port_overrides_the_port_of_listen_but_not_its_host() {
    let cases = [("", "[::]:8888"), ("listen: 127.0.0.1:9000", "127.0.0.1:8888")];
    for (yaml, expected) in cases {
        let (config, effective) = load(yaml, &[("PORT", "8888")]).unwrap();
        assert_eq!(config.listen[0].to_string(), expected);
        assert_eq!(config.base_url.as_str(), "http://localhost:8888");
        assert!(effective.to_string().contains(expected), "{effective}");
    }
}

#[test]
fn cloud_foundry_gives_the_base_url_and_less_time_to_stop() {
    let variables = [("VCAP_APPLICATION", APPLICATION), ("PORT", "8080"), ("VCAP_SERVICES", "{}")];
    let (config, _) = load("", &variables).unwrap();
    assert_eq!(config.platform, Some(Platform::CloudFoundry));
    assert_eq!(config.base_url.as_str(), "https://metrics.apps.example.com");
    assert_eq!(config.shutdown_grace, Duration::from_secs(7));
    assert_eq!(config.drain_wait, Duration::from_secs(2));
    assert_eq!(config.listen[0].port(), 8080);

    let (config, _) = load("{base_url: 'https://x', shutdown_grace: 3s}", &variables).unwrap();
    assert_eq!(config.base_url.as_str(), "https://x");
    assert_eq!(config.shutdown_grace, Duration::from_secs(3));
}

#[test]
fn an_app_without_a_route_has_the_local_base_url() {
    for application in [r#"{"application_uris": []}"#, "{}", r#"{"application_uris": [""]}"#] {
        let (config, _) = load("", &[("VCAP_APPLICATION", application)]).unwrap();
        assert_eq!(config.base_url.as_str(), "http://localhost:8085", "{application}");
    }
}

#[test]
fn tsuru_is_recognized_by_its_variables() {
    let (config, _) = load("", &[("TSURU_APPNAME", "broker"), ("PORT", "8888")]).unwrap();
    assert_eq!(config.platform, Some(Platform::Tsuru));
    assert_eq!(config.shutdown_grace, Duration::from_secs(15));
}

#[test]
fn a_bound_postgresql_is_the_default_database() {
    let cases = [
        // Recognized by its tag.
        r#"{"elephants": [{"name": "db", "tags": ["PostgreSQL"], "credentials": {"uri": "postgres://u:p@h:5432/d"}}]}"#,
        // Recognized by the URL scheme, in a user-provided service.
        r#"{"user-provided": [{"name": "x", "credentials": {"a": 1}}, {"name": "db", "tags": [], "credentials": {"uri": "postgres://u:p@h:5432/d"}}]}"#,
        // The first PostgreSQL counts. Other services are ignored.
        r#"{"a": [{"credentials": {"uri": "mysql://h/d"}}], "b": [{"credentials": {"uri": "postgres://u:p@h:5432/d"}}, {"credentials": {"uri": "postgres://h2/d"}}]}"#,
        // Services are ordered by name.
        r#"{"b": [{"credentials": {"uri": "postgres://h2/d"}}], "a": [{"credentials": {"uri": "postgres://u:p@h:5432/d"}}]}"#,
        // A tagged service without a URL is skipped.
        r#"{"a": [{"tags": ["postgres"], "credentials": {}}], "b": [{"credentials": {"url": "postgres://u:p@h:5432/d"}}]}"#,
    ];
    for services in cases {
        assert_eq!(database(bound(services)), "postgres://u:p@h:5432/d", "{services}");
    }
}

#[test]
fn services_without_a_postgresql_do_not_change_the_default() {
    for services in ["{}", "[]", r#"{"a": {}}"#, r#"{"a": [{"tags": ["redis"]}]}"#, r#"{"a": [1]}"#]
    {
        assert_eq!(database(bound(services)), "sqlite://scrapebroker.db", "{services}");
    }
}

#[test]
fn a_configured_database_overrides_a_bound_one() {
    let services = r#"{"a": [{"tags": ["postgres"], "credentials": {"uri": "nonsense"}}]}"#;
    let loaded = load("database_url: sqlite://own.db", &[("VCAP_SERVICES", services)]);
    assert_eq!(database(loaded), "sqlite://own.db");
}

#[test]
fn invalid_variables_of_a_platform_are_mistakes() {
    let tagged = r#"{"a": [{"name": "db", "tags": ["postgres"], "credentials": {"host": "h"}}]}"#;
    let broken = r#"{"a": [{"name": "db", "credentials": {"uri": "postgres://u:p@h:port/d"}}]}"#;
    let cases = [
        ("PORT", "http", "whole number"),
        ("PORT", "0", "whole number"),
        ("PORT", "65536", "whole number"),
        ("VCAP_APPLICATION", "{", "JSON"),
        ("VCAP_SERVICES", "nonsense", "JSON"),
        ("VCAP_SERVICES", tagged, "the bound PostgreSQL \"db\": has no uri"),
        ("VCAP_SERVICES", broken, "the bound PostgreSQL \"db\": its uri is not a URL"),
    ];
    for (name, value, part) in cases {
        let found = mistakes(load("", &[(name, value)]));
        assert_eq!(found.len(), 1, "{value}: {found:?}");
        assert!(found[0].0 == name && found[0].1.contains(part), "{value}: {found:?}");
    }
}

#[test]
fn a_bound_postgresql_requires_a_token_key() {
    let services = r#"{"a": [{"credentials": {"uri": "postgres://h/d"}}]}"#;
    let found = mistakes(load("", &[("VCAP_SERVICES", services)]));
    assert_eq!(found[0].0, "broker.token_key");
}
