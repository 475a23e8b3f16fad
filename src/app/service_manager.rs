//! Notifications to systemd, for units with `Type=notify` or `Type=notify-reload` (sd_notify(3)).
//!
//! Without `NOTIFY_SOCKET` nothing is sent.

use crate::config::ServiceManagerSettings;
use rustix::time::{ClockId, clock_gettime};
use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::Arc,
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval};

/// Sends notifications. Clones share the socket.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceManager {
    socket: Option<Arc<NotifySocket>>,
    /// Interval after which systemd restarts a program that is silent.
    watchdog: Option<Duration>,
}

#[derive(Debug)]
struct NotifySocket {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl ServiceManager {
    pub(super) fn new(settings: &ServiceManagerSettings) -> Self {
        let socket =
            settings.notify_socket.as_deref().and_then(|name| match NotifySocket::open(name) {
                Ok(socket) => Some(Arc::new(socket)),
                Err(error) => {
                    tracing::warn!(%error, name, "NOTIFY_SOCKET cannot be used");
                    None
                }
            });
        Self { socket, watchdog: settings.watchdog }
    }

    /// The listeners serve.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// A reload begins.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let (seconds, nanos) = (i128::from(now.tv_sec), i128::from(now.tv_nsec));
        let micros = seconds * 1_000_000 + nanos / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// A reload has ended. systemd has no notification of a failed one, so the status names the
    /// sections that `failed`, if any.
    pub(super) fn reloaded(&self, failed: &str) {
        let status = match failed {
            "" => "reload succeeded".to_owned(),
            failed => format!("reload failed: {failed}; the previous content is in use"),
        };
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// The program has received a stop signal.
    pub(super) fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={status}"));
    }

    /// Tells the watchdog that the main thread is alive, twice per interval.
    pub(super) async fn keep_alive(self) {
        let Some(watchdog) = self.watchdog.filter(|_| self.socket.is_some()) else { return };
        let mut ticks = interval(watchdog / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(state) {
            tracing::warn!(%error, "systemd was not notified");
        }
    }
}

impl NotifySocket {
    /// `name` is a path, or begins with `@` for the abstract namespace.
    fn open(name: &str) -> io::Result<Self> {
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None if name.starts_with('/') => SocketAddr::from_pathname(name)?,
            None => return Err(io::Error::other("it is neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound()?;
        // A service manager that does not read must not block the program.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }

    fn send(&self, state: &str) -> io::Result<()> {
        self.socket.send_to_addr(state.as_bytes(), &self.address).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn manager(name: String) -> ServiceManager {
        ServiceManager::new(&ServiceManagerSettings { notify_socket: Some(name), watchdog: None })
    }

    #[test]
    fn states_are_sent_to_a_path_or_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("scrapebroker-test-{}", uuid::Uuid::new_v4());
        let on_path = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let on_name = UnixDatagram::bind_addr(&address).unwrap();
        for (socket, name) in
            [(on_path, path.to_str().unwrap().to_owned()), (on_name, format!("@{name}"))]
        {
            let manager = manager(name);
            manager.ready("listening");
            assert_eq!(received(&socket), "READY=1\nSTATUS=listening");
            manager.reloading();
            let reloading = received(&socket);
            let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(micros.parse::<u64>().unwrap() > 0);
            manager.reloaded("");
            assert_eq!(received(&socket), "READY=1\nSTATUS=reload succeeded");
            manager.reloaded("tls");
            let failed = "READY=1\nSTATUS=reload failed: tls; the previous content is in use";
            assert_eq!(received(&socket), failed);
            manager.stopping("2 requests");
            assert_eq!(received(&socket), "STOPPING=1\nSTATUS=2 requests");
        }
    }

    #[test]
    fn a_missing_or_full_socket_does_not_block() {
        for name in ["/no/such/socket", "relative", "@no-such-name"] {
            manager(name.to_owned()).ready("x");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _unread = UnixDatagram::bind(&path).unwrap();
        let manager = manager(path.to_str().unwrap().to_owned());
        for _ in 0..10_000 {
            manager.stopping("x");
        }
        ServiceManager::default().ready("x");
    }
}
