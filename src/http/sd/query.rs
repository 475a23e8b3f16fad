//! Parsing of service discovery requests.

use crate::domain::{AppKey, AppKeyError, Prefer};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct SdQuery {
    pub(super) selector: Selector,
    pub(super) mode: Mode,
    /// Replaces the scheme of targets.
    pub(super) scheme: Option<Scheme>,
    /// Replaces the port of targets.
    pub(super) port: Option<u16>,
}

/// The requested apps. Only apps that are visible to the caller are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Selector {
    #[default]
    All,
    /// Names or GUIDs of organization, space and app.
    Parts(Vec<String>),
    Key(AppKey),
}

/// The address of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    /// Scrapebroker, with a different path for each instance.
    #[default]
    Router,
    /// The instance itself, for a Prometheus in its network.
    Direct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidQuery {
    #[error("the path or a query parameter is not UTF-8 after percent-decoding")]
    NotUtf8,
    #[error(
        "the path must be /v1/sd/apps/ORGANIZATION, …/ORGANIZATION/SPACE or …/ORGANIZATION/SPACE/APP"
    )]
    Path,
    #[error("the request {0}")]
    Key(#[from] AppKeyError),
    #[error("the app is named twice: give one of the path, app and route_url")]
    Twice,
    #[error("the query parameter {0} is given twice; give it once")]
    Repeated(&'static str),
    #[error("mode must be router or direct")]
    Mode,
    #[error("scheme must be http or https")]
    Scheme,
    #[error("port must be a number from 1 to 65535")]
    Port,
    #[error("a query parameter is unknown; known are app, route_url, mode, scheme, port")]
    Unknown,
}

impl SdQuery {
    /// Parses the path after `/v1/sd/apps`, and the query. Both are not decoded.
    pub(super) fn parse(rest: &str, query: &str) -> Result<Self, InvalidQuery> {
        let mut parsed = Self { selector: parts(rest)?, ..Self::default() };
        let mut mode = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            match &*decode(name)? {
                "app" => parsed.name(&value, Prefer::Name)?,
                "route_url" => parsed.name(&value, Prefer::Route)?,
                "mode" => once("mode", &mut mode, mode_of(&value)?)?,
                "scheme" => once("scheme", &mut parsed.scheme, scheme_of(&value)?)?,
                "port" => once("port", &mut parsed.port, port_of(&value)?)?,
                _ => return Err(InvalidQuery::Unknown),
            }
        }
        parsed.mode = mode.unwrap_or_default();
        Ok(parsed)
    }

    /// Total length of the strings, in bytes.
    pub(super) fn text_len(&self) -> usize {
        match &self.selector {
            Selector::All => 0,
            Selector::Parts(parts) => parts.iter().map(String::len).sum(),
            Selector::Key(key) => key.as_str().len(),
        }
    }

    fn name(&mut self, key: &str, prefer: Prefer) -> Result<(), InvalidQuery> {
        if self.selector != Selector::All {
            return Err(InvalidQuery::Twice);
        }
        self.selector = Selector::Key(AppKey::parse(key, prefer)?);
        Ok(())
    }
}

fn parts(rest: &str) -> Result<Selector, InvalidQuery> {
    let rest = rest.trim_matches('/');
    if rest.is_empty() {
        return Ok(Selector::All);
    }
    let parts = rest.split('/').map(|part| Ok(decode(part)?.into_owned()));
    let parts: Vec<_> = parts.collect::<Result<_, InvalidQuery>>()?;
    match parts.len() <= 3 && parts.iter().all(|part| !part.is_empty()) {
        true => Ok(Selector::Parts(parts)),
        false => Err(InvalidQuery::Path),
    }
}

fn once<T>(name: &'static str, slot: &mut Option<T>, value: T) -> Result<(), InvalidQuery> {
    match slot.replace(value) {
        Some(_) => Err(InvalidQuery::Repeated(name)),
        None => Ok(()),
    }
}

fn mode_of(text: &str) -> Result<Mode, InvalidQuery> {
    match text {
        "router" => Ok(Mode::Router),
        "direct" => Ok(Mode::Direct),
        _ => Err(InvalidQuery::Mode),
    }
}

fn scheme_of(text: &str) -> Result<Scheme, InvalidQuery> {
    match text {
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        _ => Err(InvalidQuery::Scheme),
    }
}

fn port_of(text: &str) -> Result<u16, InvalidQuery> {
    text.parse().ok().filter(|port| *port > 0).ok_or(InvalidQuery::Port)
}

fn decode(text: &str) -> Result<Cow<'_, str>, InvalidQuery> {
    percent_decode_str(text).decode_utf8().map_err(|_| InvalidQuery::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_url_is_parsed() {
        let parts =
            |parts: &[&str]| Selector::Parts(parts.iter().map(|it| (*it).to_owned()).collect());
        let key = |text: &str, prefer| Selector::Key(AppKey::parse(text, prefer).unwrap());
        for (rest, query, selector) in [
            ("", "", Selector::All),
            ("/", "mode=router", Selector::All),
            ("/acme", "", parts(&["acme"])),
            ("/acme/prod/", "", parts(&["acme", "prod"])),
            ("/a%20b/p%2Fq/s%C3%BC", "", parts(&["a b", "p/q", "sü"])),
            ("", "app=acme/prod/shop", key("acme/prod/shop", Prefer::Name)),
            ("", "app=%22guid%22", key("guid", Prefer::Name)),
            ("", "route_url=a.example.com%2Fx", key("a.example.com/x", Prefer::Route)),
        ] {
            assert_eq!(SdQuery::parse(rest, query).unwrap().selector, selector, "{rest}?{query}");
        }
        let query = SdQuery::parse("", "mode=direct&scheme=https&port=8443&").unwrap();
        let (scheme, port) = (Some(Scheme::Https), Some(8443));
        assert_eq!(query, SdQuery { selector: Selector::All, mode: Mode::Direct, scheme, port });
    }

    #[test]
    fn invalid_requests_are_rejected() {
        for (rest, query, error) in [
            ("/a/b/c/d", "", InvalidQuery::Path),
            ("/a//c", "", InvalidQuery::Path),
            ("/%ff", "", InvalidQuery::NotUtf8),
            ("", "app=%ff", InvalidQuery::NotUtf8),
            ("", "app=", InvalidQuery::Key(AppKeyError::Empty)),
            ("", "route_url=a%00", InvalidQuery::Key(AppKeyError::Control)),
            ("/a", "app=b", InvalidQuery::Twice),
            ("", "app=a&route_url=b", InvalidQuery::Twice),
            ("", "app=a&app=a", InvalidQuery::Twice),
            ("", "mode=router&mode=router", InvalidQuery::Repeated("mode")),
            ("", "mode=", InvalidQuery::Mode),
            ("", "scheme=ftp", InvalidQuery::Scheme),
            ("", "port=0", InvalidQuery::Port),
            ("", "port=65536", InvalidQuery::Port),
            ("", "rout_url=a", InvalidQuery::Unknown),
        ] {
            assert_eq!(SdQuery::parse(rest, query), Err(error), "{rest}?{query}");
        }
    }
}
