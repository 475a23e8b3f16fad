//! Where alerts may go.
//!
//! A provisioned Prometheus runs inside the platform, and posts to whatever
//! address its user names. So addresses that only the inside has are refused,
//! unless the operator names them.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};
use url::{Host, Url};

/// The URL of an Alertmanager, below which it has its API.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AlertmanagerUrl(Url);

impl AlertmanagerUrl {
    /// The URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The host as a name, unless it is an address.
    pub fn name(&self) -> Option<&str> {
        match self.0.host() {
            Some(Host::Domain(name)) => Some(name),
            _ => None,
        }
    }

    /// The host as an address, unless it is a name.
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

    /// The error reads after the parameter's name, and shows nothing of the
    /// URL, which may hold a password.
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
    /// Every name below one, as in `*.internal`.
    Below(String),
    /// An address or a network, as in `10.1.0.0/16`.
    Network(IpNet),
}

impl Allowed {
    /// Whether it names this host.
    pub fn names(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match self {
            Self::Name(name) => host == *name,
            Self::Below(parent) => {
                host.strip_suffix(parent.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            Self::Network(_) => false,
        }
    }

    /// Whether it names this address.
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
            Ok(Host::Domain(name)) if is_below => Ok(Self::Below(name)),
            Ok(Host::Domain(name)) => Ok(Self::Name(name)),
            _ => Err("is neither a host name, *.domain, an address nor a network like 10.1.0.0/16"
                .to_owned()),
        }
    }
}

/// Whether everybody may send something to `address`: it is not on the inside
/// of a machine, a link or an organization (RFC 6890).
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
        // Between a provider and its customers (RFC 6598).
        || (a == 100 && (64..128).contains(&b))
        // Protocol assignments and benchmarks.
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // An IPv4 address in another form is judged as that (NAT64, 6to4).
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
        // Site-local, long deprecated and still routed here and there.
        || (first & 0xffc0) == 0xfec0
        || (first == 0x64 && second == 0xff9b))
}
