//! Requests to the servers of an upstream.

use super::{RulePathFormat, StreamedBody};
use awc::http::header::{HeaderMap, HeaderValue};
use bytes::Bytes;
use std::time::Duration;

/// A request to forward.
#[derive(Clone, Debug)]
pub struct QueryRequest<'a> {
    /// Path and query, relative to the path of the upstream.
    pub target: String,
    /// The user's headers; those that a server needs are forwarded.
    pub headers: &'a HeaderMap,
    /// X-Forwarded-For of the request.
    pub forwarded_for: Option<HeaderValue>,
    /// The body of a POST request. `None`: a GET request.
    pub body: Option<RequestBody>,
    /// The response contains paths of rule files, whose folders are removed.
    pub files: Option<RulePathFormat>,
    /// The response may be changed, so it must not be compressed.
    pub is_uncompressed: bool,
    /// Public path of an upstream whose servers do not know it: redirects are changed to it.
    pub mount: Option<&'a str>,
    /// Timeout until the response starts.
    pub timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct RequestBody {
    pub kind: BodyKind,
    pub content: BodyContent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// Parameters as a form instead of the query.
    Form,
    /// A query in another format, which the headers of the user name.
    RemoteRead,
    /// Samples, in a format that the headers of the user name.
    Write,
}

#[derive(Clone, Debug)]
pub enum BodyContent {
    /// A short body, which can be sent to several servers.
    Kept(Bytes),
    /// A long body, which is sent once.
    Streamed(StreamedBody),
}

impl RequestBody {
    pub(super) fn form(form: Bytes) -> Self {
        Self { kind: BodyKind::Form, content: BodyContent::Kept(form) }
    }
}

impl<'a> QueryRequest<'a> {
    /// A request that Scrapebroker itself sends.
    pub fn get(target: String, headers: &'a HeaderMap, timeout: Duration) -> Self {
        Self {
            target,
            headers,
            forwarded_for: None,
            body: None,
            files: None,
            is_uncompressed: false,
            mount: None,
            timeout,
        }
    }

    /// The parameters of a POST request, if they are a form that is kept.
    pub fn form(&self) -> Option<&Bytes> {
        match &self.body {
            Some(RequestBody { kind: BodyKind::Form, content: BodyContent::Kept(form) }) => {
                Some(form)
            }
            _ => None,
        }
    }

    /// Whether the request changes data.
    pub(super) fn is_write(&self) -> bool {
        self.body.as_ref().is_some_and(|it| it.kind == BodyKind::Write)
    }

    pub(super) fn streamed(&self) -> Option<&StreamedBody> {
        match &self.body.as_ref()?.content {
            BodyContent::Kept(_) => None,
            BodyContent::Streamed(body) => Some(body),
        }
    }

    /// Whether the request may be sent again, although a server may have received it.
    pub(super) fn may_repeat(&self) -> bool {
        !self.is_write() && self.streamed().is_none_or(StreamedBody::is_unread)
    }

    /// Whether the request may be sent to two servers at once.
    pub(super) fn may_hedge(&self) -> bool {
        !self.is_write() && self.streamed().is_none()
    }
}
