//! Import rules, edges and wording. docs/ARCHITECTURE.md explains the rules.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the source has failed")]

use std::{collections::BTreeSet, fs, path::Path};

/// Each module, and the modules that it may import. `app`, `cli` and `main` import all.
const ALLOWED_IMPORTS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("telemetry", &[]),
    ("tls", &[]),
    ("net", &["telemetry", "tls"]),
    ("tsuru", &["domain", "net", "tls"]),
    ("secrets", &["domain"]),
    ("store", &["domain"]),
    ("discovery", &["domain", "net", "tls", "tsuru"]),
    ("broker", &["domain", "secrets", "store"]),
    ("provisioner", &["domain", "net", "secrets", "store", "telemetry", "tls", "tsuru"]),
    ("scrape", &["domain", "discovery", "net", "telemetry", "tls"]),
    ("query", &["domain", "net", "telemetry", "tls"]),
    ("events", &["domain", "store", "telemetry"]),
    (
        "http",
        &[
            "domain",
            "store",
            "broker",
            "events",
            "query",
            "scrape",
            "discovery",
            "telemetry",
            "tsuru",
        ],
    ),
    (
        "config",
        &[
            "domain",
            "telemetry",
            "tls",
            "discovery",
            "events",
            "provisioner",
            "query",
            "scrape",
            "http",
        ],
    ),
];

/// Modules that may import all others.
const UNRESTRICTED: &[&str] = &["app", "cli", "lib", "main"];

/// Crates, and the modules that may use them.
const EDGE_CRATES: &[(&str, &[&str])] = &[
    ("actix_web", &["http", "telemetry"]),
    ("awc", &["net", "tsuru", "scrape", "discovery", "provisioner", "query"]),
    ("sqlx", &["store"]),
    ("rustls", &["tls"]),
    ("kube", &["query"]),
    ("promql_parser", &["query"]),
    ("k8s_openapi", &["query"]),
];

/// I/O, clocks and logs, which `domain` does not use.
const IMPURE: &[&str] =
    &["actix_web", "awc", "sqlx", "tokio", "tracing", "std::fs", "std::net::Tcp", "std::time"];

/// Names from an earlier vocabulary, which readers had to learn. Use the terms of Prometheus, of the
/// Open Service Broker API and of Kubernetes, or describe the thing.
const COINED_NAMES: &[&str] = &[
    "Errand",
    "errand",
    "Conductor",
    "conductor",
    "Wishes",
    "Teller",
    "Likeness",
    "Lessons",
    "Nativeness",
    "Bucketless",
    "LastScrapes",
    "OurAddress",
    "NobodyWaits",
    "Tally",
    "StandIn",
    "Rooms",
    "Leaving",
];

/// Phrases whose subject is a person in place of a component.
const COINED_PHRASES: &[&str] =
    &["whoever", "nobody", "somebody", "anybody", "is told", "are told", "is away", "becomes of"];

#[test]
fn modules_import_only_what_is_allowed() {
    for (module, allowed) in ALLOWED_IMPORTS {
        for (file, source) in sources_of(module) {
            for import in imported_modules(&source) {
                let is_allowed = import == *module || allowed.contains(&import.as_str());
                assert!(is_allowed, "{file}: `{module}` must not import `{import}`");
            }
        }
    }
}

#[test]
fn every_module_has_an_import_rule() {
    for entry in fs::read_dir("src").unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let has_rule = ALLOWED_IMPORTS.iter().any(|(known, _)| *known == module);
        let is_known = has_rule || UNRESTRICTED.contains(&&*module);
        assert!(is_known, "`{module}` is not in tests/architecture.rs");
    }
    for (module, _) in ALLOWED_IMPORTS {
        assert!(!sources_of(module).is_empty(), "`{module}` is in tests/architecture.rs only");
    }
}

/// A file that no `mod` names is not compiled.
#[test]
fn every_file_is_a_module() {
    let mut files = Vec::new();
    for folder in ["src", "crates/exposition/src", "tests/api", "tests/cli", "tests/conformance"] {
        collect(Path::new(folder), &["rs"], &mut files);
    }
    let declared: BTreeSet<String> = files
        .iter()
        .flat_map(|(_, source)| source.lines())
        .filter_map(|line| line.trim().strip_suffix(';')?.split_once("mod ").map(|(_, name)| name))
        .map(str::to_owned)
        .collect();
    for (file, _) in &files {
        let name = Path::new(file).file_stem().unwrap().to_str().unwrap();
        let is_root = ["lib", "main"].contains(&name);
        assert!(is_root || declared.contains(name), "{file} belongs to no module");
    }
}

#[test]
fn foreign_types_stay_at_the_edge() {
    for (name, modules) in EDGE_CRATES {
        for (module, _) in ALLOWED_IMPORTS.iter().filter(|(module, _)| !modules.contains(module)) {
            for (file, source) in sources_of(module) {
                let is_used = source.contains(&format!("{name}::"));
                assert!(!is_used, "{file}: `{module}` must not use `{name}`");
            }
        }
    }
}

#[test]
fn domain_does_no_io_and_uses_no_clock() {
    for (file, source) in sources_of("domain") {
        for name in IMPURE {
            assert!(!source.contains(name), "{file}: `domain` must not use `{name}`");
        }
    }
}

#[test]
fn no_coined_words_are_used() {
    let mut found = Vec::new();
    let mut texts = Vec::new();
    for folder in [
        "src",
        "crates",
        "docs",
        "benches",
        "deploy",
        "fuzz",
        "tests/api",
        "tests/packages",
        "tests/support",
    ] {
        let extensions = ["rs", "md", "html", "yml", "yaml", "sh", "py", "erb", "tpl"];
        collect(Path::new(folder), &extensions, &mut texts);
    }
    for file in ["README.md", "CONTRIBUTING.md", "SECURITY.md"] {
        texts.push((file.to_owned(), fs::read_to_string(file).unwrap()));
    }
    for (file, text) in &texts {
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let names = COINED_NAMES.iter().filter(|name| has_word(line, name));
            let phrases = COINED_PHRASES.iter().filter(|phrase| has_word(&lower, phrase));
            // BOSH calls a job that runs once an errand.
            let is_standard = |word: &str| word == "errand" && file.contains("bosh");
            for word in names.chain(phrases).filter(|word| !is_standard(word)) {
                found.push(format!("{file}:{}: `{word}`", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{} coined words:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_checks_find_what_they_look_for() {
    let source = "use crate::{a::X, b::{self, c::D}, e};\nlet y = crate::f::g();\n// crate::h::I\n";
    assert_eq!(imported_modules(&without_comments(source)), ["a", "b", "e", "f"]);
    assert!(has_word("whoever asks", "whoever") && has_word("it is told.", "is told"));
    assert!(!has_word("Conductors", "Conductor") && !has_word("this told", "is told"));
}

/// Every file of a module without comments, with its name.
fn sources_of(module: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let root = format!("src/{module}.rs");
    if Path::new(&root).exists() {
        files.push((root.clone(), fs::read_to_string(&root).unwrap()));
    }
    collect(Path::new(&format!("src/{module}")), &["rs"], &mut files);
    files.into_iter().map(|(file, source)| (file, without_comments(&source))).collect()
}

/// Adds the files below a folder that have one of these extensions.
fn collect(folder: &Path, extensions: &[&str], files: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, extensions, files);
        } else if extension.is_some_and(|extension| extensions.contains(&extension)) {
            files.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

fn without_comments(source: &str) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    source.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// The modules in `crate::…` paths, groups included.
fn imported_modules(source: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for rest in source.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => modules.push(identifier(rest)),
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
                            modules.push(identifier(&group[position..]));
                            expect_name = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    modules.retain(|module| module.starts_with(|c: char| c.is_lowercase()));
    modules
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// A row after an empty line is no row of the table above.
#[test]
fn every_table_of_the_documentation_begins_with_a_header() {
    let (mut found, mut texts) = (Vec::new(), Vec::new());
    for folder in ["docs", "deploy", "crates"] {
        collect(Path::new(folder), &["md"], &mut texts);
    }
    for file in ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"] {
        texts.push((file.to_owned(), fs::read_to_string(file).unwrap()));
    }
    for (name, text) in texts {
        let mut is_code = false;
        let lines: Vec<_> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            is_code ^= line.trim_start().starts_with("```");
            let is_row = |line: &str| line.trim_start().starts_with('|');
            let is_first = index == 0 || !is_row(lines[index - 1]);
            if is_code || !is_row(line) || !is_first {
                continue;
            }
            let separator = lines.get(index + 1).map(|line| line.trim()).unwrap_or_default();
            if !separator.starts_with("| -") && !separator.starts_with("|-") {
                found.push(format!("{name}:{}: {line}", index + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
