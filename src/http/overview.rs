//! `/`: the state of this installation, and what needs attention.

mod attention;
mod health;

use crate::{
    broker::{BindingTable, Broker},
    discovery::RouteTable,
    domain::BaseUrl,
    events::Events,
    http::{
        access::{Access, Denied},
        lifecycle::Lifecycle,
        prometheus::{FiringAlerts, Prometheus},
        read_only,
        ui::{self, Layout, Section, Viewer, format},
    },
    query::{Pool, PrometheusClient},
    scrape::ScrapeHistory,
};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use askama::Template;
use attention::{Attention, Severity};
use health::InstallationHealth;
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// State of the handler, shared by all workers.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The public URL without a trailing slash.
    pub base_url: BaseUrl,
    pub lifecycle: Lifecycle,
    pub table: RouteTable,
    pub access: Access,
    pub broker: Broker,
    pub bound: BindingTable,
    pub last: Arc<ScrapeHistory>,
    pub pools: Vec<Pool>,
    pub events: Events,
    /// How Prometheus instances run, as in the configuration.
    pub provisioner: &'static str,
    pub started: Instant,
    /// Set if bindings are stored on a disk that may be lost.
    pub warning: Option<&'static str>,
    /// Path of Scrapebroker's own metrics.
    pub metrics_path: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage<'a> {
    layout: Layout<'a>,
    twin: &'a OverviewTwin,
    metrics_path: &'a str,
    uptime: Duration,
    /// Whether to offer a login for the details. False if the request contained credentials.
    offer_login: bool,
}

#[derive(Serialize)]
struct OverviewTwin {
    version: &'static str,
    uptime_seconds: u64,
    ready: bool,
    /// Why it is not ready.
    waiting: Option<&'static str>,
    warning: Option<&'static str>,
    /// For operators.
    #[serde(flatten)]
    details: Option<Details>,
}

#[derive(Serialize)]
struct Details {
    attention: Vec<Attention>,
    #[serde(flatten)]
    health: InstallationHealth,
}

/// Adds `/` and the assets of all pages. Requires [`Overview`], [`Prometheus`] and the worker's
/// [`PrometheusClient`] as app data.
pub fn configure(config: &mut web::ServiceConfig) {
    config.service(read_only("/", show)).configure(ui::configure_assets);
}

/// With this query the browser requests credentials from the user.
const DETAILS: &str = "details";

async fn show(
    request: HttpRequest,
    overview: web::Data<Overview>,
    prometheus: web::Data<Prometheus>,
    client: web::Data<PrometheusClient>,
) -> Result<HttpResponse, Denied> {
    let has_credentials = request.headers().contains_key(header::AUTHORIZATION);
    let viewer = if request.query_string() == DETAILS {
        overview.access.operator(&request).await?;
        Viewer::Operator
    } else if has_credentials {
        let (caller, _) = overview.access.known(&request).await?;
        Viewer::of(&caller)
    } else {
        Viewer::Anonymous
    };
    let firing = match viewer {
        Viewer::Operator => Some(prometheus.firing_alerts(&client).await),
        _ => None,
    };
    let twin = overview.twin(firing);
    let layout = Layout::new(overview.base_url.path(), Section::Overview, viewer);
    let page = OverviewPage {
        layout,
        twin: &twin,
        metrics_path: &overview.metrics_path,
        uptime: overview.started.elapsed(),
        offer_login: !has_credentials,
    };
    Ok(ui::respond(&request, &page, &twin))
}

impl Overview {
    /// With details if `firing` contains the firing alerts.
    fn twin(&self, firing: Option<Vec<FiringAlerts>>) -> OverviewTwin {
        let table = self.table.snapshot();
        let waiting = match (self.lifecycle.is_draining(), table.has_table()) {
            (true, _) => Some("stopping"),
            (false, true) => None,
            (false, false) => Some("waiting for the first route table"),
        };
        let details = |firing| {
            let health = InstallationHealth::of(self, &table, firing);
            Details { attention: attention::attention(&health, self.warning, waiting), health }
        };
        OverviewTwin {
            version: crate::VERSION,
            uptime_seconds: self.started.elapsed().as_secs(),
            ready: waiting.is_none(),
            waiting,
            warning: self.warning,
            details: firing.map(details),
        }
    }
}
