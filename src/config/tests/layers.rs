//! Layers of settings: file, variables, platform, flags; several addresses of the main listener.

use super::*;
use crate::{config::Flags, telemetry::metrics::Namespace};
use yaml_rust2::YamlLoader;

fn with_flags(yaml: &str, variables: &[(&str, &str)], flags: &Flags) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("scrapebroker.yml");
    std::fs::write(&file, yaml).unwrap();
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Config::load_effective(Some(&file), variables.iter().map(own), flags)
}

fn addresses(listen: &[&str]) -> Flags {
    let listen_addresses = listen.iter().map(|it| (*it).to_owned()).collect();
    Flags { listen_addresses, ..Flags::default() }
}

fn port(port: &str) -> Flags {
    Flags { listen_port: Some(port.to_owned()), ..Flags::default() }
}

fn listen(yaml: &str, variables: &[(&str, &str)], flags: &Flags) -> Vec<String> {
    let (config, _) = with_flags(yaml, variables, flags).unwrap();
    config.listen.iter().map(ToString::to_string).collect()
}

#[test]
fn a_list_of_addresses_is_read_from_the_file_a_variable_and_flags() {
    let both = ["127.0.0.1:80", "[::1]:81"];
    for yaml in [
        "listen: ['127.0.0.1:80', '[::1]:81']",
        "listen: '127.0.0.1:80, [::1]:81'",
        "listen: [127.0.0.1:80, '[::1]:81']",
    ] {
        assert_eq!(listen(yaml, &[], &Flags::default()), both, "{yaml}");
    }
    for text in ["127.0.0.1:80,[::1]:81", "[\"127.0.0.1:80\", \"[::1]:81\"]"] {
        assert_eq!(listen("", &[("SCRAPEBROKER__LISTEN", text)], &Flags::default()), both);
        assert_eq!(listen("", &[("LISTEN_ADDRESS", text)], &Flags::default()), both);
    }
    assert_eq!(listen("", &[], &addresses(&both)), both);
    assert_eq!(listen("", &[], &addresses(&["127.0.0.1:80,[::1]:81"])), both);
    let (config, effective) = with_flags("", &[], &addresses(&both)).unwrap();
    assert_eq!(config.base_url.as_str(), "http://localhost");
    let (again, _) = load(&effective.to_string(), &[]).unwrap();
    assert_eq!(again.listen, config.listen);
}

#[test]
fn a_host_name_is_resolved() {
    let [address] = listen("listen: localhost:9121", &[], &Flags::default()).try_into().unwrap();
    let address: std::net::SocketAddr = address.parse().unwrap();
    assert!(address.ip().is_loopback() && address.port() == 9121, "{address}");
}

#[test]
fn flags_override_the_platform_which_overrides_variables_which_override_the_file() {
    let file = "listen: 127.0.0.1:1";
    let exporter = ("LISTEN_ADDRESS", "127.0.0.1:2");
    let own = ("SCRAPEBROKER__LISTEN", "127.0.0.1:3");
    let platform = ("PORT", "4");
    let none = Flags::default();
    assert_eq!(listen(file, &[], &none), ["127.0.0.1:1"]);
    assert_eq!(listen(file, &[exporter], &none), ["127.0.0.1:2"]);
    assert_eq!(listen(file, &[exporter, own], &none), ["127.0.0.1:3"]);
    assert_eq!(listen(file, &[exporter, own, platform], &none), ["127.0.0.1:4"]);
    assert_eq!(listen(file, &[exporter, platform], &none), ["127.0.0.1:4"]);
    assert_eq!(listen(file, &[exporter, own, platform], &port("5")), ["127.0.0.1:5"]);
    assert_eq!(listen(file, &[exporter, own, platform], &addresses(&[":6"])), ["[::]:6"]);
    // Each value may have several addresses.
    let several = addresses(&["127.0.0.1:6, 127.0.0.1:7", "[::1]:6", ","]);
    assert_eq!(listen(file, &[], &several), ["127.0.0.1:6", "127.0.0.1:7", "[::1]:6"]);
    assert_eq!(listen("listen: [':1', '[::]:2']", &[], &port("5")), ["[::]:5", "[::]:2"]);
    let empty = Flags { listen_port: Some(String::new()), ..addresses(&["", " "]) };
    assert_eq!(listen(file, &[], &empty), ["127.0.0.1:1"]);
    let log =
        Flags { log_level: Some("debug".to_owned()), log_format: Some("json".to_owned()), ..none };
    let variable = ("SCRAPEBROKER__LOG", r#"{"level": "warn", "format": "text"}"#);
    let (config, _) = with_flags("log: { level: error }", &[variable], &log).unwrap();
    assert_eq!((&*config.log.level, config.log.format), ("debug", LogFormat::Json));
}

#[test]
fn each_mistake_names_the_flag_or_variable() {
    let flags = Flags {
        listen_addresses: vec!["127.0.0.1:80".to_owned(), "x y".to_owned()],
        listen_port: Some("70000".to_owned()),
        telemetry_path: Some("metrics".to_owned()),
        namespace: Some("a-b".to_owned()),
        log_level: Some("loud".to_owned()),
        log_format: Some("xml".to_owned()),
        ..Flags::default()
    };
    let found = mistakes(with_flags("", &[], &flags));
    let expected = [
        ("--web.listen-port", "is given together with --web.listen-address"),
        ("--web.listen-port", "`70000` is not a whole number from 0 to 65535"),
        ("listen[1]", "(set by --web.listen-address)"),
        ("log.level", "(set by --log.level)"),
        ("log.format", "(set by --log.format)"),
        ("telemetry.path", "must begin with a slash (set by --web.telemetry-path)"),
        ("telemetry.namespace", "(set by --metric.namespace)"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((key, problem), (expected_key, part)) in found.iter().zip(expected) {
        assert!(key == expected_key && problem.contains(part), "{key}: {problem}");
    }
    let found = mistakes(load("", &[("LISTEN_ADDRESS", "1.2.3:80")]));
    assert!(found[0].0 == "listen" && found[0].1.contains("(set by LISTEN_ADDRESS)"), "{found:?}");
}

#[test]
fn addresses_that_exclude_each_other_are_mistakes() {
    for (yaml, key, part) in [
        ("listen: []", "listen", "is an empty list"),
        ("listen: ['0.0.0.0:80', '127.0.0.1:80']", "listen[1]", "127.0.0.1:80 is given before"),
        ("listen: ['[::1]:80', '[::]:80']", "listen[1]", "is given before"),
        (
            "listen: [':80', '[::1]:81']\nhealth_listen: '[::]:81'",
            "health_listen",
            "taken by listen",
        ),
        ("listen: [':80', x]", "listen[1]", "is not an IP address or name and a port"),
        ("listen: -no-such-host.invalid:80", "listen", "cannot be resolved"),
    ] {
        let found = mistakes(load(yaml, &[]));
        assert!(found.len() == 1 && found[0].0 == key && found[0].1.contains(part), "{found:?}");
    }
    let many: Vec<_> = (1..=17).map(|port| format!("':{port}'")).collect();
    let found = mistakes(load(&format!("listen: [{}]", many.join(", ")), &[]));
    assert!(found[0].1.contains("more than 16"), "{found:?}");
    for yaml in ["listen: ['0.0.0.0:80', '[::]:80']", "listen: [':0', ':0']"] {
        load(yaml, &[]).unwrap();
    }
}

#[test]
fn the_path_and_namespace_of_own_metrics_are_set_by_all_layers() {
    let telemetry = |yaml: &str, variables: &[(&str, &str)], flags: &Flags| {
        let (config, _) = with_flags(yaml, variables, flags).unwrap();
        (config.telemetry.path, config.telemetry.namespace)
    };
    let none = Flags::default();
    let demo = || "demo".parse().unwrap();
    assert_eq!(telemetry("", &[], &none), ("/metrics".to_owned(), Namespace::default()));
    let file = "telemetry: { path: /a, namespace: demo }";
    assert_eq!(telemetry(file, &[], &none), ("/a".to_owned(), demo()));
    let exporter = ("WEB_TELEMETRY_PATH", "/b");
    assert_eq!(telemetry(file, &[exporter], &none).0, "/b");
    let own = ("SCRAPEBROKER__TELEMETRY__PATH", "/c");
    assert_eq!(telemetry(file, &[exporter, own], &none).0, "/c");
    let flags =
        Flags { telemetry_path: Some("/d".to_owned()), namespace: Some("bec".to_owned()), ..none };
    let expected = ("/d".to_owned(), "bec".parse().unwrap());
    assert_eq!(telemetry(file, &[exporter, own], &flags), expected);
}

#[test]
fn the_path_of_own_metrics_is_no_other_path() {
    for good in ["/metrics", "/metrics/own", "/a/b-c_d.e~f", "/metricsx", "/v3/apps"] {
        load(&format!("telemetry: {{ path: {good} }}"), &[]).unwrap();
    }
    for bad in ["/", "/a/", "//a", "/a/../b", "/a?b", "/{a}", "/a b", "/v1/x", "/-/x", "/healthz"] {
        let found = mistakes(load(&format!("telemetry: {{ path: '{bad}' }}"), &[]));
        assert!(found.len() == 1 && found[0].0 == "telemetry.path", "{bad}: {found:?}");
    }
    let yaml = "{ base_url: 'https://x/a/b', telemetry: { path: /a/metrics } }";
    assert!(mistakes(load(yaml, &[]))[0].1.contains("must not begin like the path of base_url"));
}

#[test]
fn each_effective_value_is_shown_with_its_origin() {
    let file = "{log: {level: warn}, routes: {gorouters: [{url: 'http://r/', username: u, password: p}]}, \
                query: {pools: [{name: p, affinity: [source-ip], locators: [{static: ['http://a/', 'http://b/']}]}]}, \
                external_exporters: [{host: e, params: {'match[]': ['{a=\"# b\"}', c]}}], \
                prometheus: {remote_writes: {mimir: {url: 'http://m/', headers: {a.b: secret}}}, alertmanager_allow: []}}";
    let variables = [
        ("PORT", "9"),
        ("SCRAPEBROKER__BROKER", r#"{"username": "u", "password": "correct horse"}"#),
        ("VCAP_APPLICATION", r#"{"application_uris": ["m.example.com"]}"#),
        ("SCRAPEBROKER__EXTERNAL_EXPORTERS", ""),
    ];
    let flags = Flags { log_format: Some("json".to_owned()), ..Flags::default() };
    let (_, effective) = with_flags(file, &variables, &flags).unwrap();
    let shown = effective.with_origins().to_string();
    for line in [
        "listen: \"[::]:9\" # default and PORT",
        "base_url: \"https://m.example.com\" # VCAP_APPLICATION",
        "health_listen: ~ # default",
        "drain_wait: 2s # VCAP_APPLICATION",
        "  level: warn # file",
        "  format: json # --log.format",
        "  username: u # SCRAPEBROKER__BROKER",
        "  password: \"************\" # SCRAPEBROKER__BROKER",
        "  catalog: ~ # default",
        "    - url: \"http://r/\" # file",
        "      username: u # file",
        "  stale_after: 120s # default",
        "        - source-ip # file",
        "      hedge: auto # default",
        "            - \"http://b/\" # file",
        "        - \"{a=\\\"# b\\\"}\" # file",
        "        a.b: \"************\" # file",
        "      password: ~ # default",
        "  alertmanager_allow: [] # file",
    ] {
        assert!(shown.lines().any(|it| it == line), "{line} in\n{shown}");
    }
    // The comments change no value.
    let [parsed] = YamlLoader::load_from_str(&shown).unwrap().try_into().unwrap();
    let [plain] = YamlLoader::load_from_str(&effective.to_string()).unwrap().try_into().unwrap();
    assert_eq!(parsed, plain);
    assert!(shown.lines().all(|line| line.ends_with(':') || line.contains(" # ")), "{shown}");
}

#[test]
fn a_port_is_an_origin_of_the_first_address_only() {
    let port = Flags { listen_port: Some("9".to_owned()), ..Flags::default() };
    for (variables, flags, first, second) in [
        (&[("PORT", "9")][..], Flags::default(), "file and PORT", "file"),
        (&[], port.clone(), "file and --web.listen-port", "file"),
        (
            &[("LISTEN_ADDRESS", "127.0.0.1:1,127.0.0.1:2")],
            port,
            "LISTEN_ADDRESS and --web.listen-port",
            "LISTEN_ADDRESS",
        ),
    ] {
        let file = "listen: ['127.0.0.1:1', '127.0.0.1:2']";
        let (_, effective) = with_flags(file, variables, &flags).unwrap();
        let shown = effective.with_origins().to_string();
        let expected = format!("  - \"127.0.0.1:9\" # {first}\n  - \"127.0.0.1:2\" # {second}\n");
        assert!(shown.contains(&expected), "{expected} in {shown}");
    }
    // A mistake in an item names what set the list.
    let same = [("SCRAPEBROKER__LISTEN", "127.0.0.1:1,127.0.0.1:1")];
    let found = mistakes(with_flags("", &same, &Flags::default()));
    assert_eq!(found[0].0, "listen[1]");
    assert!(found[0].1.ends_with("(set by SCRAPEBROKER__LISTEN)"), "{found:?}");
}
