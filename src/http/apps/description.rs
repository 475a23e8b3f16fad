//! `GET /v1/apps/{app}`: the description of an app as JSON.

use crate::{
    broker::ActiveBinding,
    discovery::{Endpoint, Match, Snapshot},
    domain::{AppGuid, ScrapeOptions},
    scrape::{Explanation, LastScrape, Platform, ScrapeHistory},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The response. It contains several apps if they share a route.
#[derive(Debug, Serialize)]
pub(super) struct Description {
    /// Time since the last response of any source. If it exceeds a minute or two, instances may be
    /// missing or outdated.
    route_table_age_seconds: Option<f64>,
    apps: Vec<AppDescription>,
}

#[derive(Debug, Serialize)]
struct AppDescription {
    /// Ids and names, as in the labels of samples.
    #[serde(flatten)]
    labels: BTreeMap<&'static str, String>,
    routes: Vec<String>,
    binding: Option<BindingDescription>,
    instances: Vec<InstanceDescription>,
}

/// The active binding, without secrets.
#[derive(Debug, Serialize)]
struct BindingDescription {
    binding_id: String,
    /// Without its query, which may contain an API key.
    endpoint: String,
    /// Names only.
    params: Vec<String>,
    labels: BTreeMap<String, String>,
    process_types: BTreeSet<String>,
    sample_limit: Option<usize>,
    /// Names only.
    headers: Vec<String>,
    /// `basic`, `bearer` or absent.
    authorization: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct InstanceDescription {
    process_type: String,
    index: Option<String>,
    address: String,
    process_instance_id: Option<String>,
    availability_zone: Option<String>,
    tls: bool,
    /// `host` if a router chooses the instance, so that each scrape may reach a different one.
    /// Absent if the address always reaches the same instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    /// Whether the active binding selects this instance for scrapes.
    scraped: bool,
    last_scrape: Option<LastScrapeDescription>,
}

#[derive(Debug, Serialize)]
struct LastScrapeDescription {
    at: String,
    age_seconds: f64,
    duration_seconds: f64,
    path: String,
    up: bool,
    samples: usize,
    /// Size of the last complete body after decompression. A failure does not change it.
    size_bytes: Option<u64>,
    error: Option<&'static str>,
    detail: Option<String>,
    explanation: Option<Explanation>,
}

pub(super) fn describe(
    table: &Snapshot,
    found: &[Match<'_>],
    bound: impl Fn(&str) -> Option<Arc<ActiveBinding>>,
    last: &ScrapeHistory,
) -> Description {
    let apps = found.iter().map(|one| {
        let active = bound(one.app.id.as_str());
        let process_types =
            active.as_ref().map(|bound| bound.options.process_types.clone()).unwrap_or_default();
        let scraped = |endpoint: &Endpoint| {
            process_types.is_empty() || process_types.contains(&*endpoint.process_type)
        };
        AppDescription {
            labels: one.app.labels().map(|(name, value)| (name, value.to_owned())).into(),
            routes: table.routes_of(one.app.id.as_str()).map(str::to_owned).collect(),
            binding: active
                .as_ref()
                .map(|bound| binding(bound.binding_id.to_string(), &bound.options)),
            instances: one
                .endpoints
                .iter()
                .map(|endpoint| {
                    instance(
                        endpoint,
                        scraped(endpoint),
                        last.of(&endpoint.app.id, endpoint.address),
                    )
                })
                .collect(),
        }
    });
    Description {
        route_table_age_seconds: table.age().as_ref().map(Duration::as_secs_f64),
        apps: apps.collect(),
    }
}

fn binding(binding_id: String, options: &ScrapeOptions) -> BindingDescription {
    let endpoint = options.endpoint.clone().unwrap_or_default();
    BindingDescription {
        binding_id,
        endpoint: endpoint.as_str().split('?').next().unwrap_or_default().to_owned(),
        params: options.params.keys().cloned().collect(),
        labels: options.labels.clone(),
        process_types: options.process_types.clone(),
        sample_limit: options.sample_limit,
        headers: options.headers.keys().cloned().collect(),
        authorization: match (&options.basic_auth, &options.bearer_token) {
            (Some(_), _) => Some("basic"),
            (None, Some(_)) => Some("bearer"),
            (None, None) => None,
        },
    }
}

fn instance(endpoint: &Endpoint, scraped: bool, last: Option<LastScrape>) -> InstanceDescription {
    InstanceDescription {
        process_type: endpoint.process_type.to_string(),
        index: endpoint.index.as_ref().map(ToString::to_string),
        address: endpoint.address.to_string(),
        process_instance_id: endpoint.process_instance_id.as_deref().map(str::to_owned),
        availability_zone: endpoint.availability_zone.as_deref().map(str::to_owned),
        tls: endpoint.tls,
        by: endpoint.behind_host.is_some().then_some("host"),
        scraped,
        last_scrape: last.map(|last| last_scrape(&endpoint.app.id, last)),
    }
}

fn last_scrape(app: &AppGuid, last: LastScrape) -> LastScrapeDescription {
    let size_bytes = last.size();
    let failure = last.result.as_ref().err();
    LastScrapeDescription {
        at: humantime::format_rfc3339_millis(last.at).to_string(),
        age_seconds: SystemTime::now().duration_since(last.at).unwrap_or_default().as_secs_f64(),
        duration_seconds: last.duration.as_secs_f64(),
        path: last.path.into(),
        up: last.result.is_ok(),
        samples: *last.result.as_ref().unwrap_or(&0),
        size_bytes,
        error: failure.map(|failure| failure.reason.as_str()),
        explanation: failure.map(|failure| failure.explain(Platform::of(app))),
        detail: failure.map(|failure| failure.detail.clone()),
    }
}
