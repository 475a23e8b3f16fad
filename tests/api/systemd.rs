//! Notifications to systemd, and sockets that it passes.

use crate::server_process::{Server, StartingServer, program};
use std::{
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use support::send;

struct Notifications(UnixDatagram);

impl Notifications {
    fn next(&self) -> String {
        let mut buffer = [0; 1024];
        self.0.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let length = self.0.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }
}

#[actix_web::test]
async fn systemd_is_notified_of_start_reload_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let notifications = Notifications(UnixDatagram::bind(&path).unwrap());
    let settings = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "60000000")];
    let mut server = Server::start_with(folder.path(), &settings);
    let ready = format!("READY=1\nSTATUS=listening on {}", server.address);
    assert_eq!(notifications.next(), ready);
    assert_eq!(notifications.next(), "WATCHDOG=1");
    server.signal("HUP");
    let reloading = notifications.next();
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(micros.parse::<u64>().unwrap() > 0, "{reloading}");
    assert_eq!(notifications.next(), "READY=1\nSTATUS=reload succeeded");
    // The status of a failed reload follows when its outcome is known.
    std::fs::write(folder.path().join("broker-catalog.json"), "{").unwrap();
    server.signal("HUP");
    assert!(notifications.next().starts_with("RELOADING=1\n"));
    let failed = "READY=1\nSTATUS=reload failed: broker.catalog; the previous content is in use";
    assert_eq!(notifications.next(), failed);
    server.signal("TERM");
    assert_eq!(notifications.next(), "STOPPING=1\nSTATUS=0 requests in progress");
    assert_eq!(server.exit_code().await, Some(0));
}

#[actix_web::test]
async fn the_watchdog_is_notified_twice_per_interval() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let notifications = Notifications(UnixDatagram::bind(&path).unwrap());
    let settings = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "1000000")];
    let _server = Server::start_with(folder.path(), &settings);
    assert!(notifications.next().starts_with("READY=1\n"));
    let started = Instant::now();
    for _ in 0..4 {
        assert_eq!(notifications.next(), "WATCHDOG=1");
    }
    let elapsed = started.elapsed();
    assert!((1_000..10_000).contains(&elapsed.as_millis()), "{elapsed:?}");
    // A watchdog of another process is not served.
    let other = tempfile::tempdir().unwrap();
    let settings = [settings[0], settings[1], ("WATCHDOG_PID", "1")];
    let _other = Server::start_with(other.path(), &settings);
    while notifications.next() == "WATCHDOG=1" {}
}

/// Runs a shell script with `listener` as descriptor 3, as systemd passes it.
fn start_with_socket(folder: &Path, listener: OwnedFd, script: &str) -> StartingServer {
    let program = program(folder);
    let mut command = Command::new("/bin/sh");
    let environment = program.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command
        .env_clear()
        .envs(environment)
        .current_dir(folder)
        .arg("-c")
        .arg(format!("exec 3<&0 </dev/null; {script}; exec \"$0\" serve --web.systemd-socket"))
        .arg(program.get_program())
        .stdin(Stdio::from(listener))
        .stderr(Stdio::piped());
    StartingServer::of(command.spawn().unwrap())
}

const PASSED: &str = "export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=main";

#[actix_web::test]
async fn a_socket_of_systemd_replaces_the_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let passed = socket.try_clone().unwrap();
    let mut server = start_with_socket(folder.path(), passed.into(), PASSED).listening();
    assert_eq!(server.address, address);
    let page = send("GET", &format!("http://{address}/doc"), &[], None).await.text();
    assert!(page.contains(&format!("http://localhost:{}", address.port())), "{page}");
    assert!(!page.contains("localhost:8085"), "{page}");
    let answer = send("GET", &format!("http://{address}/-/healthy"), &[], None).await;
    assert_eq!(answer.text(), "healthy\n");
    server.signal("TERM");
    assert_eq!(server.exit_code().await, Some(0));
    // systemd keeps the socket. A request waits in it until the next start.
    let waiting = actix_web::rt::spawn(async move {
        send("GET", &format!("http://{address}/-/healthy"), &[], None).await
    });
    let _server = start_with_socket(folder.path(), socket.into(), PASSED).listening();
    assert_eq!(waiting.await.unwrap().text(), "healthy\n");
}

#[actix_web::test]
async fn missing_and_unusable_sockets_stop_the_start() {
    let tcp = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let connected = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = std::net::TcpStream::connect(connected.local_addr().unwrap()).unwrap();
    let datagram = UnixDatagram::unbound().unwrap();
    for (socket, script, part) in [
        (tcp(), ":", "systemd_socket: systemd passed no sockets: LISTEN_FDS is not set"),
        (tcp(), "export LISTEN_FDS=1 LISTEN_PID=1", "LISTEN_FDS is for the process 1, and this is"),
        (tcp(), "export LISTEN_FDS=0", "passed no sockets: LISTEN_FDS is"),
        (connected.into(), PASSED, "the socket main, number 0, does not listen; use ListenStream="),
        (datagram.into(), PASSED, "the socket main, number 0, cannot be used: fd 3 is not a valid"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (code, log) = start_with_socket(folder.path(), socket, script).failed();
        assert_eq!(code, Some(64), "{log}");
        assert!(log.contains(part), "{part} in {log}");
    }
}
