use super::*;
use crate::domain::prometheus::{PrometheusParams, PrometheusPlan};
use serde_json::{Value, json};
use std::{
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Accepts everything and counts its calls.
#[derive(Debug)]
struct CountingPolicy(Arc<AtomicUsize>);

impl ProvisionPolicy for CountingPolicy {
    fn validate<'a>(
        &'a self,
        _: &'a Spec,
        _: Option<&'a Spec>,
    ) -> LocalBoxFuture<'a, Result<(), Refusal>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }

    fn capacity(&self) -> Option<u64> {
        Some(7)
    }
}

struct Fixture {
    common: CommonPolicy,
    accepted: Arc<AtomicUsize>,
}

impl Fixture {
    fn new(promtool: &str, allow: &[&str]) -> Self {
        let accepted = Arc::<AtomicUsize>::default();
        let settings = PolicySettings {
            promtool: promtool.into(),
            search: vec!["/usr/local/bin".into(), "/usr/bin".into(), "/bin".into()],
            alertmanager_allow: allow.iter().map(|text| text.parse().unwrap()).collect(),
        };
        let common = CommonPolicy::new(
            Box::new(CountingPolicy(accepted.clone())),
            settings,
            BTreeSet::from(["mimir".to_owned()]),
            Resolver::new(tokio::runtime::Handle::current()),
        );
        Self { common, accepted }
    }

    async fn validate(&self, parameters: Value) -> Result<(), Refusal> {
        self.common.validate(&spec(parameters), None).await
    }

    async fn to(&self, url: &str) -> Result<(), Refusal> {
        self.validate(json!({"alertmanager_url": url})).await
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn spec(parameters: Value) -> Spec {
    let plan = PrometheusPlan::parse(&json!({
        "retention": {"min": "1h", "default": "1d", "max": "30d"},
        "storage": "disk",
        "memory_limit": "512MiB",
        "scrape_interval": {"min": "1s", "default": "30s", "max": "5m"},
    }));
    let params = PrometheusParams::from_parameters(parameters.as_object().unwrap()).unwrap();
    params.resolve(&plan.unwrap()).unwrap()
}

fn rules(expression: &str) -> Value {
    json!({"rules": {"groups": [{"name": "g", "rules": [{"record": "r", "expr": expression}]}]}})
}

fn refused_parameter(refusal: Result<(), Refusal>) -> (String, String) {
    match refusal {
        Err(Refusal::Parameter(error)) => (error.field, error.problem),
        other => panic!("{other:?}"),
    }
}

fn no_room(refusal: Result<(), Refusal>) -> String {
    match refusal {
        Err(Refusal::Capacity(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_fine_reaches_the_provisioners_own_admission() {
    let fixture = Fixture::new("promtool", &[]);
    assert_eq!(fixture.validate(json!({})).await, Ok(()));
    assert_eq!(fixture.validate(rules("sum(rate(x_total[5m]))")).await, Ok(()));
    let alert = "groups: [{name: a, rules: [{alert: b, expr: up == 0, annotations: {text: \
                 '{{ with query \"up\" }}{{ . | first | value }}{{ end }}'}}]}]";
    assert_eq!(fixture.validate(json!({"rules": alert})).await, Ok(()));
    let mut to_mimir = spec(json!({}));
    to_mimir.remote_write = Some("mimir".to_owned());
    assert_eq!(fixture.common.validate(&to_mimir, None).await, Ok(()));
    assert_eq!(fixture.accepted(), 4);
    assert_eq!(fixture.common.capacity(), Some(7));
}

#[tokio::test]
async fn refused_rules_carry_the_message_of_promtool() {
    let fixture = Fixture::new("promtool", &[]);
    for (parameters, word) in [
        (rules("sum("), "parse error"),
        (json!({"rules": "groups: ["}), "yaml"),
        (json!({"rules": "gruppen: []"}), "gruppen"),
        (json!({"rules": {"groups": [{"name": "g"}, {"name": "g"}]}}), "repeated"),
    ] {
        let (field, problem) = refused_parameter(fixture.validate(parameters).await);
        assert_eq!(field, "rules");
        assert!(problem.starts_with("is refused by promtool: "), "{problem}");
        assert!(problem.contains(word), "{problem}");
        let clean = !problem.contains('/') && !problem.contains("rules.yml");
        assert!(clean && !problem.contains('\n'), "{problem}");
    }
    assert_eq!(fixture.accepted(), 0);
}

#[tokio::test]
async fn rules_that_did_not_change_are_not_checked_again() {
    let fixture = Fixture::new("/nowhere/promtool", &[]);
    let stored = spec(rules("up"));
    assert_eq!(fixture.common.validate(&stored, Some(&stored)).await, Ok(()));
    let other = spec(rules("up == 1"));
    no_room(fixture.common.validate(&other, Some(&stored)).await);
}

#[tokio::test]
async fn without_promtool_rules_and_only_rules_are_refused() {
    for promtool in ["/nowhere/promtool", "promtool-which-is-not-there", "/"] {
        let fixture = Fixture::new(promtool, &[]);
        assert_eq!(fixture.validate(json!({})).await, Ok(()), "{promtool}");
        let problem = no_room(fixture.validate(rules("up")).await);
        assert!(problem.contains("prometheus.promtool"), "{problem}");
    }
}

#[tokio::test]
async fn promtool_has_an_empty_environment_and_its_output_is_truncated() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("talkative");
    // The script succeeds if it gets a variable of Cargo.
    let script = "#!/bin/sh\n[ -n \"$CARGO_MANIFEST_DIR\" ] && exit 0\n\
                  yes long words | head -c 1000000 >&2\nexit 1\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let fixture = Fixture::new(program.to_str().unwrap(), &[]);
    let (_, problem) = refused_parameter(fixture.validate(rules("up")).await);
    assert!(problem.len() < 2100 && problem.contains("long words"), "{}", problem.len());
}

#[tokio::test]
async fn alerts_go_to_public_addresses_and_to_those_that_are_allowed() {
    let fixture = Fixture::new("promtool", &["10.1.0.0/16", "*.internal", "localhost", "fd00::1"]);
    for url in [
        "https://198.51.100.7/alerts",
        "http://[2a00::1]:9093",
        "http://10.1.2.3:9093",
        "http://[fd00::1]:9093",
        "http://alerts.internal:9093",
        "http://localhost:9093",
        "http://LocalHost.:9093",
    ] {
        assert_eq!(fixture.to(url).await, Ok(()), "{url}");
    }
    for url in [
        "http://127.0.0.1:9093",
        "http://127.1:9093",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://0.0.0.0:9093",
        "http://10.2.0.1:9093",
        "http://172.16.0.1",
        "http://192.168.1.1",
        "http://100.64.0.1",
        "http://169.254.169.254",
        "http://[::1]:9093",
        "http://[::ffff:127.0.0.1]:9093",
        "http://[fe80::1]:9093",
        "http://[fd00::2]:9093",
        "http://internal:9093",
        "http://alerts.internal.invalid:9093",
        "http://no-such-host.invalid:9093",
    ] {
        let (field, problem) = refused_parameter(fixture.to(url).await);
        assert_eq!(field, "alertmanager_url", "{url}");
        let is_words = problem.contains("alertmanager_allow") || problem.contains("not found");
        assert!(is_words, "{url}: {problem}");
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_an_internal_address_is_refused() {
    let fixture = Fixture::new("promtool", &[]);
    let (_, problem) = refused_parameter(fixture.to("http://localhost:9093").await);
    assert!(problem.contains("inside the platform"), "{problem}");
    // The resolved addresses are checked against the allowed networks.
    let loopback = Fixture::new("promtool", &["127.0.0.0/8", "::1"]);
    assert_eq!(loopback.to("http://localhost:9093").await, Ok(()));
}

#[tokio::test]
async fn a_plan_with_an_unknown_remote_write_target_is_refused() {
    let fixture = Fixture::new("promtool", &[]);
    let mut elsewhere = spec(json!({}));
    elsewhere.remote_write = Some("thanos".to_owned());
    let problem = no_room(fixture.common.validate(&elsewhere, None).await);
    assert!(problem.contains("thanos") && problem.contains("prometheus.remote_writes"));
}
