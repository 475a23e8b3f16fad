//! `POST /-/reload`: does what SIGHUP does, for operators.

use crate::http::access::{Access, Denied};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ContentType},
    web,
};
use futures_util::future::BoxFuture;
use std::{path::PathBuf, sync::Arc};

/// The outcome for the files of one section of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadOutcome {
    /// A key of the configuration, as in `tls`.
    pub section: String,
    pub files: Vec<PathBuf>,
    /// Why the files were not applied, in one line and without secrets.
    pub result: Result<(), String>,
}

/// Reloads everything that can be reloaded. `None`: the program stops.
pub type ReloadFn = Arc<dyn Fn() -> BoxFuture<'static, Option<Vec<ReloadOutcome>>> + Send + Sync>;

/// State of the handler, shared by all workers.
#[derive(Clone)]
pub struct Reload {
    pub access: Access,
    pub reload: ReloadFn,
}

/// Adds `/-/reload`. Requires [`Reload`] as app data.
pub fn configure(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/-/reload")
            .route(web::post().to(reload))
            // Prometheus accepts both.
            .route(web::put().to(reload))
            .default_service(web::route().to(method_not_allowed)),
    );
}

async fn reload(request: HttpRequest, state: web::Data<Reload>) -> Result<HttpResponse, Denied> {
    state.access.operator(&request).await?;
    let (mut response, text) = match (state.reload)().await {
        Some(outcomes) if outcomes.iter().all(|it| it.result.is_ok()) => {
            (HttpResponse::Ok(), text(&outcomes))
        }
        Some(outcomes) => (HttpResponse::InternalServerError(), text(&outcomes)),
        None => (HttpResponse::ServiceUnavailable(), "stopping\n".to_owned()),
    };
    Ok(response.content_type(ContentType::plaintext()).body(text))
}

/// Lists the failures first.
fn text(outcomes: &[ReloadOutcome]) -> String {
    let failed = outcomes.iter().filter_map(|it| {
        let error = it.result.as_ref().err()?;
        Some(format!("not reloaded, the previous content is in use: {}: {error}\n", it.section))
    });
    let reloaded = outcomes.iter().filter(|it| it.result.is_ok()).map(|it| {
        let files: Vec<_> = it.files.iter().map(|path| path.display().to_string()).collect();
        format!("reloaded: {}: {}\n", it.section, files.join(", "))
    });
    match outcomes.is_empty() {
        true => "No file is configured that can be reloaded.\n".to_owned(),
        false => failed.chain(reloaded).collect(),
    }
}

async fn method_not_allowed() -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header((header::ALLOW, "POST, PUT"))
        .content_type(ContentType::plaintext())
        .body("This reloads the files of the configuration: use POST.\n")
}
