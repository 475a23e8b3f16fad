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
use std::{fmt, sync::Arc, time::Duration};

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
    /// Credentials for servers without their own.
    pub authorization: Option<Authorization>,
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
    /// Credentials for this server only; by default those of the upstream.
    pub authorization: Option<Authorization>,
}

/// Value of an `Authorization` header. It is hidden in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization(HeaderValue);

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
            authorization: None,
        };
        Self {
            external_url,
            servers: ready.map(server).collect(),
            complete: usize::MAX,
            why_empty: why_unavailable(replicas),
            authorization: Authorization::of_provisioned(password),
            tls: None,
            limits: TryLimits::default(),
        }
    }
}

impl Authorization {
    /// Basic auth. `None` if the user name or the password cannot be part of a header.
    pub fn basic(login: &BasicAuth) -> Option<Self> {
        let BasicAuth { username, password } = login;
        let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
        Self::new(format!("Basic {pair}"))
    }

    /// A bearer token. `None` if it cannot be part of a header.
    pub fn bearer(token: &SecretString) -> Option<Self> {
        Self::new(format!("Bearer {}", token.expose_secret()))
    }

    /// Basic auth of the servers of a provisioned Prometheus with this password.
    pub fn of_provisioned(password: &SecretString) -> Option<Self> {
        Self::basic(&BasicAuth { username: WEB_USER.to_owned(), password: password.clone() })
    }

    fn new(value: String) -> Option<Self> {
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_in_debug_output() {
        let password = SecretString::from("hunter2");
        let authorization = Authorization::of_provisioned(&password);
        let encoded = STANDARD.encode(format!("{WEB_USER}:hunter2"));
        let header = authorization.as_ref().unwrap().header();
        assert_eq!(header.to_str().unwrap(), format!("Basic {encoded}"));
        let server = Server { name: "a".into(), url: "http://a".into(), authorization };
        let shown = format!("{server:?} {header:?}");
        assert!(!shown.contains("hunter2") && !shown.contains(&encoded), "{shown}");
        assert!(Authorization::bearer(&"a\nb".into()).is_none());
    }
}
