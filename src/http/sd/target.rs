//! A target of a list.
//!
//! Prometheus percent-encodes `__metrics_path__` itself, so paths are decoded here. A single label
//! with an invalid name would make Prometheus reject the whole list.

use super::query::{Mode, Scheme, SdQuery};
use crate::{
    broker::{ActiveBinding, EventQueue},
    discovery::{DEFAULT_PROCESS_TYPE, Endpoint},
    domain::{App, AppGuid, BaseUrl, OrganizationGuid, SpaceGuid, tsuru_ids::is_tsuru_id},
};
use percent_encoding::percent_decode_str;
use serde::{Serialize, Serializer};
use std::borrow::Cow;

/// Data that all targets of an app share.
pub(super) struct AppTargets<'a> {
    pub(super) bound: Option<&'a ActiveBinding>,
    pub(super) route: &'a str,
    pub(super) query: &'a SdQuery,
    pub(super) base: &'a BaseUrl,
}

/// A target group as JSON. Each target has different labels, so each group contains one target.
#[derive(Serialize)]
pub(super) struct Group<'a> {
    targets: [Cow<'a, str>; 1],
    labels: LabelMap<'a>,
}

struct LabelMap<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl Serialize for LabelMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'a> LabelMap<'a> {
    /// Adds a label. Labels without a value are omitted.
    fn push(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        if !value.is_empty() {
            self.0.push((name.into(), value));
        }
    }
}

impl<'a> AppTargets<'a> {
    /// Renders an instance. `is_first` is false if an earlier instance has the same process type
    /// and index.
    pub(super) fn group(&self, endpoint: &'a Endpoint, is_first: bool) -> Group<'a> {
        let app = &endpoint.app;
        let digits = |index: &&str| !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
        let address = || Cow::Owned(endpoint.address.to_string());
        let index = endpoint.index.as_deref().filter(digits).filter(|_| is_first);
        let which = index.map_or_else(address, Cow::Borrowed);
        let mut labels = LabelMap(Vec::with_capacity(26));
        let target = match self.query.mode {
            Mode::Router => self.through_router(endpoint, &which, &mut labels),
            Mode::Direct => self.direct(endpoint, &mut labels),
        };
        labels.push("instance", format!("{}/{which}", endpoint.process_type));
        let organization = app.organization_id.as_ref().map_or("", OrganizationGuid::as_str);
        let space = app.space_id.as_ref().map_or("", SpaceGuid::as_str);
        let index = endpoint.index.as_deref().unwrap_or_default();
        // The same labels as those of samples, so that `up` can be joined with samples.
        labels.push("organization_id", organization);
        labels.push("space_id", space);
        labels.push("app_id", app.id.as_str());
        labels.push("organization_name", &*app.organization_name);
        labels.push("space_name", &*app.space_name);
        labels.push("app_name", &*app.name);
        labels.push("index", index);
        labels.push("instance_id", index);
        if &*endpoint.process_type != DEFAULT_PROCESS_TYPE {
            labels.push("process_type", &*endpoint.process_type);
        }
        labels.push("__meta_cf_app_id", app.id.as_str());
        labels.push("__meta_cf_org_id", organization);
        labels.push("__meta_cf_space_id", space);
        labels.push("__meta_cf_instance_index", index);
        labels.push("__meta_cf_process_type", &*endpoint.process_type);
        labels.push("__meta_cf_route", self.route);
        labels.push("__meta_cf_metrics_path", self.metrics_path());
        // The pools of Tsuru are spaces.
        if is_tsuru_id(app.id.as_str()) {
            labels.push("__meta_tsuru_pool", &*app.space_name);
        }
        // Scrapebroker adds these labels to samples. `up` and direct scrapes get them from the
        // target.
        for (name, value) in self.bound.iter().flat_map(|it| &it.options.labels) {
            labels.push(name.as_str(), value.as_str());
        }
        Group { targets: [target], labels }
    }

    fn through_router(
        &self,
        endpoint: &'a Endpoint,
        which: &str,
        labels: &mut LabelMap<'a>,
    ) -> Cow<'a, str> {
        let base = self.base;
        let target = own_target(base, self.query, labels);
        let app = endpoint.app.id.as_str();
        let path = format!("{}/v1/apps/{app}/instances/{which}/metrics", base.decoded_path());
        labels.push("__metrics_path__", path);
        if &*endpoint.process_type != DEFAULT_PROCESS_TYPE {
            labels.push("__param_process_type", &*endpoint.process_type);
        }
        target.into()
    }

    fn direct(&self, endpoint: &'a Endpoint, labels: &mut LabelMap<'a>) -> Cow<'a, str> {
        let scheme = if endpoint.tls { Scheme::Https } else { Scheme::Http };
        labels.push("__scheme__", self.query.scheme.unwrap_or(scheme).as_str());
        labels.push("__metrics_path__", self.metrics_path());
        let mut address = endpoint.address;
        address.set_port(self.query.port.unwrap_or(address.port()));
        address.to_string().into()
    }

    /// The metrics path of the instance. Its query and the parameters of the binding may contain
    /// API keys, so they are omitted.
    fn metrics_path(&self) -> String {
        let endpoint = self.bound.and_then(|bound| bound.options.endpoint.as_ref());
        let endpoint = endpoint.cloned().unwrap_or_default();
        decoded(endpoint.as_str().split('?').next().unwrap_or_default()).into_owned()
    }
}

/// Renders a queue of events. Its events have the labels of the app already; those of the target are
/// for `up`.
pub(super) fn event_queue<'a>(
    queue: &'a EventQueue,
    app: Option<&'a App>,
    query: &SdQuery,
    base: &BaseUrl,
) -> Group<'a> {
    let mut labels = LabelMap(Vec::with_capacity(12));
    let target = own_target(base, query, &mut labels);
    labels.push("__metrics_path__", format!("{}/v1/events/metrics", base.decoded_path()));
    labels.push("__param_queue", queue.binding_id.as_str());
    labels.push("instance", format!("events/{}", queue.binding_id));
    let id = queue.app_guid.as_ref().map_or("", AppGuid::as_str);
    match app {
        Some(app) => app.labels().into_iter().for_each(|(name, value)| labels.push(name, value)),
        None => labels.push("app_id", id),
    }
    Group { targets: [target.into()], labels }
}

/// Host and port of this installation.
fn own_target(base: &BaseUrl, query: &SdQuery, labels: &mut LabelMap<'_>) -> String {
    let scheme = query.scheme.map_or(base.scheme(), |it| it.as_str());
    labels.push("__scheme__", scheme.to_owned());
    let default = if scheme == "https" { 443 } else { 80 };
    let port = query.port.or(base.port()).unwrap_or(default);
    format!("{}:{port}", base.host())
}

/// Decodes a path. Bytes that are not UTF-8 remain encoded.
fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text))
}
