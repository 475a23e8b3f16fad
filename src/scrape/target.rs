//! Request parameters of one instance: address, path, headers, and the labels of its samples.

use super::ScrapeRequest;
use crate::{
    discovery::{Endpoint, Match},
    domain::{MetricsPath, ScrapeOptions},
};
use awc::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use exposition::AddedLabels;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// The default process type, which gets no label of its own because every app has it.
pub const WEB: &str = "web";

/// An instance to scrape.
#[derive(Clone, Debug)]
pub struct ScrapeTarget {
    /// Its address and platform metadata.
    pub endpoint: Arc<Endpoint>,
    /// Value of the Host header.
    pub host: String,
    /// Path and query of the request, shared by the instances of an app.
    pub path: Arc<str>,
    /// Headers from the scraper and the binding, shared by the instances of an app.
    pub headers: Arc<[(HeaderName, HeaderValue)]>,
    /// Where the secrets of the binding may be sent.
    pub secrets: SecretScope,
    /// Maximum number of samples; 0 means unlimited.
    pub max_samples: usize,
    pub labels: AddedLabels,
}

/// Where the secrets of a binding may be sent. Secrets are its headers, its credentials, and all
/// query parameters, because a parameter may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretScope {
    /// Anywhere: the scraper is authorized for the app.
    Anywhere,
    /// Only to the endpoint of the binding.
    OwnEndpoint,
    /// They are not sent, because the request has another path or query.
    Withheld,
}

/// Memory overhead of a header field while a request is made, bytes.
const FIELD: usize = 256;

impl ScrapeTarget {
    /// Memory of a request to this instance: its head, once as fields and once serialized.
    pub(super) fn request_bytes(&self) -> u64 {
        let fields = self.headers.iter();
        let fields = fields.map(|(name, value)| FIELD + name.as_str().len() + value.len());
        (2 * (self.path.len() + self.host.len()) + fields.sum::<usize>()) as u64
    }
}

/// Unreserved characters of RFC 3986 are not encoded in a query.
pub(super) const QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The instances of one app that the active binding selects. A scraper that is not authorized for
/// the app cannot use the binding's secrets: the request is exactly the binding's own, or contains
/// none of its secrets.
pub fn targets(
    found: &Match<'_>,
    options: &ScrapeOptions,
    request: &ScrapeRequest,
    is_authorized: bool,
    max_samples: usize,
) -> Vec<ScrapeTarget> {
    let secrets = secrets(options, request, is_authorized);
    let path: Arc<str> = request_path(options, request, secrets).into();
    let headers: Arc<[_]> = request_headers(options, request, secrets).into();
    let wanted = |endpoint: &Endpoint| {
        options.process_types.is_empty() || options.process_types.contains(&*endpoint.process_type)
    };
    found
        .endpoints
        .iter()
        .filter(|endpoint| wanted(endpoint))
        .map(|&endpoint| ScrapeTarget {
            host: (endpoint.behind_host.as_deref().or(found.host))
                .map_or_else(|| endpoint.address.to_string(), str::to_owned),
            path: Arc::clone(&path),
            headers: Arc::clone(&headers),
            secrets,
            max_samples: options.sample_limit.unwrap_or(max_samples),
            labels: labels(endpoint, options),
            endpoint: Arc::clone(endpoint),
        })
        .collect()
}

fn secrets(options: &ScrapeOptions, request: &ScrapeRequest, is_authorized: bool) -> SecretScope {
    // Compared as written, because only the app knows which paths are equivalent.
    let is_own_path = request.metric_path.as_ref().is_none_or(|path| {
        options.endpoint.as_ref().map_or(*path == MetricsPath::default(), |own| own == path)
    });
    match is_authorized || !options.may_hold_secrets() {
        true => SecretScope::Anywhere,
        false if is_own_path && request.query.is_empty() => SecretScope::OwnEndpoint,
        false => SecretScope::Withheld,
    }
}

/// The path from the request, the binding or the default, in this order; then the binding's
/// parameters, then those of the request.
fn request_path(options: &ScrapeOptions, request: &ScrapeRequest, secrets: SecretScope) -> String {
    let path = match (&request.metric_path, &options.endpoint) {
        (Some(path), _) => path.as_str(),
        (None, Some(endpoint)) if secrets == SecretScope::Withheld => endpoint.without_query(),
        (None, Some(endpoint)) => endpoint.as_str(),
        (None, None) => MetricsPath::DEFAULT,
    };
    let mut path = path.to_owned();
    let mut separator = if path.contains('?') { '&' } else { '?' };
    let mut push = |text: &str| {
        path.push(separator);
        path.push_str(text);
        separator = '&';
    };
    let own = options.params.iter().filter(|_| secrets != SecretScope::Withheld);
    for (name, values) in own {
        for value in values {
            let name = utf8_percent_encode(name, QUERY);
            push(&format!("{name}={}", utf8_percent_encode(value, QUERY)));
        }
    }
    for pair in &request.query {
        push(pair);
    }
    path
}

/// The binding's credentials and headers override the scraper's. Headers of an unauthorized scraper
/// are not sent together with secrets, because some apps let a header choose the path.
fn request_headers(
    options: &ScrapeOptions,
    request: &ScrapeRequest,
    secrets: SecretScope,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = match secrets {
        SecretScope::Withheld => Vec::new(),
        SecretScope::Anywhere | SecretScope::OwnEndpoint => secret_headers(options),
    };
    let forwarded_for = HeaderName::from_static("x-forwarded-for");
    let forwarded_for = request.forwarded_for.clone().map(|chain| (forwarded_for, chain));
    let scrapers: Vec<_> = request
        .headers
        .iter()
        .filter(|_| secrets != SecretScope::OwnEndpoint)
        .chain(&forwarded_for)
        .filter(|(name, _)| !headers.iter().any(|(own, _)| own == name))
        .cloned()
        .collect();
    headers.extend(scrapers);
    headers
}

fn secret_headers(options: &ScrapeOptions) -> Vec<(HeaderName, HeaderValue)> {
    let secret = |name: &HeaderName, value: &str| {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((name.clone(), value))
    };
    let authorization = match (&options.basic_auth, &options.bearer_token) {
        (Some(basic), _) => {
            let pair = format!("{}:{}", basic.username, basic.password.expose_secret());
            secret(&AUTHORIZATION, &format!("Basic {}", BASE64_STANDARD.encode(pair)))
        }
        (None, Some(token)) => secret(&AUTHORIZATION, &format!("Bearer {}", token.expose_secret())),
        (None, None) => None,
    };
    let own = options.headers.iter().filter_map(|(name, value): (&String, &SecretString)| {
        secret(&name.parse().ok()?, value.expose_secret())
    });
    own.chain(authorization).collect()
}

impl ScrapeTarget {
    /// The target for the path and query of a redirect, if it differs. Secrets for the binding's
    /// own endpoint are removed unless the redirect only adds a slash.
    pub(super) fn redirected_to(&self, path: &str) -> Option<Self> {
        let split = |path: &str| {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            (path.trim_end_matches('/').to_owned(), query.to_owned())
        };
        let stays = self.secrets != SecretScope::OwnEndpoint || split(path) == split(&self.path);
        (!stays).then(|| {
            let open = self.headers.iter().filter(|(_, value)| !value.is_sensitive());
            let headers = open.cloned().collect();
            Self { secrets: SecretScope::Withheld, headers, ..self.clone() }
        })
    }
}

/// The nine labels of an instance; seven without an index.
pub(super) fn instance_labels(endpoint: &Endpoint) -> Vec<(&'static str, String)> {
    let mut labels: Vec<_> =
        endpoint.app.labels().into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    if let Some(index) = &endpoint.index {
        labels.push(("index", index.to_string()));
        labels.push(("instance_id", index.to_string()));
    }
    labels.push(("instance", endpoint.address.to_string()));
    labels
}

fn labels(endpoint: &Endpoint, options: &ScrapeOptions) -> AddedLabels {
    let mut labels = instance_labels(endpoint);
    if &*endpoint.process_type != WEB {
        // Each process type counts its indexes from 0.
        labels.push(("process_type", endpoint.process_type.to_string()));
    }
    let of_binding = options.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    AddedLabels::new(labels.iter().map(|(name, value)| (*name, value.as_str())).chain(of_binding))
}
