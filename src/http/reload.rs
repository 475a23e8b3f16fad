//! `POST /-/reload`: does what SIGHUP does, for operators.

use crate::http::access::{Access, Denied};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ContentType},
    web,
};
use std::sync::Arc;

/// Reloads everything that can be reloaded. It reads files. The error says what was not reloaded.
pub type ReloadFn = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

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
            .default_service(web::route().to(method_not_allowed)),
    );
}

async fn reload(request: HttpRequest, state: web::Data<Reload>) -> Result<HttpResponse, Denied> {
    state.access.operator(&request).await?;
    let reload = Arc::clone(&state.reload);
    let (mut response, text) = match web::block(move || reload()).await {
        Ok(Ok(())) => (
            HttpResponse::Ok(),
            "The catalog was reloaded. The route file and certificates are read again; the log \
             says if one is invalid.\n"
                .to_owned(),
        ),
        Ok(Err(error)) => (
            HttpResponse::InternalServerError(),
            format!("The catalog was not reloaded, and the previous one is used: {error}\n"),
        ),
        // It fails only while the program ends.
        Err(_) => (HttpResponse::ServiceUnavailable(), "stopping\n".to_owned()),
    };
    Ok(response.content_type(ContentType::plaintext()).body(text))
}

async fn method_not_allowed() -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header((header::ALLOW, "POST"))
        .content_type(ContentType::plaintext())
        .body("This reloads the catalog and certificates: use POST.\n")
}
