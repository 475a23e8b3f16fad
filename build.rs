//! Migrations are compiled in, so cargo must see when one is added. The commit is compiled in for
//! the log.

use std::{env, path::Path, process::Command};

#[expect(clippy::disallowed_methods, reason = "cargo hands over its settings this way")]
fn main() {
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SCRAPEBROKER_COMMIT");
    let given = env::var("SCRAPEBROKER_COMMIT").ok().filter(|commit| !commit.trim().is_empty());
    let commit = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    println!("cargo::rustc-env=SCRAPEBROKER_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    // Every commit would rebuild a debug build, whose commit nobody needs to trust.
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|_| is_release);
    if let Some(log) = log.filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
}

/// What git prints; none without git, or outside of a repository of this project.
fn git(arguments: &[&str]) -> Option<String> {
    // A repository around an unpacked archive is another project's.
    if !Path::new(".git").exists() {
        return None;
    }
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
