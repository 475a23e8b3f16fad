//! Errors as pages for browsers, and as JSON.
//!
//! Handlers respond to errors with a line of text, for terminals and for Prometheus. A person who
//! opened the address in a browser gets the same text as a page with navigation. A client that
//! prefers JSON gets `{"error": TEXT}`.

use super::{Layout, Section, Viewer, format};
use crate::http::{
    accept::{first_media_type, prefers_json},
    base_path::BasePath,
    browser,
};
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
use serde_json::json;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    layout: Layout<'a>,
    title: &'static str,
    text: &'a str,
    status: u16,
}

/// The format of an error for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorFormat {
    Text,
    Page,
    Json,
}

impl ErrorFormat {
    fn of(request: &HttpRequest) -> Self {
        if first_media_type(request).eq_ignore_ascii_case("text/html") {
            Self::Page
        } else if prefers_json(request) {
            Self::Json
        } else {
            Self::Text
        }
    }

    /// The body in this format, and its type.
    fn render(
        self,
        request: &HttpRequest,
        status: StatusCode,
        text: &str,
    ) -> Option<(String, &'static str)> {
        match self {
            Self::Text => None,
            Self::Page => Some((page(request, status, text)?, "text/html; charset=utf-8")),
            Self::Json => {
                Some((json!({ "error": text.trim_end() }).to_string(), "application/json"))
            }
        }
    }
}

/// Middleware that renders error texts as pages or JSON, as the client prefers. Requires
/// [`BasePath`] as app data.
///
/// # Errors
/// Returns errors of the wrapped service.
pub async fn render(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let format = ErrorFormat::of(request.request());
    let response = next.call(request).await?;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if format == ErrorFormat::Text || !is_error || !is_text(&response) {
        return Ok(response.map_into_boxed_body());
    }
    let (request, response) = response.into_parts();
    let (mut response, body) = response.into_parts();
    let body = match body.try_into_bytes() {
        Ok(text) => match format.render(&request, status, &String::from_utf8_lossy(&text)) {
            Some((rendered, content_type)) => {
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
                headers.append(VARY, HeaderValue::from_static("Accept"));
                if format == ErrorFormat::Page {
                    headers.insert(CONTENT_SECURITY_POLICY, browser::PAGES);
                }
                BoxBody::new(rendered)
            }
            None => BoxBody::new(text),
        },
        Err(body) => BoxBody::new(body),
    };
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
