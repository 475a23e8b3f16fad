//! The program as a process that is killed and started again.

use super::*;
use crate::server_process::Server;
use std::path::PathBuf;
use support::programs::free_address;
use tempfile::TempDir;

/// `scrapebroker serve` whose listener of events keeps its address over restarts.
pub(super) struct EventsProcess {
    pub(super) events: SocketAddr,
    folder: TempDir,
    settings: Vec<(String, String)>,
    /// None while it is stopped.
    server: Option<Server>,
}

impl EventsProcess {
    /// The settings are environment variables without the prefix.
    pub(super) fn start(settings: &[(&str, &str)]) -> Self {
        let events = free_address();
        let listen = events.to_string();
        let own = [("PROMETHEUS__PROVISIONER", "none"), ("EVENTS__LISTEN", &listen)];
        let settings = own.iter().chain(settings);
        let settings =
            settings.map(|(name, value)| (format!("SCRAPEBROKER__{name}"), (*value).to_owned()));
        let mut process = Self {
            events,
            folder: tempfile::tempdir().unwrap(),
            settings: settings.collect(),
            server: None,
        };
        process.start_again();
        process
    }

    pub(super) fn start_again(&mut self) {
        let settings: Vec<_> =
            self.settings.iter().map(|(name, value)| (&**name, &**value)).collect();
        self.server = Some(Server::start_with(self.folder.path(), &settings));
    }

    pub(super) fn id(&self) -> u32 {
        self.running().id()
    }

    /// The address of the main listener.
    pub(super) fn address(&self) -> SocketAddr {
        self.running().address
    }

    /// The file of the database.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.path().join("scrapebroker.db")
    }

    pub(super) fn signal(&self, name: &str) {
        self.running().signal(name);
    }

    /// Waits until the process has stopped in order, and starts it again.
    pub(super) async fn restarted(&mut self) {
        assert_eq!(self.server.take().unwrap().exit_code().await, Some(0));
        self.start_again();
    }

    /// Kills the process with SIGKILL, and starts it again.
    pub(super) fn kill(&mut self) {
        drop(self.server.take());
        self.start_again();
    }

    pub(super) async fn timeline(&self, query: &str) -> Value {
        timeline(self.address(), query).await
    }

    /// The number of events that were ever stored.
    pub(super) async fn stored(&self) -> usize {
        let timeline = self.timeline("?limit=1").await;
        usize::try_from(timeline["last_seq"].as_u64().unwrap()).unwrap()
    }

    /// The number of events that a scraper has to get. None if it is unknown.
    pub(super) async fn pending(&self, scraper: &str) -> Option<i64> {
        pending(self.address(), scraper).await
    }

    fn running(&self) -> &Server {
        self.server.as_ref().unwrap()
    }
}
