//! Validation of Alertmanager URLs.
//!
//! A provisioned Prometheus runs inside the platform's network, and its users choose the
//! Alertmanager. So addresses that are reachable only from the inside are rejected, unless the
//! operator allows them.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};
use url::{Host, Url};

/// The base URL of an Alertmanager.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AlertmanagerUrl(Url);

impl AlertmanagerUrl {
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The host, if it is a name.
    pub fn name(&self) -> Option<&str> {
        match self.0.host() {
            Some(Host::Domain(name)) => Some(name),
            _ => None,
        }
    }

    /// The host, if it is an IP address.
    pub fn address(&self) -> Option<IpAddr> {
        match self.0.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            _ => None,
        }
    }
}

impl FromStr for AlertmanagerUrl {
    type Err = String;

    /// Error messages continue a sentence that starts with the parameter's name. They do not
    /// contain the URL, which may contain a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let form = "must be a URL like https://alerts.example.com/prefix";
        let url: Url = text.parse().map_err(|_| form.to_owned())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(form.to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("{form}, without a query"));
        }
        if url.as_str().len() > 2048 {
            return Err("is longer than 2048 bytes".to_owned());
        }
        Ok(Self(url))
    }
}

impl TryFrom<String> for AlertmanagerUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<AlertmanagerUrl> for String {
    fn from(url: AlertmanagerUrl) -> Self {
        url.0.into()
    }
}

impl fmt::Debug for AlertmanagerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AlertmanagerUrl").field(&self.0.host_str()).finish()
    }
}

/// An entry of `prometheus.alertmanager_allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// A host name, as in `alerts.internal`.
    Name(String),
    /// All subdomains of a name, as in `*.internal`.
    Subdomains(String),
    /// An IP address or a network, as in `10.1.0.0/16`.
    Network(IpNet),
}

impl Allowed {
    /// Whether the entry allows this host name.
    pub fn names(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match self {
            Self::Name(name) => host == *name,
            Self::Subdomains(parent) => {
                host.strip_suffix(parent.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            Self::Network(_) => false,
        }
    }

    /// Whether the entry allows this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        matches!(self, Self::Network(network) if network.contains(&address.to_canonical()))
    }
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_end_matches('.').to_ascii_lowercase();
        if let Ok(network) = text.parse() {
            return Ok(Self::Network(network));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        let (is_below, name) = match text.strip_prefix("*.") {
            Some(parent) => (true, parent),
            None => (false, text.as_str()),
        };
        match Host::parse(name) {
            Ok(Host::Domain(name)) if name.contains('*') => Err(format!("{name} has a * in it")),
            Ok(Host::Domain(name)) if is_below => Ok(Self::Subdomains(name)),
            Ok(Host::Domain(name)) => Ok(Self::Name(name)),
            _ => Err("is neither a host name, *.domain, an address nor a network like 10.1.0.0/16"
                .to_owned()),
        }
    }
}

/// Whether `address` is reachable on the public internet, by RFC 6890.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || a >= 240
        // Carrier-grade NAT (RFC 6598).
        || (a == 100 && (64..128).contains(&b))
        // IETF protocol assignments and benchmarking.
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // NAT64 and 6to4 addresses are checked by their embedded IPv4 address.
    let embedded = match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some((high, low)),
        [0x2002, high, low, ..] => Some((high, low)),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some((high, low)),
        _ => None,
    };
    if let Some((high, low)) = embedded {
        return is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    }
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        // Site-local addresses. They are deprecated, but some networks still route them.
        || (first & 0xffc0) == 0xfec0
        || (first == 0x64 && second == 0xff9b))
}
