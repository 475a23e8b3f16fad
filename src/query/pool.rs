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
pub use settings::{
    Affinity, LocatorSettings, PoolCredentials, PoolSettings, ProvisionedInstances,
};
pub(super) use slots::Slot;
pub use snapshot::{LocatorStatus, PoolReplica, PoolSnapshot};
pub use strategy::Strategy;

use super::{
    Authorization, PrometheusClient, QueryFailure, QueryRequest, QueryResponse, Server, Upstream,
    gaps::{self, Combination, DataRead, Filled, KnownGaps, Order, Outcome, Plan, PlannedReplica},
};
use crate::{domain::BaseUrl, tls::ClientTls};
use affinity::{AddressTable, COOKIE_LIFETIME};
use arc_swap::ArcSwap;
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
    authorization: Option<Authorization>,
    tls: Option<ClientTls>,
    snapshot: ArcSwap<PoolSnapshot>,
    gaps: ArcSwap<KnownGaps>,
    addresses: AddressTable,
    cookie_key: Arc<CookieKey>,
    slots: Slots,
    in_flight: InFlight,
    metrics: PoolMetrics,
}

/// The client of a query, for affinity.
#[derive(Clone, Copy, Debug, Default)]
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

/// How the gaps of replicas are avoided for one query.
struct Filling {
    combination: Combination,
    plan: Plan,
    /// The preferred replica has all data, but the others must not take over without a warning.
    is_usual: bool,
}

struct Preferred {
    url: Arc<str>,
    /// Whether the client has a cookie for this replica that is valid for long enough.
    has_cookie: bool,
}

impl Pool {
    /// Creates a pool without replicas. A [`PoolMonitor`] finds them. `external_url` is its public
    /// URL. Without `tls`, replicas are verified with the certificates of the system.
    pub fn new(
        settings: PoolSettings,
        external_url: String,
        tls: Option<ClientTls>,
        cookie_key: Arc<CookieKey>,
        metrics: PoolMetrics,
    ) -> Self {
        metrics.add(&settings.name);
        Self(Arc::new(Inner {
            external_url,
            authorization: settings.credentials.as_ref().and_then(PoolCredentials::authorization),
            tls,
            snapshot: ArcSwap::default(),
            gaps: ArcSwap::default(),
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

    fn external_url(&self) -> &str {
        &self.0.external_url
    }

    pub fn snapshot(&self) -> Arc<PoolSnapshot> {
        self.0.snapshot.load_full()
    }

    /// What is known of the gaps of its replicas.
    pub fn known_gaps(&self) -> Arc<KnownGaps> {
        self.0.gaps.load_full()
    }

    /// Whether the replica with this URL is known.
    pub fn has_found(&self, url: &BaseUrl) -> bool {
        self.0.snapshot.load().replicas.iter().any(|it| *it.server.url == *url.as_str())
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
        let filling = self.filling(client, &upstream, request);
        // The preferred replica of a client stays the same while another one fills its gaps.
        let is_usual = filling.as_ref().is_none_or(|it| it.is_usual);
        let key = QueryKey::new(request, preferred.as_ref().and(upstream.servers.first()));
        let response = match key {
            Some(key) => self.send_or_wait(client, &upstream, request, filling, key).await?,
            None => self.send(client, &upstream, request, filling).await?,
        };
        let preferred = preferred.filter(|_| is_usual);
        let set_cookie = preferred.and_then(|it| self.remember(from, &it, &response.server));
        Ok(PoolResponse { response, set_cookie })
    }

    /// Sends the query, unless an identical one is in progress.
    async fn send_or_wait(
        &self,
        client: &PrometheusClient,
        upstream: &Upstream,
        request: &QueryRequest<'_>,
        filling: Option<Filling>,
        key: QueryKey,
    ) -> Result<QueryResponse, QueryFailure> {
        loop {
            match self.0.in_flight.enter(key.clone()) {
                Role::First(first) => {
                    let result = self.send(client, upstream, request, filling).await;
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
                    Shared::TooLong => {
                        return self.send(client, upstream, request, filling).await;
                    }
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
        filling: Option<Filling>,
    ) -> Result<QueryResponse, QueryFailure> {
        let (pool, began) = (&self.0.settings.name, Instant::now());
        let Some(slot) = self.0.slots.acquire().await else {
            self.0.metrics.rejected(pool);
            let max = self.0.settings.max_concurrent;
            return Err(match request.is_write() {
                true => QueryFailure::TooManyForWrite(max),
                false => QueryFailure::TooMany(max),
            });
        };
        let result = match filling {
            None => client.forward(upstream, request).await,
            Some(Filling { combination, plan, is_usual }) => {
                let filled = gaps::fill(client, upstream, request, combination, plan).await;
                filled.map(|Filled { response, outcome }| {
                    if !is_usual || outcome != Outcome::Complete {
                        self.0.metrics.filled(pool, outcome);
                    }
                    response
                })
            }
        };
        let status = result.as_ref().ok().map(|it| it.status.as_u16());
        self.0.metrics.responded(pool, status, began.elapsed());
        let mut response = result?;
        response.body.hold(slot);
        Ok(response)
    }

    /// How gaps are avoided. `None` if the first replica has all data that the request reads.
    fn filling(
        &self,
        client: &PrometheusClient,
        upstream: &Upstream,
        request: &QueryRequest<'_>,
    ) -> Option<Filling> {
        // Such a request is sent once.
        if !request.may_hedge() {
            return None;
        }
        let known = self.0.gaps.load();
        if !known.may_have_any(client.states.interruptions()) || upstream.servers.len() < 2 {
            return None;
        }
        let read = DataRead::of(request, unix_milliseconds())?;
        let snapshot = self.0.snapshot.load();
        let replica = |server: &Server| {
            let found = snapshot.replicas.iter().find(|it| it.server.url == server.url);
            let is_usable =
                found.is_some_and(|it| !it.state.is_open() && it.health < Health::NotReady);
            let interruptions = found.map_or(0, |it| it.state.interruptions());
            PlannedReplica { is_usable, gaps: known.gaps_of(&server.url, interruptions) }
        };
        let replicas: Vec<_> = upstream.servers.iter().map(replica).collect();
        let plan = gaps::plan(&read, &replicas, known.oldest());
        let is_first = |order: &Order| order.replicas.first() == Some(&0) && order.complete > 0;
        let is_usual = matches!(&plan, Plan::Whole(order) if is_first(order));
        let all = replicas.len();
        let is_needed = !matches!(&plan, Plan::Whole(order) if is_usual && order.complete == all);
        is_needed.then_some(Filling { combination: read.combination(), plan, is_usual })
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

    pub(super) fn upstream(&self, servers: Vec<Server>, why_empty: String) -> Upstream {
        Upstream {
            external_url: self.0.external_url.clone(),
            servers,
            complete: usize::MAX,
            why_empty,
            authorization: self.0.authorization.clone(),
            tls: self.0.tls.clone(),
            limits: self.0.settings.limits,
        }
    }

    pub(super) fn publish_gaps(&self, known: KnownGaps) {
        self.0.gaps.store(Arc::new(known));
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

impl Drop for Inner {
    /// No query counts any more.
    fn drop(&mut self) {
        self.metrics.remove(&self.settings.name);
    }
}

pub(super) fn unix_milliseconds() -> i64 {
    i64::try_from(unix_time().as_millis()).unwrap_or(i64::MAX)
}

/// The time since 1970 on this machine's clock.
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
