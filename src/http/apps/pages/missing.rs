//! An app that is not in the route table, and a route that several apps share.

use super::AppPages;
use crate::{
    discovery::Match,
    domain::{App, AppKey},
    http::{
        access::Caller,
        apps::{Apps, AppsError},
        readiness,
        ui::{self, Layout, Section, Viewer, format},
        urls::app_path,
    },
};
use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use askama::Template;
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "app_missing.html")]
struct MissingPage<'a> {
    layout: Layout<'a>,
    key: &'a str,
    twin: &'a MissingTwin,
}

#[derive(Serialize)]
struct MissingTwin {
    error: String,
    /// Configuration keys of sources whose routes are not known at the moment.
    unknown_sources: Vec<String>,
    route_table_age_seconds: Option<f64>,
}

#[derive(Template)]
#[template(path = "app_choice.html")]
struct ChoicePage<'a> {
    layout: Layout<'a>,
    key: &'a str,
    apps: Vec<Choice>,
}

struct Choice {
    app: Arc<App>,
    path: String,
}

/// Responds with the reasons that hold at the moment, for errors of an unknown app. Other errors are
/// returned.
pub(super) fn respond(
    request: &HttpRequest,
    apps: &Apps,
    pages: &AppPages,
    caller: &Caller,
    key: &AppKey,
    error: AppsError,
) -> Result<HttpResponse, AppsError> {
    let is_unknown = matches!(
        error,
        AppsError::UnknownApp(_) | AppsError::UnknownRoutes(..) | AppsError::NoTableYet(_)
    );
    if !is_unknown {
        return Err(error);
    }
    let table = apps.table.snapshot();
    let unknown = readiness::unknown_for(&table, apps.keep, key.as_str());
    let twin = MissingTwin {
        error: error.to_string(),
        unknown_sources: unknown.iter().map(|it| it.kind.key.to_owned()).collect(),
        route_table_age_seconds: table.age().map(|age| age.as_secs_f64()),
    };
    let layout = Layout::new(pages.base_url.path(), Section::Apps, Viewer::of(caller));
    let page = MissingPage { layout, key: key.as_str(), twin: &twin };
    let mut response = ui::respond(request, &page, &twin);
    *response.status_mut() = error.status_code();
    if error.status_code() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
    }
    Ok(response)
}

/// Lists the apps that share a route.
pub(super) fn choose(
    request: &HttpRequest,
    pages: &AppPages,
    caller: &Caller,
    key: &AppKey,
    found: &[Match<'_>],
) -> HttpResponse {
    let choice =
        |one: &Match<'_>| Choice { app: Arc::clone(one.app), path: app_path(one.app.id.as_str()) };
    let layout = Layout::new(pages.base_url.path(), Section::Apps, Viewer::of(caller));
    let page = ChoicePage { layout, key: key.as_str(), apps: found.iter().map(choice).collect() };
    let twin = page.apps.iter().map(|it| json!({ "app_id": it.app.id.as_str(), "path": it.path }));
    ui::respond(request, &page, &json!({ "apps": twin.collect::<Vec<_>>() }))
}
