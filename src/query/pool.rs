//! Pools: sets of Prometheus replicas that scrape the same targets, behind one address.
//!
//! ```text
//! locators ─► URLs ─► probes ─► health ─► strategy ─► PoolSnapshot ─► route ─► Upstream ─► forward
//!    └ each keeps its last result          └ hysteresis         affinity ┘
//! ```
//!
//! A [`PoolMonitor`] per pool does all but the last two steps, in the background. Requests read the
//! [`PoolSnapshot`] without locks.

mod affinity;
mod health;
mod in_flight;
mod located;
mod measurement;
mod metrics;
mod monitor;
mod probe;
mod settings;
mod slots;
mod snapshot;
mod strategy;

pub use affinity::{CookieKey, client_address};
pub use health::Health;
pub use measurement::Measurement;
pub use metrics::{PoolMetrics, PoolsCollector};
pub use monitor::PoolMonitor;
pub use settings::{Affinity, LocatorSettings, PoolCredentials, PoolSettings};
pub(super) use slots::Slot;
pub use snapshot::{LocatorStatus, PoolReplica, PoolSnapshot};
pub use strategy::Strategy;

use super::{PrometheusClient, QueryFailure, QueryRequest, QueryResponse, Server, Upstream};
use crate::{domain::BaseUrl, tls::ClientTls};
use affinity::{AddressTable, COOKIE_LIFETIME};
use arc_swap::ArcSwap;
use awc::http::header::HeaderValue;
use in_flight::{InFlight, QueryKey, Role, Shared};
use slots::Slots;
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::time::timeout;

/// A pool; clones share its state.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: PoolSettings,
    external_url: String,
    authorization: Option<HeaderValue>,
    tls: ClientTls,
    snapshot: ArcSwap<PoolSnapshot>,
    addresses: AddressTable,
    cookie_key: Arc<CookieKey>,
    slots: Slots,
    in_flight: InFlight,
    metrics: PoolMetrics,
}

/// The client of a query, for affinity.
#[derive(Clone, Copy, Debug)]
pub struct PoolClient<'a> {
    pub address: Option<IpAddr>,
    /// Value of the cookie with the name [`Pool::cookie_name`].
    pub cookie: Option<&'a str>,
}

/// A response, and a cookie that the client should use from now on.
#[derive(Debug)]
pub struct PoolResponse {
    pub response: QueryResponse,
    pub set_cookie: Option<String>,
}

/// The replicas for one query.
struct Route {
    upstream: Upstream,
    /// The replica that the client used before, or a new one; `None` without affinity.
    preferred: Option<Preferred>,
}

struct Preferred {
    url: Arc<str>,
    /// Whether the client has a cookie for this replica that is valid for long enough.
    has_cookie: bool,
}

impl Pool {
    /// Creates a pool without replicas. A [`PoolMonitor`] finds them.
    pub fn new(
        settings: PoolSettings,
        base_url: &BaseUrl,
        tls: ClientTls,
        cookie_key: Arc<CookieKey>,
        metrics: PoolMetrics,
    ) -> Self {
        Self(Arc::new(Inner {
            external_url: format!("{base_url}/pools/{}", settings.name),
            authorization: settings.credentials.as_ref().and_then(PoolCredentials::header),
            tls,
            snapshot: ArcSwap::default(),
            addresses: AddressTable::default(),
            cookie_key,
            slots: Slots::new(settings.max_concurrent),
            in_flight: InFlight::default(),
            metrics,
            settings,
        }))
    }

    pub fn settings(&self) -> &PoolSettings {
        &self.0.settings
    }

    pub fn snapshot(&self) -> Arc<PoolSnapshot> {
        self.0.snapshot.load_full()
    }

    /// Number of client addresses whose queries go to the replica with this URL.
    pub fn clients_of(&self, url: &str) -> usize {
        self.0.addresses.count(url)
    }

    /// Name of the affinity cookie.
    pub fn cookie_name(&self) -> String {
        format!("scrapebroker-replica-{}", self.0.settings.name)
    }

    /// Lifetime of the affinity cookie, seconds.
    pub fn cookie_lifetime(&self) -> u64 {
        COOKIE_LIFETIME
    }

    /// Sends a query to the selected replicas until one responds.
    ///
    /// # Errors
    /// [`QueryFailure`] if there is no response that may be forwarded, or too many queries.
    pub async fn forward(
        &self,
        client: &PrometheusClient,
        from: PoolClient<'_>,
        request: &QueryRequest<'_>,
    ) -> Result<PoolResponse, QueryFailure> {
        let Route { upstream, preferred } = self.route(from);
        let key = QueryKey::new(request, preferred.as_ref().and(upstream.servers.first()));
        let response = match key {
            Some(key) => self.send_or_wait(client, &upstream, request, key).await?,
            None => self.send(client, &upstream, request).await?,
        };
        let set_cookie = preferred.and_then(|it| self.remember(from, &it, &response.server));
        Ok(PoolResponse { response, set_cookie })
    }

    /// Sends the query, unless an identical one is in progress.
    async fn send_or_wait(
        &self,
        client: &PrometheusClient,
        upstream: &Upstream,
        request: &QueryRequest<'_>,
        key: QueryKey,
    ) -> Result<QueryResponse, QueryFailure> {
        loop {
            match self.0.in_flight.enter(key.clone()) {
                Role::First(first) => {
                    let result = self.send(client, upstream, request).await;
                    return first.share(result).await;
                }
                Role::Other(waiting) => match timeout(request.timeout, waiting.response())
                    .await
                    .unwrap_or(Err(QueryFailure::Timeout(request.timeout)))?
                {
                    Shared::Response(response) => {
                        self.0.metrics.coalesced(&self.0.settings.name);
                        return Ok(*response);
                    }
                    Shared::TooLong => return self.send(client, upstream, request).await,
                    Shared::Abandoned => {}
                },
            }
        }
    }

    async fn send(
        &self,
        client: &PrometheusClient,
        upstream: &Upstream,
        request: &QueryRequest<'_>,
    ) -> Result<QueryResponse, QueryFailure> {
        let (pool, began) = (&self.0.settings.name, Instant::now());
        let Some(slot) = self.0.slots.acquire().await else {
            self.0.metrics.rejected(pool);
            return Err(QueryFailure::TooMany(self.0.settings.max_concurrent));
        };
        let result = client.forward(upstream, request).await;
        let status = result.as_ref().ok().map(|it| it.status.as_u16());
        self.0.metrics.responded(pool, status, began.elapsed());
        let mut response = result?;
        response.body.hold(slot);
        Ok(response)
    }

    /// The replicas in the order in which they are tried for a client.
    fn route(&self, from: PoolClient<'_>) -> Route {
        let snapshot = self.0.snapshot.load();
        let selected = snapshot.selected();
        let mut servers: Vec<_> = snapshot.replicas.iter().map(|it| it.server.clone()).collect();
        let mut preferred = None;
        if selected.len() > 1 {
            let choose = || fastrand::usize(..selected.len());
            let (first, has_cookie) = match self.0.settings.affinity {
                Affinity { cookies: false, source_ip: false } => (choose(), None),
                _ => {
                    let (first, has_cookie) = self.affine(from, selected, choose);
                    (first, Some(has_cookie))
                }
            };
            // The others take over in a different order for each first one.
            if let Some(selected) = servers.get_mut(..selected.len()) {
                selected.rotate_left(first);
            }
            let url = servers.first().map(|it| Arc::clone(&it.url));
            preferred = url.zip(has_cookie).map(|(url, has_cookie)| Preferred { url, has_cookie });
        }
        let why_empty = if servers.is_empty() { snapshot.why_empty() } else { String::new() };
        Route { upstream: self.upstream(servers, why_empty), preferred }
    }

    /// The replica of a client, and whether its cookie remains.
    fn affine(
        &self,
        from: PoolClient<'_>,
        selected: &[PoolReplica],
        choose: impl FnOnce() -> usize,
    ) -> (usize, bool) {
        let Inner { settings, cookie_key, addresses, metrics, .. } = &*self.0;
        let cookie = from.cookie.filter(|_| settings.affinity.cookies);
        let found = cookie
            .and_then(|it| cookie_key.find(&settings.name, it, selected, unix_time().as_secs()));
        if let Some((index, is_old)) = found {
            metrics.affinity_hit(&settings.name, "cookies");
            return (index, !is_old);
        }
        let Some(address) = from.address.filter(|_| settings.affinity.source_ip) else {
            return (choose(), false);
        };
        let (index, is_known) = addresses.find(address, selected, choose);
        if is_known {
            metrics.affinity_hit(&settings.name, "source-ip");
        }
        (index, false)
    }

    /// Remembers the replica that responded to a client. Returns a new cookie if it needs one.
    fn remember(
        &self,
        from: PoolClient<'_>,
        preferred: &Preferred,
        server: &Server,
    ) -> Option<String> {
        let Inner { settings, cookie_key, addresses, .. } = &*self.0;
        let is_preferred = preferred.url == server.url;
        if let Some(address) = from.address.filter(|_| settings.affinity.source_ip && !is_preferred)
        {
            addresses.put(address, &server.url);
        }
        let needs_cookie = settings.affinity.cookies && !(preferred.has_cookie && is_preferred);
        needs_cookie.then(|| cookie_key.issue(&settings.name, &server.url, unix_time().as_secs()))
    }

    fn upstream(&self, servers: Vec<Server>, why_empty: String) -> Upstream {
        Upstream {
            external_url: self.0.external_url.clone(),
            servers,
            why_empty,
            authorization: self.0.authorization.clone(),
            tls: Some(self.0.tls.clone()),
            limits: self.0.settings.limits,
        }
    }

    fn publish(&self, next: PoolSnapshot) {
        let before = self.snapshot();
        let urls = |snapshot: &PoolSnapshot| -> Vec<Arc<str>> {
            snapshot.selected().iter().map(|it| Arc::clone(&it.server.url)).collect()
        };
        let (old, new) = (urls(&before), urls(&next));
        if old != new {
            self.0.metrics.selected(&self.0.settings.name);
            let names = next.selected().iter().map(|it| &*it.server.name);
            let replicas = names.collect::<Vec<_>>().join(", ");
            tracing::info!(pool = self.0.settings.name, replicas, "replicas selected");
        }
        self.0.snapshot.store(Arc::new(next));
    }
}

/// The time since 1970 on this machine's clock.
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
