//! Why a query failed, in words for users.

use super::RequestBodyError;
use crate::domain::prometheus::Replica;
use awc::error::ConnectError;
use std::time::Duration;

/// Why a query failed. The texts are for users and contain no secrets. Names of servers are addresses
/// in a pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryFailure {
    /// No replica is reachable.
    #[error("no server of this Prometheus is reachable: {0}")]
    Unavailable(String),
    /// No connection was free in time.
    #[error(
        "other requests use all connections that backends.max_connections allows; try again in a few seconds"
    )]
    Busy,
    /// The pool runs as many queries as it may.
    #[error("{0} queries are running, which is the limit of this pool; try again in a few seconds")]
    TooMany(usize),
    /// The same for a write. Senders repeat it.
    #[error("{0} requests are running, which is the limit of this pool; repeat the write")]
    TooManyForWrite(usize),
    /// The body of the request is not complete.
    #[error(transparent)]
    RequestBody(#[from] RequestBodyError),
    /// No response before the timeout.
    #[error("this Prometheus did not respond within {} s; query less data or a shorter time range", .0.as_secs())]
    Timeout(Duration),
    /// The connection ended before the response.
    #[error("this Prometheus ended the connection before it responded: it may be restarting")]
    Broken,
    /// Prometheus rejected the password.
    #[error("this Prometheus rejects Scrapebroker's password; ask the operator for help")]
    Refused,
    /// The response must not be forwarded.
    #[error("the response of this Prometheus cannot be forwarded: {0}")]
    Unusable(&'static str),
}

/// Whether no connection was opened.
pub(super) fn is_unreachable(error: &ConnectError) -> bool {
    !matches!(error, ConnectError::Disconnected)
}

/// Explains a connection error without the address.
pub(super) fn explain(error: &ConnectError) -> String {
    match error {
        ConnectError::Timeout => "took too long to connect".to_owned(),
        ConnectError::Io(error) => format!("cannot be connected to: {error}"),
        ConnectError::Resolver(error) => format!("cannot be connected to: {error}"),
        _ => "cannot be connected to".to_owned(),
    }
}

pub(super) fn why_unavailable(replicas: &[Replica]) -> String {
    if replicas.is_empty() {
        return "it does not exist yet, or no longer".to_owned();
    }
    let one = |replica: &Replica| {
        let colon = if replica.problem.is_empty() { "" } else { ": " };
        let Replica { number, state, problem, .. } = replica;
        format!("server {number} is {}{colon}{problem}", state.as_str())
    };
    replicas.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::prometheus::ReplicaState;

    #[test]
    fn the_reason_is_given_for_each_unavailable_replica() {
        let replica = |number, state, problem: &str| Replica {
            number,
            url: String::new(),
            state,
            problem: problem.to_owned(),
        };
        let replicas = [
            replica(0, ReplicaState::Failed, "out of memory"),
            replica(1, ReplicaState::Starting, ""),
        ];
        assert_eq!(
            why_unavailable(&replicas),
            "server 0 is failed: out of memory; server 1 is starting"
        );
        assert_eq!(why_unavailable(&[]), "it does not exist yet, or no longer");
    }
}
