//! `scripts/run-demo` with fakes of apt-get, sudo and cargo, and with a PATH that has no other
//! programs than the script requires.

use super::entrypoint::installed;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts");

const TOOLS: [&str; 10] =
    ["bash", "cat", "chmod", "dirname", "env", "flock", "mkdir", "rm", "sh", "sleep"];

/// Installs a `prometheus` beside itself. Fails if there is a file `no-package`, and does not end
/// while there is a file `no-network`.
const FAKE_APT_GET: &str = r#"#!/bin/sh
echo "apt-get $*" >>calls
echo 'a line of apt-get'
while [ -e no-network ]; do sleep 1; done
[ ! -e no-package ] || { echo 'E: Unable to locate package prometheus' >&2; exit 100; }
[ "$1" = update ] || { echo '#!/bin/sh' >bin/prometheus; chmod +x bin/prometheus; }
"#;

/// Lists no packages. `tests/packages/scripts` checks what happens to daemons.
const FAKE_DPKG_QUERY: &str = "#!/bin/sh\n";

/// Requires a password if there is a file `password`.
const FAKE_SUDO: &str = r#"#!/bin/sh
[ "$1" = -n ] || exit 1
shift
[ ! -e password ] || { echo 'sudo: a password is required' >&2; exit 1; }
[ "$1" = true ] || { echo "sudo $*" >>calls; exec "$@"; }
"#;

/// Builds the file `program`. Fails if there is a file `broken`.
const FAKE_CARGO: &str = r#"#!/bin/sh
echo "cargo $*" >>calls
[ ! -e broken ] || { echo 'error: could not compile' >&2; exit 101; }
echo '{"reason":"compiler-artifact","target":{"name":"a"},"executable":null}'
echo '{"reason":"build-script-executed","out_dir":"b"}'
printf '{"reason":"compiler-artifact","executable":"%s/program"}\n' "$PWD"
echo '{"reason":"build-finished","success":true}'
"#;

/// The program. It prints its arguments, and whether it would find Prometheus.
const FAKE_PROGRAM: &str = r#"#!/bin/sh
echo "arguments: $*"
command -v prometheus >/dev/null || echo 'no prometheus'
"#;

/// A copy of the scripts, and programs for its `PATH`. The user is not root unless a test says so.
struct Checkout(TempDir);

impl Checkout {
    fn new() -> Self {
        let checkout = Self(tempfile::tempdir().unwrap());
        fs::create_dir(checkout.path("scripts")).unwrap();
        fs::create_dir(checkout.path("bin")).unwrap();
        for tool in TOOLS {
            symlink(installed(tool), checkout.path("bin").join(tool)).unwrap();
        }
        for script in ["run-demo", "apt-install"] {
            let text = fs::read_to_string(format!("{SCRIPTS}/{script}")).unwrap();
            // The tests change nothing outside their folder.
            let policy = checkout.path("policy-rc.d").display().to_string();
            let text = text.replace("/usr/sbin/policy-rc.d", &policy);
            executable(&checkout.path("scripts").join(script), &text);
        }
        executable(&checkout.path("program"), FAKE_PROGRAM);
        checkout.add("cargo", FAKE_CARGO);
        checkout.add("dpkg-query", FAKE_DPKG_QUERY);
        checkout.user(1000);
        checkout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Adds a program to the `PATH`.
    fn add(&self, name: &str, text: &str) {
        executable(&self.path("bin").join(name), text);
    }

    fn user(&self, id: u32) {
        self.add("id", &format!("#!/bin/sh\necho {id}\n"));
    }

    fn touch(&self, name: &str) {
        fs::write(self.path(name), "").unwrap();
    }

    fn script(&self) -> Command {
        let mut command = Command::new(self.path("scripts/run-demo"));
        command.env_clear().env("PATH", self.path("bin")).stdin(Stdio::null());
        command
    }

    /// The lines of the script on both outputs, without those of the build.
    fn run(&self, command: &mut Command) -> Vec<String> {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let progress = String::from_utf8(output.stderr).unwrap();
        assert!(progress.starts_with("Building: ") && progress.contains("Built in"), "{progress}");
        assert_eq!(progress.lines().count(), 1, "{progress}");
        let out = String::from_utf8(output.stdout).unwrap();
        out.lines().map(str::to_owned).collect()
    }

    /// The calls of the fakes other than cargo.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap();
        let calls = calls.lines().filter(|call| !call.starts_with("cargo"));
        calls.map(str::to_owned).collect()
    }
}

fn executable(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

const INSTALLING: &str = "Installing Prometheus with apt; its messages are in target/run-apt.log.";
const INSTALL: &str = "apt-get install -qy --no-install-recommends prometheus";

#[test]
fn prometheus_is_installed_as_root_or_with_sudo() {
    let checkout = Checkout::new();
    checkout.add("apt-get", FAKE_APT_GET);
    checkout.user(0);
    let printed = checkout.run(checkout.script().args(["--listen", "127.0.0.1:1"]));
    assert_eq!(printed, [INSTALLING, "arguments: demo --listen 127.0.0.1:1"]);
    assert_eq!(checkout.calls(), ["apt-get update -q", INSTALL]);
    assert!(!checkout.path("policy-rc.d").exists());
    let log = fs::read_to_string(checkout.path("target/run-apt.log")).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");

    let checkout = Checkout::new();
    checkout.add("apt-get", FAKE_APT_GET);
    checkout.add("sudo", FAKE_SUDO);
    assert_eq!(checkout.run(&mut checkout.script()), [INSTALLING, "arguments: demo"]);
    let sudo = "sudo scripts/apt-install prometheus";
    assert_eq!(checkout.calls(), [sudo, "apt-get update -q", INSTALL]);
}

#[test]
fn the_demo_starts_without_prometheus_if_it_cannot_be_installed() {
    let expect = |checkout: &Checkout, reason: &str| {
        let reason = format!("Going on without Prometheus: {reason}");
        let mut printed = checkout.run(&mut checkout.script());
        printed.retain(|line| line != INSTALLING);
        assert_eq!(printed, [&*reason, "arguments: demo", "no prometheus"]);
        assert!(reason.len() <= 80, "{reason}");
    };
    let checkout = Checkout::new();
    expect(&checkout, "it is not installed, and there is no apt-get.");

    checkout.add("apt-get", FAKE_APT_GET);
    let no_root = "only root, or sudo without a password, installs it.";
    expect(&checkout, no_root);
    checkout.add("sudo", FAKE_SUDO);
    checkout.touch("password");
    expect(&checkout, no_root);
    assert_eq!(checkout.calls(), Vec::<String>::new());

    checkout.user(0);
    checkout.touch("no-package");
    expect(&checkout, "apt-get failed; see target/run-apt.log.");
    let log = fs::read_to_string(checkout.path("target/run-apt.log")).unwrap();
    assert!(log.contains("E: Unable to locate package prometheus"), "{log}");
    assert!(!checkout.path("policy-rc.d").exists());
}

#[test]
fn nothing_is_installed_if_prometheus_exists_or_the_user_forbids_it() {
    let checkout = Checkout::new();
    checkout.add("apt-get", FAKE_APT_GET);
    checkout.user(0);
    let printed = checkout.run(checkout.script().env("SCRAPEBROKER_NO_INSTALL", "1"));
    let reason = "Going on without Prometheus: SCRAPEBROKER_NO_INSTALL is set.";
    assert_eq!(printed, [reason, "arguments: demo", "no prometheus"]);
    checkout.add("prometheus", "#!/bin/sh\n");
    assert_eq!(checkout.run(&mut checkout.script()), ["arguments: demo"]);
    assert_eq!(checkout.calls(), Vec::<String>::new());
}

#[test]
fn the_demo_does_not_wait_longer_than_two_minutes_for_apt() {
    let checkout = Checkout::new();
    checkout.add("apt-get", FAKE_APT_GET);
    checkout.user(0);
    checkout.touch("no-network");
    // bash begins to count at this value.
    let printed = checkout.run(checkout.script().env("SECONDS", "120"));
    fs::remove_file(checkout.path("no-network")).unwrap();
    let reason = "Going on without Prometheus: apt is still running; see target/run-apt.log.";
    assert_eq!(printed, [INSTALLING, reason, "arguments: demo", "no prometheus"]);
}

#[test]
fn a_failed_build_prints_the_errors_of_the_compiler_and_starts_nothing() {
    let checkout = Checkout::new();
    checkout.add("prometheus", "#!/bin/sh\n");
    checkout.touch("broken");
    let output = checkout.script().output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(printed.ends_with("The build failed.\nerror: could not compile\n"), "{printed}");
    assert!(!checkout.path("target/run-units").exists());

    fs::remove_file(checkout.path("broken")).unwrap();
    checkout.run(&mut checkout.script());
    let units = fs::read_to_string(checkout.path("target/run-units")).unwrap();
    assert_eq!(units, "2\n");
}

#[test]
fn the_scripts_pass_shellcheck() {
    let scripts = fs::read_dir(SCRIPTS).unwrap().map(|script| script.unwrap().path());
    let is_shell = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().next().is_some_and(|line| line.ends_with("sh"))
    };
    let scripts: Vec<_> = scripts.filter(is_shell).collect();
    assert!(scripts.len() >= 10, "{scripts:?}");
    let output = Command::new("shellcheck").arg("--severity=warning").args(scripts).output();
    let output = output.expect("shellcheck: scripts/install-test-tools installs it");
    assert!(output.status.success(), "{}", String::from_utf8(output.stdout).unwrap());
}
