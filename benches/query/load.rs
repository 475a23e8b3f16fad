//! Clients that send queries one after the other, each on its own connection.

use crate::client::Connection;
use std::{
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub(crate) const QUERY: &str = "/api/v1/query?query=up";

/// The queries of all clients.
#[derive(Clone, Copy)]
pub(crate) enum Queries {
    /// Queries that are in progress at the same time are sent to a replica once.
    Identical,
    /// Prometheus ignores the parameter that differs.
    Different,
}

/// Clients that send queries until the load is finished.
pub(crate) struct Load {
    state: Arc<LoadState>,
    clients: Vec<JoinHandle<Vec<QueryResult>>>,
}

struct LoadState {
    start: Instant,
    is_finished: AtomicBool,
    queries: AtomicUsize,
}

pub(crate) struct QueryResult {
    /// When it was sent, since the start of the load.
    pub(crate) sent: Duration,
    pub(crate) latency: Duration,
    pub(crate) error: Option<String>,
}

impl Load {
    pub(crate) fn start(address: SocketAddr, clients: usize, queries: Queries) -> Self {
        let state = Arc::new(LoadState {
            start: Instant::now(),
            is_finished: AtomicBool::new(false),
            queries: AtomicUsize::new(0),
        });
        let clients = (0..clients).map(|_| {
            let state = Arc::clone(&state);
            thread::spawn(move || state.send_queries(address, queries))
        });
        Self { clients: clients.collect(), state }
    }

    /// Number of queries that were sent.
    pub(crate) fn queries(&self) -> usize {
        self.state.queries.load(Ordering::Relaxed)
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.state.start.elapsed()
    }

    pub(crate) fn finish(self) -> Result<Vec<QueryResult>, Box<dyn Error>> {
        self.state.is_finished.store(true, Ordering::Relaxed);
        let mut results = Vec::new();
        for client in self.clients {
            results.extend(client.join().map_err(|_| "a client panicked")?);
        }
        Ok(results)
    }
}

impl LoadState {
    fn send_queries(&self, address: SocketAddr, queries: Queries) -> Vec<QueryResult> {
        let mut connection = None;
        let mut results = Vec::new();
        while !self.is_finished.load(Ordering::Relaxed) {
            let number = self.queries.fetch_add(1, Ordering::Relaxed);
            let target = match queries {
                Queries::Identical => QUERY.to_owned(),
                Queries::Different => format!("{QUERY}&u={number}"),
            };
            let sent = self.start.elapsed();
            let error = query(address, &mut connection, &target).err();
            let latency = self.start.elapsed() - sent;
            results.push(QueryResult { sent, latency, error: error.map(|it| it.to_string()) });
        }
        results
    }
}

/// Opens a connection if there is none. It is closed after an error.
fn query(
    address: SocketAddr,
    connection: &mut Option<Connection>,
    target: &str,
) -> Result<(), Box<dyn Error>> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(address)?,
    };
    let head = open.send(target, "")?;
    let body = open.read_body(&head)?;
    if head.status != 200 || !body.starts_with(b"{\"status\":\"success\"") {
        return Err(format!("status {}: {}", head.status, String::from_utf8_lossy(&body)).into());
    }
    *connection = Some(open);
    Ok(())
}
