//! The program as a separate process, and requests of Cloud Controller to it.

use crate::test_app::*;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// `scrapebroker serve` with a database in a folder. The process is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<Value>>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) const CATALOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/broker-catalog.json");

/// The program with only the environment variables that `serve` needs in `folder`.
pub(crate) fn program(folder: &Path) -> Command {
    let catalog = folder.join("broker-catalog.json");
    if !catalog.exists() {
        std::fs::copy(CATALOG, &catalog).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_scrapebroker"));
    command
        .env_clear()
        .current_dir(folder)
        .env("SCRAPEBROKER__LISTEN", "127.0.0.1:0")
        .env("SCRAPEBROKER__BROKER__CATALOG", catalog)
        .env("SCRAPEBROKER__BROKER__USERNAME", USER)
        .env("SCRAPEBROKER__BROKER__PASSWORD", PASSWORD)
        .env("SCRAPEBROKER__DRAIN_WAIT", "0s")
        .env("SCRAPEBROKER__LOG__FORMAT", "json");
    command
}

impl Server {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    pub(crate) fn start_with(folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::spawn(folder, settings).listening()
    }

    /// Starts the program without waiting until it listens.
    pub(crate) fn spawn(folder: &Path, settings: &[(&str, &str)]) -> StartingServer {
        Self::spawn_with_flags(folder, settings, &[])
    }

    pub(crate) fn spawn_with_flags(
        folder: &Path,
        settings: &[(&str, &str)],
        flags: &[&str],
    ) -> StartingServer {
        let mut command = program(folder);
        command.arg("serve").args(flags);
        command.envs(settings.iter().copied()).stderr(Stdio::piped());
        StartingServer(command.spawn().unwrap())
    }

    /// Starts the program with a soft and a hard limit for open files.
    pub(crate) fn start_with_open_files(
        folder: &Path,
        (soft, hard): (u32, u32),
        settings: &[(&str, &str)],
    ) -> Self {
        let program = program(folder);
        let mut command = Command::new("/bin/sh");
        command
            .env_clear()
            .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir(folder)
            .arg("-c")
            .arg(format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" serve"))
            .arg(program.get_program())
            .envs(settings.iter().copied())
            .stderr(Stdio::piped());
        StartingServer(command.spawn().unwrap()).listening()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The address of the listener of events.
    pub(crate) fn events_address(&self) -> SocketAddr {
        let log = self.log.lock().unwrap();
        log.iter().find_map(|event| event["events_address"].as_str()).unwrap().parse().unwrap()
    }

    /// All addresses of the main listener, if there are several.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let log = self.log.lock().unwrap();
        let all = log.iter().find_map(|event| event["addresses"].as_str()).unwrap();
        all.split(", ").map(|address| address.parse().unwrap()).collect()
    }

    pub(crate) fn signal(&self, name: &str) {
        send_signal(&self.child, name);
    }

    pub(crate) fn exited(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the exit. Returns the exit code, or none if a signal ended the process.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        eventually(async || self.child.try_wait().unwrap()).await.code()
    }

    /// The logged messages that contain `part`.
    pub(crate) fn logged(&self, part: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let messages = log.iter().filter_map(|event| event["message"].as_str());
        messages.filter(|message| message.contains(part)).map(str::to_owned).collect()
    }

    /// The complete log as JSON lines.
    pub(crate) fn log_text(&self) -> String {
        let log = self.log.lock().unwrap();
        log.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
    }

    /// Sends a request to the broker. None if the connection failed.
    pub(crate) async fn broker_request(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Option<Response> {
        broker_request(self.address, method, path, body).await
    }
}

fn send_signal(child: &Child, signal: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
}

/// A started process that may not listen yet.
pub(crate) struct StartingServer(Child);

impl StartingServer {
    /// A process whose standard error is piped.
    pub(crate) fn of(child: Child) -> Self {
        Self(child)
    }

    /// Sends SIGTERM and returns the exit code.
    pub(crate) async fn stopped(mut self) -> Option<i32> {
        send_signal(&self.0, "TERM");
        eventually(async || self.0.try_wait().unwrap()).await.code()
    }

    /// Waits until the process exits. Returns the exit code and the log.
    pub(crate) fn failed(mut self) -> (Option<i32>, String) {
        let mut output = String::new();
        let mut stderr = self.0.stderr.take().unwrap();
        std::io::Read::read_to_string(&mut stderr, &mut output).unwrap();
        (self.0.wait().unwrap().code(), output)
    }

    pub(crate) fn listening(mut self) -> Server {
        let mut lines = BufReader::new(self.0.stderr.take().unwrap()).lines();
        let log = Arc::<Mutex<Vec<Value>>>::default();
        let address = lines.by_ref().find_map(|line| {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let address = event["address"].as_str().and_then(|address| address.parse().ok());
            log.lock().unwrap().push(event);
            address
        });
        let written = Arc::clone(&log);
        // The thread empties the pipe, so that logging never blocks.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                written.lock().unwrap().extend(serde_json::from_str(&line));
            }
        });
        let address = address.unwrap_or_else(|| panic!("the program did not start: {log:?}"));
        Server { child: self.0, address, log }
    }
}

pub(crate) async fn catalog_ids(address: SocketAddr) -> (Value, Value) {
    let answer = broker_request(address, "GET", "/v2/catalog", None).await.unwrap();
    let catalog = answer.json();
    let service = &catalog["services"][0];
    (service["id"].clone(), service["plans"][0]["id"].clone())
}

/// Sends one broker request. None if the connection failed.
pub(crate) async fn broker_request(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Option<Response> {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = format!(
        "{method} /broker{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         X-Broker-Api-Version: 2.15\r\nAuthorization: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        basic(USER, PASSWORD),
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await.ok()?;
    let whole = raw.windows(4).any(|window| window == b"\r\n\r\n");
    whole.then(|| parse_response(&raw))
}
