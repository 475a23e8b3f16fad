use super::*;
use crate::config::{Mistakes, section::Section, sources};
use std::path::PathBuf;

/// The settings and the mistakes.
fn read(yaml: &str) -> (Read<KubernetesSettings>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubernetes.yml");
    std::fs::write(&file, yaml).unwrap();
    let mut mistakes = Mistakes::default();
    let mut section = Section::root(sources::file(&file).unwrap(), &mut mistakes);
    let settings = kubernetes(&mut section);
    section.finish();
    let mistakes = mistakes.0.into_iter().map(|it| format!("{}: {}", it.key, it.problem));
    (settings, mistakes.collect())
}

#[cfg(feature = "kubernetes")]
fn settings(yaml: &str) -> KubernetesSettings {
    let (settings, mistakes) = read(yaml);
    assert_eq!(mistakes, [""; 0]);
    settings.unwrap()
}

#[cfg(feature = "kubernetes")]
#[test]
fn a_service_needs_no_other_key() {
    let expected = KubernetesSettings {
        namespace: "default".parse().unwrap(),
        source: KubernetesSource::Service("prometheus".parse().unwrap()),
        port: KubernetesPort::FirstTcp,
        kubeconfig: None,
        is_https: false,
        path_prefix: String::new(),
    };
    assert_eq!(settings("{ service: prometheus, pod_selector: , kubeconfig: }"), expected);
}

#[cfg(feature = "kubernetes")]
#[test]
fn every_key_is_read() {
    let expected = KubernetesSettings {
        namespace: "monitoring".parse().unwrap(),
        source: KubernetesSource::Pods("app=prometheus,tier in (a,b)".parse().unwrap()),
        port: KubernetesPort::Number(9090),
        kubeconfig: Some(PathBuf::from("/etc/kubeconfig")),
        is_https: true,
        path_prefix: "/prom".to_owned(),
    };
    let yaml = "{ namespace: monitoring, pod_selector: 'app=prometheus, tier in (a, b)', port: 9090, \
                kubeconfig: /etc/kubeconfig, scheme: https, path_prefix: /prom/ }";
    assert_eq!(settings(yaml), expected);
}

#[cfg(feature = "kubernetes")]
#[test]
fn a_mistake_names_its_key() {
    for (yaml, expected) in [
        ("{}", "service: is missing; set either service or pod_selector"),
        ("{ service: a, pod_selector: b=c }", "pod_selector: cannot be used together with service"),
        (
            "{ pod_selector: 'a=b,c within (d)' }",
            "pod_selector: has the requirement `c within (d)`",
        ),
        ("{ service: a/b }", "service: is not a name in Kubernetes"),
        ("{ service: a, namespace: ../b }", "namespace: is not a name in Kubernetes"),
        ("{ service: a, port: 0 }", "port: is not a port"),
        ("{ service: a, path_prefix: prom }", "path_prefix: must begin with a slash"),
        ("{ service: a, path_prefix: '/a?b' }", "path_prefix: must not contain a query"),
        ("{ service: a, scheme: ftp }", "scheme: `ftp` is not one of: http, https"),
        ("{ service: a, watch: true }", "watch: is unknown"),
    ] {
        let (_, mistakes) = read(yaml);
        assert!(mistakes.len() == 1 && mistakes[0].starts_with(expected), "{yaml}: {mistakes:?}");
    }
}

#[cfg(not(feature = "kubernetes"))]
#[test]
fn the_cargo_feature_is_named() {
    let (settings, mistakes) = read("{ service: prometheus, path_prefix: /x, kubeconfig: /x }");
    assert!(settings.is_err() && mistakes.len() == 1, "{mistakes:?}");
    assert!(mistakes[0].contains("without the cargo feature `kubernetes`"), "{mistakes:?}");
}
