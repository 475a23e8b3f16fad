//! Files in the format of exporter-toolkit.

use super::*;
use crate::{
    config::WebFile,
    tls::{ClientAuth, TlsVersion},
};

fn read(text: &str) -> Result<WebFile, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.yml");
    std::fs::write(&path, text).unwrap();
    WebFile::read(&path)
}

fn mistakes_in(text: &str) -> Vec<(String, String)> {
    match read(text) {
        Err(ConfigError::Mistakes(Mistakes(all))) => {
            all.into_iter().map(|mistake| (mistake.key, mistake.problem)).collect()
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn an_empty_file_changes_nothing() {
    for text in
        ["", "# nothing\n", "tls_server_config: {}\nhttp_server_config:\nbasic_auth_users:\n"]
    {
        let file = read(text).unwrap();
        assert!(file.tls.is_none() && file.has_http2 && file.gate.users.is_empty());
        assert!(file.gate.headers.is_empty() && file.gate.rate_limit.is_none());
    }
}

#[test]
fn every_key_of_the_format_is_read() {
    let text = format!(
        "
tls_server_config:
  cert_file: server.crt
  key_file: /keys/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca/clients.crt
  client_allowed_sans: [prometheus.example.com, 'spiffe://example.com/prometheus']
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_128_CBC_SHA]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP521, X25519]
http_server_config:
  http2: false
  headers:
    Content-Security-Policy: frame-ancestors 'none'
    X-Frame-Options: deny
    X-Content-Type-Options: nosniff
    X-XSS-Protection: 1; mode=block
    Strict-Transport-Security: max-age=31536000; includeSubDomains
basic_auth_users:
  alice: {HASH}
  'Bob B': {HASH}
rate_limit:
  interval: 1m30s
  burst: 20
"
    );
    let file = read(&text).unwrap();
    let tls = file.tls.unwrap();
    let folder = file.path.parent().unwrap();
    let paths = tls.pems().map(|pem| match &pem.source {
        PemSource::File(path) => path.clone(),
        PemSource::Inline(_) => panic!("not a file"),
    });
    let expected = ["server.crt", "/keys/server.key", "ca/clients.crt"].map(|it| folder.join(it));
    assert_eq!(paths.collect::<Vec<_>>(), expected);
    assert_eq!(tls.client_auth, ClientAuth::RequireAndVerifyClientCert);
    assert_eq!(tls.client_allowed_sans.len(), 2);
    assert_eq!((tls.min_version, tls.max_version), (TlsVersion::Tls12, TlsVersion::Tls13));
    let suites: Vec<_> = tls.cipher_suites.iter().map(|suite| suite.is_supported()).collect();
    let curves: Vec<_> = tls.curve_preferences.iter().map(|curve| curve.is_supported()).collect();
    assert_eq!((suites, curves), (vec![true, false], vec![false, true]));
    assert!(!tls.prefer_server_cipher_suites && !file.has_http2);
    let users: Vec<_> = file.gate.users.iter().map(|user| &*user.username).collect();
    assert_eq!(users, ["Bob B", "alice"]);
    assert_eq!(file.gate.headers.len(), 5);
    let limit = file.gate.rate_limit.unwrap();
    assert_eq!((limit.interval, limit.burst), (Duration::from_secs(90), 20));
}

#[test]
fn all_mistakes_of_a_file_are_reported_with_their_keys() {
    let text = format!(
        "
tls_server_config:
  cert_file: c
  client_auth_type: Sometimes
  min_version: TLS13
  max_version: TLS12
  cipher_suites: [TLS_X]
  curve_preferences: [P256]
  cipher_suite: []
http_server_config:
  http2: maybe
  headers: {{ X-Frame-Options: none, Server: x }}
basic_auth_users: {{ alice: hunter2hunter2, 'a:b': {HASH} }}
rate_limit: {{ interval: 1s }}
tls: {{}}
"
    );
    let found = mistakes_in(&text);
    for (key, part) in [
        ("tls_server_config.client_auth_type", "`Sometimes` is not one of: NoClientCert"),
        ("tls_server_config.cipher_suites[0]", "is not the name of a cipher suite"),
        ("tls_server_config.curve_preferences[0]", "is not one of: X25519"),
        ("tls_server_config.cipher_suite", "did you mean cipher_suites?"),
        ("tls_server_config.min_version", "must be at most max_version"),
        ("http_server_config.http2", "`maybe` is neither true nor false"),
        ("http_server_config.headers.X-Frame-Options", "is not one of: deny, sameorigin"),
        ("http_server_config.headers.Server", "is unknown"),
        ("basic_auth_users.alice", "is not a bcrypt hash"),
        ("basic_auth_users.a:b", "must not contain a colon"),
        ("rate_limit.burst", "must be at least 1"),
        ("tls", "is unknown"),
    ] {
        let is_it = |(k, problem): &(String, String)| k == key && problem.contains(part);
        assert!(found.iter().any(is_it), "{key}: {part} in {found:?}");
    }
    assert!(!format!("{found:?}").contains("hunter2"), "a hash is never quoted: {found:?}");
}

#[test]
fn keys_that_contradict_each_other_are_mistakes() {
    let identity = "cert_file: c, key_file: k";
    for (tls, key, part) in [
        ("key_file: k".to_owned(), "cert", "is missing, and key is set"),
        ("client_auth_type: RequireAnyClientCert".to_owned(), "key", "is missing"),
        (
            format!("{identity}, client_ca_file: a"),
            "client_auth_type",
            "is missing, and client_ca is set; set RequireAndVerifyClientCert",
        ),
        (
            format!("{identity}, client_ca_file: a, client_auth_type: NoClientCert"),
            "client_auth_type",
            "is NoClientCert, and client_ca is set; set RequireAndVerifyClientCert",
        ),
        (
            format!("{identity}, client_auth_type: RequireAndVerifyClientCert"),
            "client_ca",
            "client_auth_type requires it",
        ),
        (
            format!("{identity}, client_allowed_sans: [x]"),
            "client_allowed_sans",
            "requires client_auth_type",
        ),
        (
            format!("{identity}, min_version: TLS13, max_version: TLS12"),
            "min_version",
            "at most max_version",
        ),
        (
            format!("{identity}, cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]"),
            "cipher_suites",
            "has no suite that can be used",
        ),
        (
            format!("{identity}, curve_preferences: [CurveP521]"),
            "curve_preferences",
            "has no curve",
        ),
        (format!("{identity}, cert: x"), "cert", "is given twice"),
    ] {
        let found = mistakes_in(&format!("tls_server_config: {{ {tls} }}"));
        let key = format!("tls_server_config.{key}");
        let is_it = |(k, problem): &(String, String)| *k == key && problem.contains(part);
        assert!(found.iter().any(is_it), "{key}: {part} in {found:?}");
    }
}

#[test]
fn mistakes_of_the_file_are_mistakes_of_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.yml");
    let yaml = format!("web_config_file: {}", path.display());
    std::fs::write(&path, "basic_auth_users: { a: b }\nrate_limit: { burst: many }\n").unwrap();
    let found = mistakes(load(&yaml, &[]));
    assert_eq!(found.len(), 2, "{found:?}");
    for (key, problem) in &found {
        assert_eq!(key, "web_config_file");
        assert!(problem.starts_with(&format!("{}: ", path.display())), "{problem}");
    }
    std::fs::write(&path, "a: b: c").unwrap();
    assert!(mistakes(load(&yaml, &[]))[0].1.contains("line 1, column 5"));
    std::fs::remove_file(&path).unwrap();
    assert!(mistakes(load(&yaml, &[]))[0].1.contains("cannot read"));

    std::fs::write(&path, "tls_server_config: { cert_file: c, key_file: k }").unwrap();
    let (config, _) = load(&yaml, &[]).unwrap();
    assert!(config.has_tls() && config.base_url.as_str() == "https://localhost:8085");
    let both = format!("{yaml}\ntls: {{ cert_file: c, key_file: k }}");
    assert!(mistakes(load(&both, &[]))[0].1.contains("use only one of them"));
}
