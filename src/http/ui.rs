//! HTML pages about this installation and how to use it.

use crate::{
    broker::Broker,
    discovery::{RouteTable, SourceStatus},
    domain::BaseUrl,
    http::{
        access::{Access, Caller, Denied},
        browser,
        lifecycle::Lifecycle,
        read_only,
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ContentType},
    web,
};
use askama::Template;

/// State of the pages, shared by all workers.
#[derive(Clone, Debug)]
pub struct Ui {
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
#[template(path = "landing.html")]
struct Landing<'a> {
    base: &'a str,
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

#[derive(Template)]
#[template(path = "doc.html")]
struct Doc<'a> {
    base: &'a str,
    /// The `curl` command of the examples.
    curl: &'static str,
    base_url: &'a str,
    scheme: &'a str,
    authority: &'a str,
    token_required: bool,
}

/// Adds `/` and `/doc`. Requires [`Ui`] as app data.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(read_only("/", landing))
        .service(read_only("/doc", doc))
        .service(read_only("/style.css", style));
}

/// The style sheet of all pages. The Content-Security-Policy forbids inline styles.
const STYLE: &str = include_str!("ui/style.css");

pub(super) async fn style() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/css; charset=utf-8")
        // The URL contains the version, so the file can be cached.
        .insert_header((header::CACHE_CONTROL, "public, max-age=86400"))
        .body(STYLE)
}

const CURL_WITH_TOKEN: &str = "curl -H \"Authorization: Bearer $TOKEN\"";

/// With this query the browser requests credentials from the user.
const DETAILS: &str = "details";

async fn landing(request: HttpRequest, ui: web::Data<Ui>) -> Result<HttpResponse, Denied> {
    let has_credentials = request.headers().contains_key(header::AUTHORIZATION);
    let is_operator = if request.query_string() == DETAILS {
        ui.access.operator(&request).await?;
        true
    } else if has_credentials {
        matches!(ui.access.known(&request).await?, (Caller::Operator, _))
    } else {
        false
    };
    let table = ui.table.snapshot();
    let details = || {
        let (apps, instances) = table.size();
        let sources = table.sources().map(Source::of).collect();
        Details { database: ui.broker.database_problem(), apps, instances, sources }
    };
    let (ready, waiting) = match (ui.lifecycle.is_draining(), table.has_table()) {
        (true, _) => (false, "stopping"),
        (false, true) => (true, ""),
        (false, false) => (false, "waiting for the first route table"),
    };
    Ok(page(&Landing {
        base: ui.base_url.path(),
        version: crate::VERSION,
        warning: ui.warning,
        ready,
        waiting,
        details: is_operator.then(details),
        offer_login: !has_credentials,
    }))
}

async fn doc(ui: web::Data<Ui>) -> HttpResponse {
    let token_required = ui.access.token_required();
    page(&Doc {
        base: ui.base_url.path(),
        curl: if token_required { CURL_WITH_TOKEN } else { "curl" },
        base_url: ui.base_url.as_str(),
        scheme: ui.base_url.scheme(),
        authority: &ui.base_url.target(),
        token_required,
    })
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

pub(super) fn page(template: &impl Template) -> HttpResponse {
    match template.render() {
        Ok(page) => HttpResponse::Ok()
            .content_type(ContentType::html())
            .insert_header((header::CONTENT_SECURITY_POLICY, browser::PAGES))
            .body(page),
        Err(error) => {
            tracing::error!(%error, "a page could not be written");
            HttpResponse::InternalServerError().body("this page could not be written\n")
        }
    }
}
