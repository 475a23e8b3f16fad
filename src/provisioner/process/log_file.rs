//! What a replica says. It writes into a file itself, and so goes on doing that
//! when we are killed.

use super::folder::{LOG, OLD_LOG, ReplicaFolder};
use crate::provisioner::redaction::Redaction;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
};

/// The end of a log in which a reason is looked for, in bytes.
const TAIL: u64 = 64 << 10;
/// How lines begin with which a Go program ends.
const END: [&str; 2] = ["panic: ", "fatal error: "];
/// The longest reason, in characters.
const LONGEST: usize = 300;

/// Whether it is time to put it aside.
pub(super) fn is_full(folder: &ReplicaFolder, size: u64) -> bool {
    fs::metadata(folder.file(LOG)).is_ok_and(|log| log.len() >= size)
}

/// Puts it aside while somebody writes it: a copy, and then an empty file. What is
/// written between the two is lost. Behind `size` nothing is copied.
pub(super) fn rotate(folder: &ReplicaFolder, size: u64) -> io::Result<()> {
    let log = OpenOptions::new().read(true).write(true).open(folder.file(LOG))?;
    let draft = folder.file("prometheus.log.draft");
    let result = io::copy(&mut (&log).take(size), &mut File::create(&draft)?)
        .and_then(|_| fs::rename(&draft, folder.file(OLD_LOG)));
    // The limit holds even where there is no room for a copy.
    log.set_len(0)?;
    result
}

/// Puts it aside while nobody writes it.
pub(super) fn put_aside(folder: &ReplicaFolder) -> io::Result<()> {
    fs::rename(folder.file(LOG), folder.file(OLD_LOG))
}

/// How long it is.
pub(super) fn length(folder: &ReplicaFolder) -> u64 {
    fs::metadata(folder.file(LOG)).map_or(0, |log| log.len())
}

/// Why it ended, in its own words behind `start`: what Go says before it lists what
/// was running, or else the last error, or else the last line. Without secrets.
pub(super) fn last_words(
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
    let is_end = |line: &str| END.iter().any(|it| line.starts_with(it));
    let reason = |line: &str| if is_end(line) { Some(line.to_owned()) } else { error(line) };
    let words = lines().rev().find_map(reason);
    let words = words.or_else(|| lines().next_back().map(str::to_owned))?;
    let path = folder.path().display().to_string();
    let words = words.replace(&format!("{path}/"), "").replace(&path, "its folder");
    // Before it is cut: the beginning of a secret is not recognized.
    let words = redaction.apply(&words);
    Some(words.chars().filter(|c| !c.is_control()).take(LONGEST).collect())
}

/// The value of `err` in a line of logfmt, whose quotes are Go's.
fn error(line: &str) -> Option<String> {
    let (_, value) = line.split_once(" err=").or_else(|| line.split_once(" error="))?;
    let Some(quoted) = value.strip_prefix('"') else {
        return value.split(' ').next().map(str::to_owned);
    };
    let (mut words, mut is_escaped) = (String::new(), false);
    for character in quoted.chars() {
        match (is_escaped, character) {
            (false, '"') => break,
            (false, '\\') => is_escaped = true,
            (true, 'n' | 't') => {
                words.push(' ');
                is_escaped = false;
            }
            (_, character) => {
                words.push(character);
                is_escaped = false;
            }
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_taken_out_of_its_line() {
        let line = r#"ts=2026 level=error msg="x" err="open \"a\": no\nspace \\ left" b=c"#;
        assert_eq!(error(line).unwrap(), r#"open "a": no space \ left"#);
        assert_eq!(error("level=error err=EOF b=c").unwrap(), "EOF");
        assert_eq!(error("level=info msg=fine"), None);
    }

    #[test]
    fn a_log_is_rotated_while_it_is_written_and_never_larger_than_it_may() {
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
        assert_eq!(last_words(&folder, 0, &Redaction::default()).as_deref(), Some("b c"));
        write(&mut log, &format!("x err=\"open {}/y: z\"\nend\n", folder.path().display()));
        assert_eq!(last_words(&folder, 0, &Redaction::default()).as_deref(), Some("open y: z"));
        write(
            &mut log,
            "fatal error: fault\n[signal SIGBUS]\n\ngoroutine 1 [running]:\n\tx.go:1\n",
        );
        assert_eq!(
            last_words(&folder, 0, &Redaction::default()).as_deref(),
            Some("fatal error: fault")
        );
        assert_eq!(last_words(&folder, length(&folder), &Redaction::default()), None);
        put_aside(&folder).unwrap();
        assert_eq!(length(&folder), 0);
    }
}
