//! `GET /v1/apps/{app}`: the description of an app as JSON.

use crate::{
    broker::ActiveBinding,
    discovery::{Endpoint, Match, Snapshot},
    domain::{App, ScrapeOptions},
    http::ui::format,
    scrape::{Explanation, LastScrape, ScrapeHistory, ScrapePoint},
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
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
pub(super) struct AppDescription {
    /// Ids and names, as in the labels of samples.
    #[serde(flatten)]
    pub(super) labels: BTreeMap<&'static str, String>,
    pub(super) routes: Vec<String>,
    pub(super) binding: Option<BindingDescription>,
    pub(super) instances: Vec<InstanceDescription>,
}

/// The active binding, without secrets.
#[derive(Debug, Serialize)]
pub(super) struct BindingDescription {
    pub(super) binding_id: String,
    /// Without its query, which may contain an API key.
    pub(super) endpoint: String,
    /// Names only.
    pub(super) params: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) process_types: BTreeSet<String>,
    pub(super) sample_limit: Option<usize>,
    /// Names only.
    pub(super) headers: Vec<String>,
    /// `basic`, `bearer` or absent.
    pub(super) authorization: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct InstanceDescription {
    pub(super) process_type: String,
    pub(super) index: Option<String>,
    pub(super) address: String,
    pub(super) process_instance_id: Option<String>,
    pub(super) availability_zone: Option<String>,
    pub(super) tls: bool,
    /// `host` if a router chooses the instance, so that each scrape may reach a different one.
    /// Absent if the address always reaches the same instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<&'static str>,
    /// Whether the active binding selects this instance for scrapes.
    pub(super) scraped: bool,
    pub(super) last_scrape: Option<LastScrapeDescription>,
    /// The last scrapes, oldest first. Only the page of the app has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) history: Vec<HistoryPoint>,
}

#[derive(Debug, Serialize)]
pub(super) struct LastScrapeDescription {
    pub(super) at: String,
    #[serde(skip)]
    pub(super) time: SystemTime,
    #[serde(skip)]
    pub(super) duration: Duration,
    pub(super) age_seconds: f64,
    pub(super) duration_seconds: f64,
    pub(super) path: String,
    pub(super) up: bool,
    pub(super) samples: usize,
    /// Size of the last complete body after decompression. A failure does not change it.
    pub(super) size_bytes: Option<u64>,
    pub(super) error: Option<&'static str>,
    pub(super) detail: Option<String>,
    pub(super) explanation: Option<Explanation>,
}

/// One of the last scrapes of an instance.
#[derive(Debug)]
pub(super) struct HistoryPoint(pub(super) ScrapePoint);

impl Serialize for HistoryPoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ScrapePoint { at, duration, samples } = self.0;
        let mut point = serializer.serialize_struct("HistoryPoint", 3)?;
        point.serialize_field("at", &humantime::format_rfc3339_seconds(at).to_string())?;
        point.serialize_field("duration_seconds", &duration.as_secs_f64())?;
        point.serialize_field("samples", &samples)?;
        point.end()
    }
}

impl AppDescription {
    /// The value of one of the labels of samples.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

impl InstanceDescription {
    /// Process type, and index or address.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.process_type, self.index.as_deref().unwrap_or(&self.address))
    }
}

pub(super) fn describe(
    table: &Snapshot,
    found: &[Match<'_>],
    bound: impl Fn(&str) -> Option<Arc<ActiveBinding>>,
    last: &ScrapeHistory,
) -> Description {
    let apps = found.iter().map(|one| {
        let active = bound(one.app.id.as_str());
        describe_app(table, one, active.as_deref(), last)
    });
    Description {
        route_table_age_seconds: table.age().as_ref().map(Duration::as_secs_f64),
        apps: apps.collect(),
    }
}

/// Describes one app. The instances have the order of the endpoints.
pub(super) fn describe_app(
    table: &Snapshot,
    one: &Match<'_>,
    active: Option<&ActiveBinding>,
    last: &ScrapeHistory,
) -> AppDescription {
    let is_selected = |endpoint: &Endpoint| {
        active.is_none_or(|binding| {
            let types = &binding.options.process_types;
            types.is_empty() || types.contains(&*endpoint.process_type)
        })
    };
    let describe = |endpoint: &&Arc<Endpoint>| {
        let last = last.of(&endpoint.app.id, endpoint.address);
        instance(endpoint, is_selected(endpoint), last)
    };
    AppDescription {
        labels: one.app.labels().map(|(name, value)| (name, value.to_owned())).into(),
        routes: table.routes_of(one.app.id.as_str()).map(str::to_owned).collect(),
        binding: active.map(|active| binding(active.binding_id.to_string(), &active.options)),
        instances: one.endpoints.iter().map(describe).collect(),
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
        last_scrape: last.map(|last| last_scrape(&endpoint.app, last)),
        history: Vec::new(),
    }
}

fn last_scrape(app: &App, last: LastScrape) -> LastScrapeDescription {
    let size_bytes = last.size();
    let failure = last.result.as_ref().err();
    LastScrapeDescription {
        at: humantime::format_rfc3339_millis(last.at).to_string(),
        time: last.at,
        duration: last.duration,
        age_seconds: SystemTime::now().duration_since(last.at).unwrap_or_default().as_secs_f64(),
        duration_seconds: last.duration.as_secs_f64(),
        path: last.path.into(),
        up: last.result.is_ok(),
        samples: *last.result.as_ref().unwrap_or(&0),
        size_bytes,
        error: failure.map(|failure| failure.reason.as_str()),
        explanation: failure.map(|failure| format::explanation(failure, app)),
        detail: failure.map(|failure| failure.detail.clone()),
    }
}
