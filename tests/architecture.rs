//! Keeps the house in order: imports point inwards, and foreign vocabulary
//! stays at the edge. docs/ARCHITECTURE.md explains the rules.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the source has failed")]

use std::{fs, path::Path};

/// Each module, and the modules it may import. `app`, `cli` and `main` import all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("telemetry", &[]),
    ("tls", &[]),
    ("net", &["tls"]),
    ("config", &["domain"]),
    ("secrets", &["domain"]),
    ("store", &["domain"]),
    ("discovery", &["domain", "net", "tls"]),
    ("broker", &["domain", "secrets", "store"]),
    ("provisioner", &["domain", "net", "secrets", "store", "tls"]),
    ("scrape", &["domain", "discovery", "net", "tls"]),
    ("query", &["domain", "net", "tls"]),
    ("http", &["domain", "store", "broker", "query", "scrape", "discovery"]),
];

/// Rooms without rules of their own.
const FREE: &[&str] = &["app", "cli", "lib", "main"];

/// Words that only some rooms may use.
const VOCABULARY: &[(&str, &[&str])] = &[
    ("actix_web", &["http", "telemetry"]),
    ("awc", &["net", "scrape", "discovery", "provisioner", "query"]),
    ("sqlx", &["store"]),
    ("rustls", &["tls"]),
];

/// Words that pure rooms never use.
const IMPURE: &[&str] =
    &["actix_web", "awc", "sqlx", "tokio", "tracing", "std::fs", "std::net::Tcp", "std::time"];

#[test]
fn rooms_import_only_what_lies_below_them() {
    for (room, allowed) in ALLOWED {
        for (file, source) in sources_of(room) {
            for import in rooms_named(&source) {
                let fine = import == *room || allowed.contains(&import.as_str());
                assert!(fine, "{file}: `{room}` must not import `{import}`");
            }
        }
    }
}

#[test]
fn every_room_has_a_place_in_the_house() {
    for entry in fs::read_dir("src").unwrap() {
        let path = entry.unwrap().path();
        let room = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let known = ALLOWED.iter().any(|(known, _)| *known == room) || FREE.contains(&&*room);
        assert!(known, "`{room}` is not in tests/architecture.rs");
    }
    for (room, _) in ALLOWED {
        assert!(!sources_of(room).is_empty(), "`{room}` is in tests/architecture.rs only");
    }
}

#[test]
fn foreign_vocabulary_stays_at_the_edge() {
    for (word, rooms) in VOCABULARY {
        for (room, _) in ALLOWED.iter().filter(|(room, _)| !rooms.contains(room)) {
            for (file, source) in sources_of(room) {
                let used = source.contains(&format!("{word}::"));
                assert!(!used, "{file}: `{room}` must not use `{word}`");
            }
        }
    }
}

#[test]
fn pure_rooms_do_no_io_and_know_no_clock() {
    for (file, source) in sources_of("domain") {
        for word in IMPURE {
            assert!(!source.contains(word), "{file}: `domain` must not use `{word}`");
        }
    }
}

#[test]
fn the_checks_see_what_they_look_for() {
    let source = "use crate::{a::X, b::{self, c::D}, e};\nlet y = crate::f::g();\n// crate::h::I\n";
    assert_eq!(rooms_named(&code(source)), ["a", "b", "e", "f"]);
}

/// Every file of a room without comments, with its name.
fn sources_of(room: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let door = format!("src/{room}.rs");
    if Path::new(&door).exists() {
        files.push((door.clone(), code(&fs::read_to_string(&door).unwrap())));
    }
    collect(Path::new(&format!("src/{room}")), &mut files);
    files
}

fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            files.push((path.display().to_string(), code(&source)));
        }
    }
}

fn code(source: &str) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    source.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// The rooms that `crate::…` paths name, groups included.
fn rooms_named(source: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for rest in source.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => rooms.push(identifier(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut expect_name = true;
                for (position, character) in group.char_indices() {
                    match character {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => expect_name = true,
                        c if expect_name && (c.is_alphanumeric() || c == '_') => {
                            rooms.push(identifier(&group[position..]));
                            expect_name = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms.retain(|room| room.starts_with(|c: char| c.is_lowercase()));
    rooms
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
