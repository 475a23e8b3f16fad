use super::*;

#[test]
fn every_mistake_is_reported_at_once_with_its_key_path() {
    let yaml = "
listen: nowhere
health_listen: 8080
shutdown_grace: soon
base_url: metrics.example.com
log: { level: verbose, format: xml, colour: red }
database_url: mysql://db/x
database: { max_connections: 0 }
store_is_durable: maybe
broker: { username: cc }
routes:
  stale_after: 120
  keep: 0s
  refresh_interval: often
  gorouters:
    - { username: u, password: p }
    - { url: 'ftp://x', port: 8082 }
    - http://127.0.0.1:8082/routes
  file: [a]
scrape:
  timeout: -1s
  all_failed: never
  access: closed
  concurrency: 0
  max_instance_body: 64 bananas
  max_response: 0
  max_memory: much
  max_line: 0
  max_samples: -1
  max_families: 0
  max_labels: 1.5
backends: 90s
external_exporters:
  - { name: x, scheme: ftp, metrics_path: //x, params: { a: ['{{.Foo}}', b, '{{'], 'b[]': '{{if}}', c: [[d]] } }
  - { host: 'http://e', parms: {} }
  - { host: e, params: [] }
operators:
  - { username: u }
  - { password_bcrypt: hunter2 }
tls: { cert_file: x, ca_file: y }
tsl: { cert_file: x }
";
    let variables = [("SCRAPEBROKER__SCRAPE__MAX_TIMEOUT", "x"), ("PORT", "http")];
    let found: Vec<_> = mistakes(load(yaml, &variables)).into_iter().map(|(key, _)| key).collect();
    let expected = [
        "PORT",
        "listen",
        "tls.key",
        "tls.ca_file",
        "base_url",
        "health_listen",
        "shutdown_grace",
        "log.level",
        "log.format",
        "log.colour",
        "database_url",
        "database.max_connections",
        "store_is_durable",
        "broker.password",
        "routes.stale_after",
        "routes.keep",
        "routes.refresh_interval",
        "routes.gorouters[0].url",
        "routes.gorouters[1].url",
        "routes.gorouters[1].port",
        "routes.gorouters[2]",
        "routes.file",
        "scrape.timeout",
        "scrape.max_timeout",
        "scrape.all_failed",
        "scrape.access",
        "scrape.concurrency",
        "scrape.max_instance_body",
        "scrape.max_response",
        "scrape.max_memory",
        "scrape.max_line",
        "scrape.max_samples",
        "scrape.max_families",
        "scrape.max_labels",
        "external_exporters[0].scheme",
        "external_exporters[0].host",
        "external_exporters[0].metrics_path",
        "external_exporters[0].params.a[0]",
        "external_exporters[0].params.a[2]",
        "external_exporters[0].params.b[][0]",
        "external_exporters[0].params.c[0]",
        "external_exporters[1].host",
        "external_exporters[1].parms",
        "external_exporters[2].params",
        "operators[0].password_bcrypt",
        "operators[1].password_bcrypt",
        "operators[1].username",
        "backends",
        "tsl",
    ];
    assert_eq!(found, expected);
}

#[test]
fn settings_that_do_not_fit_each_other_are_mistakes() {
    const BCRYPT: &str = "operators[0].password_bcrypt";
    let operator = |hash: &str| format!("operators: [{{ username: u, password_bcrypt: {hash} }}]");
    let too_slow = operator(&HASH.replace("$10$", "$31$"));
    let damaged = operator(HASH.split_at(59).0);
    let cases = [
        ("broker: { username: u }", "broker.password", "is missing"),
        ("broker: { password: of twelve characters }", "broker.username", "is missing"),
        (
            "broker: { username: u, password: elevenchars }",
            "broker.password",
            "at least 12 characters",
        ),
        ("broker: { username: u, password: 'äöüäöüäöüäö' }", "broker.password", "openssl rand"),
        ("broker: { username: 'a:b', password: of twelve characters }", "broker.username", "colon"),
        ("broker: { username: 007, password: of twelve characters }", "broker.username", "quotes"),
        ("scrape: { timeout: 5m }", "scrape.timeout", "max_timeout"),
        ("scrape: { timeout_offset: 30s }", "scrape.timeout_offset", "timeout"),
        ("scrape: { max_memory: 32MiB }", "scrape.max_memory", "max_instance_body"),
        ("routes: { keep: 1m }", "routes.keep", "stale_after"),
        ("routes: { refresh_interval: 120s }", "routes.refresh_interval", "stale_after"),
        ("health_listen: 0.0.0.0:8085", "health_listen", "is taken by listen"),
        ("health_listen: 127.0.0.1:8085", "health_listen", "is taken by listen"),
        ("database_url: postgres://db/x", "broker.token_key", "required with PostgreSQL"),
        ("routes: { gorouters: [{ url: 'https://r/' }] }", "routes.gorouters[0].url", "http://"),
        ("routes: { gorouters: { url: x } }", "routes.gorouters", "list"),
        ("scrape: { access: token }", "scrape.access", "broker.username"),
        ("operators: [{ username: u, password_bcrypt: hunter2 }]", BCRYPT, "htpasswd"),
        (&too_slow, BCRYPT, "cost"),
        (&damaged, BCRYPT, "not a bcrypt hash"),
        (
            "external_exporters: [{ host: e, params: { 'x[]': ['{{app}}'] } }]",
            "external_exporters[0].params.x[][0]",
            "{{app_name}}",
        ),
    ];
    for (yaml, key, part) in cases {
        let found = mistakes(load(yaml, &[]));
        assert_eq!(found.len(), 1, "{yaml}: {found:?}");
        assert!(found[0].0 == key && found[0].1.contains(part), "{yaml}: {found:?}");
    }
}

#[test]
fn listeners_on_different_hosts_or_free_ports_do_not_collide() {
    let cases = [
        "{ listen: '127.0.0.1:80', health_listen: '127.0.0.2:80' }",
        "{ listen: ':0', health_listen: ':0' }",
    ];
    for yaml in cases {
        assert!(load(yaml, &[]).is_ok(), "{yaml}");
    }
}

#[test]
fn an_unknown_key_names_its_nearest_neighbour_or_all_of_them() {
    let cases = [
        ("lisen: x", "lisen", "did you mean listen?"),
        ("scrape: { max-timeout: 1s }", "scrape.max-timeout", "did you mean max_timeout?"),
        ("Listen: ':80'", "Listen", "did you mean listen?"),
        ("nats: {}", "nats", "known here are: listen, systemd_socket, tls"),
        ("scrape: { memory: 1 }", "scrape.memory", "known here are: timeout"),
        ("log.level: debug", "log.level", "is unknown"),
    ];
    for (yaml, key, part) in cases {
        let found = mistakes(load(yaml, &[]));
        assert_eq!(found.len(), 1, "{yaml}: {found:?}");
        assert!(found[0].0 == key && found[0].1.contains(part), "{yaml}: {found:?}");
    }
}

#[test]
fn a_mistake_in_a_variable_names_the_variable() {
    let cases = [
        ("SCRAPEBROKER__LISTEN", "x", "listen"),
        ("SCRAPEBROKER__BROKR__PASSWORD", "x", "brokr"),
        ("SCRAPEBROKER__BROKER", "x", "broker"),
        ("SCRAPEBROKER__ROUTES__GOROUTERS", "http://r", "routes.gorouters"),
        ("SCRAPEBROKER__ROUTES__GOROUTERS__0__URL", "http://r", "routes.gorouters"),
        ("SCRAPEBROKER__", "x", ""),
    ];
    for (name, value, key) in cases {
        let found =
            mistakes(load("routes: { gorouters: [{ url: 'http://r/' }] }", &[(name, value)]));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(found[0].0, key, "{name}: {found:?}");
        assert!(found[0].1.contains(&format!("(set by {name})")), "{name}: {found:?}");
    }
}

#[test]
fn wrong_yaml_is_shown_with_file_line_and_reason() {
    let cases: [(&[u8], &str); 7] = [
        (b"listen: x\nbroker: a: b\n", "line 2, column 10: mapping values"),
        (b"listen: x\nlisten: y\n", "the same key is given twice"),
        (b"a: [1\n", "line"),
        (b"listen: x\n\xff\n", "line 2: is not UTF-8"),
        (b"just a text", "keys with values"),
        (b"- a\n- b\n", "keys with values"),
        (b"a: 1\n---\nb: 2\n", "is not one YAML document"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wrong.yml");
    for (bytes, part) in cases {
        std::fs::write(&file, bytes).unwrap();
        let error = Config::load(Some(&file), []).unwrap_err().to_string();
        assert!(error.contains("wrong.yml: ") && error.contains(part), "{error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("no/such.yml")), []).unwrap_err();
    assert!(error.to_string().contains("no/such.yml"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn nats_needs_valid_servers_and_certificates() {
    let yaml = "routes: { nats: { servers: ['http://n', 'n/path', 'nats://', 7, 'nats://u@n'], password: p,
        tls: { ca: x, cert: y } } }";
    let found: Vec<_> = mistakes(load(yaml, &[])).into_iter().map(|(key, _)| key).collect();
    let servers = (0..5).map(|n| format!("routes.nats.servers[{n}]"));
    let others = ["routes.nats.username", "routes.nats.tls.ca", "routes.nats.tls.cert"];
    assert_eq!(found, servers.chain(others.map(str::to_owned)).collect::<Vec<_>>());
    let found = mistakes(load("routes: { nats: { servers: n, tls: { key: k } } }", &[]));
    let found: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(found, ["routes.nats.servers", "routes.nats.tls.key"]);
}

#[test]
fn nats_servers_are_set_in_a_file_or_as_json() {
    let (config, _) = load(WHOLE, &[]).unwrap();
    let nats = config.routes.nats.unwrap();
    assert_eq!(nats.servers, ["nats://10.0.0.1", "tls://nats.internal:4224"]);
    assert!(nats.announce);
    let variable = ("SCRAPEBROKER__ROUTES__NATS__SERVERS", r#"["n:1", "m"]"#);
    let (config, _) = load("", &[variable]).unwrap();
    assert_eq!(config.routes.nats.unwrap().servers, ["nats://n:1", "nats://m"]);
    assert!(load("", &[]).unwrap().0.routes.nats.is_none());
}

#[test]
fn the_tsuru_api_url_and_token_require_each_other() {
    let cases = [
        ("routes: { tsuru: { api_url: 'https://t' } }", "routes.tsuru.token"),
        ("routes: { tsuru: { token: t } }", "routes.tsuru.api_url"),
        ("routes: { tsuru: { api_url: 't', token: t } }", "routes.tsuru.api_url"),
        ("routes: { tsuru: { api_url: 'http://t', token: 'a b' } }", "routes.tsuru.token"),
    ];
    for (yaml, key) in cases {
        let found: Vec<_> = mistakes(load(yaml, &[])).into_iter().map(|(key, _)| key).collect();
        assert_eq!(found, [key], "{yaml}");
    }
    let tsuru = load(WHOLE, &[]).unwrap().0.routes.tsuru.unwrap();
    assert_eq!(tsuru.api_url.as_str(), "https://tsuru.example.com");
    assert!(load("", &[]).unwrap().0.routes.tsuru.is_none());
}

#[test]
fn overlapping_folders_for_instances_are_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path).display().to_string();
    std::fs::create_dir(at("disk")).unwrap();
    std::os::unix::fs::symlink(at("disk"), at("link")).unwrap();
    for (tmpfs_dir, is_mistake) in
        [("link", true), ("x/../disk", true), ("disk/tmpfs", true), (".", true), ("memory", false)]
    {
        let (data_dir, tmpfs_dir) = (at("disk"), at(tmpfs_dir));
        let yaml = format!("prometheus: {{ data_dir: {data_dir}, tmpfs_dir: {tmpfs_dir} }}");
        let loaded = load(&yaml, &[]);
        match is_mistake {
            false => drop(loaded.unwrap()),
            true => {
                let found = mistakes(loaded);
                assert_eq!(found.len(), 1, "{tmpfs_dir}");
                assert_eq!(found[0].0, "prometheus.tmpfs_dir");
            }
        }
        // Folders are checked only if they are used.
        let yaml = yaml.replace("{ data_dir", "{ provisioner: none, data_dir");
        load(&yaml, &[]).unwrap();
    }
}
