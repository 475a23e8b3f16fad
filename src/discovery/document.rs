//! Parses gorouter's response to `GET /routes`: an object with a list of endpoints per route
//! (gorouter's `route/pool.go`, `Endpoint.MarshalJSON`).
//!
//! The format is internal to gorouter and may change. Only the outer structure must be right: a
//! complete JSON object. A field of another type counts as missing, unknown fields are ignored, and
//! an invalid endpoint is counted and skipped. One invalid endpoint never affects the others.

use super::{
    drop_log::{DESCRIBED, Dropped},
    endpoint::Endpoint,
    intern::{Interned, Interner},
    route_key,
    wire::{Scalar, WireEndpoint},
};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{error::Category, value::RawValue};
use std::{fmt, net::SocketAddr, sync::Arc};

/// A parsed route table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Ordered by route, then by address. No duplicates.
    pub(super) entries: Vec<Entry>,
    /// Number of endpoints without a usable address or app id.
    pub skipped: usize,
    /// Number of endpoints of platform components, which are never scraped.
    pub without_app: usize,
    /// The first of the skipped endpoints.
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

/// An endpoint of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Normalized by [`route_key::normalize`].
    pub(super) route: Arc<str>,
    /// None: the route has no endpoint that can be scraped. The route is still stored, otherwise a
    /// wildcard would match its host.
    pub(super) endpoint: Option<Arc<Endpoint>>,
}

/// Route and address of an entry.
pub(super) type EntryKey = (Arc<str>, Option<SocketAddr>);

impl Entry {
    /// Entries with the same key describe the same endpoint.
    pub(super) fn key(&self) -> (&str, Option<SocketAddr>) {
        (&self.route, self.address())
    }

    pub(super) fn to_key(&self) -> EntryKey {
        (Arc::clone(&self.route), self.address())
    }

    fn address(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref().map(|endpoint| endpoint.address)
    }
}

/// Why a body is not a route table. Never quotes the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    #[error("is not UTF-8")]
    NotUtf8,
    /// HTML, a list, or an empty body.
    #[error("is not a JSON object; is this the URL of a route table?")]
    NotAnObject,
    /// The body is incomplete.
    #[error("is incomplete")]
    Truncated,
    #[error("is not valid JSON at line {line}, column {column}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
}

/// Parses a route table. Accepts any bytes.
///
/// # Errors
/// The outer structure is broken. Invalid endpoints are not an error.
pub fn parse(body: &[u8]) -> Result<Document, DocumentError> {
    parse_into(body, &mut Interner::default())
}

/// Like [`parse`], and shares values with `interner`.
pub(super) fn parse_into(body: &[u8], interner: &mut Interner) -> Result<Document, DocumentError> {
    // Checked first, because serde does not check parts that it skips.
    let text = std::str::from_utf8(body).map_err(|_| DocumentError::NotUtf8)?;
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(DocumentError::NotAnObject);
    }
    interner.reserve(body.len());
    // Almost always all endpoints are valid and the fast mode succeeds. If not, the second pass
    // parses each endpoint separately.
    let fast = Routes::read(text, ParseMode::Fast, interner);
    let mut document = fast.or_else(|_| Routes::read(text, ParseMode::PerEndpoint, interner))?;
    let entries = &mut document.entries;
    entries.sort_by(|a, b| a.key().cmp(&b.key()));
    // The last of several entries with the same key counts, as in any JSON object.
    entries.dedup_by(|later, earlier| {
        let same = later.key() == earlier.key();
        if same {
            std::mem::swap(later, earlier);
        }
        same
    });
    Ok(document)
}

/// How the endpoints of a route are parsed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ParseMode {
    /// All together. An endpoint that is not an object is an error of the document.
    Fast,
    /// Each separately. An invalid endpoint does not affect others.
    PerEndpoint,
}

struct Routes<'a> {
    document: Document,
    mode: ParseMode,
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
            match self.mode {
                ParseMode::Fast => {
                    let endpoints = map.next_value::<Option<Vec<WireEndpoint<'de>>>>()?;
                    for endpoint in endpoints.iter().flatten() {
                        self.add(&route, endpoint);
                    }
                }
                ParseMode::PerEndpoint => self.add_each(&route, map.next_value()?),
            }
            if self.document.entries.len() == before {
                self.document.entries.push(Entry { route, endpoint: None });
            }
        }
        Ok(self.document)
    }
}

impl<'a> Routes<'a> {
    fn read(
        text: &str,
        mode: ParseMode,
        interner: &'a mut Interner,
    ) -> Result<Document, DocumentError> {
        let mut json = serde_json::Deserializer::from_str(text);
        let routes = Self { document: Document::default(), mode, interner };
        json.deserialize_map(routes).and_then(|document| json.end().map(|()| document)).map_err(
            |error| match error.classify() {
                Category::Eof => DocumentError::Truncated,
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
            Interned::Endpoint(endpoint) => {
                let entry = Entry { route: Arc::clone(route), endpoint: Some(endpoint) };
                self.document.entries.push(entry);
            }
            Interned::WithoutApp => self.document.without_app += 1,
            Interned::Unusable(reason) => {
                self.document.skip(wire.tags.app_id.or_empty(), route, reason);
            }
        }
    }
}

#[cfg(test)]
mod tests;
