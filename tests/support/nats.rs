//! A real NATS server on a free port, and a publisher.

use serde_json::{Value, json};
use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{net::TcpStream, time::sleep};

pub struct TestServer {
    host: &'static str,
    port: u16,
    /// Additional lines of the configuration.
    settings: String,
    folder: TempDir,
    running: Option<Child>,
}

impl TestServer {
    pub async fn start(settings: &str) -> Self {
        Self::start_on("127.0.0.1", settings).await
    }

    pub async fn start_on(host: &'static str, settings: &str) -> Self {
        // The server cannot report a port that it selects itself, so a free port is selected here.
        let free = TcpListener::bind((host.trim_matches(['[', ']']), 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { host, port, settings: settings.to_owned(), folder, running: None };
        server.restart().await;
        server
    }

    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill().unwrap();
            running.wait().unwrap();
        }
    }

    /// Restarts the server on the same port.
    pub async fn restart(&mut self) {
        self.stop();
        let config = self.folder.path().join("nats.conf");
        let text = format!("listen: \"{}\"\n{}\n", self.address(), self.settings);
        fs::write(&config, text).unwrap();
        // On Debian the server is not in the `PATH` of normal users.
        let program = ["/usr/sbin/nats-server", "/usr/bin/nats-server"];
        let program = program.into_iter().find(|path| Path::new(path).exists());
        let child = Command::new(program.unwrap_or("nats-server"))
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server is installed by scripts/install-test-tools");
        self.running = Some(child);
        for _ in 0..1000 {
            if TcpStream::connect(self.address()).await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("nats-server does not listen");
    }

    /// A separate NATS client that publishes like a route emitter.
    pub async fn emitter(&self) -> async_nats::Client {
        async_nats::connect(self.address()).await.unwrap()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An instance of app `app` with the route `<app>.test`.
pub fn instance(app: &str, port: u16) -> Value {
    json!({
        "host": "10.0.0.1",
        "port": port,
        "uris": [format!("{app}.test")],
        "private_instance_id": format!("{app}-{port}"),
        "tags": {"app_id": app, "app_name": app},
    })
}

/// Publishes and waits until the server has received the message.
pub async fn publish(emitter: &async_nats::Client, subject: &str, message: &Value) {
    emitter.publish(subject.to_owned(), message.to_string().into()).await.unwrap();
    emitter.flush().await.unwrap();
}
