use super::*;
use crate::config::{Mistakes, section::Section, sources};
use yaml_rust2::{Yaml, YamlEmitter};

const SECRET: &str =
    r#"{"uid":"u","login_endpoint":"https://dcos.test/login","password":"hunter2"}"#;

/// The settings, the effective settings and the mistakes.
fn read(yaml: &str) -> (Read<MarathonSettings>, String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("marathon.yml");
    std::fs::write(&file, yaml).unwrap();
    let mut mistakes = Mistakes::default();
    let mut section = Section::root(sources::file(&file).unwrap(), &mut mistakes);
    let settings = marathon(&mut section);
    let effective: Yaml = section.finish().settings;
    let mut text = String::new();
    YamlEmitter::new(&mut text).dump(&effective).unwrap();
    let mistakes = mistakes.0.into_iter().map(|it| format!("{}: {}", it.key, it.problem));
    (settings, text, mistakes.collect())
}

fn settings(yaml: &str) -> MarathonSettings {
    let (settings, _, mistakes) = read(yaml);
    assert_eq!(mistakes, [""; 0]);
    settings.unwrap()
}

fn urls(settings: &MarathonSettings) -> Vec<&str> {
    settings.urls.iter().map(BaseUrl::as_str).collect()
}

#[test]
fn hosts_and_apps_are_lists_or_texts_with_commas() {
    for yaml in [
        "{ url: 'https://a:8080,b,http://c/marathon/', apps: 'x, /y/z' }",
        "{ url: ['https://a:8080', b, 'http://c/marathon'], apps: [x, y/z] }",
    ] {
        let settings = settings(yaml);
        assert_eq!(urls(&settings), ["https://a:8080", "https://b", "http://c/marathon"]);
        let apps: Vec<_> = settings.apps.iter().map(ToString::to_string).collect();
        assert_eq!(apps, ["/x", "/y/z"]);
        assert!(settings.login.is_none() && !settings.is_https && !settings.tls.skip_verify);
        assert_eq!((settings.path_prefix.as_str(), settings.port_index), ("", 0));
    }
}

#[test]
fn all_keys_are_read_and_the_secret_is_masked() {
    let yaml = format!(
        "{{ url: http://m, apps: x, principal_secret: '{SECRET}', auth_endpoint: https://other/login, \
         skip_verify: true, ca_file: ca.pem, scheme: https, path_prefix: /prom/, port_index: 1 }}"
    );
    let (settings, effective, mistakes) = read(&yaml);
    assert_eq!(mistakes, [""; 0]);
    let settings = settings.unwrap();
    assert!(settings.is_https && settings.tls.skip_verify && settings.tls.ca.is_some());
    assert_eq!((settings.path_prefix.as_str(), settings.port_index), ("/prom", 1));
    assert!(format!("{:?}", settings.login.unwrap()).contains("https://other/login"));
    assert!(!effective.contains("hunter2"), "{effective}");
    let (_, again, mistakes) = read("{ url: http://m, apps: x }");
    assert_eq!(mistakes, [""; 0]);
    assert_eq!(read(again.trim_start_matches("---\n")).1, again, "can be loaded again");
}

#[test]
fn the_secret_may_be_in_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let path = file.path().display();
    let settings =
        settings(&format!("{{ url: http://m, apps: x, principal_secret_file: {path} }}"));
    assert!(format!("{:?}", settings.login.unwrap()).contains("https://dcos.test/login"));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let (_, _, mistakes) = read(
        "{ url: [m:8080, 'http://u:hunter2@m'], apps: [a, '*'], principal_secret: hunter2, \
         auth_endpoint: /login, skip_verify: maybe, ca: x, scheme: ftp, path_prefix: prom, port_index: -1, app: x }",
    );
    let keys: Vec<_> = mistakes.iter().map(|it| it.split(':').next().unwrap()).collect();
    let expected = [
        "url[0]",
        "url[1]",
        "apps[1]",
        "principal_secret",
        "auth_endpoint",
        "ca",
        "skip_verify",
        "scheme",
        "path_prefix",
        "port_index",
        "app",
    ];
    assert_eq!(keys, expected, "{mistakes:#?}");
    assert!(!mistakes.join("\n").contains("hunter2"), "{mistakes:#?}");

    let (_, _, mistakes) = read("{ auth_endpoint: https://x/login }");
    let expected = [
        "url: is missing; set the URL of Marathon",
        "apps: is missing; list the apps that run Prometheus",
        "principal_secret: is missing, and auth_endpoint is set",
    ];
    assert_eq!(mistakes, expected);
    let secret = r#"{"uid":"u","password":"p"}"#;
    let (_, _, mistakes) =
        read(&format!("{{ url: http://m, apps: a, principal_secret: '{secret}' }}"));
    assert_eq!(mistakes, ["auth_endpoint: is missing, and principal_secret has no login_endpoint"]);
}
