//! Tries of one query on the servers of an upstream.
//!
//! All replicas have the same data, so any of them may respond. If a replica fails before it
//! responds, or is overloaded or starting, the next one is queried instead. If it is slow, the next
//! one is queried as well: the first good response wins, and the other query is canceled. Reads
//! change nothing, so a query may be sent more than once. A write, or a long body, is sent to one
//! replica only; to the next one only if no connection was opened.

use super::{
    Hedge, PrometheusClient, QueryFailure, QueryRequest, RequestBodyError, Server, Upstream,
    failure::{explain, is_unreachable},
    server_state::{Cause, ServerState},
    server_states::RetryReason,
};
use crate::net::Permit;
use awc::{ClientResponse, error::SendRequestError, http::StatusCode};
use futures_util::{
    StreamExt,
    future::{FutureExt, LocalBoxFuture},
    stream::FuturesUnordered,
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// Maximum number of replicas that one query is sent to.
const MAX_TRIES: usize = 3;

/// Minimum delay before a query is sent to a replica that lacks data as well.
const INCOMPLETE_HEDGE_DELAY: Duration = Duration::from_millis(500);

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
    untried: Vec<Untried<'a>>,
    running: FuturesUnordered<LocalBoxFuture<'a, Ended<'a>>>,
    /// The replicas of `running`: at most two.
    waiting_for: Vec<Started<'a>>,
    started: usize,
    /// Servers that did not respond within the timeout of a try.
    timed_out: Vec<Started<'a>>,
}

struct Untried<'a> {
    server: &'a Server,
    state: Arc<ServerState>,
}

#[derive(Clone)]
struct Started<'a> {
    server: &'a Server,
    state: Arc<ServerState>,
    at: Instant,
    cause: Cause,
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
        let servers = upstream.servers.iter().zip(client.states.of(upstream));
        Self {
            client,
            upstream,
            request,
            untried: servers.map(|(server, state)| Untried { server, state }).collect(),
            running: FuturesUnordered::new(),
            waiting_for: Vec::new(),
            started: 0,
            timed_out: Vec::new(),
        }
    }

    /// Queries replicas until one of them responds well, or no more may be queried.
    pub(super) async fn run(mut self, permit: Permit) -> Result<Winner<'a>, QueryFailure> {
        let mut failure = None;
        let mut deadline = pin!(sleep(self.request.timeout));
        self.start_next(permit, Cause::First);
        while let Some(newest) = self.waiting_for.last() {
            let delay = self.hedge_delay(&newest.state);
            let Ended { started, permit, result } = tokio::select! {
                Some(ended) = self.running.next() => ended,
                () = sleep(delay.unwrap_or_default()), if self.may_hedge(delay) => {
                    self.hedge();
                    continue;
                }
                () = &mut deadline => {
                    if let Some(failure) = self.client_failure(true) {
                        return Err(failure);
                    }
                    // The timeout is longer than that of the query, so these servers have hung.
                    self.waiting_for.iter().for_each(|it| self.record_loss(it));
                    return Err(QueryFailure::Timeout(self.request.timeout));
                }
            };
            self.waiting_for.retain(|it| it.server.url != started.server.url);
            if let Err(error) = &result
                && let Some(failure) = self.client_failure(matches!(error, TryError::Timeout(_)))
            {
                return Err(failure);
            }
            let (reason, why) = match result {
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                    (RetryReason::Refused, QueryFailure::Refused)
                }
                Ok(response) if !is_retryable(response.status()) => {
                    self.record_win(&started);
                    return Ok(Winner { response, server: started.server, permit });
                }
                Ok(response) if !self.may_improve(&started) => {
                    self.record_loss(&started);
                    let is_last = self.took_long(&started) || !self.request.may_repeat();
                    let winner = Winner { response, server: started.server, permit };
                    return Ok(match is_last {
                        true => winner,
                        false => self.last_resort(winner).await,
                    });
                }
                Ok(response) => status_failure(started.server, response.status()),
                Err(TryError::Timeout(limit)) => {
                    (RetryReason::Timeout, QueryFailure::Timeout(limit))
                }
                Err(TryError::Send(error)) => send_failure(started.server, &error),
            };
            match reason {
                // Either the server has hung, or the query is too expensive for all of them.
                RetryReason::Timeout if !self.request.is_write() => self.timed_out.push(started),
                _ => self.record_loss(&started),
            }
            // Wrong credentials are the reason only if all replicas refuse them.
            if failure.is_none() || reason != RetryReason::Refused {
                failure = Some(why);
            }
            let may_send = reason == RetryReason::Connect || self.request.may_repeat();
            if may_send && self.start_next(permit, Cause::Retry) {
                self.client.states.record_retry(reason);
            }
        }
        let no_server = || QueryFailure::Unavailable(self.upstream.why_empty.clone());
        Err(failure.unwrap_or_else(no_server))
    }

    /// Why a try has failed, if the client is the cause.
    fn client_failure(&self, is_timeout: bool) -> Option<QueryFailure> {
        let body = self.request.streamed()?;
        let is_slow = is_timeout && body.waits_for_client();
        body.error().or(is_slow.then_some(RequestBodyError::TooSlow)).map(QueryFailure::from)
    }

    fn has_next(&self) -> bool {
        self.started < MAX_TRIES && !self.untried.is_empty()
    }

    /// When the query is sent to a second server as well, or `None` for never.
    fn hedge_delay(&self, state: &ServerState) -> Option<Duration> {
        let delay = match self.upstream.limits.hedge {
            Hedge::Auto => state.hedge_delay(),
            Hedge::Off => return None,
            Hedge::After(delay) => delay,
        };
        let mut complete = self.upstream.servers.iter().take(self.upstream.complete);
        let is_untried = |it: &Server| self.untried.iter().any(|other| other.server.url == it.url);
        let is_good = self.untried.is_empty() || complete.any(is_untried);
        Some(if is_good { delay } else { delay.max(INCOMPLETE_HEDGE_DELAY) })
    }

    fn may_hedge(&self, delay: Option<Duration>) -> bool {
        delay.is_some()
            && self.has_next()
            && self.waiting_for.len() == 1
            && self.request.may_hedge()
    }

    /// Whether another replica may still give a better response than this one. A query that took long
    /// was too expensive for this replica, and takes as long on another one. A replica with an open
    /// breaker may have hung.
    fn may_improve(&self, started: &Started<'_>) -> bool {
        let has_good = || self.untried.iter().any(|it| !it.state.is_open());
        self.request.may_repeat()
            && !self.took_long(started)
            && (!self.waiting_for.is_empty() || (self.has_next() && has_good()))
    }

    fn took_long(&self, started: &Started<'_>) -> bool {
        started.at.elapsed() >= self.request.timeout / 2
    }

    /// Sends the query to a replica with an open breaker before an error response is returned. That
    /// replica may be ready again, as in a rolling restart.
    async fn last_resort(mut self, error: Winner<'a>) -> Winner<'a> {
        let owner = &self.upstream.external_url;
        let permit = self.has_next().then(|| self.client.limiter.acquire(owner).now_or_never());
        let Some(permit) = permit.flatten() else { return error };
        self.start_next(permit, Cause::Retry);
        self.client.states.record_retry(RetryReason::Status);
        let ended = timeout(LAST_RESORT_TIMEOUT, self.running.next()).await;
        self.waiting_for.clear();
        match ended {
            Ok(Some(Ended { started, permit, result: Ok(response) }))
                if !is_retryable(response.status())
                    && response.status() != StatusCode::UNAUTHORIZED =>
            {
                self.record_win(&started);
                Winner { response, server: started.server, permit }
            }
            Ok(Some(Ended { started, .. })) => {
                self.record_loss(&started);
                error
            }
            // Either it has hung, or the query takes longer.
            Ok(None) | Err(_) => error,
        }
    }

    /// Sends the query to the next replica. If the breakers of all are open, the first of them is
    /// the last resort. Returns whether there was a next one.
    fn start_next(&mut self, permit: Permit, cause: Cause) -> bool {
        if !self.has_next() {
            return false;
        }
        let allowed = self.untried.iter().position(|it| it.state.allows());
        let Untried { server, state } = self.untried.remove(allowed.unwrap_or(0));
        state.count_query(cause);
        let started = Started { server, state, at: Instant::now(), cause };
        self.waiting_for.push(started.clone());
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
        self.started += 1;
        true
    }

    /// Queries another replica too, if the limits of hedged requests and of connections allow it.
    fn hedge(&mut self) {
        let may = |slow: &Started<'_>| slow.state.is_open() || slow.state.take_hedge();
        if !self.waiting_for.last().is_some_and(may) {
            return;
        }
        let permit = self.client.limiter.acquire(&self.upstream.external_url).now_or_never();
        if let Some(permit) = permit {
            self.start_next(permit, Cause::Hedge);
        }
    }

    fn record_win(&self, winner: &Started<'_>) {
        let states = &self.client.states;
        let latency = winner.at.elapsed();
        winner.state.record_success(latency);
        self.timed_out.iter().for_each(|it| self.record_loss(it));
        if winner.cause == Cause::Hedge {
            states.record_hedge(true);
        }
        for loser in &self.waiting_for {
            if loser.cause == Cause::Hedge {
                states.record_hedge(false);
            }
            if loser.at.elapsed() >= latency * HUNG_FACTOR {
                loser.state.record_slow();
            }
        }
    }

    fn record_loss(&self, started: &Started<'_>) {
        started.state.record_failure();
        if started.cause == Cause::Hedge {
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

fn status_failure(server: &Server, status: StatusCode) -> (RetryReason, QueryFailure) {
    let why = format!("server {} responds with {}", server.name, status.as_u16());
    (RetryReason::Status, QueryFailure::Unavailable(why))
}

fn send_failure(server: &Server, error: &SendRequestError) -> (RetryReason, QueryFailure) {
    match error {
        SendRequestError::Connect(error) if is_unreachable(error) => {
            let why = format!("server {} {}", server.name, explain(error));
            (RetryReason::Connect, QueryFailure::Unavailable(why))
        }
        _ => (RetryReason::Broken, QueryFailure::Broken),
    }
}
