use super::*;
use crate::provisioner::tsuru::Team;

const TSURU: &str = "
routes: { tsuru: { api_url: 'https://tsuru.example.com', token: t } }
prometheus:
  provisioner: tsuru
";

#[test]
fn an_image_and_an_api_are_all_that_apps_of_tsuru_need() {
    let yaml = format!("{TSURU}  tsuru: {{ image: 'r/p:v2' }}");
    let tsuru = load(&yaml, &[]).unwrap().0.prometheus.tsuru.unwrap();
    assert_eq!(tsuru.image, "r/p:v2");
    assert_eq!((tsuru.app_prefix.as_str(), tsuru.scheme.as_str()), ("prometheus-", "http"));
    assert_eq!(tsuru.team, Team::FromRequest);
    assert_eq!((tsuru.pool.as_str(), tsuru.tmpfs_plan), ("", None));
    let yaml = format!("{TSURU}  tsuru: {{ image: i, team: metrics, tmpfs_plan: memory }}");
    let tsuru = load(&yaml, &[]).unwrap().0.prometheus.tsuru.unwrap();
    assert_eq!(tsuru.team, Team::Fixed("metrics".to_owned()));
    assert_eq!(tsuru.tmpfs_plan.as_deref(), Some("memory"));
}

#[test]
fn settings_that_tsuru_would_reject_are_mistakes() {
    for (rest, key) in [
        ("", "prometheus.tsuru.image"),
        ("  tsuru: { image: '' }", "prometheus.tsuru.image"),
        ("  tsuru: { image: i, app_prefix: Prometheus- }", "prometheus.tsuru.app_prefix"),
        ("  tsuru: { image: i, app_prefix: '1-' }", "prometheus.tsuru.app_prefix"),
        (
            "  tsuru: { image: i, app_prefix: a-prefix-that-is-too-long }",
            "prometheus.tsuru.app_prefix",
        ),
        ("  tsuru: { image: i, storage_path: data }", "prometheus.tsuru.storage_path"),
        ("  tsuru: { image: i, scheme: ftp }", "prometheus.tsuru.scheme"),
        ("  tsuru: { image: i, ready_timeout: 0s }", "prometheus.tsuru.ready_timeout"),
    ] {
        let mistakes = mistakes(load(&format!("{TSURU}{rest}"), &[]));
        let found: Vec<_> = mistakes.into_iter().map(|(key, _)| key).collect();
        assert_eq!(found, [key], "{rest}");
    }
    let yaml = "prometheus: { provisioner: tsuru, tsuru: { image: i } }";
    let found: Vec<_> = mistakes(load(yaml, &[])).into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, ["routes.tsuru.api_url"]);
}
