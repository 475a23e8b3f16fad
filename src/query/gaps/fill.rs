//! Sends a query to the replicas of a plan, and combines their responses.

use super::{Combination, Order, Plan, data_read::Parameters, merge::merge, plan::Slice};
use crate::query::{
    PrometheusClient, QueryFailure, QueryRequest, QueryResponse, RequestBody, ResponseBody, Server,
    Upstream, forward::REPLICA,
};
use awc::http::{
    StatusCode,
    header::{self, HeaderMap, HeaderValue},
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{sync::Semaphore, time::timeout};

/// Maximum size of the responses that are combined to one, bytes.
const MAX_COMBINED: usize = 16 << 20;
/// Memory for responses that are combined, in the whole process, MiB. A combined response keeps its
/// part until it is sent.
static MEMORY: Semaphore = Semaphore::const_new(256);
/// Memory that is reserved for the responses to one query and for what they are combined to, MiB.
const RESERVED: u32 = 32;
/// Requests of one query at the same time.
const PARALLEL: usize = 4;

/// The response to a query for which gaps matter.
#[derive(Debug)]
pub(in crate::query) struct Filled {
    pub(in crate::query) response: QueryResponse,
    pub(in crate::query) outcome: Outcome,
}

/// How gaps were avoided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::query) enum Outcome {
    /// One replica without a gap answered.
    Complete,
    /// Several replicas answered, and are complete together.
    Combined,
    /// Samples are missing, and the response says so.
    Incomplete,
}

/// Sends `request` to the servers of `upstream` as `plan` says.
///
/// # Errors
/// [`QueryFailure`] if there is no response that may be forwarded.
pub(in crate::query) async fn fill(
    client: &PrometheusClient,
    upstream: &Upstream,
    request: &QueryRequest<'_>,
    combination: Combination,
    plan: Plan,
) -> Result<Filled, QueryFailure> {
    let filler = Filler { client, upstream, request: &uncompressed(request) };
    let (requests, is_complete, rest) = match plan {
        Plan::Whole(order) => return filler.whole(&order).await,
        Plan::Slices(slices) => {
            let is_complete = slices.iter().all(|it| it.order.complete > 0);
            let requests: Vec<_> = slices.iter().map(|it| filler.slice(it)).collect();
            (requests, is_complete, best(&slices))
        }
        Plan::Union { replicas, is_complete } => {
            let request = |index: &usize| Part {
                request: filler.request.clone(),
                order: first(*index, upstream.servers.len()),
            };
            let requests: Vec<_> = replicas.iter().map(request).collect();
            let best = replicas.first().map_or(0, |it| *it);
            (requests, is_complete, Order { complete: 0, ..first(best, upstream.servers.len()) })
        }
    };
    let combined = filler.combined(requests, combination, is_complete);
    let combined = timeout(request.timeout, combined).await;
    match combined.unwrap_or(Err(QueryFailure::Timeout(request.timeout)))? {
        Some(filled) => Ok(filled),
        // The responses are too long to be combined.
        None => filler.whole(&rest).await,
    }
}

/// A response to which a warning may be added must not be compressed.
fn uncompressed<'a>(request: &QueryRequest<'a>) -> QueryRequest<'a> {
    QueryRequest { is_uncompressed: true, ..request.clone() }
}

/// A replica, and then the others.
fn first(index: usize, count: usize) -> Order {
    let others = (0..count).filter(|it| *it != index);
    Order { replicas: [index].into_iter().chain(others).collect(), complete: 1 }
}

/// The order of the longest slice, for the whole query.
fn best(slices: &[Slice]) -> Order {
    let longest = slices.iter().max_by_key(|it| it.last - it.first);
    let replicas = longest.map(|it| it.order.replicas.clone()).unwrap_or_default();
    Order { replicas, complete: 0 }
}

struct Filler<'a> {
    client: &'a PrometheusClient,
    upstream: &'a Upstream,
    request: &'a QueryRequest<'a>,
}

/// A request whose response is a part of the whole.
struct Part<'a> {
    request: QueryRequest<'a>,
    order: Order,
}

/// The response to a part.
struct PartResponse {
    server: Server,
    headers: HeaderMap,
    body: Bytes,
    /// Whether a replica answered that has all data of the part.
    is_complete: bool,
}

/// Why the responses cannot be combined.
enum Obstacle {
    /// A replica responds to its part with an error, which answers the whole query.
    Response(Box<QueryResponse>),
    Failure(QueryFailure),
    TooLong,
}

impl<'a> Filler<'a> {
    /// The query is answered by one replica.
    async fn whole(&self, order: &Order) -> Result<Filled, QueryFailure> {
        let (mut response, is_complete) = self.send(self.request, order).await?;
        if !is_complete {
            response.add_warning();
        }
        let outcome = if is_complete { Outcome::Complete } else { Outcome::Incomplete };
        Ok(Filled { response, outcome })
    }

    /// Returns the response, and whether it is one of a complete replica.
    async fn send(
        &self,
        request: &QueryRequest<'_>,
        order: &Order,
    ) -> Result<(QueryResponse, bool), QueryFailure> {
        let servers = order.replicas.iter().filter_map(|it| self.upstream.servers.get(*it));
        let upstream = Upstream {
            servers: servers.cloned().collect(),
            complete: order.complete,
            ..self.upstream.clone()
        };
        let response = self.client.forward(&upstream, request).await?;
        let mut complete = upstream.servers.iter().take(order.complete);
        let is_complete = complete.any(|it| it.url == response.server.url);
        Ok((response, is_complete))
    }

    fn slice(&self, slice: &Slice) -> Part<'a> {
        let parameters = Parameters::of(self.request).with_steps(slice.first, slice.last);
        let path = self.request.target.split('?').next().unwrap_or_default();
        let (target, body) = match self.request.form() {
            Some(_) => (path.to_owned(), Some(RequestBody::form(parameters.into()))),
            None => (format!("{path}?{parameters}"), None),
        };
        let request = QueryRequest { target, body, ..self.request.clone() };
        Part { request, order: slice.order.clone() }
    }

    /// Combines the responses to all parts. `None` if they are too long for that.
    async fn combined(
        &self,
        parts: Vec<Part<'a>>,
        combination: Combination,
        is_complete: bool,
    ) -> Result<Option<Filled>, QueryFailure> {
        let Ok(mut memory) = MEMORY.acquire_many(RESERVED).await else { return Ok(None) };
        let max = MAX_COMBINED / parts.len().max(1);
        let responses = stream::iter(parts).map(|part| self.part(part, max)).buffered(PARALLEL);
        let responses: Vec<PartResponse> = match responses.try_collect().await {
            Ok(responses) => responses,
            Err(Obstacle::TooLong) => return Ok(None),
            Err(Obstacle::Failure(failure)) => return Err(failure),
            Err(Obstacle::Response(response)) => {
                return Ok(Some(Filled { response: *response, outcome: Outcome::Complete }));
            }
        };
        let is_complete = is_complete && responses.iter().all(|it| it.is_complete);
        let bodies: Vec<_> = responses.iter().map(|it| &it.body).collect();
        let Ok(body) = merge(combination, &bodies, is_complete) else { return Ok(None) };
        let outcome = if is_complete { Outcome::Combined } else { Outcome::Incomplete };
        let length = body.len().div_ceil(1 << 20);
        let kept = memory.split(length.min(memory.num_permits()));
        Ok(response(responses, body).map(|mut response| {
            response.body.reserve(kept);
            Filled { response, outcome }
        }))
    }

    async fn part(&self, part: Part<'_>, max: usize) -> Result<PartResponse, Obstacle> {
        // Once more on another replica, if the body is truncated.
        let mut order = part.order;
        for _ in 0..2 {
            let sent = self.send(&part.request, &order).await.map_err(Obstacle::Failure)?;
            let (mut response, is_complete) = sent;
            if response.status != StatusCode::OK {
                return Err(Obstacle::Response(Box::new(response)));
            }
            let QueryResponse { server, headers, body, .. } = &mut response;
            if let Some(body) = body.read_ahead(max).await {
                let (server, headers) = (server.clone(), std::mem::take(headers));
                return Ok(PartResponse { server, headers, body, is_complete });
            }
            if !body.has_failed() {
                return Err(Obstacle::TooLong);
            }
            order.replicas.rotate_left(1);
            order.complete = order.complete.saturating_sub(1);
        }
        Err(Obstacle::Failure(QueryFailure::Broken))
    }
}

/// The response with this body, and the headers of the first part.
fn response(parts: Vec<PartResponse>, body: Vec<u8>) -> Option<QueryResponse> {
    let mut names: Vec<&str> = parts.iter().map(|it| &*it.server.name).collect();
    names.sort_unstable();
    names.dedup();
    let replicas = HeaderValue::from_str(&names.join(", ")).ok();
    let PartResponse { server, mut headers, .. } = parts.into_iter().next()?;
    if let Some(replicas) = replicas {
        headers.insert(REPLICA, replicas);
    }
    headers.remove(header::ETAG);
    let length = u64::try_from(body.len()).ok();
    let body = ResponseBody::whole(body.into());
    Some(QueryResponse { status: StatusCode::OK, server, headers, length, body })
}
