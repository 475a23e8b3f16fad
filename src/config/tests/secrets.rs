use super::*;

/// All output of an attempt to load a configuration.
fn shown(loaded: &Loaded) -> String {
    match loaded {
        Ok((config, effective)) => format!("{config:?}\n{effective:?}\n{effective}"),
        Err(error) => {
            let mut text = format!("{error:?}\n{error}");
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                text.push_str(&format!("\n{cause:?}\n{cause}"));
                source = cause.source();
            }
            text
        }
    }
}

#[test]
fn secrets_are_masked_where_settings_are_shown() {
    let loaded = load(WHOLE, &[]);
    let text = shown(&loaded);
    assert!(!text.contains("hunter2"), "{text}");
    let effective = flat(&loaded.unwrap().1);
    for key in [
        "broker.password",
        "broker.token_key",
        "routes.gorouters[].password",
        "routes.nats.password",
        "routes.tsuru.token",
    ] {
        assert!(effective.contains(&(key.to_owned(), "************".to_owned())), "{effective:?}");
    }
    let url = "postgres://broker:************@db/scrapebroker".to_owned();
    assert!(effective.contains(&("database_url".to_owned(), url)), "{effective:?}");
}

#[test]
fn hashes_of_passwords_are_masked_and_checked_from_a_file_too() {
    let operators = format!("operators: [{{ username: u, password_bcrypt: '{HASH}' }}]");
    let loaded = load(&operators, &[]);
    assert!(!shown(&loaded).contains(HASH), "{}", shown(&loaded));
    assert_eq!(loaded.unwrap().0.operators[0].password_bcrypt.expose_secret(), HASH);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hash");
    let operators =
        format!("operators: [{{ username: u, password_bcrypt_file: '{}' }}]", file.display());
    std::fs::write(&file, format!("{HASH}\n")).unwrap();
    assert_eq!(load(&operators, &[]).unwrap().0.operators.len(), 1);
    std::fs::write(&file, "hunter2\n").unwrap();
    assert!(load(&operators, &[]).is_err());
}

#[test]
fn no_mistake_shows_a_secret() {
    let cases = [
        "broker: { password: hunter2 }",
        "broker: { username: u, password: [hunter2] }",
        "broker: { username: u, password: { a: hunter2 } }",
        "broker: { username: 'a:hunter2', password: hunter2 }",
        "broker: hunter2",
        "broker: [hunter2]",
        "broker:\n  password:hunter2",
        "broker: {password:hunter2}",
        "broker: {password:hunter2, password:hunter2}",
        "broker: { passwort: hunter2 }",
        "broker: { password: hunter2\n",
        "password: &hunter2x *hunter2",
        "hunter2",
        "[hunter2]",
        "? { a: hunter2 }\n: b",
        "database_url: postgres://u:hunter2@",
        "database_url: postgres://u:hunter2",
        "database_url: mysql://u:hunter2@db/x",
        "database_url: sqlite:\nbase_url: http://u:hunter2@x",
        "base_url: u:hunter2@x",
        "routes: { gorouters: [{ url: 'http://u:hunter2@r/routes' }] }",
        "routes: { gorouters: ['http://u:hunter2@r/routes'] }",
        "routes: { gorouters: 'http://u:hunter2@r/routes' }",
        "routes: { gorouters: [{ url: 'http://r/', password: hunter2 }] }",
        "operators: [{ username: u, password_bcrypt: hunter2 }]",
        "operators: [{ username: 'u:hunter2', password_bcrypt: hunter2 }]",
        "operators: { u: hunter2 }",
        "routes: { nats: { servers: ['nats://u:hunter2@n'] } }",
        "routes: { nats: { servers: 'nats://u:hunter2@n' } }",
        "routes: { nats: { tls: { cert: hunter2, key: hunter2 } } }",
        "routes: { nats: { tls: { key: hunter2 } } }",
        "routes: { tsuru: { token: hunter2 } }",
        "routes: { tsuru: { api_url: 'http://t', token: 'hunter2 hunter2' } }",
        "routes: { tsuru: { api_url: 'http://u:hunter2@t', token: t } }",
    ];
    for yaml in cases {
        let loaded = load(yaml, &[]);
        assert!(loaded.is_err(), "{yaml}");
        assert!(!shown(&loaded).contains("hunter2"), "{yaml}: {}", shown(&loaded));
    }
    let variables = [
        ("SCRAPEBROKER__BROKER", "hunter2"),
        ("SCRAPEBROKER__BROKER", r#"{"password": "hunter2""#),
        ("SCRAPEBROKER__BROKER", r#"{"password": ["hunter2"]}"#),
        ("SCRAPEBROKER__BROKER__PASSWORD", "hunter2"),
        ("SCRAPEBROKER__BROKER__PASSWORD__X", "hunter2"),
        ("SCRAPEBROKER__DATABASE_URL", "hunter2"),
        ("VCAP_SERVICES", r#"{"a": [{"credentials": {"uri": "postgres://u:hunter2@"}}]}"#),
        ("VCAP_SERVICES", "hunter2"),
        ("VCAP_APPLICATION", "hunter2"),
    ];
    for variable in variables {
        let loaded = load("", &[variable]);
        assert!(loaded.is_err(), "{variable:?}");
        assert!(!shown(&loaded).contains("hunter2"), "{variable:?}: {}", shown(&loaded));
    }
}

#[test]
fn secrets_can_be_read_from_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let (user, password) = (path("user", "cc\n"), path("password", " hunter2 hunter2 \r\n"));
    let key = path("key", "hunter2\n\n");
    let database = path("database", "postgres://u:hunter2@db/x\n");
    let yaml = format!(
        "
database_url_file: {database}
broker: {{ username_file: {user}, password_file: {password}, token_key_file: {key} }}
routes: {{ gorouters: [{{ url: 'http://r/', username_file: {user}, password_file: {password} }}] }}
"
    );
    let loaded = load(&yaml, &[]);
    assert!(!shown(&loaded).contains("hunter2"), "{}", shown(&loaded));
    let (config, effective) = loaded.unwrap();
    let credentials = config.broker.credentials.as_ref().unwrap();
    assert_eq!(credentials.username, "cc");
    assert_eq!(
        credentials.password.expose_secret(),
        " hunter2 hunter2 ",
        "only the line break goes"
    );
    assert_eq!(config.broker.token_key.as_ref().unwrap().expose_secret(), "hunter2\n");
    assert_eq!(database_url(&config), "postgres://u:hunter2@db/x");
    assert_eq!(config.routes.gorouters[0].credentials.as_ref().unwrap().username, "cc");
    let (_, again) = load(&effective.to_string(), &[]).unwrap();
    assert_eq!(again.to_string(), effective.to_string());
}

#[test]
fn a_secret_is_set_once_and_its_file_is_not_empty() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    let empty = format!("broker: {{ username: u, password_file: {} }}", empty.display());
    let cases = [
        ("broker: { username: u, password: a, password_file: b }", "broker.password", "twice"),
        ("broker: { token_key_file: /no/such }", "broker.token_key_file", "cannot read"),
        (&empty, "broker.password_file", "is empty"),
    ];
    for (yaml, key, part) in cases {
        let found = mistakes(load(yaml, &[]));
        assert_eq!(found.len(), 1, "{yaml}: {found:?}");
        assert!(found[0].0 == key && found[0].1.contains(part), "{yaml}: {found:?}");
    }
}

#[test]
fn a_private_key_is_never_shown_and_certificates_can_be_inline() {
    let pem =
        |what: &str, text: &str| format!("-----BEGIN {what}-----\\n{text}\\n-----END {what}-----");
    let (cert, key) = (pem("CERTIFICATE", "YWJj"), pem("EC PRIVATE KEY", "hunter2"));
    let yaml = format!(
        "tls: {{ cert: \"{cert}\", key: \"{key}\" }}\nbackends: {{ cert: \"{key}\", key: \"{cert}\" }}"
    );
    let loaded = load(&yaml, &[]);
    assert!(!shown(&loaded).contains("hunter2"), "{}", shown(&loaded));
    let effective = flat(&loaded.unwrap().1);
    let value = |wanted: &str| &effective.iter().find(|(key, _)| key == wanted).unwrap().1;
    assert_eq!(value("tls.key"), "************");
    assert_eq!(value("backends.cert"), "************", "a key in the wrong place");
    assert!(value("tls.cert").contains("YWJj"));
}

#[test]
fn certificates_and_keys_require_each_other() {
    let pem = "-----BEGIN CERTIFICATE-----";
    let cases = [
        ("tls: { cert_file: c }", "tls.key", "is missing"),
        ("tls: { key_file: c }", "tls.cert", "is missing"),
        ("tls: { client_ca_file: c }", "tls.client_ca", "requires cert and key"),
        ("tls: { cert: c.pem, key_file: k }", "tls.cert", "cert_file"),
        (&format!("tls: {{ cert: {pem}, cert_file: c, key_file: k }}"), "tls.cert", "given twice"),
        ("tls: { cert_file: c, key_file: [k] }", "tls.key_file", "must be a text"),
        (
            "tls: { cert_file: c, key_file: k, handshake_timeout: 0s }",
            "tls.handshake_timeout",
            "longer",
        ),
        ("backends: { cert_file: c }", "backends.key", "is missing"),
        ("backends: { skip_verify: 1 }", "backends.skip_verify", "neither"),
    ];
    for (yaml, key, part) in cases {
        let found = mistakes(load(yaml, &[]));
        assert_eq!(found.len(), 1, "{yaml}: {found:?}");
        assert!(found[0].0 == key && found[0].1.contains(part), "{yaml}: {found:?}");
    }
}
