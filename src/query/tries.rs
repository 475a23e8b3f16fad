//! Tries of one query on the servers of an upstream.
//!
//! All replicas have the same data, so any of them may respond. If a replica fails before it
//! responds, or is overloaded or starting, the next one is queried instead. If it is slow, the next
//! one is queried as well: the first good response wins, and the other query is canceled. Reads
//! change nothing, so a query may be sent more than once.

use super::{
    Hedge, PrometheusClient, QueryFailure, QueryRequest, Server, Upstream,
    failure::{explain, is_unreachable},
    server_states::RetryReason,
};
use crate::net::Permit;
use awc::{ClientResponse, error::SendRequestError, http::StatusCode};
use futures_util::{
    StreamExt,
    future::{FutureExt, LocalBoxFuture},
    stream::FuturesUnordered,
};
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// Maximum number of replicas that one query is sent to.
const MAX_TRIES: usize = 3;

/// Minimum delay before a query is sent to a replica that lacks data as well.
const INCOMPLETE_HEDGE_DELAY: Duration = Duration::from_secs(5);

/// How long a replica with an open breaker is waited for if another one responded with an error.
const LAST_RESORT_TIMEOUT: Duration = Duration::from_secs(1);

/// A replica that loses against another one, although it had this many times as long, has hung.
const HUNG_FACTOR: u32 = 4;

/// The response that is forwarded.
pub(super) struct Winner<'a> {
    pub(super) response: ClientResponse,
    pub(super) server: &'a Server,
    pub(super) permit: Permit,
}

pub(super) struct Tries<'a> {
    client: &'a PrometheusClient,
    upstream: &'a Upstream,
    request: &'a QueryRequest<'a>,
    /// Servers that were not queried yet.
    untried: Vec<&'a Server>,
    running: FuturesUnordered<LocalBoxFuture<'a, Ended<'a>>>,
    /// The replicas of `running`: at most two.
    waiting_for: Vec<Started<'a>>,
    started: usize,
    /// Servers that did not respond within the timeout of a try.
    timed_out: Vec<Started<'a>>,
}

#[derive(Clone, Copy)]
struct Started<'a> {
    server: &'a Server,
    at: Instant,
    /// Sent while another try was running.
    is_hedge: bool,
}

struct Ended<'a> {
    started: Started<'a>,
    permit: Permit,
    result: Result<ClientResponse, TryError>,
}

enum TryError {
    Timeout(Duration),
    Send(SendRequestError),
}

impl<'a> Tries<'a> {
    pub(super) fn new(
        client: &'a PrometheusClient,
        upstream: &'a Upstream,
        request: &'a QueryRequest<'a>,
    ) -> Self {
        Self {
            client,
            upstream,
            request,
            untried: upstream.servers.iter().collect(),
            running: FuturesUnordered::new(),
            waiting_for: Vec::new(),
            started: 0,
            timed_out: Vec::new(),
        }
    }

    /// Queries replicas until one of them responds well, or no more may be queried.
    pub(super) async fn run(mut self, permit: Permit) -> Result<Winner<'a>, QueryFailure> {
        let mut failure = QueryFailure::Unavailable(self.upstream.why_empty.clone());
        let mut deadline = pin!(sleep(self.request.timeout));
        self.start_next(permit, false);
        while let Some(newest) = self.waiting_for.last().copied() {
            let delay = self.hedge_delay(newest.server);
            let Ended { started, permit, result } = tokio::select! {
                Some(ended) = self.running.next() => ended,
                () = sleep(delay.unwrap_or_default()), if self.may_hedge(delay) => {
                    self.hedge(newest);
                    continue;
                }
                () = &mut deadline => {
                    // The timeout is longer than that of the query, so these servers have hung.
                    self.waiting_for.iter().for_each(|it| self.record_loss(*it));
                    return Err(QueryFailure::Timeout(self.request.timeout));
                }
            };
            self.waiting_for.retain(|it| it.server.url != started.server.url);
            let reason = match result {
                Ok(response) if !is_retryable(response.status()) => {
                    self.record_win(started);
                    return Ok(Winner { response, server: started.server, permit });
                }
                Ok(response) if !self.may_improve(started) => {
                    self.record_loss(started);
                    let winner = Winner { response, server: started.server, permit };
                    return Ok(match self.took_long(started) {
                        true => winner,
                        false => self.last_resort(winner).await,
                    });
                }
                Ok(_) => RetryReason::Status,
                Err(TryError::Timeout(timeout)) => {
                    failure = QueryFailure::Timeout(timeout);
                    // Either the server has hung, or the query is too expensive for all of them.
                    self.timed_out.push(started);
                    if self.start_next(permit, false) {
                        self.client.states.record_retry(RetryReason::Timeout);
                    }
                    continue;
                }
                Err(TryError::Send(SendRequestError::Connect(error))) if is_unreachable(&error) => {
                    let why = explain(&error);
                    failure =
                        QueryFailure::Unavailable(format!("server {} {why}", started.server.name));
                    RetryReason::Connect
                }
                Err(TryError::Send(_)) => {
                    failure = QueryFailure::Broken;
                    RetryReason::Broken
                }
            };
            self.record_loss(started);
            if self.start_next(permit, false) {
                self.client.states.record_retry(reason);
            }
        }
        Err(failure)
    }

    fn has_next(&self) -> bool {
        self.started < MAX_TRIES && !self.untried.is_empty()
    }

    /// When the query is sent to a second server as well, or `None` for never.
    fn hedge_delay(&self, server: &Server) -> Option<Duration> {
        let delay = match self.upstream.limits.hedge {
            Hedge::Auto => self.client.states.hedge_delay(&server.url),
            Hedge::Off => return None,
            Hedge::After(delay) => delay,
        };
        let mut complete = self.upstream.servers.iter().take(self.upstream.complete);
        let is_good = self.untried.is_empty() || complete.any(|it| self.untried.contains(&it));
        Some(if is_good { delay } else { delay.max(INCOMPLETE_HEDGE_DELAY) })
    }

    fn may_hedge(&self, delay: Option<Duration>) -> bool {
        delay.is_some() && self.has_next() && self.waiting_for.len() == 1
    }

    /// Whether another replica may still give a better response than this one. A query that took long
    /// was too expensive for this replica, and takes as long on another one. A replica with an open
    /// breaker may have hung.
    fn may_improve(&self, started: Started<'_>) -> bool {
        let states = &self.client.states;
        let has_good = || self.untried.iter().any(|it| !states.is_open(&it.url));
        !self.took_long(started)
            && (!self.waiting_for.is_empty() || (self.has_next() && has_good()))
    }

    fn took_long(&self, started: Started<'_>) -> bool {
        started.at.elapsed() >= self.request.timeout / 2
    }

    /// Sends the query to a replica with an open breaker before an error response is returned. That
    /// replica may be ready again, as in a rolling restart.
    async fn last_resort(mut self, error: Winner<'a>) -> Winner<'a> {
        let owner = &self.upstream.external_url;
        let permit = self.has_next().then(|| self.client.limiter.acquire(owner).now_or_never());
        let Some(permit) = permit.flatten() else { return error };
        self.start_next(permit, false);
        self.client.states.record_retry(RetryReason::Status);
        let ended = timeout(LAST_RESORT_TIMEOUT, self.running.next()).await;
        self.waiting_for.clear();
        match ended {
            Ok(Some(Ended { started, permit, result: Ok(response) }))
                if !is_retryable(response.status()) =>
            {
                self.record_win(started);
                Winner { response, server: started.server, permit }
            }
            Ok(Some(Ended { started, .. })) => {
                self.record_loss(started);
                error
            }
            // Either it has hung, or the query takes longer.
            Ok(None) | Err(_) => error,
        }
    }

    /// Sends the query to the next replica. If the breakers of all are open, the first of them is
    /// the last resort. Returns whether there was a next one.
    fn start_next(&mut self, permit: Permit, is_hedge: bool) -> bool {
        if !self.has_next() {
            return false;
        }
        let states = &self.client.states;
        let allowed = self.untried.iter().position(|it| states.allows(&it.url));
        let server = self.untried.remove(allowed.unwrap_or(0));
        states.count_query(&server.url);
        let started = Started { server, at: Instant::now(), is_hedge };
        let (client, upstream, request) = (self.client, self.upstream, self.request);
        self.running.push(Box::pin(async move {
            let sending = client.send(server, upstream, request);
            let result = match upstream.limits.try_timeout {
                None => sending.await.map_err(TryError::Send),
                Some(limit) => match timeout(limit, sending).await {
                    Ok(sent) => sent.map_err(TryError::Send),
                    Err(_) => Err(TryError::Timeout(limit)),
                },
            };
            Ended { started, permit, result }
        }));
        self.waiting_for.push(started);
        self.started += 1;
        true
    }

    /// Queries another replica too, if the limits of hedged requests and of connections allow it.
    fn hedge(&mut self, slow: Started<'a>) {
        let states = &self.client.states;
        if !states.is_open(&slow.server.url) && !states.take_hedge(&slow.server.url) {
            return;
        }
        let permit = self.client.limiter.acquire(&self.upstream.external_url).now_or_never();
        if let Some(permit) = permit {
            self.start_next(permit, true);
        }
    }

    fn record_win(&self, winner: Started<'_>) {
        let states = &self.client.states;
        let latency = winner.at.elapsed();
        states.record_success(&winner.server.url, latency);
        self.timed_out.iter().for_each(|it| self.record_loss(*it));
        if winner.is_hedge {
            states.record_hedge(true);
        }
        for loser in &self.waiting_for {
            if loser.is_hedge {
                states.record_hedge(false);
            }
            if loser.at.elapsed() >= latency * HUNG_FACTOR {
                states.record_failure(&loser.server.url);
            }
        }
    }

    fn record_loss(&self, started: Started<'_>) {
        self.client.states.record_failure(&started.server.url);
        if started.is_hedge {
            self.client.states.record_hedge(false);
        }
    }
}

/// Whether another replica may respond better: this one is starting, overloaded, or behind a proxy
/// that does not reach it.
fn is_retryable(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}
