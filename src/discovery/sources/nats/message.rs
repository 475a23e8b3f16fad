//! Parses `router.register` and `router.unregister` messages, which have the same format
//! (gorouter's `mbus/subscriber.go`).
//!
//! Publishers are not trusted and send ten thousand messages per second. Messages are therefore
//! parsed without copying, values are copied only if they are new, and all sizes are limited.

use crate::discovery::{
    address, route_key,
    wire::{Scalar, WireEndpoint},
};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::{borrow::Cow, fmt, net::SocketAddr, time::Duration};

/// Maximum size of a message in bytes. Messages of platforms have less than two thousand bytes.
/// NATS allows 1 MiB by default.
pub(super) const MAX_MESSAGE: usize = 256 << 10;
/// Maximum number of URIs per message. route-emitter sends one.
const MAX_URIS: usize = 1000;
/// Maximum length of a route in bytes: a host of 253 bytes and a context path.
const MAX_ROUTE: usize = 2048;

/// A registration of an endpoint.
#[derive(Debug)]
pub struct Registration<'a> {
    /// Address of the cell. The TLS port if there is one.
    pub(super) address: SocketAddr,
    /// Normalized by [`route_key::normalize`]. At least one.
    pub(super) routes: Vec<Cow<'a, str>>,
    /// Lifetime of the registration, if the message contains one.
    pub(super) stale_threshold: Option<Duration>,
    pub(super) endpoint: WireEndpoint<'a>,
}

/// Why a message is dropped. Never quotes the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("is larger than {MAX_MESSAGE} bytes")]
    TooLarge,
    /// Not JSON, not an object, or fields with wrong types.
    #[error("is not a JSON route message")]
    Syntax,
    /// A host name, or no host.
    #[error("has no IP address as its host")]
    Host,
    /// No port, or not a valid one.
    #[error("has no usable port")]
    Port,
    /// No URI, or only empty ones.
    #[error("has no URIs")]
    NoUris,
    #[error("has more than {MAX_URIS} URIs")]
    TooManyUris,
    #[error("has a URI of more than {MAX_ROUTE} bytes")]
    LongUri,
    /// gorouter drops these too, because requests to a route service must be encrypted.
    #[error("has a route_service_url that is not https")]
    RouteService,
    #[error("has an invalid app_id")]
    AppId,
    /// The registry has reached its limit.
    #[error("exceeds the maximum number of endpoints")]
    Full,
}

/// Parses a message. Accepts any bytes.
///
/// # Errors
/// gorouter would reject the message, or it exceeds a limit.
pub fn parse(payload: &[u8]) -> Result<Registration<'_>, MessageError> {
    if payload.len() > MAX_MESSAGE {
        return Err(MessageError::TooLarge);
    }
    // Checked first, because serde does not check parts that it skips.
    let text = std::str::from_utf8(payload).map_err(|_| MessageError::Syntax)?;
    let message: WireMessage<'_> = serde_json::from_str(text).map_err(|_| MessageError::Syntax)?;
    let WireMessage { host, port, tls_port, private_instance_index, uris, stale_threshold, .. } =
        message;
    let mut endpoint = message.endpoint;

    let host = host.text().and_then(address::ip).ok_or(MessageError::Host)?;
    // The TLS port replaces the other port if it is set.
    let has_tls = !matches!(tls_port, Scalar::Nothing | Scalar::Count(0));
    let port = if has_tls { tls_port } else { port };
    let port = port.count().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    let address = SocketAddr::new(host, port.ok_or(MessageError::Port)?);
    endpoint.tls = Scalar::Flag(has_tls);

    if endpoint.route_service_url.text().is_some_and(|url| !url.starts_with("https")) {
        return Err(MessageError::RouteService);
    }
    if endpoint.tags.index.text().is_none() {
        endpoint.tags.index = private_instance_index;
    }
    let stale_threshold = stale_threshold.count().filter(|seconds| *seconds > 0);
    Ok(Registration {
        address,
        routes: routes(uris)?,
        stale_threshold: stale_threshold.map(Duration::from_secs),
        endpoint,
    })
}

fn routes(uris: Vec<Scalar<'_>>) -> Result<Vec<Cow<'_, str>>, MessageError> {
    if uris.len() > MAX_URIS {
        return Err(MessageError::TooManyUris);
    }
    let mut routes = Vec::with_capacity(uris.len());
    for uri in uris {
        let Scalar::Text(uri) = uri else { continue };
        let route = match uri {
            Cow::Borrowed(uri) => route_key::normalize(uri),
            Cow::Owned(uri) => Cow::Owned(route_key::normalize(&uri).into_owned()),
        };
        if route.len() > MAX_ROUTE {
            return Err(MessageError::LongUri);
        }
        if !route.is_empty() && !routes.contains(&route) {
            routes.push(route);
        }
    }
    if routes.is_empty() { Err(MessageError::NoUris) } else { Ok(routes) }
}

/// The app and the first route of a rejected message, as far as they can be parsed. For the log.
pub(super) fn subject(payload: &[u8]) -> (String, String) {
    let message = payload.get(..payload.len().min(MAX_MESSAGE)).unwrap_or_default();
    let Ok(message) = serde_json::from_slice::<WireMessage<'_>>(message) else {
        return Default::default();
    };
    let app = message.endpoint.tags.app_id.text().or(message.app.text()).unwrap_or_default();
    let route = message.uris.iter().find_map(Scalar::text).unwrap_or_default();
    (app.to_owned(), route.to_owned())
}

impl Registration<'_> {
    /// Address of the endpoint. The port is not zero.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Normalized routes. At least one, no duplicates.
    pub fn routes(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(AsRef::as_ref)
    }
}

#[derive(Debug, Default)]
struct WireMessage<'a> {
    /// Same as the tag `app_id`, for emitters that send no tags.
    app: Scalar<'a>,
    host: Scalar<'a>,
    port: Scalar<'a>,
    tls_port: Scalar<'a>,
    private_instance_index: Scalar<'a>,
    stale_threshold: Scalar<'a>,
    uris: Vec<Scalar<'a>>,
    endpoint: WireEndpoint<'a>,
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = WireMessage<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a route message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut message = WireMessage::default();
        while let Some(name) = map.next_key::<Scalar<'de>>()? {
            match name.or_empty() {
                "app" => message.app = map.next_value()?,
                "host" => message.host = map.next_value()?,
                "port" => message.port = map.next_value()?,
                "tls_port" => message.tls_port = map.next_value()?,
                "private_instance_index" => message.private_instance_index = map.next_value()?,
                "stale_threshold_in_seconds" => message.stale_threshold = map.next_value()?,
                "uris" => message.uris = map.next_value::<Option<_>>()?.unwrap_or_default(),
                "tags" => message.endpoint.tags = map.next_value()?,
                // Fields of the other format, which are derived from the ports here.
                "address" | "tls" => drop(map.next_value::<IgnoredAny>()?),
                name => match message.endpoint.field(name) {
                    Some(field) => *field = map.next_value()?,
                    None => drop(map.next_value::<IgnoredAny>()?),
                },
            }
        }
        Ok(message)
    }
}

impl<'de> Deserialize<'de> for WireMessage<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(MessageVisitor)
    }
}

#[cfg(test)]
mod tests;
