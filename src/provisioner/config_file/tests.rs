use super::*;
use crate::provisioner::tsuru::testing::desired;
use std::{fs, process::Command};

fn contents(token: &SecretString) -> ConfigContents<'_> {
    ConfigContents {
        instance: "i1",
        replica: 0,
        base_url: "https://broker.example.com",
        scraper_token: token,
        scrape_interval: Period::seconds(15),
        sample_limit: 0,
        memory_limit: 1 << 30,
        has_rules: false,
        alertmanager_url: None,
        remote_write: None,
    }
}

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// promtool reads the file as Prometheus does, including secrets.
fn assert_valid(config: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, config).unwrap();
    fs::write(folder.path().join(RULES_FILE), "groups: []\n").unwrap();
    let output = Command::new("promtool").args(["check", "config"]).arg(file).output();
    let output = output.expect("promtool: scripts/install-test-tools installs it");
    let output_text =
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{output_text}\n{config}");
}

/// Unusual texts that a user or an operator may enter.
const ODD: &[&str] = &[
    "plain",
    "quote\" 'and' back\\slash",
    "a: b # c",
    "${HOME} $x $$",
    "\n- job_name: other",
    "é — 🦀 \u{85}\u{a0}\u{2028}\u{2029}\u{feff}\u{7f}\u{9f}\u{ffff}\t\u{1}",
    "yes",
    "",
    "%",
];

#[test]
fn the_complete_configuration() {
    let (token, password, tenant) = ("t".into(), "p".into(), "acme".into());
    let credentials = Some(RemoteWriteAuth::Basic("u", &password));
    let headers = vec![("X-Scope-OrgID", &tenant)];
    let remote_write =
        RemoteWriteSection { url: "https://mimir.example.com/push", credentials, headers };
    let alertmanager = url("https://us%40er:p%3Aw@alerts.example.com/a%20b/");
    let contents = ConfigContents {
        replica: 1,
        sample_limit: 5000,
        has_rules: true,
        alertmanager_url: Some(&alertmanager),
        remote_write: Some(remote_write),
        ..contents(&token)
    };
    let config = text(&contents);
    assert_valid(&config);
    assert_eq!(
        parsed(&config),
        json!({
            "global": {
                "scrape_interval": "15s",
                "scrape_timeout": "10s",
                "evaluation_interval": "15s",
                "external_labels": { "prometheus_instance": "i1", "prometheus_replica": "1" },
            },
            "scrape_configs": [{
                "job_name": "apps",
                "honor_labels": true,
                "sample_limit": 5000,
                "follow_redirects": false,
                "authorization": { "type": "Bearer", "credentials": "t" },
                "http_sd_configs": [{
                    "url": "https://broker.example.com/sd",
                    "refresh_interval": "5s",
                    "follow_redirects": false,
                    "authorization": { "type": "Bearer", "credentials": "t" },
                }],
            }],
            "storage": { "exemplars": { "max_exemplars": 32_768 } },
            "rule_files": ["rules.yml"],
            "alerting": {
                "alertmanagers": [{
                    "scheme": "https",
                    "path_prefix": "/a b/",
                    "static_configs": [{ "targets": ["alerts.example.com:443"] }],
                    "basic_auth": { "username": "us@er", "password": "p:w" },
                    "follow_redirects": false,
                }],
                "alert_relabel_configs": [{ "action": "labeldrop", "regex": "prometheus_replica" }],
            },
            "remote_write": [{
                "url": "https://mimir.example.com/push",
                "basic_auth": { "username": "u", "password": "p" },
                "headers": { "X-Scope-OrgID": "acme" },
            }],
        })
    );
}

#[test]
fn optional_sections_are_absent_when_they_are_not_configured() {
    let token = "t".into();
    let config = text(&contents(&token));
    assert_valid(&config);
    let config = parsed(&config);
    let keys: Vec<_> = config.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["global", "scrape_configs", "storage"]);
    assert_eq!(config["scrape_configs"][0].get("sample_limit"), None);
}

#[test]
fn texts_of_users_stay_strings() {
    for odd in ODD {
        let secret = (*odd).into();
        for credentials in [RemoteWriteAuth::Basic(odd, &secret), RemoteWriteAuth::Bearer(&secret)]
        {
            let credentials = Some(credentials);
            let remote_write =
                RemoteWriteSection { url: "http://x/", credentials, headers: Vec::new() };
            let contents = ConfigContents {
                instance: odd,
                remote_write: Some(remote_write),
                ..contents(&secret)
            };
            let config = text(&contents);
            assert_valid(&config);
            let read = parsed(&config);
            let label = read["global"]["external_labels"]["prometheus_instance"].as_str().unwrap();
            assert_eq!(label, odd.replace('$', "$$"));
            let [yaml] = &yaml_rust2::YamlLoader::load_from_str(&config).unwrap()[..] else {
                panic!("{config} is not one document")
            };
            let token = &yaml["scrape_configs"][0]["authorization"]["credentials"];
            assert_eq!(token.as_str().unwrap(), *odd);
        }
    }
}

#[test]
fn the_refresh_interval_is_the_scrape_interval_and_at_most_five_seconds() {
    let token = "t".into();
    for (interval, timeout, refresh) in [
        ("500ms", "500ms", "1s"),
        ("1s", "1s", "1s"),
        ("1s500ms", "1s500ms", "1s500ms"),
        ("5s", "5s", "5s"),
        ("1m30s", "10s", "5s"),
        ("5m", "10s", "5s"),
    ] {
        let scrape_interval = interval.parse().unwrap();
        let config = text(&ConfigContents { scrape_interval, ..contents(&token) });
        assert_valid(&config);
        let config = parsed(&config);
        assert_eq!(config["global"]["scrape_interval"], interval);
        assert_eq!(config["global"]["scrape_timeout"], timeout);
        assert_eq!(config["scrape_configs"][0]["http_sd_configs"][0]["refresh_interval"], refresh);
    }
}

#[test]
fn alertmanager_urls_of_every_form_are_supported() {
    let token = "t".into();
    for (address, scheme, target, prefix) in [
        ("http://a", "http", "a:80", Value::Null),
        ("http://a:9093/", "http", "a:9093", Value::Null),
        ("https://10.0.0.1/am", "https", "10.0.0.1:443", "/am".into()),
        ("http://[::1]:9093", "http", "[::1]:9093", Value::Null),
    ] {
        let alertmanager_url = url(address);
        let contents =
            ConfigContents { alertmanager_url: Some(&alertmanager_url), ..contents(&token) };
        let config = text(&contents);
        assert_valid(&config);
        let alertmanager = &parsed(&config)["alerting"]["alertmanagers"][0];
        assert_eq!(alertmanager["scheme"], scheme);
        assert_eq!(alertmanager["static_configs"][0]["targets"][0], target);
        assert_eq!(alertmanager.get("path_prefix").unwrap_or(&Value::Null), &prefix);
        assert_eq!(alertmanager.get("basic_auth"), None);
    }
}

#[test]
fn the_web_configuration_accepts_one_password_and_is_deterministic() {
    let password = "pass\"word".into();
    let file = web_config(&password).unwrap();
    assert_eq!(file, web_config(&password).unwrap());
    assert_ne!(file, web_config(&"other".into()).unwrap());
    let file = parsed(&file);
    let hash = file["basic_auth_users"][DesiredInstance::WEB_USER].as_str().unwrap();
    assert!(bcrypt::verify("pass\"word", hash).unwrap());
    assert!(!bcrypt::verify("password", hash).unwrap());
}

#[test]
fn flags_contain_retention_urls_and_query_limits() {
    let mut desired = desired("i:1");
    let url = (
        "web.external-url",
        "https://broker.example.com/prometheus/i-1-cad38c8cc221350c".to_owned(),
    );
    let prefix = ("web.route-prefix", "/".to_owned());
    let time = |time: &str| ("storage.tsdb.retention.time", time.to_owned());
    let size = ("storage.tsdb.retention.size", "1048576B".to_owned());
    let queries = ("query.max-concurrency", "2".to_owned());
    let samples = ("query.max-samples", "1048576".to_owned());
    let features = |features: &str| ("enable-feature", features.to_owned());
    let rest = [url, prefix, size, queries, samples, features("exemplar-storage")];
    let expected = [&[time("15d")], &rest[..]].concat();
    assert_eq!(flags(&desired, "/"), expected);
    desired.spec.retention_size = None;
    desired.spec.retention = "90m".parse().unwrap();
    let expected = [&[time("1h30m")], &rest[..2], &rest[3..]].concat();
    assert_eq!(flags(&desired, "/"), expected);
    desired.instance_id = "$".parse().unwrap();
    let both = features("exemplar-storage,expand-external-labels");
    assert_eq!(flags(&desired, "/").last(), Some(&both));
}

#[test]
fn the_desired_instance_is_rendered() {
    let mut desired = desired("i1");
    let config = render(&desired, 1);
    assert_valid(&config);
    let config = parsed(&config);
    assert_eq!(config["global"]["external_labels"]["prometheus_replica"], "1");
    assert_eq!(config["rule_files"], json!(["rules.yml"]));
    assert_eq!(config["scrape_configs"][0]["authorization"]["credentials"], "scraper-token");
    desired.spec.alertmanager_url = Some("https://alerts.example.com".parse().unwrap());
    desired.remote_write = Some(super::super::RemoteWrite {
        url: "https://mimir.example.com".to_owned(),
        basic_auth: None,
        bearer_token: Some("b".into()),
        headers: [("X-Scope-OrgID".to_owned(), "acme".into())].into(),
    });
    desired.spec.rules = None;
    let config = render(&desired, 0);
    assert_valid(&config);
    let config = parsed(&config);
    assert_eq!(config.get("rule_files"), None);
    assert_eq!(config["alerting"]["alertmanagers"][0]["scheme"], "https");
    assert_eq!(config["remote_write"][0]["authorization"]["credentials"], "b");
    assert_eq!(config["remote_write"][0]["headers"]["X-Scope-OrgID"], "acme");
}
