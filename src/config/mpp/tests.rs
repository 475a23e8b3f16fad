use super::*;
use crate::{
    config::{Config, Mistake},
    query::LocatorSettings,
};
use yaml_rust2::{Yaml, YamlLoader};

const SECRET: &str =
    r#"{"uid":"u","login_endpoint":"https://dcos.test/login","password":"hunter2"}"#;

fn converted(flags: &[&str], variables: &[(&str, &str)]) -> Result<String, ConfigError> {
    let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    convert(&flags, &variables.iter().map(own).collect())
}

fn settings(flags: &[&str], variables: &[(&str, &str)]) -> Yaml {
    let text = converted(flags, variables).unwrap();
    YamlLoader::load_from_str(&text).unwrap().remove(0)
}

/// The only pool, as flow-style text.
fn pool(flags: &[&str], variables: &[(&str, &str)]) -> Yaml {
    settings(flags, variables)["query"]["pools"][0].clone()
}

fn yaml(text: &str) -> Yaml {
    YamlLoader::load_from_str(text).unwrap().remove(0)
}

fn mistakes(flags: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    match converted(flags, variables) {
        Err(ConfigError::Mistakes(Mistakes(all))) => {
            all.into_iter().map(|Mistake { key, problem }| format!("{key}: {problem}")).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_defaults_of_mpp_are_written() {
    let expected = yaml(
        "query:
  listen: '0.0.0.0:9090'
  default_pool: main
  pools:
    - name: main
      strategy: single-most-data
      selection_interval: 10s
      affinity: [cookies]
      locators: [{ endpoints_file: endpoints.txt }]
",
    );
    assert_eq!(settings(&["--endpoints-file=endpoints.txt"], &[]), expected);
    assert_eq!(settings(&[], &[("MPP_ENDPOINTS_FILE", "endpoints.txt")]), expected);
    let text = converted(&["--endpoints-file=x"], &[]).unwrap();
    assert!(text.starts_with("# Settings of Scrapebroker, converted from those of mpp."), "{text}");
    assert!(!text.contains("no counterpart") && text.contains("#   paths: mpp forwards"), "{text}");
}

#[test]
fn all_flags_are_converted() {
    let flags = [
        "--endpoints-file=/etc/endpoints",
        "--kubeconfig",
        "/etc/kubeconfig",
        "--kube-service-name=prometheus",
        "--kube-pod-label-selector=app=prometheus",
        "--kube-namespace=monitoring",
        "--kube-port=web",
        "-marathon-url=https://m1:8080,m2:8080",
        "--marathon-apps=/a,b/c",
        "-k",
        "true",
        "--marathon-principal-secret",
        SECRET,
        "--marathon-auth-endpoint=https://other.test/login",
        "--routing-strategy=minimum-history:1.5h",
        "--selection-interval=90s",
        "--affinity-options=cookies,sourceip",
        "--port=9999",
        "-V",
    ];
    let text = converted(&flags, &[]).unwrap();
    let settings = yaml(&text);
    let expected = yaml(&format!(
        "name: main
strategy: minimum-history:1.5h
selection_interval: 90s
affinity: [cookies, source-ip]
locators:
  - endpoints_file: /etc/endpoints
  - kubernetes: {{ namespace: monitoring, service: prometheus, port: web, kubeconfig: /etc/kubeconfig }}
  - marathon:
      url: ['https://m1:8080', 'https://m2:8080']
      apps: [/a, /b/c]
      principal_secret: '{SECRET}'
      auth_endpoint: https://other.test/login
      skip_verify: true
"
    ));
    assert_eq!(settings["query"]["pools"][0], expected);
    assert_eq!(settings["query"]["listen"].as_str(), Some("0.0.0.0:9999"));
    assert_eq!(settings["log"]["level"].as_str(), Some("debug"));
    for comment in [
        "#   --kube-pod-label-selector: --kube-service-name takes precedence over it\n",
        "#   --insecure-certs: skip_verify accepts any certificate of the login endpoint, and",
        "#   --affinity-options: list the proxies",
    ] {
        assert!(text.contains(comment), "{comment}: {text}");
    }
}

#[test]
fn all_variables_are_converted_and_flags_take_precedence() {
    let variables = [
        ("MPP_KUBECONFIG", "/etc/kubeconfig"),
        ("MPP_KUBE_POD_LABEL_SELECTOR", "app=prometheus,tier in (a)"),
        ("MPP_KUBE_NAMESPACE", "monitoring"),
        ("MPP_KUBE_PORT", "9090"),
        ("MPP_MARATHON_URL", "http://m:8080"),
        ("MPP_MARATHON_APPS", "a"),
        ("MPP_MARATHON_PRINCIPAL_SECRET", SECRET),
        ("MPP_MARATHON_AUTH_ENDPOINT", "https://other.test/login"),
        ("MPP_INSECURE_CERTS", "false"),
        ("MPP_ENDPOINTS_FILE", "old"),
        ("MPP_ROUTING_STRATEGY", "single-most-data"),
        ("MPP_SELECTION_INTERVAL", "20s"),
        ("MPP_AFFINITY_OPTIONS", "sourceip"),
        ("MPP_PORT", "1"),
        ("MPP_VERBOSE", "1"),
        ("MPP_SERVICE_HOST", "10.0.0.1"),
        ("MPP_PORT_9090_TCP_ADDR", "10.0.0.1"),
        ("SCRAPEBROKER__LOG__LEVEL", "info"),
        ("PATH", "/bin"),
    ];
    let flags = [
        "--endpoints-file=new",
        "--routing-strategy=random",
        "--routing-strategy=minimum-history:24h",
        "--port=9090",
        "--verbose=false",
    ];
    let settings = settings(&flags, &variables);
    let expected = yaml(&format!(
        "name: main
strategy: minimum-history:24h
selection_interval: 20s
affinity: [source-ip]
locators:
  - endpoints_file: new
  - kubernetes: {{ namespace: monitoring, pod_selector: 'app=prometheus,tier in (a)', port: '9090', kubeconfig: /etc/kubeconfig }}
  - marathon: {{ url: ['http://m:8080'], apps: [/a], principal_secret: '{SECRET}', auth_endpoint: https://other.test/login }}
"
    ));
    assert_eq!(settings["query"]["pools"][0], expected);
    assert_eq!(settings["query"]["listen"].as_str(), Some("0.0.0.0:9090"));
    assert!(settings["log"].is_badvalue());
    let text = converted(&flags, &variables).unwrap();
    assert!(text.contains("mpp ignores all terms except key=value"), "{text}");
}

#[test]
fn the_converted_settings_can_be_loaded() {
    let flags = [
        "--endpoints-file=x",
        "--marathon-url=http://m1:8080,m2:8080",
        "--marathon-apps=a",
        "--marathon-principal-secret",
        SECRET,
        "--insecure-certs=true",
        "--routing-strategy=minimum-history:24h",
        "--affinity-options=sourceip",
        "--verbose",
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scrapebroker.yml");
    std::fs::write(&file, converted(&flags, &[]).unwrap()).unwrap();
    let config = Config::load(Some(&file), []).unwrap();
    assert_eq!(config.log.level, "debug");
    assert_eq!(config.query.listen.unwrap().to_string(), "0.0.0.0:9090");
    assert_eq!(config.query.default_pool.as_deref(), Some("main"));
    let [pool] = config.query.pools.try_into().unwrap();
    assert_eq!(pool.strategy.to_string(), "minimum-history:1day");
    assert!(pool.affinity.source_ip && !pool.affinity.cookies);
    let [LocatorSettings::EndpointsFile(_), LocatorSettings::Marathon(marathon)] = &*pool.locators
    else {
        panic!("{:?}", pool.locators)
    };
    assert_eq!(marathon.urls.len(), 2);
    assert!(marathon.login.is_some() && marathon.tls.skip_verify);
}

#[test]
fn an_empty_flag_hides_its_variable() {
    let pool = pool(
        &["--endpoints-file=", "--marathon-url=http://m", "--marathon-apps=9"],
        &[("MPP_ENDPOINTS_FILE", "old"), ("MPP_ROUTING_STRATEGY", "")],
    );
    let expected = yaml("[{ marathon: { url: ['http://m'], apps: [/9] } }]");
    assert_eq!(pool["locators"], expected);
}

#[test]
fn the_wrong_names_of_the_readme_are_accepted() {
    let flags = [
        "--marathon-url=http://m",
        "--marathon-apps=a",
        "--insecure=true",
        "--marathon-principal-secret",
        SECRET,
    ];
    let variables = [("MPP_SERVICE_NAME", "prometheus")];
    let locators = pool(&flags, &variables)["locators"].clone();
    assert_eq!(locators[0], yaml("kubernetes: { namespace: default, service: prometheus }"));
    assert_eq!(locators[1]["marathon"]["skip_verify"].as_bool(), Some(true));
    let text = converted(&flags, &variables).unwrap();
    for (wrong, right) in
        [("--service-name", "--kube-service-name"), ("--insecure", "--insecure-certs")]
    {
        let comment = format!(
            "#   {wrong}: is in mpp's README, but mpp does not read it; it is converted like {right}\n"
        );
        assert!(text.contains(&comment), "{text}");
    }
}

#[test]
fn settings_without_effect_are_comments() {
    let flags = [
        "--endpoints-file=x",
        "--kubeconfig=y",
        "--kube-port=web",
        "--marathon-apps=a",
        "--insecure-certs=true",
        "--marathon-auth-endpoint=http://x",
    ];
    let text = converted(&flags, &[]).unwrap();
    for flag in &flags[1..] {
        let (flag, _) = flag.split_once('=').unwrap();
        assert!(text.contains(&format!("#   {flag}: has no effect without --")), "{flag}: {text}");
    }
    let flags = [
        "--marathon-url=http://m",
        "--marathon-apps=a",
        "--insecure-certs=true",
        "--marathon-auth-endpoint=http://x",
    ];
    let text = converted(&flags, &[]).unwrap();
    assert!(
        text.contains("#   --insecure-certs: has no effect without --marathon-principal-secret"),
        "{text}"
    );
    assert!(!text.contains("skip_verify:") && !text.contains("auth_endpoint:"), "{text}");
}

#[test]
fn every_mistake_is_reported_at_once_and_secrets_are_not_quoted() {
    let flags = [
        "hunter2",
        "--kube-prot=1",
        "--nonsense",
        "hunter2",
        "--marathon-url=m:8080,http://u:hunter2@m",
        "--marathon-apps=*",
        "--marathon-principal-secret=hunter2",
        "--marathon-auth-endpoint=/login",
        "--kube-port=70000",
        "--affinity-options=cookie",
        "--routing-strategy=random-sticky",
        "--insecure-certs=maybe",
        "--help",
        "--port",
    ];
    let variables = [
        ("MPP_SELECTION_INTERVAL", "10"),
        ("MPP_VERBOSE", "yes"),
        ("MPP_KUBE_NAMESPACES", "x"),
        ("MPP_PORT", "tcp://10.0.0.1:9090"),
    ];
    let found = mistakes(&flags, &variables);
    let keys: Vec<_> = found.iter().map(|it| it.split(": ").next().unwrap()).collect();
    let expected = [
        "argument 1",
        "--port",
        "--port",
        "--routing-strategy",
        "--selection-interval",
        "--affinity-options",
        "--verbose",
        "--help",
        "--kube-port",
        "--marathon-url[0]",
        "--marathon-url[1]",
        "--marathon-apps[0]",
        "--marathon-principal-secret",
        "--marathon-auth-endpoint",
        "--insecure-certs",
        "--kube-namespaces",
        "--kube-prot",
        "--nonsense",
    ];
    assert_eq!(keys, expected, "{found:#?}");
    let text = found.join("\n");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("--kube-prot: is unknown; did you mean --kube-port?"), "{text}");
    assert!(text.contains("did you mean --kube-namespace? (set by MPP_KUBE_NAMESPACES)"), "{text}");
}

#[test]
fn values_of_a_strategy_and_durations_are_checked() {
    for (flag, problem) in [
        ("--routing-strategy=minimum-history", "needs a duration"),
        ("--routing-strategy=minimum-history:24", "has no unit"),
        ("--routing-strategy=minimum-history:soon", "is not a duration"),
        ("--routing-strategy=random:1h", "random takes no duration"),
        ("--routing-strategy=most", "is not one of: single-most-data"),
        ("--selection-interval=0s", "longer than nothing"),
        ("--selection-interval=99999h", "is longer than a year"),
    ] {
        let found = mistakes(&["--endpoints-file=x", flag], &[]);
        assert!(found.len() == 1 && found[0].contains(problem), "{flag}: {found:?}");
    }
    let pool = pool(&["--endpoints-file=x", "--selection-interval=.5h"], &[]);
    assert_eq!(pool["selection_interval"].as_str(), Some("30m"), "only Go reads .5h");
}

#[test]
fn a_locator_is_required_and_must_be_complete() {
    let none = mistakes(&["--kubeconfig=x"], &[]);
    assert!(
        none.len() == 1 && none[0].starts_with("--endpoints-file: is missing, and so are"),
        "{none:?}"
    );
    let found = mistakes(&["--marathon-url=http://m"], &[]);
    assert_eq!(found, ["--marathon-apps: is missing, and --marathon-url is set"]);
    let secret = r#"--marathon-principal-secret={"uid":"u","password":"p"}"#;
    let found = mistakes(&["--marathon-url=http://m", "--marathon-apps=a", secret], &[]);
    let expected = "--marathon-auth-endpoint: is missing, and --marathon-principal-secret has no login_endpoint";
    assert_eq!(found, [expected]);
}
