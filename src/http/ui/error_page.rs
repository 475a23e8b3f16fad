//! Errors as pages for browsers.
//!
//! Handlers respond to errors with a line of text, for terminals and for Prometheus. A person who
//! opened the address in a browser gets the same text as a page with navigation.

use super::{Layout, Section, Viewer};
use crate::http::{accept::first_media_type, base_path::BasePath, browser};
use actix_web::{
    HttpRequest,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, VARY},
    },
    middleware::Next,
    web,
};
use askama::Template;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    layout: Layout<'a>,
    title: &'static str,
    text: &'a str,
    status: u16,
}

/// Middleware that renders error texts as pages if the client prefers HTML. Requires [`BasePath`] as
/// app data.
///
/// # Errors
/// Returns errors of the wrapped service.
pub async fn render(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let wants_page = first_media_type(request.request()).eq_ignore_ascii_case("text/html");
    let response = next.call(request).await?;
    let status = response.status();
    if !wants_page || !(status.is_client_error() || status.is_server_error()) || !is_text(&response)
    {
        return Ok(response.map_into_boxed_body());
    }
    let (request, response) = response.into_parts();
    let (mut response, body) = response.into_parts();
    let (body, is_page) = match body.try_into_bytes() {
        Ok(text) => match page(&request, status, &String::from_utf8_lossy(&text)) {
            Some(page) => (BoxBody::new(page), true),
            None => (BoxBody::new(text), false),
        },
        Err(body) => (BoxBody::new(body), false),
    };
    if is_page {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_SECURITY_POLICY, browser::PAGES);
        headers.append(VARY, HeaderValue::from_static("Accept"));
    }
    Ok(ServiceResponse::new(request, response.set_body(body)))
}

fn is_text(response: &ServiceResponse<impl MessageBody>) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|it| it.as_bytes().starts_with(b"text/plain"))
}

fn page(request: &HttpRequest, status: StatusCode, text: &str) -> Option<String> {
    let base_path = request.app_data::<web::Data<BasePath>>()?;
    let section = match request.path().split('/').nth(1) {
        Some("apps") => Section::Apps,
        Some("prometheus") => Section::Prometheus,
        Some("pools") => Section::Pools,
        Some("events") => Section::Events,
        _ => Section::Overview,
    };
    let layout = Layout::new(base_path.as_str(), section, Viewer::Anonymous);
    ErrorPage { layout, title: title(status), text: text.trim_end(), status: status.as_u16() }
        .render()
        .ok()
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "This request cannot be understood",
        StatusCode::UNAUTHORIZED => "Credentials are required",
        StatusCode::FORBIDDEN => "Your credentials do not allow this",
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::METHOD_NOT_ALLOWED => "This can only be read",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        StatusCode::SERVICE_UNAVAILABLE => "Not available at the moment",
        status if status.is_client_error() => "The request was refused",
        _ => "This did not work",
    }
}
