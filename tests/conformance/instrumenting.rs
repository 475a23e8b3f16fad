//! docs/INSTRUMENTING.md. Its examples are documentation tests of the library. Here are its
//! versions, its commands, and its list of the demo app's metrics.

use super::demo_app::{DemoApp, OPENMETRICS, PROTOBUF, scrape};
use exposition::testing::promtool;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    process::{Command, Output, Stdio},
};
use support::closed_address;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/INSTRUMENTING.md");

fn file(name: &str) -> String {
    fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The code blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let page = fs::read_to_string(PAGE).unwrap();
    let start = format!("\n```{language}\n");
    let blocks = page.split(&start).skip(1);
    blocks.map(|rest| rest.split("\n```").next().unwrap().to_owned()).collect()
}

/// The version and the features of a dependency: `name = "1"` or `name = { version = "1", … }`.
fn dependency(line: &str) -> (&str, &str, BTreeSet<&str>) {
    let (name, rest) = line.split_once(" = ").unwrap();
    let version = rest.split('"').nth(1).unwrap();
    let features = rest.split_once("features = [").map(|(_, rest)| rest.split(']').next().unwrap());
    let features = features.into_iter().flat_map(|list| list.split('"').skip(1).step_by(2));
    (name, version, features.collect())
}

#[test]
fn the_versions_of_the_page_are_those_of_the_tests() {
    let toml = blocks("toml");
    let lock = file("Cargo.lock");
    let manifest = file("Cargo.toml");
    let mut names = Vec::new();
    for line in toml[0].lines().filter(|line| line.contains(" = ")) {
        let (name, version, features) = dependency(line);
        let locked = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&locked), "{name} {version} is not in Cargo.lock");
        let (named, renamed) = (format!("{name} = "), format!("package = \"{name}\""));
        let is_own = |own: &&str| own.starts_with(&named) || own.contains(&renamed);
        let own = manifest.lines().find(is_own).unwrap();
        assert!(features.is_subset(&dependency(own).2), "{name}: {features:?}");
        names.push(name.to_owned());
    }
    assert_eq!(names, ["actix-web", "prometheus-client", "scrapebroker-exposition"]);
    // The examples use nothing else.
    for example in blocks("rust") {
        let used = example.lines().filter_map(|line| line.strip_prefix("use "));
        for used in used.map(|path| path.split("::").next().unwrap()) {
            assert!(
                ["std", "actix_web", "exposition", "prometheus_client"].contains(&used),
                "{used}"
            );
        }
    }
}

#[actix_web::test]
async fn the_page_lists_the_families_of_the_demo_app_and_their_types() {
    let app = DemoApp::start().await;
    // Batches start at random. Their progress is a family only while one runs.
    let exposed = support::eventually(async || {
        let text = scrape(&app.url(), OPENMETRICS).await.text();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let types: BTreeMap<_, _> = types
            .map(|line| line.split_once(' ').unwrap())
            .map(|(name, metric_type)| (name.to_owned(), metric_type.to_owned()))
            .collect();
        types.contains_key("demo_batch_progress_ratio").then_some(types)
    })
    .await;
    let page = fs::read_to_string(PAGE).unwrap();
    let (_, table) = page.split_once("| Family | Type | Shows |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| !line.is_empty());
    let mut listed = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.split(" | ").collect();
        for name in cells[0].split('`').skip(1).step_by(2) {
            listed.insert(name.to_owned(), cells[1].to_owned());
        }
    }
    assert_eq!(listed, exposed);
}

#[test]
fn the_queries_of_the_page_are_valid() {
    let page = fs::read_to_string(PAGE).unwrap();
    // Outside of code blocks, every other part is code.
    let prose: String = page.split("\n```").step_by(2).collect();
    let code = prose.split('`').skip(1).step_by(2);
    let queries: BTreeSet<_> =
        code.filter(|code| code.contains("shop_") && code.contains(['(', '{', '='])).collect();
    assert!(queries.len() > 8, "{queries:?}");
    let rules = queries.iter().map(|query| json!({"record": "x", "expr": query}));
    let rules = json!({"groups": [{"name": "page", "rules": rules.collect::<Vec<_>>()}]});
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), rules.to_string()).unwrap();
    let output = Command::new("promtool").args(["check", "rules"]).arg(file.path()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Addresses of an app in the commands.
const ADDRESSES: [&str; 2] = ["127.0.0.1:8080", "127.0.0.1:9121"];

/// Runs commands of the page with another address in an empty folder.
fn run(commands: &str, address: SocketAddr) -> Output {
    let mut commands =
        commands.replace("scrapebroker ", concat!("'", env!("CARGO_BIN_EXE_scrapebroker"), "' "));
    for of_page in ADDRESSES {
        commands = commands.replace(of_page, &address.to_string());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", &commands]).current_dir(&folder).stdin(Stdio::null()).output().unwrap()
}

/// The scripts of the page that need an app: the checks for a pipeline, and those of the demo app.
fn scripts() -> [String; 2] {
    let scripts = blocks("sh").into_iter().filter(|script| script.contains("curl"));
    scripts.collect::<Vec<_>>().try_into().unwrap()
}

#[actix_web::test]
async fn the_checks_of_the_page_pass_and_need_a_running_app() {
    let [checks, _] = scripts();
    let app = DemoApp::start().await;
    let output = run(&checks, app.address);
    let printed = [output.stdout, output.stderr].concat();
    assert_eq!((output.status.code(), String::from_utf8(printed).unwrap()), (Some(0), "".into()));

    let fails = |checks: &str, address, code, text: &str| {
        let output = run(checks, address);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && errors.contains(text), "{errors}");
    };
    // Exit codes of curl: no connection, and a status of 400 or more.
    fails(&checks, closed_address(), 7, "curl");
    fails(&checks.replace("/metrics", "/prometheus"), app.address, 22, "404");
    // A page that is no exposition.
    fails(&checks.replace("/metrics", "/"), app.address, 1, "");
}

#[actix_web::test]
async fn the_commands_for_the_demo_app_print_its_metrics() {
    let [_, script] = scripts();
    let app = DemoApp::start().await;
    let script = script.replace("\\\n", "");
    let commands: Vec<_> = script.lines().filter(|line| line.starts_with("curl")).collect();
    assert_eq!(commands.len(), 3);
    for command in commands {
        let output = run(command, app.address);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{command}: {errors}");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.contains("demo_job_wait_seconds_count{"), "{command}: {printed}");
    }
    let text = scrape(&app.url(), "text/plain").await;
    assert_eq!(promtool::check(&text.body), (Some(0), String::new()));
    assert!(scrape(&app.url(), PROTOBUF).await.body.len() > 1000);
}
