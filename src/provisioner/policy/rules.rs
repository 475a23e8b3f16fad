//! Rules, checked by promtool.
//!
//! It is a process of its own: what rules cost it, in time or memory, is bounded
//! by ending it. It gets nothing of our environment, which may hold secrets.

use super::wrong;
use crate::domain::prometheus::Refusal;
use std::{io, path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    sync::Semaphore,
    time::timeout,
};

/// Its name where promtool sees it: its words say nothing else of our disk.
const FILE: &str = "rules.yml";
/// For one check, with the waiting for others.
const PATIENCE: Duration = Duration::from_secs(15);
/// Checks at once.
const AT_ONCE: usize = 2;
/// Bytes of promtool's words that are looked at.
const WORDS: u64 = 64 << 10;
/// Characters of them that are shown.
const SHOWN: usize = 2000;

/// The program that checks rules.
#[derive(Debug)]
pub(super) struct Promtool {
    program: PathBuf,
    file_lock: Semaphore,
}

impl Promtool {
    pub(super) fn new(program: PathBuf) -> Self {
        // It is started in another folder than ours; a bare name is looked for in `PATH`.
        let program = match program.components().count() {
            1 => program,
            _ => std::path::absolute(&program).unwrap_or(program),
        };
        Self { program, file_lock: Semaphore::new(AT_ONCE) }
    }

    /// Whether a Prometheus would take the rule file.
    pub(super) async fn check(&self, rules: &str) -> Result<(), Refusal> {
        let checked = async {
            let _turn = self.file_lock.acquire().await.map_err(io::Error::other)?;
            self.run(rules).await
        };
        match timeout(PATIENCE, checked).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(words))) => Err(wrong("rules", format!("is refused by promtool: {words}"))),
            Ok(Err(error)) => {
                tracing::warn!(
                    program = %self.program.display(),
                    %error,
                    "promtool, which checks rules, cannot be run"
                );
                Err(Refusal::NoRoom(
                    "rules cannot be checked, since promtool cannot be run; ask the operator to see to prometheus.promtool".to_owned(),
                ))
            }
            Err(_) => Err(Refusal::NoRoom(format!(
                "promtool did not check the rules within {} s; try again, or with fewer rules",
                PATIENCE.as_secs()
            ))),
        }
    }

    /// Its words, if it refuses them.
    async fn run(&self, rules: &str) -> io::Result<Option<String>> {
        let folder = tempfile::tempdir()?;
        tokio::fs::write(folder.path().join(FILE), rules).await?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut child = Command::new(&self.program)
            .args(["check", "rules", FILE])
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let words = match child.stderr.take() {
            Some(stderr) => read(stderr).await?,
            None => String::new(),
        };
        ended(child).await.map(|is_good| (!is_good).then(|| shown(&words)))
    }
}

async fn ended(mut child: Child) -> io::Result<bool> {
    let status = child.wait().await?;
    // One that was killed has said nothing about the rules.
    match status.code() {
        Some(code) => Ok(code == 0),
        None => Err(io::Error::other(status.to_string())),
    }
}

/// The beginning of what it says; it may say it all.
async fn read(mut from: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut words = Vec::new();
    (&mut from).take(WORDS).read_to_end(&mut words).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&words).into_owned())
}

/// In one line, without the name of the file.
fn shown(words: &str) -> String {
    let file = format!("{FILE}: ");
    let lines = words.lines().map(|line| line.trim().replace(&file, ""));
    let lines: Vec<_> = lines.filter(|line| !line.is_empty() && line != "FAILED:").collect();
    let shown: String = lines.join("; ").chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    if shown.is_empty() { "it does not say why".to_owned() } else { shown }
}
