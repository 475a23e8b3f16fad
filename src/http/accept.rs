//! What a client accepts.

use actix_web::{HttpRequest, http::header};

/// The first media type of `Accept`.
pub(super) fn first_media_type(request: &HttpRequest) -> &str {
    let accept = request.headers().get(header::ACCEPT).and_then(|it| it.to_str().ok());
    accept.unwrap_or_default().split([',', ';']).next().unwrap_or_default().trim()
}

/// Whether the first media type that the client accepts is JSON.
pub(super) fn prefers_json(request: &HttpRequest) -> bool {
    first_media_type(request).eq_ignore_ascii_case("application/json")
}

/// Whether `Accept-Encoding` allows gzip (RFC 9110, section 12.5.3).
pub(crate) fn accepts_gzip(accept_encoding: &str) -> bool {
    let mut wildcard = false;
    for entry in accept_encoding.split(',') {
        let mut parts = entry.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let refused = parts
            .filter_map(|parameter| parameter.strip_prefix("q="))
            .any(|q| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0));
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            return !refused;
        }
        wildcard |= coding == "*" && !refused;
    }
    wildcard
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_used_when_it_is_accepted() {
        let cases = [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0, *", false),
            ("*", true),
            ("*;q=0", false),
            ("identity", false),
            ("", false),
            ("gzip;q=banana", true),
        ];
        for (header, expected) in cases {
            assert_eq!(accepts_gzip(header), expected, "{header:?}");
        }
    }
}
