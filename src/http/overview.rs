//! `/`: the state of this installation.

use crate::{
    broker::Broker,
    discovery::{RouteTable, SourceStatus},
    domain::BaseUrl,
    http::{
        access::{Access, Caller, Denied},
        lifecycle::Lifecycle,
        read_only,
        ui::{self, Layout, Section, Viewer},
    },
};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use askama::Template;

/// State of the handler, shared by all workers.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The public URL without a trailing slash.
    pub base_url: BaseUrl,
    pub lifecycle: Lifecycle,
    pub table: RouteTable,
    pub access: Access,
    pub broker: Broker,
    /// Set if bindings are stored on a disk that may be lost.
    pub warning: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage<'a> {
    layout: Layout<'a>,
    version: &'static str,
    warning: Option<&'static str>,
    ready: bool,
    waiting: &'static str,
    /// Visible to operators only.
    details: Option<Details<'a>>,
    /// Whether to offer a login for the details. False if the request contained credentials.
    offer_login: bool,
}

struct Details<'a> {
    database: Option<String>,
    apps: usize,
    instances: usize,
    sources: Vec<Source<'a>>,
}

struct Source<'a> {
    name: &'a str,
    age_seconds: Option<u64>,
    endpoints: usize,
    error: Option<&'a str>,
}

/// Adds `/` and the assets of all pages. Requires [`Overview`] as app data.
pub fn configure(config: &mut web::ServiceConfig) {
    config.service(read_only("/", show)).configure(ui::configure_assets);
}

/// With this query the browser requests credentials from the user.
const DETAILS: &str = "details";

async fn show(request: HttpRequest, overview: web::Data<Overview>) -> Result<HttpResponse, Denied> {
    let has_credentials = request.headers().contains_key(header::AUTHORIZATION);
    let is_operator = if request.query_string() == DETAILS {
        overview.access.operator(&request).await?;
        true
    } else if has_credentials {
        matches!(overview.access.known(&request).await?, (Caller::Operator, _))
    } else {
        false
    };
    let table = overview.table.snapshot();
    let details = || {
        let (apps, instances) = table.size();
        let sources = table.sources().map(Source::of).collect();
        Details { database: overview.broker.database_problem(), apps, instances, sources }
    };
    let (ready, waiting) = match (overview.lifecycle.is_draining(), table.has_table()) {
        (true, _) => (false, "stopping"),
        (false, true) => (true, ""),
        (false, false) => (false, "waiting for the first route table"),
    };
    let viewer = if is_operator { Viewer::Operator } else { Viewer::Anonymous };
    Ok(ui::page(&OverviewPage {
        layout: Layout::new(overview.base_url.path(), Section::Overview, viewer),
        version: crate::VERSION,
        warning: overview.warning,
        ready,
        waiting,
        details: is_operator.then(details),
        offer_login: !has_credentials,
    }))
}

impl<'a> Source<'a> {
    fn of(status: &'a SourceStatus) -> Self {
        Self {
            name: &status.name,
            age_seconds: status.last_answer.map(|at| at.elapsed().as_secs()),
            endpoints: status.endpoints,
            error: status.failure.as_deref(),
        }
    }
}
