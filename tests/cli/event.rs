//! `scrapebroker event`: posts to a running installation.

use super::{run, scrapebroker};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};
use support::{closed_address, programs::free_address};

const USER: &str = "cloud-controller";
const PASSWORD: &str = "a long password";

/// An installation whose addresses and database outlive its process.
struct Installation {
    folder: tempfile::TempDir,
    main: SocketAddr,
    events: SocketAddr,
    server: Option<Child>,
}

impl Installation {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("login"), format!("{USER}:{PASSWORD}\n")).unwrap();
        std::fs::write(folder.path().join("wrong"), format!("{USER}:another password")).unwrap();
        let (main, events) = (free_address(), free_address());
        let mut installation = Self { folder, main, events, server: None };
        installation.restart();
        installation
    }

    /// Starts the process without waiting until it listens: the command repeats its requests.
    fn restart(&mut self) {
        let mut command = scrapebroker(&["serve"]);
        command
            .current_dir(self.folder.path())
            .env("SCRAPEBROKER__LISTEN", self.main.to_string())
            .env("SCRAPEBROKER__EVENTS__LISTEN", self.events.to_string())
            .env("SCRAPEBROKER__EVENTS__START", "earliest")
            .env("SCRAPEBROKER__BROKER__USERNAME", USER)
            .env("SCRAPEBROKER__BROKER__PASSWORD", PASSWORD)
            .env("SCRAPEBROKER__PROMETHEUS__PROVISIONER", "none")
            .stderr(Stdio::null());
        self.server = Some(command.spawn().unwrap());
    }

    fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// The command for the main listener.
    fn event(&self, arguments: &[&str]) -> Command {
        self.command(&format!("http://{}", self.main), "login", arguments)
    }

    /// The command for the listener of events.
    fn form(&self, arguments: &[&str]) -> Command {
        self.command(&format!("http://{}/event", self.events), "login", arguments)
    }

    fn command(&self, url: &str, token_file: &str, arguments: &[&str]) -> Command {
        let options = ["event", "--url", url, "--token-file", token_file];
        let mut command = scrapebroker(&[&options, arguments].concat());
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A scraper that keeps its connection, as Prometheus does.
struct Scraper(BufReader<TcpStream>);

impl Scraper {
    fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).unwrap()))
    }

    /// Reads a complete response.
    fn scrape(&mut self) {
        let request = b"GET /metrics HTTP/1.1\r\nHost: events\r\n\r\n";
        self.0.get_mut().write_all(request).unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        self.0.read_exact(&mut vec![0; length]).unwrap();
    }
}

/// The outcome of a command that stored an event.
fn stored(seq: u64) -> (i32, String, String) {
    (0, format!("stored as event {seq}\n"), String::new())
}

#[test]
fn an_event_is_stored_once_per_key() {
    let installation = Installation::start();
    assert_eq!(run(&mut installation.form(&["type=deploy", "app=shop"])), stored(1));
    assert_eq!(run(&mut installation.form(&["--key", "k1", "type=deploy"])), stored(2));
    assert_eq!(run(&mut installation.event(&["--key", "k1", "type=deploy"])), stored(2));
    assert_eq!(run(&mut installation.event(&["--value", "-2.5", "type=load"])), stored(3));
    let (code, out, err) = run(&mut installation.event(&["--key", "k1", "type=rollback"]));
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("422") && err.contains("Idempotency-Key"), "{err}");
}

#[test]
fn a_post_is_repeated_until_the_server_is_back() {
    let mut installation = Installation::start();
    let arguments = ["--key", "k1", "type=deploy"];
    assert_eq!(run(&mut installation.form(&arguments)), stored(1));
    installation.kill();
    let waiting = installation.form(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let new = installation.event(&["type=restart"]).stdout(Stdio::piped()).spawn().unwrap();
    installation.restart();
    for (child, expected) in [(waiting, "stored as event 1\n"), (new, "stored as event 2\n")] {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }
}

#[test]
fn wait_ends_when_every_scraper_has_the_event() {
    let installation = Installation::start();
    assert_eq!(run(&mut installation.event(&["type=first"])), stored(1));
    let arguments = ["--wait", "--timeout", "5s", "type=deploy"];
    let (code, out, err) = run(&mut installation.event(&arguments));
    assert_eq!((code, out.as_str()), (69, "stored as event 2\n"), "{err}");
    assert!(err.contains("not delivered yet: no scraper has scraped this queue"), "{err}");

    let mut command = installation.event(&["--wait", "type=deploy"]);
    let mut waiting = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut scraper = Scraper::connect(installation.events);
    while waiting.try_wait().unwrap().is_none() {
        scraper.scrape();
        thread::sleep(Duration::from_millis(50));
    }
    let output = waiting.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "stored as event 3\ndelivered to 1 scraper\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_variables_of_a_binding_are_defaults_and_flags_override_them() {
    let installation = Installation::start();
    let main = format!("http://{}", installation.main);
    let closed = format!("http://{}/event", closed_address());
    let login = format!("{USER}:{PASSWORD}");
    // Arguments, EVENTS_URL and EVENTS_TOKEN, and standard input.
    let posted = |arguments: &[&str], url: &str, token: &str, input: &str| {
        let file = installation.folder.path().join("input");
        std::fs::write(&file, input).unwrap();
        let mut command = scrapebroker(&[&["event"], arguments, &["type=deploy"]].concat());
        command.current_dir(&installation.folder).stdin(File::open(file).unwrap());
        run(command.env("EVENTS_URL", url).env("EVENTS_TOKEN", token))
    };
    assert_eq!(posted(&[], &main, &login, ""), stored(1));
    assert_eq!(posted(&["--url", &main], &closed, &login, ""), stored(2));
    assert_eq!(posted(&["--token-file", "login"], &main, "sbt_wrong", ""), stored(3));
    let from_input = ["--token-file", "-"];
    assert_eq!(posted(&from_input, &main, "sbt_wrong", &format!("{login}\n")), stored(4));

    let (code, _, err) = posted(&[], &main, "sbt_wrong", "");
    assert!(code == 1 && err.contains("401") && !err.contains("sbt_wrong"), "{err}");
    // An empty variable is no token.
    let (code, _, err) = posted(&[], &main, "", "");
    assert!(code == 1 && err.contains("401"), "{err}");
    let (_, help, _) = run(scrapebroker(&["event", "--help"]).env("EVENTS_TOKEN", "sbt_secret"));
    assert!(
        help.contains("EVENTS_URL")
            && help.contains("EVENTS_TOKEN")
            && !help.contains("sbt_secret"),
        "{help}"
    );
}

#[test]
fn the_exit_code_says_why_an_event_is_not_stored() {
    let installation = Installation::start();
    assert_eq!(run(&mut installation.event(&["type=deploy"])), stored(1));
    let main = format!("http://{}", installation.main);
    let events = format!("http://{}/event", installation.events);
    let closed = format!("http://{}/event", closed_address());
    for (url, token_file, argument, code, text) in [
        (&main, "wrong", "type=deploy", 1, "401"),
        (&main, "missing", "type=deploy", 64, "cannot read missing"),
        (&main, "login", "bad-name=1", 64, "label `bad-name`"),
        (&main, "login", "value=1", 64, "--value"),
        (&events, "login", "--wait", 64, "--wait needs"),
        (&closed, "login", "--timeout=1s", 69, "no confirmation that the event is stored"),
    ] {
        let (exit, out, err) = run(&mut installation.command(url, token_file, &[argument]));
        assert_eq!((exit, out.as_str()), (code, ""), "{argument}: {err}");
        assert!(err.contains(text) && !err.contains("another"), "{argument}: {err}");
    }
    let (exit, _, err) = run(&mut installation.command("ftp://h/event", "login", &[]));
    assert!(exit == 64 && err.contains("--url"), "{err}");
    assert_eq!(run(&mut installation.event(&["type=deploy"])), stored(2));
}
