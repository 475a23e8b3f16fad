//! Servers that queries are sent to.

use super::failure::why_unavailable;
use crate::{
    domain::{
        BasicAuth,
        prometheus::{Replica, ReplicaState, WEB_USER},
    },
    tls::ClientTls,
};
use awc::http::header::HeaderValue;
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use std::{sync::Arc, time::Duration};

/// Servers with the same data, one of which responds to a query.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Public URL. Upstreams with different URLs share the connections to servers fairly.
    pub external_url: String,
    /// The servers in the order in which they are tried.
    pub servers: Vec<Server>,
    /// This many first servers have all data of the query. The others are for emergencies.
    pub complete: usize,
    /// Why there are no servers.
    pub why_empty: String,
    /// Value of the `Authorization` header of queries.
    pub authorization: Option<HeaderValue>,
    /// Certificates for servers; by default those of the system.
    pub tls: Option<ClientTls>,
    pub limits: TryLimits,
}

/// A server that a query may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Value of `X-Scrapebroker-Replica`.
    pub name: Arc<str>,
    /// Base URL of its API, without a trailing slash.
    pub url: Arc<str>,
}

/// Limits of the tries of one query.
#[derive(Clone, Copy, Debug, Default)]
pub struct TryLimits {
    /// A server that has not responded after this long has failed. `None`: only the timeout of the
    /// query counts.
    pub try_timeout: Option<Duration>,
    pub hedge: Hedge,
}

/// When a slow query is sent to a second server as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hedge {
    /// After the 95th percentile of the latency of the server, within bounds.
    #[default]
    Auto,
    Off,
    After(Duration),
}

impl Upstream {
    /// The ready replicas of a provisioned Prometheus.
    pub fn of_replicas(
        external_url: String,
        replicas: &[Replica],
        password: &SecretString,
    ) -> Self {
        let ready = replicas.iter().filter(|it| it.state == ReplicaState::Ready);
        let server = |it: &Replica| Server {
            name: it.number.to_string().into(),
            url: it.url.as_str().into(),
        };
        let login = BasicAuth { username: WEB_USER.to_owned(), password: password.clone() };
        Self {
            external_url,
            servers: ready.map(server).collect(),
            complete: usize::MAX,
            why_empty: why_unavailable(replicas),
            authorization: basic(&login),
            tls: None,
            limits: TryLimits::default(),
        }
    }
}

/// The `Authorization` header of basic auth. It is hidden in debug output.
pub(super) fn basic(login: &BasicAuth) -> Option<HeaderValue> {
    let BasicAuth { username, password } = login;
    let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
    sensitive(format!("Basic {pair}"))
}

/// The `Authorization` header with a bearer token.
pub(super) fn bearer(token: &SecretString) -> Option<HeaderValue> {
    sensitive(format!("Bearer {}", token.expose_secret()))
}

fn sensitive(value: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}
