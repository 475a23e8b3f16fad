use super::*;
use serde_json::{Value, json};

fn plan() -> Value {
    json!({
        "retention": {"min": "1h", "default": "15d", "max": "30d"},
        "retention_size": "5GiB",
        "storage": "disk",
        "memory_limit": "512MiB",
        "scrape_interval": {"min": "1s", "default": "30s", "max": "5m"},
        "sample_limit": 10_000,
    })
}

fn params(parameters: Value) -> Result<PrometheusParams, String> {
    let map = parameters.as_object().unwrap();
    PrometheusParams::from_parameters(map).map_err(|error| error.to_string())
}

#[test]
fn periods_use_the_syntax_of_prometheus() {
    for (text, seconds, shown) in [
        ("15d", 15 * 86_400, "15d"),
        ("1h30m", 5400, "1h30m"),
        ("90s", 90, "1m30s"),
        ("1w", 7 * 86_400, "1w"),
        ("10d", 864_000, "10d"),
        ("1y1w1d1h1m1s", 365 * 86_400 + 8 * 86_400 + 3661, "373d1h1m1s"),
    ] {
        let period: Period = text.parse().unwrap();
        assert_eq!(period.duration().as_secs(), seconds, "{text}");
        assert_eq!(period.to_string(), shown);
        assert_eq!(shown.parse(), Ok(period));
    }
    for text in [
        "",
        "0s",
        "15",
        "d",
        "1.5h",
        "1s1h",
        "1h1h",
        "-1h",
        "1 h",
        "99999999999999999999y",
        "101y",
        "1ü",
    ] {
        assert!(text.parse::<Period>().is_err(), "{text}");
    }
}

#[test]
fn all_problems_of_a_plan_are_named() {
    let read = PrometheusPlan::parse(&plan()).unwrap();
    assert_eq!(
        (read.replicas, read.retention_size, read.storage),
        (1, Some(5 << 30), Storage::Disk)
    );
    let mistakes = PrometheusPlan::parse(&json!({
        "retention": {"min": "2d", "default": "1d", "max": "3d"},
        "storage": "tape", "replicas": 0, "memory_limit": "1MiB", "sample_limit": -1,
        "scrape_interval": "30s", "remote_write": 7, "retentoin": 1, "retention_size": "much",
    }))
    .unwrap_err();
    let keys: Vec<_> = mistakes.iter().map(|(key, _)| key.as_str()).collect();
    let expected = [
        "retentoin",
        "retention",
        "scrape_interval",
        "retention_size",
        "memory_limit",
        "storage",
        "replicas",
        "sample_limit",
        "remote_write",
    ];
    assert_eq!(keys, expected, "{mistakes:?}");
    for key in ["retention", "storage", "memory_limit", "scrape_interval"] {
        for value in [Value::Null, json!("nonsense")] {
            let mut wrong = plan();
            wrong[key] = value;
            let mistakes = PrometheusPlan::parse(&wrong).unwrap_err();
            assert!(matches!(&mistakes[..], [(it, _)] if it == key), "{key}: {mistakes:?}");
        }
    }
    let mut memory = plan();
    memory["storage"] = json!("tmpfs");
    memory["retention_size"] = json!(null);
    assert!(PrometheusPlan::parse(&memory).is_err(), "memory needs a limit");
    assert!(PrometheusPlan::parse(&json!([])).is_err());
}

#[test]
fn parameters_are_limited_by_the_plan() {
    let plan = PrometheusPlan::parse(&plan()).unwrap();
    let spec = params(json!({})).unwrap().resolve(&plan).unwrap();
    assert_eq!(
        (spec.retention, spec.scrape_interval),
        (Period::seconds(15 * 86_400), Period::seconds(30))
    );
    let requested = json!({
        "scrape_interval": "1s", "retention": "30d", "rules": {"groups": []},
        "alertmanager_url": "https://u:p@alerts.example.com/x"
    });
    let spec = params(requested).unwrap().resolve(&plan).unwrap();
    assert_eq!(spec.rules.as_deref(), Some("{\"groups\":[]}"));
    let kept: Spec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
    assert_eq!(kept, spec, "the stored spec is unchanged");
    assert!(!format!("{spec:?}").contains("u:p"), "a password is not shown");
    for (key, value, words) in [
        ("scrape_interval", json!("500ms"), "must be from 1s to 5m with this plan"),
        ("scrape_interval", json!("10m"), "must be from 1s to 5m with this plan"),
        ("retention", json!("31d"), "must be from 1h to 30d with this plan"),
        ("retention", json!(15), "must be a string"),
        ("retention", json!("long"), "must be a duration like 30s, 6h or 15d"),
        ("rules", json!([]), "must be the text of a rule file, or an object with groups"),
        ("rules", json!("x".repeat(300_000)), "is longer than 262144 bytes"),
        (
            "alertmanager_url",
            json!("ftp://x"),
            "must be a URL like https://alerts.example.com/prefix",
        ),
        (
            "alertmanager_url",
            json!("http://x/?a=b"),
            "must be a URL like https://alerts.example.com/prefix, without a query",
        ),
        (
            "scrape_intervall",
            json!("1s"),
            "is unknown; known are scrape_interval, retention, rules, alertmanager_url",
        ),
    ] {
        let error = params(json!({ key: value }))
            .and_then(|params| params.resolve(&plan).map_err(|error| error.to_string()))
            .unwrap_err();
        assert_eq!(error, format!("parameter {key} {words}"));
    }
    let removed = params(json!({"rules": "", "alertmanager_url": " ", "retention": null}));
    assert_eq!(removed.unwrap(), PrometheusParams::default());
}

#[test]
fn secrets_in_parameters_are_not_shown() {
    let parameters = json!({
        "scrape_interval": "1s", "retention": "1d", "rules": {"groups": []},
        "alertmanager_url": "https://canary:canary@alerts.example.com/x", "other": "canary",
    });
    let shown = PrometheusParams::without_secrets(parameters.as_object().unwrap());
    let expected = json!({
        "scrape_interval": "1s", "retention": "1d", "rules": {"groups": []},
        "alertmanager_url": "https://alerts.example.com/x",
    });
    assert_eq!(Value::Object(shown), expected);
}

#[test]
fn changes_that_lose_samples_are_refused() {
    let plan = PrometheusPlan::parse(&plan()).unwrap();
    let spec = params(json!({})).unwrap().resolve(&plan).unwrap();
    let change = |edit: fn(&mut Spec), retention_is_explicit| {
        let mut next = spec.clone();
        edit(&mut next);
        spec.check_change(&next, retention_is_explicit)
    };
    assert_eq!(change(|_| (), false), Ok(()));
    assert_eq!(change(|it| it.storage = Storage::Tmpfs, true), Err(DataLoss::ToMemory));
    assert_eq!(change(|it| it.replicas = 2, false), Ok(()));
    let from = Period::seconds(15 * 86_400);
    let to = Period::seconds(3600);
    let shorter = DataLoss::ShorterRetention { from, to };
    assert_eq!(change(|it| it.retention = Period::seconds(3600), false), Err(shorter));
    assert_eq!(change(|it| it.retention = Period::seconds(3600), true), Ok(()), "it was requested");
    assert_eq!(change(|it| it.retention_size = None, false), Ok(()));
    assert!(change(|it| it.retention_size = Some(1), true).is_err());
    let two = Spec { replicas: 2, ..spec.clone() };
    assert_eq!(two.check_change(&spec, true), Err(DataLoss::FewerReplicas { from: 2, to: 1 }));
}

#[test]
fn slugs_are_safe_short_and_unique() {
    for id in
        ["4d0c1f4a-8f0e-4a56-8a53-0d6a7b1c2001", "tsuru:prometheus:Shop_1", "ü", "../../etc", "-"]
    {
        let slug = slug(&id.parse().unwrap());
        assert!(slug.len() <= 29 && !slug.starts_with('-'), "{slug}");
        assert!(
            slug.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{slug}"
        );
    }
    assert_ne!(slug(&"a_b".parse().unwrap()), slug(&"a-b".parse().unwrap()));
}

#[test]
fn private_addresses_are_not_public() {
    for private in [
        "127.0.0.1",
        "127.8.8.8",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",
        "0.1.2.3",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.0.8",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "fec0::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "2002:7f00:1::",
        "::127.0.0.1",
    ] {
        assert!(!is_public(private.parse().unwrap()), "{private}");
    }
    for public in
        ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:4860:4860::8888", "64:ff9b::8.8.8.8"]
    {
        assert!(is_public(public.parse().unwrap()), "{public}");
    }
}

#[test]
fn allowed_entries_are_names_domains_addresses_and_networks() {
    let allowed = |text: &str| text.parse::<Allowed>().unwrap();
    assert!(allowed("Alerts.internal").names("alerts.INTERNAL."));
    assert!(!allowed("alerts.internal").names("x.alerts.internal"));
    assert!(allowed("*.internal").names("a.b.internal"));
    assert!(!allowed("*.internal").names("internal") && !allowed("*.internal").names("xinternal"));
    assert!(allowed("10.1.0.0/16").contains("10.1.9.9".parse().unwrap()));
    assert!(allowed("10.1.2.3").contains("::ffff:10.1.2.3".parse().unwrap()));
    assert!(!allowed("10.1.2.3").contains("10.1.2.4".parse().unwrap()));
    for wrong in ["", "a b", "*.", "10.1.0.0/64", "http://x"] {
        assert!(wrong.parse::<Allowed>().is_err(), "{wrong}");
    }
}
