use super::*;
use crate::tls::{Pem, PemSource};
use secrecy::ExposeSecret;
use std::collections::BTreeSet;
use yaml_rust2::Yaml;

mod documentation;
mod layers;
mod mistakes;
mod platforms;
mod secrets;
mod tsuru_apps;
mod web_file;

type Loaded = Result<(Config, Effective), ConfigError>;

/// Loads `yaml` as a file and `variables` as the environment.
fn load(yaml: &str, variables: &[(&str, &str)]) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("scrapebroker.yml");
    std::fs::write(&file, yaml).unwrap();
    load_file(Some(&file), variables)
}

fn load_file(file: Option<&Path>, variables: &[(&str, &str)]) -> Loaded {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Config::load_effective(file, variables.iter().map(own), &Flags::default())
}

fn mistakes(loaded: Loaded) -> Vec<(String, String)> {
    match loaded {
        Err(ConfigError::Mistakes(Mistakes(all))) => {
            all.into_iter().map(|mistake| (mistake.key, mistake.problem)).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// The URL with its password.
fn database_url(config: &Config) -> String {
    match &config.database_url {
        DatabaseUrl::Sqlite(path) => format!("sqlite:{path}"),
        DatabaseUrl::Postgres(url) => url.expose_secret().to_owned(),
    }
}

/// Key paths and values of effective settings.
fn flat(effective: &Effective) -> Vec<(String, String)> {
    fn walk(path: &str, yaml: &Yaml, into: &mut Vec<(String, String)>) {
        let text = match yaml {
            Yaml::Hash(keys) if keys.is_empty() => "{}".to_owned(),
            Yaml::Hash(keys) => {
                for (key, value) in keys {
                    let dot = if path.is_empty() { "" } else { "." };
                    walk(&format!("{path}{dot}{}", key.as_str().unwrap()), value, into);
                }
                return;
            }
            Yaml::Array(items) if !items.is_empty() => {
                return items.iter().for_each(|item| walk(&format!("{path}[]"), item, into));
            }
            Yaml::Array(_) => "[]".to_owned(),
            Yaml::Null => String::new(),
            Yaml::Integer(number) => number.to_string(),
            Yaml::Boolean(flag) => flag.to_string(),
            other => other.as_str().unwrap().to_owned(),
        };
        into.push((path.to_owned(), text));
    }
    let mut into = Vec::new();
    walk("", &effective.settings, &mut into);
    into
}

/// A bcrypt hash of a random password.
const HASH: &str = "$2y$10$bwLzfBQd41SbKrw4Xb7F/ePOYfMyvayo5EWdTf9cgW8..QLaNhW62";

const WHOLE: &str = "
listen: ':9000'
base_url: https://metrics.example.com/
health_listen: 127.0.0.1:9001
tls: { cert_file: /tls/cert.pem, key_file: /tls/key.pem, client_ca_file: /tls/ca.pem, handshake_timeout: 2s }
drain_wait: 1s
shutdown_grace: 5s
log: { level: 'info,scrapebroker=debug', format: json }
database_url: postgres://broker:hunter2@db/scrapebroker
database: { max_connections: 20 }
store_is_durable: true
broker:
  username: cc
  password: hunter2hunter2
  catalog: /etc/catalog.json
  token_key: hunter2hunter2hunter2
routes:
  stale_after: 60s
  keep: 2h
  refresh_interval: 5s
  gorouters:
    - { url: 'http://127.0.0.1:8082/routes', username: router, password: hunter2 }
    - { url: 'http://10.0.0.2:8082/routes' }
  file: routes.json
  nats: { servers: [10.0.0.1, 'tls://nats.internal:4224'], username: nats, password: hunter2, announce: true }
  tsuru: { api_url: 'https://tsuru.example.com/', token: hunter2 }
scrape:
  timeout: 10s
  max_timeout: 1m
  timeout_offset: 250ms
  all_failed: series
  access: token
  concurrency: 8
  max_instance_body: 1MiB
  max_response: 1GiB
  max_memory: 256MiB
  max_line: 64KiB
  max_samples: 5000
  max_families: 100
  max_labels: 32
backends: { ca_file: /cf/ca.pem, cert_file: /cf/cert.pem, key_file: /cf/key.pem, skip_verify: true, idle_timeout: 30s }
external_exporters:
  - { host: 'e.example.com:9100' }
  - name: billing
    host: billing.example.com
    scheme: https
    metrics_path: /federate
    params: { 'match[]': ['{app=\"{{ .AppName }}\"}', b], org: '{{organization_id}}', n: 7 }
";

#[test]
fn without_settings_the_defaults_apply() {
    let (config, _) = load_file(None, &[]).unwrap();
    assert_eq!(config.listen[0].to_string(), "[::]:8085");
    assert_eq!(config.base_url.as_str(), "http://localhost:8085");
    assert_eq!(database_url(&config), "sqlite://scrapebroker.db");
    assert_eq!(config.shutdown_grace, Duration::from_secs(15));
    assert_eq!(config.drain_wait, Duration::from_secs(5));
    assert!(config.broker.credentials.is_none());
    assert_eq!(config.routes.settings.stale_after, Duration::from_secs(120));
    assert_eq!(config.scrape.limits.max_response, 4 << 30);
    assert!(!config.scrape.series_when_all_failed);
    assert!(!config.scrape.token_required);
    assert!(config.operators.is_empty() && config.external_exporters.is_empty());
    assert_eq!(config.platform, None);
}

#[test]
fn an_empty_file_and_keys_without_a_value_change_nothing() {
    let (_, defaults) = load_file(None, &[]).unwrap();
    let empty = ["", "# nothing\n", "broker:\n", "listen:\nbroker:\n  username:\n  password: ''\n"];
    for yaml in empty {
        let (_, effective) = load(yaml, &[("SCRAPEBROKER__LISTEN", "")]).unwrap();
        assert_eq!(effective.to_string(), defaults.to_string(), "{yaml:?}");
    }
}

#[test]
fn a_file_can_set_all_keys() {
    let (config, _) = load(WHOLE, &[]).unwrap();
    assert_eq!(config.listen[0].to_string(), "[::]:9000");
    assert_eq!(config.base_url.as_str(), "https://metrics.example.com");
    assert_eq!(config.health_listen.unwrap().to_string(), "127.0.0.1:9001");
    assert_eq!(config.log.level, "info,scrapebroker=debug");
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(config.store_is_durable);
    assert_eq!(config.broker.credentials.unwrap().password.expose_secret(), "hunter2hunter2");
    assert_eq!(config.broker.catalog.as_deref(), Some(Path::new("/etc/catalog.json")));
    let [first, second] = config.routes.gorouters.try_into().unwrap();
    assert_eq!(first.credentials.unwrap().username, "router");
    assert_eq!(second.url, "http://10.0.0.2:8082/routes");
    assert_eq!(config.routes.file.unwrap().path, Path::new("routes.json"));
    assert_eq!(config.scrape.timeouts.offset, Duration::from_millis(250));
    assert_eq!(config.scrape.limits.exposition.max_line, 64 << 10);
    assert_eq!(config.scrape.limits.exposition.max_samples, 5000);
    assert_eq!(config.backends.idle_timeout, Duration::from_secs(30));
    assert!(config.scrape.token_required);
    let [plain, billing] = config.external_exporters.try_into().unwrap();
    assert_eq!(plain.name, "e.example.com:9100/metrics");
    assert_eq!((plain.host.tls(), plain.path.as_str()), (false, "/metrics"));
    assert_eq!((billing.name.as_str(), billing.host.tls()), ("billing", true));
    let names: Vec<_> = billing.params.iter().map(|(name, all)| (&**name, all.len())).collect();
    assert_eq!(names, [("match[]", 2), ("n", 1), ("org", 1)]);
    assert!(config.backends.tls.skip_verify);
    let tls = config.tls.unwrap();
    assert_eq!(config.handshake_timeout, Duration::from_secs(2));
    let file = |pem: Pem| match pem.source {
        PemSource::File(path) => path.display().to_string(),
        PemSource::Inline(_) => panic!("not a file"),
    };
    assert_eq!([tls.cert, tls.key].map(file), ["/tls/cert.pem", "/tls/key.pem"]);
    assert_eq!(file(tls.client_ca.unwrap()), "/tls/ca.pem");
    let (cert, key) = config.backends.tls.identity.unwrap();
    let ca = config.backends.tls.ca.unwrap();
    assert_eq!([ca, cert, key].map(file), ["/cf/ca.pem", "/cf/cert.pem", "/cf/key.pem"]);
}

#[test]
fn with_tls_the_default_base_url_is_https() {
    let tls = "tls: { cert_file: c, key_file: k }";
    assert_eq!(load(tls, &[]).unwrap().0.base_url.as_str(), "https://localhost:8085");
}

#[test]
fn the_default_base_url_follows_the_port_of_listen() {
    let (config, _) = load("listen: 127.0.0.1:9999", &[]).unwrap();
    assert_eq!(config.base_url.as_str(), "http://localhost:9999");
}

#[test]
fn a_variable_overrides_the_file() {
    let variables = [
        ("SCRAPEBROKER__BROKER__PASSWORD", "from the environment"),
        ("SCRAPEBROKER__SCRAPE__CONCURRENCY", "7"),
        ("SCRAPEBROKER__STORE_IS_DURABLE", "false"),
        ("SCRAPEBROKER__ROUTES__GOROUTERS", r#"[{"url": "http://r/routes"}]"#),
        ("SCRAPEBROKER__LOG", r#"{"level": "warn"}"#),
        ("SCRAPEBROKER_PORT", "tcp://10.0.0.1:8085"),
    ];
    let (config, _) = load(WHOLE, &variables).unwrap();
    let credentials = config.broker.credentials.unwrap();
    assert_eq!(credentials.username, "cc");
    assert_eq!(credentials.password.expose_secret(), "from the environment");
    assert_eq!(config.scrape.limits.concurrency, 7);
    assert!(!config.store_is_durable);
    assert_eq!(config.routes.gorouters.len(), 1);
    assert_eq!(config.log.level, "warn");
    assert_eq!(config.log.format, LogFormat::Json, "the rest of the section stays");
}

#[test]
fn a_variable_for_one_key_overrides_json_for_its_section() {
    let variables = [
        ("SCRAPEBROKER__BROKER", r#"{"username": "json", "password": "json"}"#),
        ("SCRAPEBROKER__BROKER__PASSWORD", "[1234567890]"),
    ];
    let credentials = load("", &variables).unwrap().0.broker.credentials.unwrap();
    assert_eq!(credentials.username, "json");
    assert_eq!(
        credentials.password.expose_secret(),
        "[1234567890]",
        "a password may look like JSON"
    );
}

#[test]
fn effective_settings_can_be_loaded_again() {
    for yaml in ["", WHOLE, "listen: 127.0.0.1:1\nbroker: { catalog: '0x10' }"] {
        let (_, first) = load(yaml, &[]).unwrap();
        let (_, again) = load(&first.to_string(), &[]).unwrap();
        assert_eq!(first.to_string(), again.to_string());
    }
}

proptest::proptest! {
    #[test]
    fn any_user_name_survives_printing_and_reading(name in "[^:\\p{Cc}\\s]([^:\\p{Cc}]{0,12}[^:\\p{Cc}\\s])?") {
        let variables = [("SCRAPEBROKER__BROKER__USERNAME", name.as_str()), ("SCRAPEBROKER__BROKER__PASSWORD", "password of 12")];
        let (_, effective) = load("", &variables).unwrap();
        let (config, _) = load(&effective.to_string(), &[]).unwrap();
        proptest::prop_assert_eq!(config.broker.credentials.unwrap().username, name);
    }
}
