//! Pages about apps: the list, one app, and what it exposes.
//!
//! ```text
//! /apps                 list
//! /apps/find?app=KEY    redirect to the page of an app
//! /apps/KEY             detail, or `missing` with the reasons why the app is not known
//! POST /apps/KEY/scrape scrapes all instances, then redirects to the page of the app
//! ```
//!
//! A page of an app requires what a scrape of it requires.

mod detail;
mod failures;
mod index;
mod list;
mod list_query;
mod metrics;
mod missing;
mod scrape_now;
mod snippets;

pub use index::AppIndexes;

use super::{
    Apps, AppsError,
    request::{BadRequest, decode},
    via,
};
use crate::{
    discovery::{Match, Snapshot},
    domain::{AppGuid, AppKey, BaseUrl, Prefer},
    http::{
        accept::prefers_json,
        access::{Caller, visible},
        read_only,
        ui::{self, Layout, Section, Viewer},
        urls::app_path,
    },
    scrape::ScrapeClient,
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, ContentType},
    },
    web,
};
use askama::Template;
use url::form_urlencoded;

/// State of the pages, shared by all workers.
#[derive(Clone, Debug)]
pub struct AppPages {
    /// The public URL without a trailing slash.
    pub base_url: BaseUrl,
    pub indexes: AppIndexes,
}

/// Adds the pages. Requires [`Apps`], [`AppPages`] and the worker's [`ScrapeClient`] as app data.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(read_only("/apps", list::show))
        .service(read_only("/apps/find", find))
        .route("/apps/{rest:.*}", web::route().to(app));
}

/// What a path below `/apps/` leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AppPage {
    Detail,
    Metrics,
    ScrapeNow,
}

impl AppPage {
    /// Splits the raw path after `/apps/`.
    fn of(rest: &str) -> (Self, &str) {
        if let Some(key) = rest.strip_suffix("/metrics") {
            return (Self::Metrics, key);
        }
        match rest.strip_suffix("/scrape") {
            Some(key) => (Self::ScrapeNow, key),
            None => (Self::Detail, rest),
        }
    }

    fn allows(self, method: &Method) -> bool {
        match self {
            Self::ScrapeNow => method == Method::POST,
            Self::Detail | Self::Metrics => matches!(*method, Method::GET | Method::HEAD),
        }
    }
}

#[derive(Template)]
#[template(path = "app_find.html")]
struct FindPage<'a> {
    layout: Layout<'a>,
}

/// `GET /apps/find?app=KEY`: redirects to the page of the app. Without a key it is a form.
async fn find(request: HttpRequest, pages: web::Data<AppPages>) -> Result<HttpResponse, AppsError> {
    let mut parameters = form_urlencoded::parse(request.query_string().as_bytes());
    let key = parameters.find(|(name, _)| name == "app").map(|(_, value)| value);
    match key.as_deref().unwrap_or_default().trim() {
        "" => {
            let base = pages.base_url.path();
            let layout = Layout::new(base, Section::Apps, Viewer::Anonymous);
            Ok(ui::page(&FindPage { layout }))
        }
        key => {
            let key = AppKey::parse(key, Prefer::Name).map_err(BadRequest::from)?;
            Ok(see_other(&pages.path_of(key.as_str())))
        }
    }
}

async fn app(
    request: HttpRequest,
    apps: web::Data<Apps>,
    pages: web::Data<AppPages>,
    client: web::Data<ScrapeClient>,
) -> Result<HttpResponse, AppsError> {
    respond(&request, &apps, &pages, &client).await
}

async fn respond(
    request: &HttpRequest,
    apps: &Apps,
    pages: &AppPages,
    client: &ScrapeClient,
) -> Result<HttpResponse, AppsError> {
    let rest = request.uri().path().splitn(3, '/').nth(2).unwrap_or_default();
    let (page, key) = AppPage::of(rest);
    if !page.allows(request.method()) {
        return Ok(method_not_allowed(page));
    }
    let caller = apps.access.scraper(request).await?;
    let key = AppKey::parse(&decode(key)?, Prefer::Name).map_err(BadRequest::from)?;
    let table = apps.table.snapshot();
    let found = match apps.find(&caller, &table, &key) {
        Ok(found) => found,
        Err(error) => return missing::respond(request, apps, pages, &caller, &key, error),
    };
    let [one] = &found[..] else {
        return Ok(missing::choose(request, pages, &caller, &key, &found));
    };
    let id = one.app.id.clone();
    drop(found);
    match page {
        AppPage::Detail => detail::respond(request, apps, pages, &caller, &table, &id),
        AppPage::Metrics => {
            drop(table);
            metrics::respond(request, apps, pages, client, &caller, &id).await
        }
        AppPage::ScrapeNow => {
            let _ = via(request.headers(), &apps.own_id)?;
            let list = detail::list_query(request).map_err(BadRequest::from)?;
            drop(table);
            scrape_now::run(request, apps, client, &caller, &id).await?;
            if prefers_json(request) {
                let table = apps.table.snapshot();
                return detail::respond(request, apps, pages, &caller, &table, &id);
            }
            Ok(see_other(&format!("{}{list}", pages.path_of(id.as_str()))))
        }
    }
}

impl AppPages {
    fn path_of(&self, app: &str) -> String {
        format!("{}{}", self.base_url.path(), app_path(app))
    }
}

fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, location)).finish()
}

fn method_not_allowed(page: AppPage) -> HttpResponse {
    let (allowed, text) = match page {
        AppPage::ScrapeNow => ("POST", "This starts a scrape: use POST.\n"),
        _ => ("GET, HEAD", "This can only be read: use GET or HEAD.\n"),
    };
    HttpResponse::MethodNotAllowed()
        .insert_header((header::ALLOW, allowed))
        .content_type(ContentType::plaintext())
        .body(text)
}

/// The app with all its instances that the caller sees.
fn visible_app<'a>(caller: &Caller, table: &'a Snapshot, id: &AppGuid) -> Option<Match<'a>> {
    visible(table.app(id.as_str())?, |app| caller.sees(app))
}
