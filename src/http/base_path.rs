//! Requests below the path of `base_url`.
//!
//! A gorouter with a context path forwards it, other proxies remove it. This middleware removes the
//! path before routing if a request has it. So both cases reach the same handlers.

use crate::domain::BaseUrl;
use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Uri, uri::PathAndQuery},
    middleware::Next,
    web,
};

/// The path of `base_url`, percent-encoded. It is empty, or begins with a slash and does not end
/// with one.
#[derive(Clone, Debug)]
pub struct BasePath(String);

impl BasePath {
    pub fn of(base_url: &BaseUrl) -> Self {
        Self(base_url.path().to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The URI without this path, or `None` if it does not begin with the path.
    fn strip(&self, uri: &Uri) -> Option<Uri> {
        let base = self.0.strip_prefix('/')?;
        // A later middleware removes duplicate slashes.
        let path = uri.path().trim_start_matches('/').strip_prefix(base)?;
        let path = match path {
            "" => "/",
            path if path.starts_with('/') => path,
            _ => return None,
        };
        let path_and_query: PathAndQuery = match uri.query() {
            Some(query) => format!("{path}?{query}").parse().ok()?,
            None => path.parse().ok()?,
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(path_and_query);
        Uri::from_parts(parts).ok()
    }
}

/// Middleware that removes the path. Requires [`BasePath`] as app data.
///
/// # Errors
/// Returns errors of the wrapped service.
pub async fn strip<B: MessageBody>(
    base: web::Data<BasePath>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    if let Some(uri) = base.strip(request.uri()) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
    next.call(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_of_the_base_url_is_removed() {
        for (base_url, uri, expected) in [
            ("https://h/a", "/a/v1/apps/x/metrics?y=/a/", Some("/v1/apps/x/metrics?y=/a/")),
            ("https://h/a", "/a", Some("/")),
            ("https://h/a", "/a?details", Some("/?details")),
            ("https://h/a", "/a/", Some("/")),
            ("https://h/a", "http://h:1/a/sd?x", Some("http://h:1/sd?x")),
            ("https://h/a/b", "/a/b/sd", Some("/sd")),
            ("https://h/a", "/a/a/x%2Fy", Some("/a/x%2Fy")),
            ("https://h/a", "//a//x", Some("//x")),
            ("https://h/a", "/ab", None),
            ("https://h/a", "/sd", None),
            ("https://h/a/b", "/a/sd", None),
            ("https://h", "/sd", None),
        ] {
            let stripped = BasePath::of(&base_url.parse().unwrap()).strip(&uri.parse().unwrap());
            assert_eq!(
                stripped.map(|uri| uri.to_string()).as_deref(),
                expected,
                "{base_url} {uri}"
            );
        }
    }
}
