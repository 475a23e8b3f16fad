//! Tests with the three databases that promfetcher supports. The tables are those that its ORM
//! creates.

use super::*;
use crate::store::testing::Schema;
use sqlx::{AssertSqlSafe, Executor};
use std::{
    fs, io,
    net::TcpListener,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const TEXTS: &str = "CREATE TABLE app_endpoints (guid text NOT NULL, app_guid text, \
                     endpoint text, PRIMARY KEY (guid))";
const VARCHARS: &str = "CREATE TABLE app_endpoints (guid varchar(255) NOT NULL, \
                        app_guid varchar(255), endpoint varchar(255), PRIMARY KEY (guid))";

/// Fills a table like promfetcher and reads it like the import.
async fn assert_rows_are_read(create: &str, writable: &str, url: &str) {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(writable).await.unwrap();
    connection.execute(AssertSqlSafe(create.to_owned())).await.unwrap();
    let url = SecretString::from(url);
    assert_eq!(app_endpoints(&url).await.unwrap(), []);
    let rows = "INSERT INTO app_endpoints (guid, app_guid, endpoint) VALUES \
                ('b1', 'app', '/actuator/prometheus?a=b'), ('b2', '', '/key'), ('b3', NULL, '/ü')";
    connection.execute(rows).await.unwrap();
    connection.close().await.unwrap();
    let row = |guid: &str, app_guid: &str, endpoint: &str| AppEndpoint {
        guid: guid.to_owned(),
        app_guid: app_guid.to_owned(),
        endpoint: endpoint.to_owned(),
    };
    let expected =
        [row("b1", "app", "/actuator/prometheus?a=b"), row("b2", "", "/key"), row("b3", "", "/ü")];
    assert_eq!(app_endpoints(&url).await.unwrap(), expected);
}

#[tokio::test]
async fn sqlite_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("promfetcher.db");
    let url = format!("sqlite://{}", file.display());
    assert_rows_are_read(VARCHARS, &format!("{url}?mode=rwc"), &url).await;
}

#[tokio::test]
async fn postgres_is_read() {
    let schema = Schema::create().await;
    let url = schema.url();
    assert_rows_are_read(TEXTS, &url, &url).await;
    schema.drop().await;
}

#[tokio::test]
async fn mysql_is_read() {
    let server = MariaDb::start();
    let url = server.url("mysql", "promfetcher");
    assert_rows_are_read(VARCHARS, &url, &server.url("mariadb", "promfetcher")).await;

    let wrong = url.replace("hunter2", "hunter3");
    let error = app_endpoints(&wrong.into()).await.unwrap_err().to_string();
    assert!(
        error.contains("cannot be opened: Access denied") && !error.contains("hunter"),
        "{error}"
    );
    let error = app_endpoints(&server.url("mysql", "mysql").into()).await.unwrap_err();
    assert!(matches!(error, SourceError::NoEndpoints(_)), "{error}");
}

#[tokio::test]
async fn an_unusable_database_is_reported_without_its_password() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.db");
    let empty = dir.path().join("empty.db");
    fs::write(&empty, "").unwrap();
    for (url, expected) in [
        ("oracle://u:hunter2@h/d".to_owned(), "URL must begin with sqlite:"),
        ("mysql://u:hunter2@h:port/d".to_owned(), "URL is not a URL like"),
        ("postgres://u:hunter2@127.0.0.1:1/d".to_owned(), "cannot be opened"),
        ("mysql://u:hunter2@127.0.0.1:1/d".to_owned(), "cannot be opened"),
        (format!("sqlite://{}", missing.display()), "cannot be opened"),
        (format!("sqlite://{}", empty.display()), "no table app_endpoints"),
        ("sqlite://".to_owned(), "URL must name a file"),
    ] {
        let error = app_endpoints(&url.clone().into()).await.unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{url}: {error}");
    }
    assert!(!missing.exists(), "a mistyped path makes no database");
}

/// With a paused clock, the timeout ends as soon as no other task can run.
#[tokio::test(start_paused = true)]
async fn an_unresponsive_server_times_out() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for scheme in ["mysql", "postgres"] {
        let url = format!("{scheme}://u:hunter2@{}/d", silent.local_addr().unwrap());
        let error = app_endpoints(&url.into()).await.unwrap_err();
        assert!(
            matches!(&error, SourceError::Unavailable(why) if why.contains("no answer")),
            "{error}"
        );
    }
}

/// A MariaDB server on a free loopback port.
struct MariaDb {
    process: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl MariaDb {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let datadir = format!("--datadir={}", data.display());
        let installed = Command::new("mariadb-install-db")
            .args(["--no-defaults", &datadir, "--auth-root-authentication-method=normal"])
            .arg("--skip-test-db")
            .args(as_root(dir.path()))
            .output()
            .expect("this test needs MariaDB: run scripts/install-test-tools");
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let init = dir.path().join("init.sql");
        let account = "'promfetcher'@'127.0.0.1'";
        let statements = format!(
            "CREATE DATABASE promfetcher CHARACTER SET utf8mb4;\n\
             CREATE USER {account} IDENTIFIED BY 'hunter2';\n\
             GRANT ALL ON promfetcher.* TO {account};\nGRANT SELECT ON mysql.* TO {account};\n"
        );
        fs::write(&init, statements).unwrap();
        let port = free_port();
        let process = Command::new(server())
            .args(["--no-defaults", &datadir, "--bind-address=127.0.0.1"])
            .args(as_root(dir.path()))
            .arg("--skip-name-resolve")
            .arg(format!("--port={port}"))
            .arg(format!("--init-file={}", init.display()))
            .arg(format!("--socket={}", dir.path().join("socket").display()))
            .arg(format!("--pid-file={}", dir.path().join("pid").display()))
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self { process, port, _dir: dir };
        server.wait();
        server
    }

    /// The server has run its init file when it begins to listen.
    fn wait(&mut self) {
        for _ in 0..600 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            if let Some(status) = self.process.try_wait().unwrap() {
                let log = fs::read_to_string(self._dir.path().join("log")).unwrap();
                panic!("MariaDB ended, {status}: {log}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("MariaDB does not listen");
    }

    fn url(&self, scheme: &str, database: &str) -> String {
        format!("{scheme}://promfetcher:hunter2@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// MariaDB requires an option to run as root, and rejects it for other users.
fn as_root(own: &Path) -> Option<&'static str> {
    (fs::metadata(own).unwrap().uid() == 0).then_some("--user=root")
}

/// On Debian the server is not in the `PATH` of normal users.
fn server() -> PathBuf {
    let path = Path::new("/usr/sbin/mariadbd");
    if path.exists() { path.to_owned() } else { PathBuf::from("mariadbd") }
}

fn free_port() -> u16 {
    let listener: io::Result<TcpListener> = TcpListener::bind("127.0.0.1:0");
    listener.unwrap().local_addr().unwrap().port()
}
