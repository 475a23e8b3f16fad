//! `promtool check metrics`, the judge of expositions.

use std::{
    io::Write,
    process::{Command, Stdio},
};

/// What promtool says of `exposition`, and its exit code: 0 is fine, 3 is fine
/// to read but not in good style, anything else cannot be read.
pub(crate) fn check(exposition: &[u8]) -> (Option<i32>, String) {
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
