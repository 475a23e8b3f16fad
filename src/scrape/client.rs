//! The HTTP client towards instances: one [`Peer`] an address and name.
//!
//! awc pools connections by the URI's authority and closes an idle one only
//! when the same authority is asked again. Containers come and go, each with a
//! new address, so sockets to addresses that nobody asks again would pile up.
//! A pool of its own for each address can be dropped whole once it is idle.
//! With TLS an address is not enough: platforms give it to the next instance,
//! whose certificate has another name, and certificates in force change. A
//! connection is used again only under the name and the certificates that it
//! was verified with.
//!
//! `awc::Client` is not `Send`: each worker has a [`Client`] of its own.

use super::{
    connection::{Dial, Tally},
    failure::{Failure, Reason},
    http2::Http2,
    wire::Place,
};
use crate::{
    discovery::Endpoint,
    net::{Outgoing, Permit},
    tls::{Backends, ServerName},
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};
use tokio::time::Instant as Deadline;

/// Connections of one worker to all instances.
#[derive(Clone)]
pub struct Client(Rc<Peers>);

struct Peers {
    by_key: RefCell<HashMap<Key, Rc<Peer>>>,
    backends: Backends,
    outgoing: Outgoing,
    idle_timeout: Duration,
}

/// What a kept connection was made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    address: SocketAddr,
    /// The name that was verified, and by which certificates.
    tls: Option<(ServerName<'static>, u64)>,
    http2: bool,
}

/// Connections to one instance.
pub(super) struct Peer {
    pub(super) http1: awc::Client,
    pub(super) tally: Rc<Tally>,
    http2: Option<Http2>,
    last_used: Cell<Instant>,
}

impl Peer {
    fn new(place: Place, http2: bool, idle_timeout: Duration) -> Self {
        let tally = Rc::new(Tally::default());
        let http2 = http2.then(|| Http2::new(place.clone(), idle_timeout));
        let connector = awc::Connector::new()
            .connector(Dial { place, tally: Rc::clone(&tally) })
            // The caller's deadline is the only one.
            .timeout(Duration::from_secs(3600))
            .handshake_timeout(Duration::from_secs(3600))
            .conn_keep_alive(idle_timeout)
            .conn_lifetime(Duration::from_secs(3600));
        let http1 = awc::Client::builder()
            .connector(connector)
            .disable_timeout()
            .disable_redirects()
            .no_default_headers()
            .finish();
        Self { http1, tally, http2, last_used: Cell::new(Instant::now()) }
    }

    /// How to reach it in HTTP/2, if that is what it speaks.
    pub(super) fn http2(&self) -> Option<&Http2> {
        self.http2.as_ref().filter(|http2| !http2.is_refused())
    }
}

impl Client {
    /// A client without connections; closes those idle for `idle_timeout`, and all idle ones
    /// when `outgoing` has no room left.
    ///
    /// Needs a running `LocalSet` (an actix arbiter) for the task that does so,
    /// which ends with the client.
    pub fn new(idle_timeout: Duration, backends: Backends, outgoing: Outgoing) -> Self {
        let peers = Peers { by_key: RefCell::default(), backends, outgoing, idle_timeout };
        let peers = Rc::new(peers);
        actix_rt::spawn(close_idle(Rc::downgrade(&peers), peers.outgoing.clone(), idle_timeout));
        Self(peers)
    }

    /// Waits until a request for `owner` may use a connection.
    ///
    /// # Errors
    /// None was free at the deadline.
    pub(super) async fn permit(&self, owner: &str, deadline: Deadline) -> Result<Permit, Failure> {
        let permit = tokio::time::timeout_at(deadline, self.0.outgoing.acquire(owner)).await;
        permit.map_err(|_| {
            Failure::new(Reason::NoConnection, "not asked: no connection was free in time")
        })
    }

    /// Most connections at once.
    pub(super) fn max_connections(&self) -> usize {
        self.0.outgoing.max()
    }

    /// Counts a request that is answered 503 for want of a connection.
    pub(super) fn count_refused(&self) {
        self.0.outgoing.refuse();
    }

    pub(super) fn peer(&self, endpoint: &Endpoint) -> Result<Rc<Peer>, Failure> {
        let (key, place) = self.place(endpoint)?;
        let mut peers = self.0.by_key.borrow_mut();
        let new = || Rc::new(Peer::new(place, endpoint.http2, self.0.idle_timeout));
        let peer = peers.entry(key).or_insert_with(new);
        peer.last_used.set(Instant::now());
        Ok(Rc::clone(peer))
    }

    /// A peer without kept connections, since those it had are dead.
    pub(super) fn fresh_peer(&self, endpoint: &Endpoint) -> Result<Rc<Peer>, Failure> {
        let (key, place) = self.place(endpoint)?;
        let peer = Rc::new(Peer::new(place, endpoint.http2, self.0.idle_timeout));
        self.0.by_key.borrow_mut().insert(key, Rc::clone(&peer));
        Ok(peer)
    }

    fn place(&self, endpoint: &Endpoint) -> Result<(Key, Place), Failure> {
        let address = endpoint.address;
        let tls = match endpoint.tls {
            false => None,
            true => Some((server_name(endpoint)?, self.0.backends.current())),
        };
        let verified = tls.as_ref().map(|(name, current)| (name.clone(), current.generation));
        let key = Key { address, tls: verified, http2: endpoint.http2 };
        Ok((key, Place { address, tls, outgoing: self.0.outgoing.clone() }))
    }
}

/// The name that its certificate must carry; without one its address.
fn server_name(endpoint: &Endpoint) -> Result<ServerName<'static>, Failure> {
    let Some(name) = endpoint.server_cert_domain_san.as_deref().filter(|name| !name.is_empty())
    else {
        return Ok(ServerName::from(endpoint.address.ip()));
    };
    ServerName::try_from(name.to_owned()).map_err(|_| {
        let text = format!("the route names {name:?} for its certificate, which is no DNS name");
        Failure::new(Reason::Tls, text)
    })
}

async fn close_idle(peers: Weak<Peers>, outgoing: Outgoing, idle_timeout: Duration) {
    let pause = (idle_timeout / 4).clamp(Duration::from_millis(50), Duration::from_secs(10));
    loop {
        let all = tokio::select! {
            () = tokio::time::sleep(pause) => false,
            () = outgoing.idle_wanted() => true,
        };
        let Some(peers) = peers.upgrade() else { return };
        peers.by_key.borrow_mut().retain(|_, peer| {
            let is_fresh = !all && peer.last_used.get().elapsed() < idle_timeout;
            Rc::strong_count(peer) > 1 || is_fresh
        });
    }
}
