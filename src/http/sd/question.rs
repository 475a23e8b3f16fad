//! Which targets a request is about, and how they are to be named.

use crate::domain::{AppKey, AppKeyError, Prefer};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// A request, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) which: Which,
    pub(super) mode: Mode,
    /// In place of the one that the target has.
    pub(super) scheme: Option<Scheme>,
    /// In place of the one that the target has.
    pub(super) port: Option<u16>,
}

/// Which apps, among those that the caller sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Which {
    #[default]
    All,
    /// Parts are names or GUIDs: organization, space, app.
    Parts(Vec<String>),
    Key(AppKey),
}

/// Who is the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    /// We, for each instance with a path of its own.
    #[default]
    Router,
    /// The instance itself, for who is in its network.
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

/// Why a URL makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadQuestion {
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

impl Question {
    /// Reads what follows `/v1/sd/apps`, and the query, both as they came.
    pub(super) fn parse(rest: &str, query: &str) -> Result<Self, BadQuestion> {
        let mut question = Self { which: parts(rest)?, ..Self::default() };
        let mut mode = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            match &*decode(name)? {
                "app" => question.name(&value, Prefer::Name)?,
                "route_url" => question.name(&value, Prefer::Route)?,
                "mode" => once("mode", &mut mode, mode_of(&value)?)?,
                "scheme" => once("scheme", &mut question.scheme, scheme_of(&value)?)?,
                "port" => once("port", &mut question.port, port_of(&value)?)?,
                _ => return Err(BadQuestion::Unknown),
            }
        }
        question.mode = mode.unwrap_or_default();
        Ok(question)
    }

    /// Bytes of the texts in it.
    pub(super) fn text_len(&self) -> usize {
        match &self.which {
            Which::All => 0,
            Which::Parts(parts) => parts.iter().map(String::len).sum(),
            Which::Key(key) => key.as_str().len(),
        }
    }

    fn name(&mut self, key: &str, prefer: Prefer) -> Result<(), BadQuestion> {
        if self.which != Which::All {
            return Err(BadQuestion::Twice);
        }
        self.which = Which::Key(AppKey::parse(key, prefer)?);
        Ok(())
    }
}

fn parts(rest: &str) -> Result<Which, BadQuestion> {
    let rest = rest.trim_matches('/');
    if rest.is_empty() {
        return Ok(Which::All);
    }
    let parts = rest.split('/').map(|part| Ok(decode(part)?.into_owned()));
    let parts: Vec<_> = parts.collect::<Result<_, BadQuestion>>()?;
    match parts.len() <= 3 && parts.iter().all(|part| !part.is_empty()) {
        true => Ok(Which::Parts(parts)),
        false => Err(BadQuestion::Path),
    }
}

fn once<T>(name: &'static str, place: &mut Option<T>, value: T) -> Result<(), BadQuestion> {
    match place.replace(value) {
        Some(_) => Err(BadQuestion::Repeated(name)),
        None => Ok(()),
    }
}

fn mode_of(text: &str) -> Result<Mode, BadQuestion> {
    match text {
        "router" => Ok(Mode::Router),
        "direct" => Ok(Mode::Direct),
        _ => Err(BadQuestion::Mode),
    }
}

fn scheme_of(text: &str) -> Result<Scheme, BadQuestion> {
    match text {
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        _ => Err(BadQuestion::Scheme),
    }
}

fn port_of(text: &str) -> Result<u16, BadQuestion> {
    text.parse().ok().filter(|port| *port > 0).ok_or(BadQuestion::Port)
}

fn decode(text: &str) -> Result<Cow<'_, str>, BadQuestion> {
    percent_decode_str(text).decode_utf8().map_err(|_| BadQuestion::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_url_is_understood() {
        let parts =
            |parts: &[&str]| Which::Parts(parts.iter().map(|it| (*it).to_owned()).collect());
        let key = |text: &str, prefer| Which::Key(AppKey::parse(text, prefer).unwrap());
        for (rest, query, which) in [
            ("", "", Which::All),
            ("/", "mode=router", Which::All),
            ("/acme", "", parts(&["acme"])),
            ("/acme/prod/", "", parts(&["acme", "prod"])),
            ("/a%20b/p%2Fq/s%C3%BC", "", parts(&["a b", "p/q", "sü"])),
            ("", "app=acme/prod/shop", key("acme/prod/shop", Prefer::Name)),
            ("", "app=%22guid%22", key("guid", Prefer::Name)),
            ("", "route_url=a.example.com%2Fx", key("a.example.com/x", Prefer::Route)),
        ] {
            assert_eq!(Question::parse(rest, query).unwrap().which, which, "{rest}?{query}");
        }
        let question = Question::parse("", "mode=direct&scheme=https&port=8443&").unwrap();
        let (scheme, port) = (Some(Scheme::Https), Some(8443));
        assert_eq!(question, Question { which: Which::All, mode: Mode::Direct, scheme, port });
    }

    #[test]
    fn requests_that_make_no_sense_are_refused() {
        for (rest, query, error) in [
            ("/a/b/c/d", "", BadQuestion::Path),
            ("/a//c", "", BadQuestion::Path),
            ("/%ff", "", BadQuestion::NotUtf8),
            ("", "app=%ff", BadQuestion::NotUtf8),
            ("", "app=", BadQuestion::Key(AppKeyError::Empty)),
            ("", "route_url=a%00", BadQuestion::Key(AppKeyError::Control)),
            ("/a", "app=b", BadQuestion::Twice),
            ("", "app=a&route_url=b", BadQuestion::Twice),
            ("", "app=a&app=a", BadQuestion::Twice),
            ("", "mode=router&mode=router", BadQuestion::Repeated("mode")),
            ("", "mode=", BadQuestion::Mode),
            ("", "scheme=ftp", BadQuestion::Scheme),
            ("", "port=0", BadQuestion::Port),
            ("", "port=65536", BadQuestion::Port),
            ("", "rout_url=a", BadQuestion::Unknown),
        ] {
            assert_eq!(Question::parse(rest, query), Err(error), "{rest}?{query}");
        }
    }
}
