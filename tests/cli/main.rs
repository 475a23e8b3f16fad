//! The command line: output and exit codes.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod demo;
mod event;
mod settings;

use exposition::testing::promtool;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
};

/// The program with an empty environment.
fn scrapebroker(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scrapebroker"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// The process of a demo app on a free port, and its address.
struct DemoApp(Child, String);

impl DemoApp {
    fn start(arguments: &[&str]) -> Self {
        let mut command = scrapebroker(&[&["demo-app"], arguments].concat());
        let mut child = command.env("PORT", "0").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let (_, rest) = line.split_once("http://[::]:").unwrap();
        let (port, _) = rest.split_once(',').unwrap();
        Self(child, format!("127.0.0.1:{port}"))
    }

    /// Returns the head and the body of a response.
    fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.1).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn signal(&mut self, name: &str) -> i32 {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
        self.0.wait().unwrap().code().unwrap()
    }
}

impl Drop for DemoApp {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn version_and_help_are_printed_and_exit_0() {
    let (code, out, err) = run(&mut scrapebroker(&["--version"]));
    assert_eq!((code, err.as_str()), (0, ""));
    let commit = out.strip_prefix(&format!("scrapebroker {} (", env!("CARGO_PKG_VERSION")));
    let commit =
        commit.and_then(|rest| rest.strip_suffix(")\n")).unwrap_or_else(|| panic!("{out}"));
    assert!(!commit.is_empty() && commit.bytes().all(|b| b.is_ascii_alphanumeric()), "{out}");
    let (code, out, _) = run(&mut scrapebroker(&["--help"]));
    assert_eq!(code, 0);
    let commands = [
        "serve",
        "demo",
        "check-config",
        "import-promfetcher",
        "backup",
        "merge",
        "sd",
        "event",
        "demo-app",
    ];
    for command in commands {
        assert!(out.contains(command), "{out}");
    }
}

#[test]
fn a_wrong_command_line_exits_64() {
    let cases: [&[&str]; 16] = [
        &[],
        &["nonsense"],
        &["serve", "now"],
        &["demo", "--listen", "everywhere"],
        &["backup"],
        &["merge"],
        &["merge", "--label", "no-label", "x"],
        &["merge", "--to", "html", "x"],
        &["merge", "--from", "2.0", "x"],
        &["merge", "--escaping", "all", "x"],
        &["merge", "--escaping", "allow-utf-8", "x"],
        &["check-config", "--file", "x"],
        &["demo-app", "--path", "//elsewhere"],
        &["demo-app", "--web.listen-address", "9121"],
        &["demo-app", "--basic-auth", "hunter2"],
        &["demo-app", "--basic-auth", ":hunter2"],
    ];
    for arguments in cases {
        let (code, out, err) = run(&mut scrapebroker(arguments));
        assert_eq!((code, out.as_str()), (64, ""), "{arguments:?}");
        assert!(!err.is_empty() && !err.contains("hunter2"), "{arguments:?}: {err}");
    }
    let (code, _, err) = run(scrapebroker(&["demo-app"]).env("PORT", "http"));
    assert_eq!(code, 64);
    assert!(err.contains("PORT"), "{err}");
}

#[test]
fn check_config_prints_the_effective_configuration_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yml");
    std::fs::write(&file, "broker: { username: cc, password: hunter2hunter2 }\n").unwrap();
    let file = file.to_str().unwrap();
    let (code, out, err) = run(scrapebroker(&["check-config", "--config", file]).env("PORT", "9"));
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("listen: \"[::]:9\" # default and PORT\n"), "{out}");
    assert!(out.contains("username: cc") && !out.contains("hunter2"), "{out}");

    let again = dir.path().join("again.yml");
    std::fs::write(&again, &out).unwrap();
    let (_, fed_back, _) = run(scrapebroker(&["check-config"]).env("SCRAPEBROKER_CONFIG", &again));
    assert_eq!(settings::values(&fed_back), settings::values(&out));
}

#[test]
fn check_config_prints_every_error_and_exits_64() {
    let mut command = scrapebroker(&["check-config"]);
    command
        .env("SCRAPEBROKER__LISTEN", "nowhere")
        .env("SCRAPEBROKER__BROKER__PASSWORD", "hunter2hunter2");
    let (code, out, err) = run(&mut command);
    assert_eq!((code, out.as_str()), (64, ""));
    for part in ["2 mistakes", "\n  listen: ", "\n  broker.username: "] {
        assert!(err.contains(part), "{err}");
    }
    assert!(!err.contains("hunter2"), "{err}");

    let (code, _, err) = run(&mut scrapebroker(&["check-config", "--config", "/no/such.yml"]));
    assert_eq!(code, 64);
    assert!(err.contains("/no/such.yml: No such file"), "{err}");
}

#[test]
fn a_closed_output_pipe_is_not_a_failure() {
    let broken = || std::io::pipe().unwrap().1;
    let status = scrapebroker(&["check-config"]).stdout(broken()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    let status = scrapebroker(&["--help"]).stdout(broken()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    let mut command = scrapebroker(&["check-config"]);
    let status = command.env("PORT", "x").stderr(broken()).status().unwrap();
    assert_eq!(status.code(), Some(64));
}

#[test]
fn the_metrics_of_the_demo_app_pass_promtool() {
    let app = DemoApp::start(&["--path", "prom"]);
    assert!(app.get("/").1.contains("/prom"));
    let (head, metrics) = app.get("/prom");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("version=0.0.4"), "{head}");
    assert!(app.get("/metrics").0.starts_with("HTTP/1.1 404"));

    assert_eq!(promtool::check(metrics.as_bytes()), (Some(0), String::new()), "{metrics}");
}

#[test]
fn the_demo_app_takes_the_options_of_exporters_before_port() {
    let options = ["--web.listen-address", "127.0.0.1:0", "--web.telemetry-path", "m"];
    let mut command = scrapebroker(&[&["demo-app"], options.as_slice()].concat());
    let mut child = command.env("PORT", "http").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("demo app on http://").unwrap();
    let (address, metrics) = address.split_once(", its metrics at ").unwrap();
    assert_eq!(metrics, "/m\n");
    let app = DemoApp(child, address.to_owned());
    assert!(app.get("/m").0.starts_with("HTTP/1.1 200"));
    assert_eq!(app.get("/health").1, "ok\n");
}

#[test]
fn the_demo_app_stops_with_exit_code_0_on_signals() {
    for signal in ["-TERM", "-INT"] {
        assert_eq!(DemoApp::start(&["--basic-auth", "u:p"]).signal(signal), 0, "{signal}");
    }
}

#[test]
fn an_address_in_use_exits_69() {
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, err) = run(scrapebroker(&["demo-app"]).env("PORT", port));
    assert_eq!(code, 69);
    assert!(err.contains("cannot listen on") && err.contains("PORT"), "{err}");
}

#[test]
fn check_config_lists_the_certificates_of_all_sections_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let web = folder.path().join("web.yml");
    std::fs::write(&web, "tls_server_config: { cert_file: c.pem, key_file: k.pem }\n").unwrap();
    let pools = r#"[{"name": "p", "tls": {"ca_file": "/no/pool.pem"}, "locators": [{"static": ["https://127.0.0.1:1"]}]}]"#;
    let web = web.to_str().unwrap();
    let mut command = scrapebroker(&["check-config", "--web.config.file", web]);
    let (code, out, err) = run(command
        .env("SCRAPEBROKER__BACKENDS__CA_FILE", "/no/ca.pem")
        .env("SCRAPEBROKER__ROUTES__NATS__SERVERS", "[\"nats.example.com\"]")
        .env("SCRAPEBROKER__ROUTES__NATS__TLS__CA_FILE", "/no/nats.pem")
        .env("SCRAPEBROKER__QUERY__POOLS", pools));
    assert_eq!((code, out.as_str()), (64, ""));
    let c = folder.path().join("c.pem");
    for line in [
        "scrapebroker: 4 mistakes in the configuration:".to_owned(),
        format!(
            "  web_config_file: {web}: tls_server_config.cert_file {}: cannot read it: No such file \
             or directory (os error 2) (set by --web.config.file)",
            c.display()
        ),
        "  backends.ca_file: /no/ca.pem: cannot read it: No such file or directory (os error 2) \
         (set by SCRAPEBROKER__BACKENDS__CA_FILE)"
            .to_owned(),
        "  routes.nats.tls.ca_file: /no/nats.pem: cannot read it: No such file or directory (os error \
         2) (set by SCRAPEBROKER__ROUTES__NATS__TLS__CA_FILE)"
            .to_owned(),
        "  query.pools[0].tls.ca_file: /no/pool.pem: cannot read it: No such file or directory (os \
         error 2) (set by SCRAPEBROKER__QUERY__POOLS)"
            .to_owned(),
    ] {
        assert!(err.lines().any(|it| it == line), "{line}\nin {err}");
    }
}

#[test]
fn merge_writes_one_exposition_with_the_labels_of_each_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (a, b) = (file("a", "# TYPE x gauge\nx 1\n"), file("b", "# TYPE x gauge\nx{z=\"1\"} 2"));
    let of_b = format!("{b}:index=1,app=shop");
    let (code, out, err) = run(&mut scrapebroker(&["merge", "--label", "org=acme", &a, &of_b]));
    assert_eq!((code, err.as_str()), (0, ""));
    let lines = "x{org=\"acme\"} 1\nx{z=\"1\",org=\"acme\",index=\"1\",app=\"shop\"} 2\n";
    assert_eq!(out, format!("# TYPE x gauge\n{lines}"));

    let broken = file("broken", "x 1\n<html>\n");
    let (code, out, err) = run(&mut scrapebroker(&["merge", &a, &broken]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("broken") && err.contains("line 2"), "{err}");
    let (code, _, err) = run(&mut scrapebroker(&["merge", "/no/such/file"]));
    assert_eq!(code, 1);
    assert!(err.contains("/no/such/file"), "{err}");
}

/// Writes a file and returns its path.
fn file(folder: &tempfile::TempDir, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

/// Runs the program with standard input.
fn run_with_stdin(arguments: &[&str], stdin: &str) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let stdin = std::fs::File::open(file(&folder, "stdin", stdin)).unwrap();
    run(scrapebroker(arguments).stdin(stdin))
}

#[test]
fn merge_reads_any_format_and_writes_the_selected_one() {
    let folder = tempfile::tempdir().unwrap();
    let text = file(&folder, "text", "# TYPE x_total counter\nx_total 1 1500\n");
    let openmetrics = "# TYPE x counter\nx_total{i=\"2\"} 2 2.5\n# EOF\n";
    let cases = [
        ("text", "# TYPE x_total counter\nx_total 1 1500\nx_total{i=\"2\"} 2 2500\n"),
        ("text-0.0.4", "# TYPE x_total counter\nx_total 1 1500\nx_total{i=\"2\"} 2 2500\n"),
        ("text-1.0.0", "# TYPE x_total counter\nx_total 1 1500\nx_total{i=\"2\"} 2 2500\n"),
        ("openmetrics", "# TYPE x counter\nx_total 1 1.5\nx_total{i=\"2\"} 2 2.5\n# EOF\n"),
        ("openmetrics-0.0.1", "# TYPE x counter\nx_total 1 1.5\nx_total{i=\"2\"} 2 2.5\n# EOF\n"),
    ];
    for (to, expected) in cases {
        let result = run_with_stdin(&["merge", "--to", to, &text, "-"], openmetrics);
        assert_eq!(result, (0, expected.to_owned(), String::new()), "{to}");
    }

    let output = scrapebroker(&["merge", "--to", "protobuf", &text]).output().unwrap();
    assert!(output.status.success());
    let protobuf = file(&folder, "protobuf", output.stdout);
    let (code, out, err) = run(&mut scrapebroker(&["merge", &protobuf]));
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, "# TYPE x_total counter\nx_total 1 1500\n");
}

#[test]
fn merge_reads_files_in_the_selected_format() {
    let body = "x 1 1000\n# EOF\n";
    let (code, out, _) = run_with_stdin(&["merge", "-"], body);
    assert_eq!((code, out.as_str()), (0, "x 1 1000000\n"));
    let (code, out, _) = run_with_stdin(&["merge", "--from", "text", "-"], body);
    assert_eq!((code, out.as_str()), (0, "x 1 1000\n"));
    let (code, out, err) = run_with_stdin(&["merge", "--from", "openmetrics", "-"], "x 1\n");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("standard input, line 1: `# EOF` is missing"), "{err}");
}

#[test]
fn merge_escapes_names_with_the_selected_scheme() {
    let cases: [(&[&str], &str); 5] = [
        (&[], "a_b 1\n"),
        (&["--escaping", "values"], "U__a_2e_b 1\n"),
        (&["--to", "text-1.0.0"], "{\"a.b\"} 1\n"),
        (&["--to", "text-1.0.0", "--escaping", "allow-utf-8"], "{\"a.b\"} 1\n"),
        (&["--to", "text-1.0.0", "--escaping", "dots"], "a_dot_b 1\n"),
    ];
    for (options, expected) in cases {
        let arguments = [&["merge"], options, &["-"]].concat();
        let result = run_with_stdin(&arguments, "{\"a.b\"} 1\n");
        assert_eq!(result, (0, expected.to_owned(), String::new()), "{options:?}");
    }
}

#[test]
fn merge_check_lists_every_problem_of_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let a = file(&folder, "a.prom", "x one\nx 2\nx three\n");
    let b = file(&folder, "b.prom", "x 1\n");
    let (code, out, err) =
        run(&mut scrapebroker(&["merge", "--check", "--from", "text", &a, &b, "/no/such/file"]));
    assert_eq!(code, 1);
    let value = "the value is missing or not a number";
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[..2], [format!("{a}:1: {value}"), format!("{a}:3: {value}")]);
    assert!(lines[2].starts_with("/no/such/file: cannot be read: "), "{out}");
    assert_eq!(lines.len(), 3, "{out}");
    assert_eq!(err, "scrapebroker: 2 of 3 files cannot be merged\n");

    let (code, out, _) = run_with_stdin(&["merge", "--check", "--", "-:index=0"], "y 1\n<html>\n");
    assert_eq!(code, 1);
    assert!(out.starts_with("-:2: a metric name is missing or invalid\n"), "{out}");
}

#[test]
fn merge_check_fails_for_what_a_pipeline_must_not_pass() {
    let decreasing = "# TYPE h histogram\nh_bucket{le=\"1\"} 5\nh_bucket{le=\"2\"} 3\n\
        h_bucket{le=\"+Inf\"} 6\nh_sum 1\nh_count 6\n";
    let cases = [
        ("", "-: the file has no samples\n"),
        ("# a comment\n", "-: the file has no samples\n"),
        (decreasing, "-:3: histogram h: the bucket counts less than the one before it\n"),
        (
            "# TYPE x_total counter\nx_total -1\n",
            "-:2: counter x_total: the value is negative or NaN\n",
        ),
        ("x 1\nx 2\n", "-:2: x is in -:1 too\n"),
    ];
    let error = "scrapebroker: the files can be merged, but mistakes were found: 1\n";
    for (body, mistake) in cases {
        for options in [&["--to", "text"], &["--to", "openmetrics"], &["--to", "protobuf"]] {
            let checked =
                run_with_stdin(&[&["merge", "--check"], &options[..], &["-"]].concat(), body);
            assert_eq!(checked, (1, mistake.to_owned(), error.to_owned()), "{options:?} {body}");
        }
        // A merge resolves all of them.
        let (code, _, err) = run_with_stdin(&["merge", "-"], body);
        assert_eq!((code, err.as_str()), (0, ""), "{body}");
    }
}

#[test]
fn merge_check_notes_what_the_output_format_cannot_have() {
    let fine = run_with_stdin(&["merge", "--check", "-"], "# TYPE x gauge\nx 1\n");
    assert_eq!(fine, (0, String::new(), String::new()));

    let counter = "# TYPE x counter\nx_total 1 # {} 1\n# EOF\n";
    let (code, out, err) = run_with_stdin(&["merge", "--check", "-"], counter);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("note: merged as text: exemplars") && out.ends_with(": 1\n"), "{out}");
    let strict = ["merge", "--check", "--to", "openmetrics", "-"];
    assert_eq!(run_with_stdin(&strict, counter), (0, String::new(), String::new()));

    let (code, out, err) = run_with_stdin(&strict, "# TYPE x counter\nx 1\n");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("note: -:1: counter x loses its type in openmetrics: "), "{out}");
}

#[test]
fn serve_with_invalid_settings_exits_64_and_prints_all_errors() {
    let mut command = scrapebroker(&["serve"]);
    let command = command.env("SCRAPEBROKER__LISTEN", "x").env("SCRAPEBROKER__NO_SUCH_KEY", "1");
    let (code, _, err) = run(command);
    assert_eq!(code, 64);
    assert!(err.contains("listen") && err.contains("no_such_key"), "{err}");

    let folder = tempfile::tempdir().unwrap();
    let mut command = scrapebroker(&["serve"]);
    command.current_dir(folder.path()).env("SCRAPEBROKER__BROKER__CATALOG", "no-such.json");
    let (code, _, err) = run(&mut command);
    assert_eq!(code, 64, "the configured catalog is missing");
    assert!(err.contains("no-such.json cannot be read: No such file or directory"), "{err}");
}

#[test]
fn catalog_prints_the_built_in_catalog_and_check_config_accepts_it() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = run(scrapebroker(&["catalog"]).current_dir(folder.path()));
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, include_str!("../../broker-catalog.json"));
    std::fs::write(folder.path().join("my.json"), out).unwrap();
    for catalog in ["", "my.json"] {
        let mut command = scrapebroker(&["check-config"]);
        command.current_dir(folder.path()).env("SCRAPEBROKER__BROKER__CATALOG", catalog);
        let (code, out, err) = run(&mut command);
        assert_eq!(code, 0, "{err}");
        let shown = if catalog.is_empty() { "catalog: ~" } else { "catalog: my.json" };
        assert!(out.contains(shown), "{out}");
    }
}

#[test]
fn an_unreadable_secret_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    let mut command = scrapebroker(&["check-config"]);
    command.current_dir(folder.path());
    command.env("SCRAPEBROKER__BROKER__USERNAME", "cc");
    command.env("SCRAPEBROKER__BROKER__PASSWORD_FILE", "secrets/missing");
    command.env("SCRAPEBROKER__BROKER__TOKEN_KEY_FILE", "empty");
    command.env("SCRAPEBROKER__BACKENDS__CA_FILE", "secrets/ca.pem");
    let (code, _, err) = run(&mut command);
    assert_eq!(code, 64);
    for expected in [
        "broker.password_file: cannot read secrets/missing: No such file or directory",
        "broker.token_key_file: empty is empty",
    ] {
        assert!(err.contains(expected), "{err}");
    }
    command.env_remove("SCRAPEBROKER__BROKER__PASSWORD_FILE");
    command.env_remove("SCRAPEBROKER__BROKER__USERNAME");
    command.env_remove("SCRAPEBROKER__BROKER__TOKEN_KEY_FILE");
    let (_, _, err) = run(&mut command);
    let expected = "backends.ca_file: secrets/ca.pem: cannot read it: No such file or directory";
    assert!(err.contains(expected), "{err}");
    command.env_remove("SCRAPEBROKER__BACKENDS__CA_FILE");
    let marathon = r#"{"marathon":{"url":"http://m","apps":"a","ca_file":"secrets/ca.pem"}}"#;
    let pools = format!(r#"[{{"name":"p","locators":[{marathon}]}}]"#);
    let (code, _, err) = run(command.env("SCRAPEBROKER__QUERY__POOLS", pools));
    assert_eq!(code, 64);
    let expected = "query.pools[0].locators[0].marathon.ca_file: secrets/ca.pem: cannot read it: ";
    assert!(err.contains(expected), "{err}");
}

#[test]
fn the_error_for_an_unreachable_postgresql_contains_the_reason_once() {
    let mut command = scrapebroker(&["serve"]);
    command.env("SCRAPEBROKER__BROKER__TOKEN_KEY", "a key that is long enough");
    command.env("SCRAPEBROKER__DATABASE_URL", "postgres://user:hunter2@127.0.0.1:1/x");
    let (code, _, err) = run(&mut command);
    assert_eq!(code, 69);
    let last = err.lines().last().unwrap();
    assert!(last.contains("database_url: the database is not available: 127.0.0.1:1: "), "{err}");
    assert_eq!(last.matches("onnection refused").count(), 1, "{err}");
    assert!(!err.contains("hunter2"), "{err}");
}

#[test]
fn serve_without_its_database_exits_69() {
    let catalog = concat!(env!("CARGO_MANIFEST_DIR"), "/broker-catalog.json");
    let mut command = scrapebroker(&["serve"]);
    command.env("SCRAPEBROKER__BROKER__CATALOG", catalog);
    command.env("SCRAPEBROKER__DATABASE_URL", "sqlite:///no/such/folder/x.db");
    let (code, _, err) = run(&mut command);
    assert_eq!(code, 69);
    assert!(err.contains("/no/such/folder"), "{err}");
}

/// A configuration of promfetcher v0.20.0 without default values.
const PROMFETCHER: &str = "
gorouters: [{ host: 127.0.0.1, port: 8082, user: router-status, pass: hunter2 }]
health_check_port: 8081
max_idle_conns: 5
broker: { broker_service_id: old-service, broker_plan_id: old-plan, user: cc, pass: hunter3hunter3 }
";

#[test]
fn promfetchers_configuration_and_catalog_are_converted() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (old, new, catalog) = (path("promfetcher.yml"), path("new.yml"), path("catalog.json"));
    std::fs::write(&old, PROMFETCHER).unwrap();
    let both = ["check-config", "--promfetcher", &old];
    let (code, out, err) = run(&mut scrapebroker(&both));
    assert_eq!((code, err.as_str()), (0, ""));
    let (settings, json) = out.split_once("\n---\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["services"][0]["plans"][0]["id"], "old-plan");
    assert!(settings.contains("catalog: promfetcher-catalog.json"), "{settings}");

    let (code, out, err) = run(&mut scrapebroker(&[&both[..], &["--catalog", &catalog]].concat()));
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("password: hunter3hunter3") && out.contains("#   max_idle_conns: "),
        "{out}"
    );
    std::fs::write(&new, out).unwrap();
    let (code, out, err) = run(&mut scrapebroker(&["check-config", "--config", &new]));
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("adopt_unknown_instances: true") && out.contains(&catalog), "{out}");

    std::fs::write(&old, "bass_url: https://x\nport: http\n").unwrap();
    let (code, out, err) = run(&mut scrapebroker(&both));
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(err.contains("bass_url: is unknown; did you mean base_url?"), "{err}");
    assert!(err.contains("\n  port: "), "{err}");
    let (code, _, err) = run(&mut scrapebroker(&["check-config", "--catalog", &catalog]));
    assert_eq!(code, 64, "{err}");
}

#[test]
fn flags_and_variables_of_mpp_are_converted() {
    let flags = ["check-config", "--mpp", "--", "--endpoints-file=x", "--port", "9999"];
    let mut command = scrapebroker(&flags);
    command.env("MPP_ROUTING_STRATEGY", "minimum-history:24h").env("MPP_PORT", "1");
    let (code, out, err) = run(&mut command);
    assert_eq!((code, err.as_str()), (0, ""));
    for expected in [
        "# Settings of Scrapebroker, converted from those of mpp. Contains secrets",
        "listen: \"0.0.0.0:9999\"",
        "strategy: \"minimum-history:24h\"",
        "- endpoints_file: x",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }

    let mut command = scrapebroker(&["check-config", "--mpp"]);
    let (code, out, err) = run(command.env("MPP_KUBE_PROT", "1").env("MPP_PORT", "http"));
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(err.contains("--kube-prot: is unknown; did you mean --kube-port?"), "{err}");
    assert!(
        err.contains("\n  --port: ") && err.contains("\n  --endpoints-file: is missing"),
        "{err}"
    );

    let wrong: [&[&str]; 2] = [&["--mpp", "--promfetcher", "x"], &["--", "--port=1"]];
    for arguments in wrong {
        let (code, _, err) = run(&mut scrapebroker(&[&["check-config"], arguments].concat()));
        assert_eq!(code, 64, "{err}");
    }
}

#[test]
fn the_bindings_of_promfetcher_can_be_imported_repeatedly() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let old = path("promfetcher.db");
    let fill = |statements: &str| {
        let statements = statements.to_owned();
        let url = format!("sqlite://{}?mode=rwc", old.display());
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(
            async {
                use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
                sqlx::any::install_default_drivers();
                let mut connection = AnyConnection::connect(&url).await.unwrap();
                connection.execute(AssertSqlSafe(statements)).await.unwrap();
                connection.close().await.unwrap();
            },
        );
    };
    fill(
        "CREATE TABLE app_endpoints (guid varchar(255), app_guid varchar(255), endpoint varchar(255))",
    );
    fill("INSERT INTO app_endpoints VALUES ('b1', 'app1', '/one'), ('b2', 'app2', '/two')");
    let config = path("config.yml");
    let catalog = concat!(env!("CARGO_MANIFEST_DIR"), "/broker-catalog.json");
    let store = path("our.db");
    let settings =
        format!("database_url: sqlite://{}\nbroker: {{ catalog: {catalog} }}\n", store.display());
    std::fs::write(&config, settings).unwrap();
    let import = || {
        let mut command = scrapebroker(&["import-promfetcher", "--config"]);
        command.arg(&config).arg("--from").arg(format!("sqlite://{}", old.display()));
        run(&mut command)
    };
    let (code, out, err) = import();
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, "2 imported, 0 known before, 0 of service keys, 0 left out\n");

    fill("INSERT INTO app_endpoints VALUES ('b3', 'app3', '/../x'), ('b4', 'app4', '/four')");
    let (code, out, err) = import();
    assert_eq!(code, 1, "{err}");
    assert!(
        out.starts_with("1 imported, 2 known before, 0 of service keys, 1 left out\n"),
        "{out}"
    );
    assert!(out.contains("binding \"b3\": endpoint must not contain the segment `..`"), "{out}");

    for (url, expected) in [("oracle://u:hunter2@h/d", 64), ("mysql://u:hunter2@127.0.0.1:1/d", 69)]
    {
        let mut command = scrapebroker(&["import-promfetcher", "--config"]);
        let (code, out, err) = run(command.arg(&config).env("SCRAPEBROKER_IMPORT_FROM", url));
        assert_eq!((code, out.as_str()), (expected, ""), "{err}");
        assert!(!err.contains("hunter2"), "{err}");
    }
}
