//! The HTTP client towards instances: one [`Peer`] an address.
//!
//! awc pools connections by the URI's authority and closes an idle one only
//! when the same authority is asked again. Containers come and go, each with a
//! new address, so sockets to addresses that nobody asks again would pile up.
//! A pool of its own for each address can be dropped whole once it is idle.
//!
//! `awc::Client` is not `Send`: each worker has a [`Client`] of its own.

use super::connection::{Dial, Tally};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

/// Connections of one worker to all instances.
#[derive(Clone)]
pub struct Client(Rc<Peers>);

struct Peers {
    by_address: RefCell<HashMap<SocketAddr, Rc<Peer>>>,
    idle_timeout: Duration,
}

/// Connections to one address.
pub(super) struct Peer {
    pub(super) http: awc::Client,
    pub(super) tally: Rc<Tally>,
    last_used: Cell<Instant>,
}

impl Peer {
    fn new(address: SocketAddr, idle_timeout: Duration) -> Self {
        let tally = Rc::new(Tally::default());
        let connector = awc::Connector::new()
            .connector(Dial { address, tally: Rc::clone(&tally) })
            // The caller's deadline is the only one.
            .timeout(Duration::from_secs(3600))
            .handshake_timeout(Duration::from_secs(3600))
            .conn_keep_alive(idle_timeout)
            .conn_lifetime(Duration::from_secs(3600));
        let http = awc::Client::builder()
            .connector(connector)
            .disable_timeout()
            .disable_redirects()
            .no_default_headers()
            .finish();
        Self { http, tally, last_used: Cell::new(Instant::now()) }
    }
}

impl Client {
    /// A client without connections; closes those idle for `idle_timeout`.
    ///
    /// Needs a running `LocalSet` (an actix arbiter) for the task that does so,
    /// which ends with the client.
    pub fn new(idle_timeout: Duration) -> Self {
        let peers = Rc::new(Peers { by_address: RefCell::default(), idle_timeout });
        actix_rt::spawn(close_idle(Rc::downgrade(&peers), idle_timeout));
        Self(peers)
    }

    pub(super) fn peer(&self, address: SocketAddr) -> Rc<Peer> {
        let mut peers = self.0.by_address.borrow_mut();
        let peer = peers
            .entry(address)
            .or_insert_with(|| Rc::new(Peer::new(address, self.0.idle_timeout)));
        peer.last_used.set(Instant::now());
        Rc::clone(peer)
    }

    /// A peer without kept connections, since those it had are dead.
    pub(super) fn fresh_peer(&self, address: SocketAddr) -> Rc<Peer> {
        let peer = Rc::new(Peer::new(address, self.0.idle_timeout));
        self.0.by_address.borrow_mut().insert(address, Rc::clone(&peer));
        peer
    }
}

async fn close_idle(peers: Weak<Peers>, idle_timeout: Duration) {
    let pause = (idle_timeout / 4).clamp(Duration::from_millis(50), Duration::from_secs(10));
    loop {
        tokio::time::sleep(pause).await;
        let Some(peers) = peers.upgrade() else { return };
        peers.by_address.borrow_mut().retain(|_, peer| {
            Rc::strong_count(peer) > 1 || peer.last_used.get().elapsed() < idle_timeout
        });
    }
}
