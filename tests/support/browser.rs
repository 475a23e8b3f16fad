//! A headless Chromium, which chromedriver controls over HTTP (W3C WebDriver).
//!
//! The tests of a binary share one chromedriver. A session starts in about two seconds, so a test
//! opens all its views in one session.

use crate::{basic, client, read_response};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Lines, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use url::Url;

/// `scripts/install-test-tools` downloads it.
const AXE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/axe-core-4.14.1/package/axe.min.js");

/// Each session is a Chromium with several processes.
static SESSIONS: Semaphore = Semaphore::const_new(2);

static DRIVER: Mutex<Weak<Driver>> = Mutex::new(Weak::new());

/// Chromium starts on a loaded machine within this time.
const TIMEOUT: Duration = Duration::from_secs(60);

const ARGUMENTS: [&str; 10] = [
    "--headless=new",
    // The tests run as root in containers.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // Other hosts cannot be reached, whatever a page requests.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
];

/// Keys for [`Browser::press`].
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";

/// The value of `prefers-color-scheme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Light,
    Dark,
}

/// A session of Chromium with a profile of its own. A dialog of a page fails the next call.
pub struct Browser {
    /// The URL of the session.
    session: String,
    driver: Arc<Driver>,
    _profile: TempDir,
    _permit: SemaphorePermit<'static>,
}

/// A chromedriver process. It ends with its last session.
struct Driver {
    address: SocketAddr,
    process: Child,
    /// chromedriver would end if it could not write to it.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Driver {
    /// The running process, or a new one.
    fn shared() -> Arc<Self> {
        let mut shared = DRIVER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = shared.upgrade() {
            return driver;
        }
        let driver = Arc::new(Self::start());
        *shared = Arc::downgrade(&driver);
        driver
    }

    fn start() -> Self {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver: {error}; `make test` installs it"));
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = output.by_ref().find_map(|line| {
            let line = line.unwrap();
            let (_, port) = line.split_once("successfully on port ")?;
            Some(port.trim_end_matches('.').parse().unwrap())
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap()));
        Self { address, process, _output: output }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Browser {
    /// Starts a session. Waits while other tests use all sessions.
    pub async fn start() -> Self {
        let permit = SESSIONS.acquire().await.unwrap();
        let (driver, profile) = (Driver::shared(), tempfile::tempdir().unwrap());
        let mut arguments: Vec<_> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let capabilities = json!({
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "goog:chromeOptions": {"args": arguments},
        });
        let sessions = format!("http://{}/session", driver.address);
        let body = json!({"capabilities": {"alwaysMatch": capabilities}});
        let started = command("POST", &sessions, Some(body)).await;
        let session = format!("{sessions}/{}", started["sessionId"].as_str().unwrap());
        let browser = Self { session, driver, _profile: profile, _permit: permit };
        // The logs contain the requests of the page for new tabs.
        browser.open("about:blank").await;
        browser.console_errors().await;
        browser.requested_hosts().await;
        browser
    }

    /// Shows pages as a phone or a screen of this width, in this color scheme.
    pub async fn emulate(&self, width: u32, scheme: Scheme) {
        let metrics = json!({
            "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let value = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let features = json!([{"name": "prefers-color-scheme", "value": value}]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// Sends these credentials with all further requests.
    pub async fn login(&self, user: &str, password: &str) {
        let headers = json!({"Authorization": basic(user, password)});
        self.devtools("Network.setExtraHTTPHeaders", json!({"headers": headers})).await;
    }

    /// Whether pages may run scripts.
    pub async fn allow_scripts(&self, is_allowed: bool) {
        let disabled = json!({"value": !is_allowed});
        self.devtools("Emulation.setScriptExecutionDisabled", disabled).await;
    }

    /// Loads a page, and waits until it is complete.
    pub async fn open(&self, url: &str) {
        self.call("/url", json!({"url": url})).await;
    }

    pub async fn url(&self) -> String {
        self.get("/url").await.as_str().unwrap().to_owned()
    }

    /// Runs the body of a function in the page.
    pub async fn script(&self, body: &str, arguments: &[Value]) -> Value {
        self.call("/execute/sync", json!({"script": body, "args": arguments})).await
    }

    /// The visible text of the first element that matches.
    pub async fn text(&self, css: &str) -> String {
        let text = self.get(&format!("/element/{}/text", self.find(css).await)).await;
        text.as_str().unwrap().to_owned()
    }

    pub async fn click(&self, css: &str) {
        self.call(&format!("/element/{}/click", self.find(css).await), json!({})).await;
    }

    /// Presses and releases keys one after the other.
    pub async fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|action| json!({"type": action, "value": key.to_string()}))
        });
        let keyboard =
            json!({"type": "key", "id": "keyboard", "actions": strokes.collect::<Vec<_>>()});
        self.call("/actions", json!({"actions": [keyboard]})).await;
    }

    /// What axe-core finds in the page: violations of WCAG 2.2 AA and of best practices.
    pub async fn accessibility_violations(&self) -> Vec<String> {
        const RUN: &str = r#"
            const done = arguments[0];
            axe.run({rules: {"target-size": {enabled: true}}}).then(result => done(
                result.violations.flatMap(violation => violation.nodes.map(node =>
                    `${violation.id}: ${node.html.slice(0, 200)}: ${node.failureSummary}`))),
                error => done([String(error)]))"#;
        if self.script("return window.axe === undefined", &[]).await == json!(true) {
            let axe = std::fs::read_to_string(AXE)
                .unwrap_or_else(|error| panic!("{AXE}: {error}; `make test` installs it"));
            self.script(&axe, &[]).await;
        }
        let found = self.call("/execute/async", json!({"script": RUN, "args": []})).await;
        serde_json::from_value(found).unwrap()
    }

    /// The first element that is wider than the window, if the window can be scrolled sideways.
    pub async fn overflow(&self) -> Option<String> {
        const FIND: &str = r#"
            const root = document.documentElement, width = root.clientWidth;
            if (root.scrollWidth <= width) return null;
            const wide = [...document.querySelectorAll("body *")]
                .find(element => element.getBoundingClientRect().right > width + 1);
            return (wide ?? root).outerHTML.slice(0, 300)"#;
        self.script(FIND, &[]).await.as_str().map(str::to_owned)
    }

    /// Errors and warnings on the console since the last call.
    pub async fn console_errors(&self) -> Vec<String> {
        let entries = self.log("browser").await;
        let entries =
            entries.iter().filter(|entry| ["SEVERE", "WARNING"].contains(&text(entry, "level")));
        entries.map(|entry| text(entry, "message").to_owned()).collect()
    }

    /// The hosts and ports that pages have sent requests to since the last call.
    pub async fn requested_hosts(&self) -> BTreeSet<String> {
        let mut hosts = BTreeSet::new();
        for entry in self.log("performance").await {
            let event: Value = serde_json::from_str(text(&entry, "message")).unwrap();
            let event = &event["message"];
            if event["method"] == "Network.requestWillBeSent" {
                let url = Url::parse(text(&event["params"]["request"], "url")).unwrap();
                hosts.insert(url.authority().to_owned());
            }
        }
        hosts
    }

    /// A PNG of the window.
    pub async fn screenshot(&self) -> Vec<u8> {
        let image = self.get("/screenshot").await;
        BASE64_STANDARD.decode(image.as_str().unwrap()).unwrap()
    }

    /// The id of the first element that matches.
    async fn find(&self, css: &str) -> String {
        let found = self.call("/element", json!({"using": "css selector", "value": css})).await;
        // The key is a constant of the protocol.
        let mut ids = found.as_object().unwrap().values();
        ids.next().unwrap().as_str().unwrap().to_owned()
    }

    async fn log(&self, name: &str) -> Vec<Value> {
        let entries = self.call("/se/log", json!({"type": name})).await;
        entries.as_array().unwrap().clone()
    }

    /// Sends a command of the DevTools protocol.
    async fn devtools(&self, name: &str, parameters: Value) {
        self.call("/goog/cdp/execute", json!({"cmd": name, "params": parameters})).await;
    }

    async fn get(&self, path: &str) -> Value {
        command("GET", &format!("{}{path}", self.session), None).await
    }

    async fn call(&self, path: &str, body: Value) -> Value {
        command("POST", &format!("{}{path}", self.session), Some(body)).await
    }
}

impl Drop for Browser {
    /// Ends the session. A destructor cannot wait for a future, so the request is blocking.
    fn drop(&mut self) {
        let Ok(mut connection) = TcpStream::connect(self.driver.address) else { return };
        let (_, path) = self.session.split_at(self.session.rfind("/session/").unwrap_or_default());
        let host = self.driver.address;
        let request =
            format!("DELETE {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let _ = connection.set_read_timeout(Some(TIMEOUT));
        let _ = connection.write_all(request.as_bytes());
        let _ = connection.read(&mut [0]);
    }
}

/// Sends a command, and returns its value.
async fn command(method: &str, url: &str, body: Option<Value>) -> Value {
    let headers = [("Content-Type", "application/json; charset=utf-8")];
    // chromedriver keeps the connection.
    let exchange = async {
        let body = body.map(|body| body.to_string());
        let mut stream = client::request(method, url, &headers, body).await;
        read_response(&mut stream, &mut Vec::new()).await.unwrap()
    };
    let response = timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| panic!("{url} is too slow"));
    let value = response.json()["value"].take();
    assert_eq!(response.status, 200, "{url}: {value}");
    value
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}
