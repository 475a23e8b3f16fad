//! Validation of rules by promtool.
//!
//! promtool runs as a process that is killed after a timeout. Its environment is empty, because
//! that of Scrapebroker may contain secrets.

use super::refused;
use crate::domain::prometheus::Refusal;
use std::{ffi::OsString, io, path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    sync::Semaphore,
    time::timeout,
};

/// A relative name, so that messages of promtool contain no path.
const FILE: &str = "rules.yml";
/// Timeout of one check, including the time in the queue.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum number of concurrent checks.
const MAX_CHECKS: usize = 2;
/// Maximum number of bytes of the output that are read.
const MAX_OUTPUT: u64 = 64 << 10;
/// Maximum number of characters of the output in an error.
const MAX_SHOWN: usize = 2000;

#[derive(Debug)]
pub(super) struct Promtool {
    program: PathBuf,
    /// Its environment variable `PATH`.
    path: OsString,
    file_lock: Semaphore,
}

impl Promtool {
    pub(super) fn new(program: PathBuf, search: &[PathBuf]) -> Self {
        // promtool runs in another working directory. A bare name is searched in `PATH`.
        let program = match program.components().count() {
            1 => program,
            _ => std::path::absolute(&program).unwrap_or(program),
        };
        let path = std::env::join_paths(search).unwrap_or_default();
        Self { program, path, file_lock: Semaphore::new(MAX_CHECKS) }
    }

    /// Checks that Prometheus accepts the rules.
    pub(super) async fn check(&self, rules: &str) -> Result<(), Refusal> {
        let checked = async {
            let _permit = self.file_lock.acquire().await.map_err(io::Error::other)?;
            self.run(rules).await
        };
        match timeout(TIMEOUT, checked).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(output))) => {
                Err(refused("rules", format!("is refused by promtool: {output}")))
            }
            Ok(Err(error)) => {
                tracing::warn!(
                    program = %self.program.display(),
                    %error,
                    "promtool not started"
                );
                Err(Refusal::Capacity(
                    "rules cannot be checked, because promtool cannot be started; ask the operator to check prometheus.promtool".to_owned(),
                ))
            }
            Err(_) => Err(Refusal::Capacity(format!(
                "promtool did not check the rules within {} s; try again, or with fewer rules",
                TIMEOUT.as_secs()
            ))),
        }
    }

    /// The output of promtool, if it refuses the rules.
    async fn run(&self, rules: &str) -> io::Result<Option<String>> {
        let folder = tempfile::tempdir()?;
        tokio::fs::write(folder.path().join(FILE), rules).await?;
        let mut child = Command::new(&self.program)
            .args(["check", "rules", FILE])
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", &self.path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = match child.stderr.take() {
            Some(stderr) => read(stderr).await?,
            None => String::new(),
        };
        ended(child).await.map(|is_good| (!is_good).then(|| shown(&output)))
    }
}

async fn ended(mut child: Child) -> io::Result<bool> {
    let status = child.wait().await?;
    // A killed promtool has not checked the rules.
    match status.code() {
        Some(code) => Ok(code == 0),
        None => Err(io::Error::other(status.to_string())),
    }
}

/// Reads the first [`MAX_OUTPUT`] bytes, and discards the rest so that promtool does not block.
async fn read(mut from: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut output = Vec::new();
    (&mut from).take(MAX_OUTPUT).read_to_end(&mut output).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// One line without the name of the file.
fn shown(output: &str) -> String {
    let file = format!("{FILE}: ");
    let lines = output.lines().map(|line| line.trim().replace(&file, ""));
    let lines: Vec<_> = lines.filter(|line| !line.is_empty() && line != "FAILED:").collect();
    let shown: String =
        lines.join("; ").chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect();
    if shown.is_empty() { "promtool gives no reason".to_owned() } else { shown }
}
