//! Requests to the servers of an upstream.

use super::RulePathFormat;
use awc::http::header::{HeaderMap, HeaderValue};
use bytes::Bytes;
use std::time::Duration;

/// A request to forward.
#[derive(Clone, Debug)]
pub struct QueryRequest<'a> {
    /// Path and query, relative to the path of the upstream.
    pub target: String,
    /// The user's headers; those that a read needs are forwarded.
    pub headers: &'a HeaderMap,
    /// X-Forwarded-For of the request.
    pub forwarded_for: Option<HeaderValue>,
    /// Parameters as a form instead of the query.
    pub form: Option<Bytes>,
    /// The response contains paths of rule files, whose folders are removed.
    pub files: Option<RulePathFormat>,
    /// The response may be changed, so it must not be compressed.
    pub is_uncompressed: bool,
    /// Public path of an upstream whose servers do not know it: redirects are changed to it.
    pub mount: Option<&'a str>,
    /// Timeout until the response starts.
    pub timeout: Duration,
}
