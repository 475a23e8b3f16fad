//! Endpoints without API access: the hosts of routers that the bind request contains.

use super::AppUnits;
use crate::{
    discovery::{
        document::Entry,
        drop_log::Dropped,
        drop_log::cause,
        endpoint::{DEFAULT_PROCESS_TYPE, Endpoint},
        error::SourceError,
        route_key,
    },
    domain::TsuruApp,
    net::Resolver,
};
use foldhash::{HashMap, HashSet};
use std::{
    borrow::Cow,
    cell::RefCell,
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
};
use tokio::runtime::Handle;
use url::Url;

/// Why an address of a router cannot be used.
pub(super) const INVALID_HOST: &str = "it is not a host, host:port or URL";

/// Address of a router for an app.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Host {
    /// A name, or an IP address without brackets.
    name: String,
    port: u16,
    tls: bool,
    /// Value of the Host header.
    authority: String,
}

impl Host {
    /// Parses `host`, `host:port`, `tcp://host:port` or a URL.
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

    pub(super) fn route(&self) -> Arc<str> {
        route_key::normalize(&self.authority).as_ref().into()
    }
}

/// Adds brackets to an IPv6 address. `fd00::1:80` is an address if the port is optional, and an
/// address with a port if the port is required.
fn with_brackets(authority: &str, has_port: bool) -> Cow<'_, str> {
    let is_ipv6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    match authority.rsplit_once(':') {
        _ if !has_port && is_ipv6(authority) => Cow::Owned(format!("[{authority}]")),
        Some((host, port)) if is_ipv6(host) => Cow::Owned(format!("[{host}]:{port}")),
        _ => Cow::Borrowed(authority),
    }
}

/// Resolves hosts and caches the addresses.
pub(super) struct Hosts {
    resolver: Resolver,
    /// The last address of each host. It is used as long as the host still resolves to it, and if
    /// the look-up fails.
    last_addresses: RefCell<HashMap<Host, SocketAddr>>,
}

impl Hosts {
    /// The current runtime looks up names.
    pub(super) fn new() -> Self {
        Self { resolver: Resolver::new(Handle::current()), last_addresses: RefCell::default() }
    }

    /// Returns one endpoint per host of the app.
    pub(super) async fn resolve(&self, app: &TsuruApp) -> Result<AppUnits, SourceError> {
        let described = app.describe().map_err(|_| SourceError::App("has a name that is none"))?;
        let described = Arc::new(described);
        let mut app_units = AppUnits::default();
        let mut problem = None;
        for (position, text) in app.hosts.iter().enumerate() {
            let Some(host) = Host::parse(text) else {
                app_units.skip(Dropped::new(&app.name, text, INVALID_HOST));
                continue;
            };
            let address = match self.look_up(&host).await {
                Ok(address) => address,
                Err(error) => {
                    let reason = format_args!("the host cannot be resolved: {error}");
                    app_units.skip(Dropped::new(&app.name, text, reason));
                    problem = Some(error);
                    continue;
                }
            };
            let endpoint = Endpoint {
                address,
                app: Arc::clone(&described),
                index: Some(position.to_string().into()),
                process_type: DEFAULT_PROCESS_TYPE.into(),
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
            app_units.entries.push(Entry { route: host.route(), endpoint });
        }
        match problem {
            Some(problem) if app_units.entries.is_empty() => Err(SourceError::Hosts(problem)),
            _ => Ok(app_units),
        }
    }

    /// Drops cached addresses of other apps.
    pub(super) fn retain(&self, apps: &[TsuruApp]) {
        let hosts = apps.iter().flat_map(|app| &app.hosts);
        let hosts: HashSet<Host> = hosts.filter_map(|host| Host::parse(host)).collect();
        self.last_addresses.borrow_mut().retain(|host, _| hosts.contains(host));
    }

    async fn look_up(&self, host: &Host) -> Result<SocketAddr, String> {
        let found = self.resolver.addresses(&host.name, host.port).await;
        let problem = found.as_ref().err().map(cause);
        let mut found = found.map(|addresses| addresses.to_vec()).unwrap_or_default();
        // IPv4 first, because IPv6 may not be routed.
        found.sort_by_key(SocketAddr::is_ipv6);
        let mut last_addresses = self.last_addresses.borrow_mut();
        let before = last_addresses.get(host).copied();
        let address = match before {
            Some(before) if found.is_empty() || found.contains(&before) => Some(before),
            _ => found.first().copied(),
        };
        let address = address.ok_or_else(|| problem.unwrap_or_else(|| "no address".to_owned()))?;
        last_addresses.insert(host.clone(), address);
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_parsed_in_all_formats() {
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
