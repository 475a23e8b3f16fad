use super::*;
use crate::config::{Config, Mistake};
use secrecy::ExposeSecret;
use std::fs;
use yaml_rust2::{Yaml, YamlLoader};

const PEM: &str = "-----BEGIN CERTIFICATE-----\n    QUJD\n    -----END CERTIFICATE-----\n";

fn converted(yaml: &str) -> Result<Converted, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("promfetcher.yml");
    fs::write(&file, yaml).unwrap();
    convert(&file, None)
}

fn settings(yaml: &str) -> Yaml {
    let text = converted(yaml).unwrap().settings;
    YamlLoader::load_from_str(&text).unwrap().remove(0)
}

/// Loads the converted settings.
fn loaded(yaml: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("scrapebroker.yml");
    fs::write(&file, converted(yaml).unwrap().settings).unwrap();
    Config::load(Some(&file), []).unwrap()
}

fn mistakes(yaml: &str) -> Vec<(String, String)> {
    match converted(yaml) {
        Err(ConfigError::Mistakes(Mistakes(all))) => {
            all.into_iter().map(|Mistake { key, problem }| (key, problem)).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// All keys of v0.20.0 as its BOSH release writes them.
const POLLING: &str = r#"---
gorouters:
- {"host":"10.0.1.1","port":8082,"user":"router-status","pass":"0123"}
- {"host":"10.0.1.2","port":8082}
backends:
  max_conns: 500
  cert_chain: ''
  private_key: ''
skip_ssl_validation: false
enable_ssl: no
base_url: https://promfetcher.example.com/
port: 8443
health_check_port: 8081
logging:
  level: info
  in_json: true
  no_color: true
db_conn: mysql://promfetcher:hunter2@sql-db.service.cf.internal:3306/promfetcher
sql_cnx_max_idle: 5
sql_cnx_max_open: 10
sql_cnx_max_life: 1h
not_exit_when_conn_failed: false
disable_keep_alives: false
max_idle_conns: 100
max_idle_conns_per_host: 100
ca_certs:
tls_pem:
broker:
  broker_service_id: e44a55b7-b532-4247-89f3-4ea92054b793
  broker_plan_id: 3294e4fa-42b3-4505-b289-8fb3695b5b3a
  user: admin
  pass: 0x1F0123456789
external_exporters: []
"#;

/// All keys of later versions, and those that the first file leaves out.
fn listening() -> String {
    format!(
        r#"
nats:
  hosts:
  - {{ hostname: 10.0.0.1, port: 4224 }}
  - {{ hostname: q-s0.nats.internal, port: 4224 }}
  user: nats
  pass: "p@ss: #1"
  tls_enabled: true
  ca_certs: |
    {PEM}
  cert_chain: |
    {PEM}
  private_key: |
    {PEM}
nats_client_ping_interval: 20s
enable_http2: true
droplet_stale_threshold: 1m30s
start_response_delay_interval: 20s
index: 0
enable_ssl: true
tls_pem:
  cert_chain: |
    {PEM}
  private_key: |
    {PEM}
ca_certs: |
    {PEM}
skip_ssl_validation: true
backends:
  cert_chain: |
    {PEM}
  private_key: |
    {PEM}
idle_conn_timeout: 45
disable_keep_alives: true
db_conn: postgres://promfetcher:hunter2@db.example.com/promfetcher
sql_cnx_max_open: 20
broker: {{ pass: of twelve characters }}
external_exporters:
- name: cf
  host: exporter.example.com:8086
  scheme: https
  metrics_path: /probe
  params:
    source_id[]: ["{{{{.AppID}}}}", 007]
- host: second.example.com
"#
    )
}

#[test]
fn the_polling_generation_converts_to_valid_settings() {
    let config = loaded(POLLING);
    assert_eq!(config.listen[0].to_string(), "0.0.0.0:8443");
    assert_eq!(config.health_listen.unwrap().to_string(), "0.0.0.0:8081");
    assert_eq!(config.base_url.as_str(), "https://promfetcher.example.com");
    let [first, second] = config.routes.gorouters.try_into().unwrap();
    let secret = |text: &secrecy::SecretString| text.expose_secret().to_owned();
    assert_eq!(first.url, "http://10.0.1.1:8082/routes");
    assert_eq!(secret(&first.credentials.unwrap().password), "0123", "the letters of the file");
    assert!(second.credentials.is_none());
    let credentials = config.broker.credentials.unwrap();
    assert_eq!(
        (credentials.username.as_str(), secret(&credentials.password).as_str()),
        ("admin", "0x1F0123456789")
    );
    assert!(config.broker.adopt_unknown_instances);
    assert_eq!(config.database_url.to_string(), "sqlite://scrapebroker.db");
}

#[test]
fn the_nats_generation_converts_with_unchanged_secrets() {
    let settings = settings(&listening());
    let nats = &settings["routes"]["nats"];
    assert_eq!(nats["servers"][0].as_str(), Some("tls://10.0.0.1:4224"));
    assert_eq!(nats["servers"][1].as_str(), Some("tls://q-s0.nats.internal:4224"));
    assert_eq!(nats["username"].as_str(), Some("nats"));
    assert_eq!(nats["password"].as_str(), Some("p@ss: #1"));
    let pem = PEM.replace("    ", "");
    for place in [&nats["tls"]["ca"], &nats["tls"]["cert"], &nats["tls"]["key"]] {
        assert_eq!(place.as_str(), Some(&*pem));
    }
    for (section, key) in [
        ("tls", "cert"),
        ("tls", "key"),
        ("backends", "ca"),
        ("backends", "cert"),
        ("backends", "key"),
    ] {
        assert_eq!(settings[section][key].as_str(), Some(&*pem), "{section}.{key}");
    }
    let ours = loaded(&listening());
    let nats = ours.routes.nats.unwrap();
    assert_eq!(nats.servers.len(), 2);
    assert!(nats.credentials.is_some() && nats.tls.identity.is_some());
    assert!(
        ours.tls.is_some() && ours.backends.tls.identity.is_some() && ours.backends.tls.skip_verify
    );
    assert!(!ours.external_exporters.is_empty());
    assert_eq!(settings["routes"]["stale_after"].as_str(), Some("1m30s"));
    assert_eq!(settings["backends"]["skip_verify"].as_bool(), Some(true));
    assert_eq!(settings["backends"]["idle_timeout"].as_str(), Some("45s"));
    let database = "postgres://promfetcher:hunter2@db.example.com/promfetcher";
    assert_eq!(settings["database_url"].as_str(), Some(database));
    assert_eq!(settings["database"]["max_connections"].as_i64(), Some(20));
    assert_eq!(settings["broker"]["token_key"].as_str().unwrap().len(), 64);
    let exporters = &settings["external_exporters"];
    assert_eq!(exporters[0]["scheme"].as_str(), Some("https"));
    assert_eq!(exporters[0]["params"]["source_id[]"][0].as_str(), Some("{{.AppID}}"));
    assert_eq!(exporters[0]["params"]["source_id[]"][1].as_str(), Some("007"));
    assert_eq!(exporters[1]["host"].as_str(), Some("second.example.com"));
    assert!(exporters[1]["name"].is_badvalue(), "the default is the same with us");
}

#[test]
fn each_key_without_a_counterpart_is_reported_with_a_reason() {
    let polling = converted(POLLING).unwrap().settings;
    for key in [
        "backends.max_conns",
        "logging.no_color",
        "db_conn",
        "sql_cnx_max_idle",
        "sql_cnx_max_open",
        "sql_cnx_max_life",
        "not_exit_when_conn_failed",
        "disable_keep_alives",
        "max_idle_conns",
        "max_idle_conns_per_host",
    ] {
        assert!(polling.contains(&format!("\n#   {key}: ")), "{key} in {polling}");
    }
    let listening = converted(&listening()).unwrap().settings;
    for key in
        ["nats_client_ping_interval", "enable_http2", "start_response_delay_interval", "index"]
    {
        assert!(listening.contains(&format!("\n#   {key}: ")), "{key} in {listening}");
    }
    let minimal = converted("").unwrap().settings;
    assert!(!minimal.contains("no counterpart"), "{minimal}");
}

#[test]
fn an_empty_file_converts_to_the_defaults_of_promfetcher() {
    let settings = settings("# nothing\n");
    assert_eq!(settings["listen"].as_str(), Some("0.0.0.0:8085"));
    assert_eq!(settings["health_listen"].as_str(), Some("0.0.0.0:8080"));
    assert_eq!(settings["broker"]["username"].as_str(), Some("user"));
    assert_eq!(settings["broker"]["password"].as_str(), Some("password"));
    assert_eq!(settings["routes"]["nats"]["servers"][0].as_str(), Some("nats://localhost:4222"));
    let text = converted("").unwrap().settings;
    assert!(text.contains("public default") && text.contains("shorter than 12"), "{text}");
    let short = converted("broker: { pass: elevenchars }").unwrap().settings;
    assert!(short.contains("broker.pass: is shorter than 12 characters"), "{short}");
    let long = converted("broker: { pass: of twelve characters }").unwrap().settings;
    assert!(!long.contains("shorter than"), "{long}");
}

#[test]
fn the_catalog_has_the_configured_or_default_ids() {
    let ids = |yaml: &str| {
        let catalog: serde_json::Value =
            serde_json::from_str(&converted(yaml).unwrap().catalog).unwrap();
        let service = &catalog["services"][0];
        assert_eq!(
            (&service["name"], &service["plans"][0]["name"]),
            (&"promfetcher".into(), &"fetch-app".into())
        );
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        (text(&service["id"]), text(&service["plans"][0]["id"]))
    };
    let release = ("e44a55b7-b532-4247-89f3-4ea92054b793", "3294e4fa-42b3-4505-b289-8fb3695b5b3a");
    assert_eq!(ids(POLLING), (release.0.to_owned(), release.1.to_owned()));
    let default = ("75bcebab-cc25-4ef6-89dc-a91b953919f1", "e2900be3-709b-419e-b63b-de3aabcd9e15");
    assert_eq!(ids("{}"), (default.0.to_owned(), default.1.to_owned()));
    assert_eq!(ids("broker: { broker_plan_id: p }"), (default.0.to_owned(), "p".to_owned()));
}

#[test]
fn all_mistakes_are_reported_and_none_shows_a_secret() {
    let yaml = "
gorouters: [{ host: a, prot: 8082 }, { host: b, port: 0, user: u }]
nats: { hosts: [{ hostname: h }], pass: hunter2, tls_enabeld: true }
port: eighty
enable_ssl: maybe
base_url: ftp://hunter2@x
logging: { level: loud }
db_conn: oracle://u:hunter2@h/d
sql_cnx_max_life: soon
droplet_stale_threshold: 0s
broker: { user: 'a:b', broker_plan_id: [1] }
external_exporters: [{ name: no-host }, { host: h, scheme: gopher, params: { a: b } }]
tls_pem: { cert_chain: hunter2 }
skip_ssl_validaton: true
";
    let found = mistakes(yaml);
    let keys: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
    for key in [
        "gorouters[0].port",
        "gorouters[0].prot",
        "gorouters[1].port",
        "gorouters[1].pass",
        "nats.hosts[0].port",
        "nats.user",
        "nats.tls_enabeld",
        "port",
        "enable_ssl",
        "base_url",
        "logging.level",
        "db_conn",
        "sql_cnx_max_life",
        "droplet_stale_threshold",
        "broker.user",
        "broker.broker_plan_id",
        "external_exporters[0].host",
        "external_exporters[1].scheme",
        "external_exporters[1].params",
        "tls_pem.cert_chain",
        "skip_ssl_validaton",
    ] {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
    assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    let (_, unknown) = found.iter().find(|(key, _)| key == "skip_ssl_validaton").unwrap();
    assert!(unknown.contains("did you mean skip_ssl_validation?"), "{unknown}");
}

#[test]
fn invalid_yaml_is_reported_with_its_line_and_aliases_are_resolved() {
    for (yaml, part) in [
        ("a: [", "line "),
        ("port: 1\nport: 2\n", "line 2, column 7: the same key is given twice"),
        ("- 1\n", "not one YAML document"),
        ("port: 1\n---\nport: 2\n", "not one YAML document"),
        ("[a]: 1\n", "a key must be a text"),
        ("a: &a [*a]\n", "an alias refers to a value that contains it"),
    ] {
        let error = converted(yaml).unwrap_err().to_string();
        assert!(error.contains(part), "{yaml:?}: {error}");
    }
    let bomb: String = (1..40)
        .map(|level| format!("l{level}: &l{level} [*l{0}, *l{0}, *l{0}]\n", level - 1))
        .collect();
    let error = converted(&format!("l0: &l0 [1, 2, 3]\n{bomb}")).unwrap_err().to_string();
    assert!(error.contains("too many values"), "{error}");
    let aliased = "gorouters: [{ host: a, port: 1, user: &u same, pass: *u }]";
    assert_eq!(settings(aliased)["routes"]["gorouters"][0]["password"].as_str(), Some("same"));
}

#[test]
fn durations_are_parsed_as_in_promfetcher() {
    for (given, ours) in [
        ("90s", "1m30s"),
        ("1h30m", "1h30m"),
        ("1.5m", "1m30s"),
        ("120000000000", "2m"),
        ("500ms", "500ms"),
        ("3h", "3h"),
    ] {
        let settings = settings(&format!("droplet_stale_threshold: {given}"));
        assert_eq!(settings["routes"]["stale_after"].as_str(), Some(ours), "{given}");
    }
    for wrong in ["soon", "10", "1", "-1s", "1d", "s", "1..5s", "0", "99999999999999999999h"] {
        let outcome = converted(&format!("droplet_stale_threshold: {wrong}"));
        let nanoseconds = wrong.parse::<u64>().is_ok_and(|number| number > 0);
        assert_eq!(outcome.is_ok(), nanoseconds, "{wrong}");
    }
    // The key that Scrapebroker requires in addition is set.
    for given in ["3h", "10s"] {
        loaded(&format!(
            "gorouters: [{{ host: a, port: 1 }}]\nport: 1\ndroplet_stale_threshold: {given}\n\
             broker: {{ pass: of twelve characters }}"
        ));
    }
}

proptest::proptest! {
    #[test]
    fn secrets_are_not_changed_by_the_conversion(secret in "[^\\p{Cc}\\s'][^\\p{Cc}']{10,30}[^\\p{Cc}\\s']") {
        let router = "gorouters: [{ host: a, port: 1 }]";
        let yaml = format!("{router}\nbroker: {{ user: u, pass: '{secret}' }}");
        let password = loaded(&yaml).broker.credentials.unwrap().password;
        proptest::prop_assert_eq!(password.expose_secret(), secret.as_str());
    }
}
