//! Reads gorouter's answer to `GET /routes`: an object, route key to list of
//! endpoints (`route/pool.go`, `Endpoint.MarshalJSON`).
//!
//! A router is foreign and the format is declared internal, so only the frame
//! must be right: JSON, complete, an object. Inside it, a field of another
//! type reads as missing, an unknown one is passed over, and an endpoint that
//! makes no sense is counted and left out. One of them never costs the rest.

use super::{
    drop_log::{DESCRIBED, Dropped},
    endpoint::Endpoint,
    intern::{Interner, Read},
    route_key,
    wire::{Scalar, WireEndpoint},
};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{error::Category, value::RawValue};
use std::{fmt, net::SocketAddr, sync::Arc};

/// What one source says when it says everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// In byte order of the routes, then by address; no two alike.
    pub(super) entries: Vec<Entry>,
    /// Endpoints that were left out: no address, no usable id, no object.
    pub skipped: usize,
    /// Endpoints of platform components, which are never scraped.
    pub without_app: usize,
    /// The first of the skipped ones.
    pub(super) dropped: Vec<Dropped>,
}

impl Document {
    fn skip(&mut self, app: &str, route: &str, reason: impl fmt::Display) {
        self.skipped += 1;
        if self.dropped.len() < DESCRIBED {
            self.dropped.push(Dropped::new(app, route, reason));
        }
    }
}

/// One endpoint under one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As [`route_key::normalize`] spells it.
    pub(super) route: Arc<str>,
    /// None: the route exists, and nothing under it can be scraped. It must be
    /// known all the same, or its host would fall through to a wildcard.
    pub(super) endpoint: Option<Arc<Endpoint>>,
}

impl Entry {
    /// What two sources must share to speak of the same thing.
    pub(super) fn key(&self) -> (&str, Option<SocketAddr>) {
        (&self.route, self.endpoint.as_ref().map(|endpoint| endpoint.address))
    }
}

/// Why a body is not a route table. Never shows what the body says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Bytes that are no text.
    #[error("is not UTF-8")]
    NotUtf8,
    /// HTML, a list, nothing at all.
    #[error("is no JSON object; is this the address of a route table?")]
    NotAnObject,
    /// The connection or the writer stopped half-way.
    #[error("ends in the middle")]
    CutOff,
    /// Not JSON.
    #[error("is not valid JSON at line {line}, column {column}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
}

/// Reads a whole document. Pure: no clock, no I/O, any bytes are welcome.
///
/// # Errors
/// When the frame is broken; the content never is a reason.
pub fn parse(body: &[u8]) -> Result<Document, DocumentError> {
    parse_into(body, &mut Interner::default())
}

/// [`parse`], sharing what `interner` knows already.
pub(super) fn parse_into(body: &[u8], interner: &mut Interner) -> Result<Document, DocumentError> {
    // Checked in one go and first: what serde passes over it does not check.
    let text = std::str::from_utf8(body).map_err(|_| DocumentError::NotUtf8)?;
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(DocumentError::NotAnObject);
    }
    interner.expect(body.len());
    // Nearly always every endpoint is as expected, and one pass will do. If it
    // does not, the second goes through them one by one.
    let quick = Routes::read(text, Pace::Quick, interner);
    let mut document = quick.or_else(|_| Routes::read(text, Pace::OneByOne, interner))?;
    let entries = &mut document.entries;
    entries.sort_by(|a, b| a.key().cmp(&b.key()));
    // Of two that say the same key the later stays, as in any JSON object.
    entries.dedup_by(|later, kept| {
        let same = later.key() == kept.key();
        if same {
            std::mem::swap(later, kept);
        }
        same
    });
    Ok(document)
}

/// How to read the endpoints of a route.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// All of them together; one that is no object fails the document.
    Quick,
    /// Each by itself, so that it can only fail itself.
    OneByOne,
}

struct Routes<'a> {
    document: Document,
    pace: Pace,
    interner: &'a mut Interner,
}

impl<'de> Visitor<'de> for Routes<'_> {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a route table")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Document, A::Error> {
        while let Some(key) = map.next_key::<Scalar<'de>>()? {
            let route = self.interner.route(&route_key::normalize(key.or_empty()));
            let before = self.document.entries.len();
            match self.pace {
                Pace::Quick => {
                    let endpoints = map.next_value::<Option<Vec<WireEndpoint<'de>>>>()?;
                    for endpoint in endpoints.iter().flatten() {
                        self.add(&route, endpoint);
                    }
                }
                Pace::OneByOne => self.add_each(&route, map.next_value()?),
            }
            if self.document.entries.len() == before {
                self.document.entries.push(Entry { route, endpoint: None });
            }
        }
        Ok(self.document)
    }
}

impl<'a> Routes<'a> {
    fn read(text: &str, pace: Pace, interner: &'a mut Interner) -> Result<Document, DocumentError> {
        let mut json = serde_json::Deserializer::from_str(text);
        let routes = Self { document: Document::default(), pace, interner };
        json.deserialize_map(routes).and_then(|document| json.end().map(|()| document)).map_err(
            |error| match error.classify() {
                Category::Eof => DocumentError::CutOff,
                _ => DocumentError::Syntax { line: error.line(), column: error.column() },
            },
        )
    }

    fn add_each(&mut self, route: &Arc<str>, pool: &RawValue) {
        let pool = serde_json::from_str::<Option<Vec<&RawValue>>>(pool.get());
        let Ok(endpoints) = pool else {
            self.document.skip("", route, "its endpoints are not a list");
            return;
        };
        for endpoint in endpoints.into_iter().flatten() {
            match serde_json::from_str(endpoint.get()) {
                Ok(endpoint) => self.add(route, &endpoint),
                Err(_) => self.document.skip("", route, "the endpoint is not an object"),
            }
        }
    }

    fn add(&mut self, route: &Arc<str>, wire: &WireEndpoint<'_>) {
        match self.interner.endpoint(wire) {
            Read::Endpoint(endpoint) => {
                let entry = Entry { route: Arc::clone(route), endpoint: Some(endpoint) };
                self.document.entries.push(entry);
            }
            Read::WithoutApp => self.document.without_app += 1,
            Read::Unusable(reason) => {
                self.document.skip(wire.tags.app_id.or_empty(), route, reason);
            }
        }
    }
}

#[cfg(test)]
mod tests;
