//! What is left without the API: the hosts under which routers answer for an
//! app, as the bind call named them.

use super::Told;
use crate::{
    discovery::{
        document::Entry,
        drop_log::Dropped,
        endpoint::Endpoint,
        error::{SourceError, cause},
        route_key,
    },
    domain::TsuruApp,
};
use foldhash::{HashMap, HashSet};
use std::{
    borrow::Cow,
    cell::RefCell,
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
};
use tokio::net::lookup_host;
use url::Url;

/// Why an address of a router is of no use.
pub(super) const NO_HOST: &str = "it is not a host, host:port or URL";

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
        let (scheme, has_port, rest) = match text.split_once("://") {
            None => ("http", false, text),
            Some(("tcp", rest)) => ("http", true, rest),
            Some((scheme @ ("http" | "https"), rest)) => (scheme, false, rest),
            Some(_) => return None,
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let authority = with_brackets(authority, has_port);
        let url = Url::parse(&format!("{scheme}://{authority}{path}")).ok()?;
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

/// An IPv6 address without brackets gets them. `fd00::1:80` is an address, and is an address
/// and a port where there always is a port.
fn with_brackets(authority: &str, has_port: bool) -> Cow<'_, str> {
    let is_ipv6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    match authority.rsplit_once(':') {
        _ if !has_port && is_ipv6(authority) => Cow::Owned(format!("[{authority}]")),
        Some((host, port)) if is_ipv6(host) => Cow::Owned(format!("[{host}]:{port}")),
        _ => Cow::Borrowed(authority),
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
        for (position, text) in app.hosts.iter().enumerate() {
            let Some(host) = Host::parse(text) else {
                told.skip(Dropped::new(&app.name, text, NO_HOST));
                continue;
            };
            let address = match self.look_up(&host).await {
                Ok(address) => address,
                Err(error) => {
                    let reason = format_args!("the host cannot be looked up: {error}");
                    told.skip(Dropped::new(&app.name, text, reason));
                    problem = Some(error);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_in_every_spelling() {
        for (text, expected) in [
            ("shop.example.test", Some(("shop.example.test", 80, "shop.example.test"))),
            ("shop.example.test:8080", Some(("shop.example.test", 8080, "shop.example.test:8080"))),
            ("tcp://shop.svc:8888", Some(("shop.svc", 8888, "shop.svc:8888"))),
            ("https://shop.example.test/x", Some(("shop.example.test", 443, "shop.example.test"))),
            ("::1", Some(("::1", 80, "[::1]"))),
            ("[::1]", Some(("::1", 80, "[::1]"))),
            ("[::1]:8080", Some(("::1", 8080, "[::1]:8080"))),
            ("https://fd00::a", Some(("fd00::a", 443, "[fd00::a]"))),
            ("https://fd00::a/x", Some(("fd00::a", 443, "[fd00::a]"))),
            ("tcp://::1:8888", Some(("::1", 8888, "[::1]:8888"))),
            ("::1:8888", Some(("::1:8888", 80, "[::1:8888]"))),
            ("tcp://2001:db8:0:0:0:0:0:1:8888", Some(("2001:db8::1", 8888, "[2001:db8::1]:8888"))),
            ("", None),
            ("ftp://shop.example.test", None),
            ("http://user@shop.example.test", None),
            ("shop.example.test:0", None),
            ("[::1", None),
            ("::1]", None),
        ] {
            let host = Host::parse(text);
            let found = host.as_ref().map(|it| (&*it.name, it.port, &*it.authority));
            assert_eq!(found, expected, "{text}");
        }
    }
}
