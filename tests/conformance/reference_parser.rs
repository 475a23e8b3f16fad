//! The OpenMetrics reference parser, which is part of `prometheus_client`.

use std::{
    io::Write,
    process::{Command, Stdio},
};

/// Reads documents, each preceded by a line with its length. Prints one line per document with its
/// error or its number of samples.
const SCRIPT: &str = r#"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
while length := sys.stdin.buffer.readline():
    text = sys.stdin.buffer.read(int(length)).decode()
    try:
        print(sum(len(family.samples) for family in parse(text)))
    except Exception as error:
        print(repr(repr(error)))
"#;

/// The number of samples or the error of each document.
pub(crate) fn read<'a>(documents: impl IntoIterator<Item = &'a str>) -> Vec<Result<usize, String>> {
    // The Debian package installs the parser only for the system Python.
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed; `make test` installs it");
    let mut input = Vec::new();
    for document in documents {
        input.extend_from_slice(format!("{}\n{document}", document.len()).as_bytes());
    }
    let mut pipe = python.stdin.take().expect("standard input is a pipe");
    // A separate thread writes the input, because both processes would block if both pipes were
    // full.
    let writer = std::thread::spawn(move || pipe.write_all(&input));
    let output = python.wait_with_output().expect("python3 exits");
    writer.join().expect("the writer thread exits").expect("python3 reads its input");
    assert!(
        output.status.success(),
        "python3-prometheus-client is needed; `make test` installs it"
    );
    let message = String::from_utf8_lossy(&output.stdout).into_owned();
    message.lines().map(|line| line.parse().map_err(|_| line.to_owned())).collect()
}
