//! `deploy/cf/register.sh` with a fake `cf` that stores brokers in files.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/cf/register.sh");

/// A fake of `cf` version 8. It records its arguments, prints the same tables as `cf` and refuses
/// the same commands.
const FAKE_CF: &str = r#"#!/bin/sh
set -eu
cd "$(dirname "$0")"
echo "$*" >>calls
case $1 in
service-brokers)
    [ ! -e logged-out ] || { echo "Not logged in. Use 'cf login' to log in." >&2; exit 1; }
    printf 'Getting service brokers as admin...\n\n'
    [ -s brokers ] || { echo 'No service brokers found'; exit 0; }
    printf 'name   url   status\n'
    cat brokers
    ;;
create-service-broker)
    ! grep -q "^$2 " brokers 2>/dev/null || { echo 'Name must be unique' >&2; exit 1; }
    echo "$2   $4   available" >>brokers
    echo "$CF_BROKER_PASSWORD" >>passwords
    ;;
update-service-broker)
    grep -q "^$2 " brokers || { echo "Service broker '$2' not found" >&2; exit 1; }
    echo "$2   $4   available" >brokers
    echo "$CF_BROKER_PASSWORD" >>passwords
    ;;
service-access)
    printf 'Getting service access for broker %s as admin...\n\nbroker: %s\n' "$3" "$3"
    [ ! -e no-services ] || exit 0
    printf '   offering     plan      access   orgs\n'
    printf '   metrics      shared    none\n   metrics      private   none\n   prometheus   small     all\n'
    ;;
enable-service-access) ;;
*) exit 1 ;;
esac
"#;

struct Platform(TempDir);

impl Platform {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cf = folder.path().join("cf");
        fs::write(&cf, FAKE_CF).unwrap();
        fs::set_permissions(&cf, fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn script(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(SCRIPT);
        let path = format!("{}:/usr/bin:/bin", self.0.path().display());
        command.args(arguments).env_clear().env("PATH", path);
        command.env("BROKER_USERNAME", "cloud-controller").env("BROKER_PASSWORD", "hunter2");
        command
    }

    /// The arguments of all calls of `cf` since the last check.
    fn calls(&self) -> Vec<String> {
        let file = self.0.path().join("calls");
        let calls = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        calls.lines().map(str::to_owned).collect()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    fn touch(&self, name: &str) {
        fs::write(self.0.path().join(name), "").unwrap();
    }
}

fn run(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn the_script_creates_the_broker_enables_access_and_can_be_repeated() {
    let platform = Platform::new();
    let mut actions = ["create", "update", "update"].iter();
    for url in [
        "https://metrics.example.com",
        "https://metrics.example.com/broker/",
        "https://new.example.com/broker",
    ] {
        assert_eq!(run(&mut platform.script(&[url])), (0, String::new()));
        let host = url.split('/').nth(2).unwrap();
        let action = actions.next().unwrap();
        assert_eq!(
            platform.calls(),
            [
                "service-brokers".to_owned(),
                format!(
                    "{action}-service-broker scrapebroker cloud-controller https://{host}/broker"
                ),
                "service-access -b scrapebroker".to_owned(),
                "enable-service-access metrics -b scrapebroker".to_owned(),
                "enable-service-access prometheus -b scrapebroker".to_owned(),
            ]
        );
    }
    assert_eq!(platform.file("brokers").lines().count(), 1);
    assert_eq!(platform.file("passwords"), "hunter2\nhunter2\nhunter2\n");
}

#[test]
fn a_broker_with_a_name_of_the_same_prefix_is_a_different_broker() {
    let platform = Platform::new();
    fs::write(platform.0.path().join("brokers"), "scrapebroker-old   https://x   available\n")
        .unwrap();
    assert_eq!(run(&mut platform.script(&["https://metrics.example.com"])), (0, String::new()));
    assert!(platform.calls()[1].starts_with("create-service-broker scrapebroker "));
}

#[test]
fn access_can_be_limited_to_organizations_and_the_password_can_be_in_a_file() {
    let platform = Platform::new();
    let password = platform.0.path().join("password");
    fs::write(&password, "from a file\n").unwrap();
    let mut command =
        platform.script(&["-n", "metrics", "-o", "acme", "-o", "my org", "https://x.example.com"]);
    command.env_remove("BROKER_PASSWORD").env("BROKER_PASSWORD_FILE", password);
    assert_eq!(run(&mut command), (0, String::new()));
    assert_eq!(
        platform.calls()[3..],
        [
            "enable-service-access metrics -b metrics -o acme",
            "enable-service-access metrics -b metrics -o my org",
            "enable-service-access prometheus -b metrics -o acme",
            "enable-service-access prometheus -b metrics -o my org",
        ]
    );
    assert_eq!(platform.file("passwords"), "from a file\n");
}

#[test]
fn missing_settings_are_reported_before_any_change() {
    let platform = Platform::new();
    let url = "https://metrics.example.com";
    let wrong: [&[&str]; 6] =
        [&[], &[url, url], &["-x", url], &["metrics.example.com"], &["-n", "a b", url], &[""]];
    for arguments in wrong {
        let (code, err) = run(&mut platform.script(arguments));
        assert_eq!(code, 64, "{arguments:?}: {err}");
        assert!(!err.is_empty() && !err.contains("hunter2"), "{err}");
    }
    for variable in ["BROKER_USERNAME", "BROKER_PASSWORD"] {
        let (code, err) = run(platform.script(&[url]).env_remove(variable));
        assert_eq!(code, 64);
        assert!(err.contains(variable), "{err}");
    }
    assert_eq!(platform.calls(), Vec::<String>::new());

    platform.touch("logged-out");
    let (code, err) = run(&mut platform.script(&[url]));
    assert_eq!((code, platform.calls().len()), (1, 1), "{err}");
    assert!(err.contains("logged in as an admin"), "{err}");
}

#[test]
fn a_broker_without_services_is_a_failure() {
    let platform = Platform::new();
    platform.touch("no-services");
    let (code, err) = run(&mut platform.script(&["https://metrics.example.com"]));
    assert_eq!(code, 1);
    assert!(err.contains("offers no services"), "{err}");
}

#[test]
fn the_script_passes_shellcheck() {
    let output = Command::new("shellcheck").arg(SCRIPT).output();
    let output = output.expect("shellcheck: scripts/install-test-tools installs it");
    let message = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{message}");
}
