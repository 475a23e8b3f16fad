//! The log of a replica. Prometheus writes it directly to a file, so that it continues after
//! Scrapebroker was killed.

use super::folder::{LOG, OLD_LOG, ReplicaFolder};
use crate::provisioner::redaction::Redaction;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
};

/// Size of the end of the log in which an error is searched, in bytes.
const TAIL: u64 = 64 << 10;
/// Prefixes of the line with which a Go program crashes.
const CRASH_PREFIXES: [&str; 2] = ["panic: ", "fatal error: "];
/// Maximum length of an error, in characters.
const MAX_ERROR_LEN: usize = 300;

/// Whether the log has to be rotated.
pub(super) fn is_full(folder: &ReplicaFolder, size: u64) -> bool {
    fs::metadata(folder.file(LOG)).is_ok_and(|log| log.len() >= size)
}

/// Rotates a log that is being written: copies at most `size` bytes and truncates the log. Lines
/// that are written between the two steps are lost.
pub(super) fn rotate(folder: &ReplicaFolder, size: u64) -> io::Result<()> {
    let log = OpenOptions::new().read(true).write(true).open(folder.file(LOG))?;
    let draft = folder.file("prometheus.log.draft");
    let result = io::copy(&mut (&log).take(size), &mut File::create(&draft)?)
        .and_then(|_| fs::rename(&draft, folder.file(OLD_LOG)));
    // Truncated even if the disk is too full for a copy.
    log.set_len(0)?;
    result
}

/// Rotates a log that no process writes.
pub(super) fn rename(folder: &ReplicaFolder) -> io::Result<()> {
    fs::rename(folder.file(LOG), folder.file(OLD_LOG))
}

pub(super) fn length(folder: &ReplicaFolder) -> u64 {
    fs::metadata(folder.file(LOG)).map_or(0, |log| log.len())
}

/// The error with which the process ended, from the log after `start`: the crash line of Go, or
/// else the last logged error, or else the last line. Secrets are masked.
pub(super) fn last_error(
    folder: &ReplicaFolder,
    start: u64,
    redaction: &Redaction,
) -> Option<String> {
    let mut log = File::open(folder.file(LOG)).ok()?;
    let start = start.max(length(folder).saturating_sub(TAIL));
    log.seek(SeekFrom::Start(start)).ok()?;
    let mut tail = Vec::new();
    log.take(TAIL).read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    let lines = || tail.lines().filter(|line| !line.trim().is_empty());
    let is_end = |line: &str| CRASH_PREFIXES.iter().any(|it| line.starts_with(it));
    let reason = |line: &str| if is_end(line) { Some(line.to_owned()) } else { error(line) };
    let message = lines().rev().find_map(reason);
    let message = message.or_else(|| lines().next_back().map(str::to_owned))?;
    let path = folder.path().display().to_string();
    let message = message.replace(&format!("{path}/"), "").replace(&path, "its folder");
    // Masked before it is shortened, because a shortened secret would not be recognized.
    let message = redaction.apply(&message);
    Some(message.chars().filter(|c| !c.is_control()).take(MAX_ERROR_LEN).collect())
}

/// The value of `err` or `error` in a logfmt line, which Go quotes.
fn error(line: &str) -> Option<String> {
    let (_, value) = line.split_once(" err=").or_else(|| line.split_once(" error="))?;
    let Some(quoted) = value.strip_prefix('"') else {
        return value.split(' ').next().map(str::to_owned);
    };
    let (mut message, mut is_escaped) = (String::new(), false);
    for character in quoted.chars() {
        match (is_escaped, character) {
            (false, '"') => break,
            (false, '\\') => is_escaped = true,
            (true, 'n' | 't') => {
                message.push(' ');
                is_escaped = false;
            }
            (_, character) => {
                message.push(character);
                is_escaped = false;
            }
        }
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_logfmt_line_is_unquoted() {
        let line = r#"ts=2026 level=error msg="x" err="open \"a\": no\nspace \\ left" b=c"#;
        assert_eq!(error(line).unwrap(), r#"open "a": no space \ left"#);
        assert_eq!(error("level=error err=EOF b=c").unwrap(), "EOF");
        assert_eq!(error("level=info msg=fine"), None);
    }

    #[test]
    fn a_log_is_rotated_while_it_is_written_and_does_not_exceed_its_limit() {
        let root = tempfile::tempdir().unwrap();
        let folder = ReplicaFolder::new(root.path(), "s", 0);
        folder.make().unwrap();
        let mut log = OpenOptions::new().append(true).create(true).open(folder.file(LOG)).unwrap();
        let write =
            |log: &mut File, text: &str| io::Write::write_all(log, text.as_bytes()).unwrap();
        write(&mut log, &"a".repeat(150));
        assert!(is_full(&folder, 100) && !is_full(&folder, 200));
        rotate(&folder, 100).unwrap();
        write(&mut log, "level=error err=\"b c\"\nlast\n");
        assert_eq!(fs::metadata(folder.file(OLD_LOG)).unwrap().len(), 100);
        assert_eq!(fs::read_to_string(folder.file(LOG)).unwrap().lines().next_back(), Some("last"));
        assert_eq!(last_error(&folder, 0, &Redaction::default()).as_deref(), Some("b c"));
        write(&mut log, &format!("x err=\"open {}/y: z\"\nend\n", folder.path().display()));
        assert_eq!(last_error(&folder, 0, &Redaction::default()).as_deref(), Some("open y: z"));
        write(
            &mut log,
            "fatal error: fault\n[signal SIGBUS]\n\ngoroutine 1 [running]:\n\tx.go:1\n",
        );
        assert_eq!(
            last_error(&folder, 0, &Redaction::default()).as_deref(),
            Some("fatal error: fault")
        );
        assert_eq!(last_error(&folder, length(&folder), &Redaction::default()), None);
        rename(&folder).unwrap();
        assert_eq!(length(&folder), 0);
    }
}
