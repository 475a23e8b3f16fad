//! `promtool check metrics`, as a check of text expositions.

use std::{
    io::Write,
    process::{Command, Stdio},
};

/// Runs promtool, and returns its exit code and its output. Code 0 means no finding, 3 findings of
/// style, and any other code that it cannot read the exposition.
///
/// # Panics
///
/// If promtool is not installed or fails.
pub fn check(exposition: &[u8]) -> (Option<i32>, String) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed; `make test` installs it");
    promtool.stdin.take().expect("a pipe").write_all(exposition).expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stderr, output.stdout].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}
