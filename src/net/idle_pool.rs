//! Clients of many servers, each dropped with its connections when it is idle.
//!
//! awc pools connections by the URI's authority and closes an idle one only at the next request to
//! the same authority. Servers are replaced, often with a new address, so sockets to old addresses
//! would pile up. A client per server can be dropped as a whole.

use super::connection_limiter::ConnectionLimiter;
use std::{
    cell::RefCell,
    collections::HashMap,
    hash::Hash,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

/// The clients of one worker, by server.
pub struct IdlePool<K, V> {
    entries: RefCell<HashMap<K, Entry<V>>>,
    idle_timeout: Duration,
}

struct Entry<V> {
    client: Rc<V>,
    last_used: Instant,
}

impl<K: Eq + Hash + 'static, V: 'static> IdlePool<K, V> {
    /// Creates a pool that drops clients that are idle for `idle_timeout`, and all idle clients when
    /// `limiter` has no room left.
    ///
    /// Needs a running `LocalSet` (an actix arbiter) for the task that drops idle clients. The task
    /// ends with the pool.
    pub fn new(idle_timeout: Duration, limiter: ConnectionLimiter) -> Rc<Self> {
        let pool = Rc::new(Self { entries: RefCell::default(), idle_timeout });
        actix_rt::spawn(drop_idle(Rc::downgrade(&pool), limiter, idle_timeout));
        pool
    }

    pub fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// The client of a server. A new one is created by `new`.
    pub fn get(&self, key: K, new: impl FnOnce() -> V) -> Rc<V> {
        let mut entries = self.entries.borrow_mut();
        let now = Instant::now();
        let entry =
            entries.entry(key).or_insert_with(|| Entry { client: Rc::new(new()), last_used: now });
        entry.last_used = now;
        Rc::clone(&entry.client)
    }

    /// Replaces a client whose idle connections turned out to be closed.
    pub fn replace(&self, key: K, client: V) -> Rc<V> {
        let client = Rc::new(client);
        let entry = Entry { client: Rc::clone(&client), last_used: Instant::now() };
        self.entries.borrow_mut().insert(key, entry);
        client
    }

    fn retain(&self, keep_fresh: bool) {
        self.entries.borrow_mut().retain(|_, entry| {
            let is_fresh = keep_fresh && entry.last_used.elapsed() < self.idle_timeout;
            Rc::strong_count(&entry.client) > 1 || is_fresh
        });
    }
}

async fn drop_idle<K: Eq + Hash + 'static, V: 'static>(
    pool: Weak<IdlePool<K, V>>,
    limiter: ConnectionLimiter,
    idle_timeout: Duration,
) {
    let pause = (idle_timeout / 4).clamp(Duration::from_millis(50), Duration::from_secs(10));
    loop {
        let keep_fresh = tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = limiter.close_idle_requested() => false,
        };
        let Some(pool) = pool.upgrade() else { return };
        pool.retain(keep_fresh);
    }
}
