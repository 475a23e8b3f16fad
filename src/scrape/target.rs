//! What is asked of one instance: where, with which path and headers, and
//! under which labels the answer is given.

use super::Ask;
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

/// The process type that gets no label of its own: every app has it.
pub const WEB: &str = "web";

/// One instance to ask.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it is, and what the platform says of it.
    pub endpoint: Arc<Endpoint>,
    /// Value of the Host header.
    pub host: String,
    /// Path and query of the request, shared by the instances of an app.
    pub path: Arc<str>,
    /// Headers from the scraper and from the binding, shared likewise.
    pub headers: Arc<[(HeaderName, HeaderValue)]>,
    /// How far the secrets of the binding go along.
    pub secrets: Secrets,
    /// Most samples it may answer; 0: no limit.
    pub max_samples: usize,
    /// Labels added to each of its samples.
    pub labels: AddedLabels,
}

/// How far the secrets of a binding go along with a request: its headers and
/// credentials, and all query parameters, since one may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// Wherever the request goes. The scraper is authorized for the app.
    Anywhere,
    /// To the binding's own endpoint, and nowhere else.
    OwnEndpoint,
    /// They were left out, since the request goes elsewhere.
    Withheld,
}

/// What a header field takes beside its text while a request is made, bytes.
const FIELD: usize = 256;

impl Target {
    /// What a request to this instance takes in memory: its head, once as fields and once as
    /// it is written.
    pub(super) fn request_bytes(&self) -> u64 {
        let fields = self.headers.iter();
        let fields = fields.map(|(name, value)| FIELD + name.as_str().len() + value.len());
        (2 * (self.path.len() + self.host.len()) + fields.sum::<usize>()) as u64
    }
}

/// Unreserved characters of RFC 3986 stay readable in a query.
pub(super) const QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The instances of one app that the binding in force wants scraped. Unless the
/// scraper `is_authorized` for the app, it cannot use what the binding keeps: the
/// request is exactly the binding's own, or carries nothing secret of it.
pub fn targets(
    found: &Match<'_>,
    options: &ScrapeOptions,
    ask: &Ask,
    is_authorized: bool,
    max_samples: usize,
) -> Vec<Target> {
    let secrets = secrets(options, ask, is_authorized);
    let path: Arc<str> = request_path(options, ask, secrets).into();
    let headers: Arc<[_]> = request_headers(options, ask, secrets).into();
    let wanted = |endpoint: &Endpoint| {
        options.process_types.is_empty() || options.process_types.contains(&*endpoint.process_type)
    };
    found
        .endpoints
        .iter()
        .filter(|endpoint| wanted(endpoint))
        .map(|&endpoint| Target {
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

fn secrets(options: &ScrapeOptions, ask: &Ask, is_authorized: bool) -> Secrets {
    // Compared as they are written: what is merely equivalent, the app decides.
    let is_own_path = ask.metric_path.as_ref().is_none_or(|path| {
        options.endpoint.as_ref().map_or(*path == MetricsPath::default(), |own| own == path)
    });
    match is_authorized || !options.may_hold_secrets() {
        true => Secrets::Anywhere,
        false if is_own_path && ask.query.is_empty() => Secrets::OwnEndpoint,
        false => Secrets::Withheld,
    }
}

/// Query parameter over binding over default for the path; the binding's
/// parameters before the request's own.
fn request_path(options: &ScrapeOptions, ask: &Ask, secrets: Secrets) -> String {
    let path = match (&ask.metric_path, &options.endpoint) {
        (Some(path), _) => path.as_str(),
        (None, Some(endpoint)) if secrets == Secrets::Withheld => endpoint.without_query(),
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
    let own = options.params.iter().filter(|_| secrets != Secrets::Withheld);
    for (name, values) in own {
        for value in values {
            let name = utf8_percent_encode(name, QUERY);
            push(&format!("{name}={}", utf8_percent_encode(value, QUERY)));
        }
    }
    for pair in &ask.query {
        push(pair);
    }
    path
}

/// A binding's credentials and headers take the place of the scraper's. A header of
/// a stranger does not go along with them: some apps let one choose the path.
fn request_headers(
    options: &ScrapeOptions,
    ask: &Ask,
    secrets: Secrets,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = match secrets {
        Secrets::Withheld => Vec::new(),
        Secrets::Anywhere | Secrets::OwnEndpoint => secret_headers(options),
    };
    let forwarded_for = HeaderName::from_static("x-forwarded-for");
    let forwarded_for = ask.forwarded_for.clone().map(|chain| (forwarded_for, chain));
    let scrapers: Vec<_> = ask
        .headers
        .iter()
        .filter(|_| secrets != Secrets::OwnEndpoint)
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

impl Target {
    /// The same for the path and query of a redirect. Secrets that may go to the
    /// binding's own endpoint only do not follow, unless just a slash was added at
    /// its end.
    pub(super) fn redirected_to(&self, path: &str) -> Option<Self> {
        let split = |path: &str| {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            (path.trim_end_matches('/').to_owned(), query.to_owned())
        };
        let stays = self.secrets != Secrets::OwnEndpoint || split(path) == split(&self.path);
        (!stays).then(|| {
            let open = self.headers.iter().filter(|(_, value)| !value.is_sensitive());
            let headers = open.cloned().collect();
            Self { secrets: Secrets::Withheld, headers, ..self.clone() }
        })
    }
}

/// The nine labels of an instance; seven when the platform gives no index.
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
        // Indexes repeat across process types.
        labels.push(("process_type", endpoint.process_type.to_string()));
    }
    let of_binding = options.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    AddedLabels::new(labels.iter().map(|(name, value)| (*name, value.as_str())).chain(of_binding))
}
