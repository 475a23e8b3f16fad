//! What is left without the API: the hosts under which routers answer for an
//! app, as the bind call named them.

use super::Told;
use crate::{
    discovery::{
        document::Entry,
        endpoint::Endpoint,
        error::{SourceError, cause},
        route_key,
    },
    domain::TsuruApp,
};
use foldhash::{HashMap, HashSet};
use std::{cell::RefCell, net::SocketAddr, sync::Arc};
use tokio::net::lookup_host;
use url::Url;

/// A router's address for an app.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Host {
    /// A name or an IP address, the latter without brackets.
    name: String,
    port: u16,
    tls: bool,
    /// What to send as Host.
    authority: String,
}

impl Host {
    /// Reads `host`, `host:port`, `tcp://host:port` or a URL.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let full = match text.split_once("://") {
            None => format!("http://{text}"),
            Some(("tcp", rest)) => format!("http://{rest}"),
            Some(("http" | "https", _)) => text.to_owned(),
            Some(_) => return None,
        };
        let url = Url::parse(&full).ok()?;
        let host = url.host()?;
        let port = url.port_or_known_default().filter(|port| *port != 0)?;
        let is_name = match &host {
            url::Host::Domain(name) => route_key::is_sendable(name),
            url::Host::Ipv4(_) | url::Host::Ipv6(_) => true,
        };
        let is_plain = url.username().is_empty() && url.password().is_none();
        (is_name && is_plain).then(|| Self {
            name: host.to_string().trim_matches(['[', ']']).to_owned(),
            port,
            tls: url.scheme() == "https",
            authority: url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}")),
        })
    }

    /// The key of the route that it is.
    pub(super) fn route(&self) -> Arc<str> {
        route_key::normalize(&self.authority).as_ref().into()
    }
}

/// Looks hosts up, and remembers where they were.
#[derive(Default)]
pub(super) struct Hosts {
    /// The address that was taken last: of several the same stays for as long
    /// as it is one of them, and a name server's bad day changes nothing.
    taken: RefCell<HashMap<Host, SocketAddr>>,
}

impl Hosts {
    /// One endpoint for each host of the app.
    pub(super) async fn ask(&self, app: &TsuruApp) -> Result<Told, SourceError> {
        let described = app.describe().map_err(|_| SourceError::App("has a name that is none"))?;
        let described = Arc::new(described);
        let mut told = Told::default();
        let mut problem = None;
        for (position, host) in app.hosts.iter().enumerate() {
            let Some(host) = Host::parse(host) else {
                told.skipped += 1;
                continue;
            };
            let address = match self.look_up(&host).await {
                Ok(address) => address,
                Err(error) => {
                    problem = Some(error);
                    told.skipped += 1;
                    continue;
                }
            };
            let endpoint = Endpoint {
                address,
                app: Arc::clone(&described),
                index: Some(position.to_string().into()),
                process_type: super::units::WEB.into(),
                process_instance_id: None,
                availability_zone: None,
                tls: host.tls,
                http2: false,
                server_cert_domain_san: host.tls.then(|| host.name.as_str().into()),
                isolation_segment: None,
                route_service_url: None,
                behind_host: Some(host.authority.as_str().into()),
            };
            let endpoint = Some(Arc::new(endpoint));
            told.entries.push(Entry { route: host.route(), endpoint });
        }
        match problem {
            Some(problem) if told.entries.is_empty() => Err(SourceError::Hosts(problem)),
            _ => Ok(told),
        }
    }

    /// Forgets the hosts of other apps.
    pub(super) fn keep_only(&self, apps: &[TsuruApp]) {
        let hosts = apps.iter().flat_map(|app| &app.hosts);
        let hosts: HashSet<Host> = hosts.filter_map(|host| Host::parse(host)).collect();
        self.taken.borrow_mut().retain(|host, _| hosts.contains(host));
    }

    async fn look_up(&self, host: &Host) -> Result<SocketAddr, String> {
        let found = lookup_host((host.name.as_str(), host.port)).await;
        let problem = found.as_ref().err().map(cause);
        let mut found: Vec<_> = found.into_iter().flatten().collect();
        // Routers have an IPv4 address, also where IPv6 leads nowhere.
        found.sort_by_key(SocketAddr::is_ipv6);
        let mut taken = self.taken.borrow_mut();
        let before = taken.get(host).copied();
        let address = match before {
            Some(before) if found.is_empty() || found.contains(&before) => Some(before),
            _ => found.first().copied(),
        };
        let address = address.ok_or_else(|| problem.unwrap_or_else(|| "no address".to_owned()))?;
        taken.insert(host.clone(), address);
        Ok(address)
    }
}
