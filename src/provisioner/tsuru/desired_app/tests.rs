use super::*;
use crate::provisioner::tsuru::testing::{desired, settings};
use std::collections::HashSet;

fn is_name(name: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= MAX_NAME_LEN
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(is_fine)
}

#[test]
fn names_of_apps_are_valid_and_unique() {
    let mut names = HashSet::new();
    let ids = [
        "tsuru:prometheus:shop",
        "tsuru:prometheus:shop-metrics-of-the-whole-company-in-europe",
        "tsuru:prometheus:Shop",
        "4b5c3ea8-1b31-4f0d-9d27-5f1a6a1c7c11",
        "—é\"'$/ ",
        "-",
    ];
    // The configuration allows prefixes of at most 22 characters.
    for prefix in ["prometheus-", "p", "a-prefix-as-long-as-ok"] {
        for id in ids {
            for replica in 0..MAX_REPLICAS {
                let name = app_name(prefix, &id.parse().unwrap(), replica);
                assert!(is_name(&name) && name.starts_with(prefix), "{name}");
                assert!(names.insert(name.clone()), "{name}");
            }
        }
    }
}

#[test]
fn an_app_has_tags_and_a_description_of_its_instance() {
    let app = build(&settings(), &desired(" a:b"), 1).unwrap();
    let NewApp { team, tags, description, .. } = app.app;
    assert_eq!(team, "checkout");
    assert_eq!(tags, ["managed-by:scrapebroker", "scrapebroker-instance:%20a%3Ab"]);
    assert_eq!(description, "Prometheus of a:b, replica 1");
}

#[test]
fn variables_with_secrets_are_private_and_others_public() {
    let app = build(&settings(), &desired("tsuru:prometheus:shop"), 0).unwrap();
    let seen = |name: &str| app.variables.iter().find(|it| it.name == name);
    for private in ["PROMETHEUS_CONFIG", "PROMETHEUS_WEB_CONFIG", "PROMETHEUS_RULES"] {
        assert!(seen(private).unwrap().is_private, "{private}");
    }
    for (name, value) in [
        ("PROMETHEUS_MEMORY_LIMIT", "268435456B"),
        ("PROMETHEUS_STORAGE_PATH", "/prometheus"),
        ("PROMETHEUS_RETENTION_TIME", "15d"),
        ("PROMETHEUS_RETENTION_SIZE", "1048576B"),
        (
            "PROMETHEUS_EXTERNAL_URL",
            "https://broker.example.com/prometheus/metheus-shop-cce4e0aa27f88a76",
        ),
        ("PROMETHEUS_ROUTE_PREFIX", "/"),
        ("PROMETHEUS_QUERY_MAX_CONCURRENCY", "2"),
        ("PROMETHEUS_QUERY_MAX_SAMPLES", "1048576"),
        (FINGERPRINT, &app.fingerprint),
    ] {
        let variable = seen(name).unwrap();
        assert_eq!((variable.value.expose_secret(), variable.is_private), (value, false), "{name}");
    }
    for variable in app.variables.iter().filter(|variable| !variable.is_private) {
        let value = variable.value.expose_secret();
        assert!(!value.contains("scraper-token") && !value.contains("web-password"), "{value}");
    }
}

#[test]
fn the_fingerprint_changes_only_when_a_deploy_is_needed() {
    let (plain, usual) = (settings(), desired("i"));
    let fingerprint = |settings: &TsuruSettings, desired: &DesiredInstance, replica| {
        build(settings, desired, replica).unwrap().fingerprint
    };
    let mut seen = HashSet::from([fingerprint(&plain, &usual, 0)]);
    assert!(!seen.insert(fingerprint(&plain, &usual, 0)));
    let plan = TsuruSettings { plan: "large".to_owned(), ..settings() };
    assert!(!seen.insert(fingerprint(&plan, &usual, 0)), "an app keeps its plan");
    let mut more = desired("i");
    more.spec.replicas = 2;
    assert!(!seen.insert(fingerprint(&plain, &more, 0)), "other replicas do not matter");

    assert!(seen.insert(fingerprint(&plain, &usual, 1)));
    let image = TsuruSettings { image: "other".to_owned(), ..settings() };
    assert!(seen.insert(fingerprint(&image, &usual, 0)));
    let changes: [fn(&mut DesiredInstance); 6] = [
        |desired| desired.spec.scrape_interval = "7s".parse().unwrap(),
        |desired| desired.spec.retention = "7d".parse().unwrap(),
        |desired| desired.spec.rules = None,
        |desired| desired.spec.memory_limit += 1,
        |desired| desired.scraper_token = "other".into(),
        |desired| desired.web_password = "other".into(),
    ];
    for change in changes {
        let mut changed = desired("i");
        change(&mut changed);
        assert!(seen.insert(fingerprint(&plain, &changed, 0)));
    }
}

#[test]
fn query_limits_do_not_change_the_fingerprint() {
    let app = build(&settings(), &desired("i"), 0).unwrap();
    let of_earlier_versions =
        |it: &&AppVariable| it.name != FINGERPRINT && !it.name.starts_with("PROMETHEUS_QUERY_");
    let earlier = app.variables.iter().filter(of_earlier_versions);
    assert_eq!(earlier.clone().count(), app.variables.len() - 3);
    assert_eq!(fingerprint(&settings().image, earlier), app.fingerprint);
}

#[test]
fn missing_settings_are_permanent_failures_that_name_the_setting() {
    let mut in_memory = desired("i");
    in_memory.spec.storage = Storage::Tmpfs;
    let failure = build(&settings(), &in_memory, 0).unwrap_err();
    assert!(!failure.retry && failure.reason.contains("prometheus.tsuru.tmpfs_plan"));
    let plans = TsuruSettings { tmpfs_plan: Some("memory".to_owned()), ..settings() };
    assert_eq!(build(&plans, &in_memory, 0).unwrap().app.plan, "memory");

    let mut elsewhere = desired("i");
    elsewhere.organization_guid = "0a1b2c".parse().unwrap();
    let failure = build(&settings(), &elsewhere, 0).unwrap_err();
    assert!(!failure.retry && failure.reason.contains("prometheus.tsuru.team"));
    let fixed = TsuruSettings { team: Team::Fixed("metrics".to_owned()), ..settings() };
    assert_eq!(build(&fixed, &elsewhere, 0).unwrap().app.team, "metrics");

    let mut long = desired("i");
    long.spec.rules = Some("#".repeat(MAX_VALUE_LEN + 1));
    let failure = build(&settings(), &long, 0).unwrap_err();
    assert!(!failure.retry && failure.reason.contains("PROMETHEUS_RULES"));
}

#[test]
fn plans_have_at_most_the_replicas_that_a_removal_looks_for() {
    let plan = |replicas: u8| {
        let bounds = serde_json::json!({"min": "1s", "default": "2s", "max": "3s"});
        let plan = serde_json::json!({
            "retention": bounds, "scrape_interval": bounds, "storage": "disk",
            "memory_limit": "256MiB", "replicas": replicas,
        });
        crate::domain::prometheus::PrometheusPlan::parse(&plan)
    };
    assert!(plan(MAX_REPLICAS).is_ok());
    assert!(plan(MAX_REPLICAS + 1).is_err());
}
