//! What to request from which targets.

use crate::{
    discovery::Endpoint,
    domain::{App, ExternalExporter, FillError},
};
use awc::http::header::{HeaderName, HeaderValue};
use exposition::AddedLabels;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use std::sync::Arc;

/// Unreserved characters of RFC 3986 are not encoded in a query.
pub(super) const QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Targets of one scrape.
#[derive(Debug)]
pub struct ScrapePlan {
    /// Instances, then external exporters.
    pub(super) targets: Vec<ScrapeTarget>,
    pub(super) unfilled: Vec<UnfilledExporter>,
}

/// One target, and the request to it.
#[derive(Clone, Debug)]
pub struct ScrapeTarget {
    pub(super) kind: TargetKind,
    /// Value of the Host header.
    pub(super) host: String,
    /// Path and query of the request, shared by the instances of an app.
    pub(super) path: Arc<str>,
    /// Whether the scraper chose no path, or that of the binding.
    pub(super) has_own_path: bool,
    /// Headers from the scraper and the binding, shared by the instances of an app.
    pub(super) headers: Arc<[(HeaderName, HeaderValue)]>,
    pub(super) secrets: SecretScope,
    /// Maximum number of samples; 0 means unlimited.
    pub(super) max_samples: usize,
    /// Labels that are added to its samples.
    pub(super) labels: AddedLabels,
}

#[derive(Clone, Debug)]
pub(super) enum TargetKind {
    Instance(Arc<Endpoint>),
    Exporter(AppExporter),
}

/// An external exporter that is scraped for an app.
#[derive(Clone, Debug)]
pub(super) struct AppExporter {
    pub(super) exporter: Arc<ExternalExporter>,
    pub(super) app: Arc<App>,
}

/// An exporter that is not scraped because a parameter template cannot be filled in for the app.
#[derive(Debug)]
pub(super) struct UnfilledExporter {
    pub(super) exporter: AppExporter,
    pub(super) why: FillError,
}

/// Where the secrets of a binding may be sent. Secrets are its headers, its credentials, and all
/// query parameters, because a parameter may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecretScope {
    /// Anywhere: the scraper is authorized for the app.
    Anywhere,
    /// Only to the endpoint of the binding.
    OwnEndpoint,
    /// They are not sent, because the request has another path or query.
    Withheld,
}

/// Memory overhead of a header field while a request is made, bytes.
const FIELD: usize = 256;

impl ScrapePlan {
    /// Scrapes only instances.
    pub fn new(instances: Vec<ScrapeTarget>) -> Self {
        Self { targets: instances, unfilled: Vec::new() }
    }
}

impl ScrapeTarget {
    /// The instance, unless the target is an external exporter.
    pub fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        match &self.kind {
            TargetKind::Instance(endpoint) => Some(endpoint),
            TargetKind::Exporter(_) => None,
        }
    }

    /// The app that it is scraped for.
    pub(super) fn app(&self) -> &Arc<App> {
        match &self.kind {
            TargetKind::Instance(endpoint) => &endpoint.app,
            TargetKind::Exporter(exporter) => &exporter.app,
        }
    }

    /// Memory of a request to this instance: its head, once as fields and once serialized.
    pub(super) fn request_bytes(&self) -> u64 {
        let fields = self.headers.iter();
        let fields = fields.map(|(name, value)| FIELD + name.as_str().len() + value.len());
        (2 * (self.path.len() + self.host.len()) + fields.sum::<usize>()) as u64
    }

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

impl TargetKind {
    /// The labels that identify the target.
    pub(super) fn labels(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Instance(endpoint) => instance_labels(endpoint),
            Self::Exporter(exporter) => exporter.labels(),
        }
    }
}

impl AppExporter {
    pub(super) fn new(exporter: &Arc<ExternalExporter>, app: &Arc<App>) -> Self {
        Self { exporter: Arc::clone(exporter), app: Arc::clone(app) }
    }

    pub(super) fn labels(&self) -> Vec<(&'static str, String)> {
        let mut labels = app_labels(&self.app);
        labels.push(("instance", self.exporter.host.as_str().to_owned()));
        labels
    }
}

/// The nine labels of an instance; seven without an index.
pub(super) fn instance_labels(endpoint: &Endpoint) -> Vec<(&'static str, String)> {
    let mut labels = app_labels(&endpoint.app);
    if let Some(index) = &endpoint.index {
        labels.push(("index", index.to_string()));
        labels.push(("instance_id", index.to_string()));
    }
    labels.push(("instance", endpoint.address.to_string()));
    labels
}

fn app_labels(app: &App) -> Vec<(&'static str, String)> {
    app.labels().into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}
