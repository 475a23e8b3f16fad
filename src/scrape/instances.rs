//! Targets for the instances of an app: path, headers and labels, as the active binding and the
//! scraper's request determine them.

use super::{
    plan::{QUERY, ScrapeTarget, SecretScope, TargetKind, instance_labels},
    request::ScrapeRequest,
};
use crate::{
    discovery::{DEFAULT_PROCESS_TYPE, Endpoint, Match},
    domain::{MetricsPath, ScrapeOptions},
};
use awc::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use exposition::AddedLabels;
use percent_encoding::utf8_percent_encode;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

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
    let has_own_path = has_own_path(options, request);
    let secrets = secrets(options, request, has_own_path, is_authorized);
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
            has_own_path,
            headers: Arc::clone(&headers),
            secrets,
            max_samples: options.sample_limit.unwrap_or(max_samples),
            labels: labels(endpoint, options),
            kind: TargetKind::Instance(Arc::clone(endpoint)),
        })
        .collect()
}

/// Whether the path is that of the binding or the default. Compared as written, because only the app
/// knows which paths are equivalent.
fn has_own_path(options: &ScrapeOptions, request: &ScrapeRequest) -> bool {
    request.metric_path.as_ref().is_none_or(|path| {
        options.endpoint.as_ref().map_or(*path == MetricsPath::default(), |own| own == path)
    })
}

fn secrets(
    options: &ScrapeOptions,
    request: &ScrapeRequest,
    has_own_path: bool,
    is_authorized: bool,
) -> SecretScope {
    match is_authorized || !options.may_hold_secrets() {
        true => SecretScope::Anywhere,
        false if has_own_path && request.query.is_empty() => SecretScope::OwnEndpoint,
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

fn labels(endpoint: &Endpoint, options: &ScrapeOptions) -> AddedLabels {
    let mut labels = instance_labels(endpoint);
    // Every app has the default process, so it gets no label.
    if &*endpoint.process_type != DEFAULT_PROCESS_TYPE {
        // Each process type counts its indexes from 0.
        labels.push(("process_type", endpoint.process_type.to_string()));
    }
    let of_binding = options.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    AddedLabels::new(labels.iter().map(|(name, value)| (*name, value.as_str())).chain(of_binding))
}
