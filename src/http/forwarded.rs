//! The `X-Forwarded-For` header of forwarded requests.

use actix_web::{
    HttpRequest,
    http::header::{HeaderName, HeaderValue},
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's `X-Forwarded-For` chain, followed by the address of the peer.
pub(super) fn forwarded_for(request: &HttpRequest) -> Option<HeaderValue> {
    let before = request.headers().get_all(&FORWARDED_FOR);
    let mut chain: Vec<_> = before
        .filter_map(|value| value.to_str().ok())
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
        .collect();
    chain.extend(request.peer_addr().map(|peer| peer.ip().to_canonical().to_string()));
    (!chain.is_empty()).then(|| HeaderValue::try_from(chain.join(", ")).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn the_peer_follows_the_addresses_of_the_client() {
        for (before, peer, expected) in [
            (&[][..], Some("10.0.0.1:1"), Some("10.0.0.1")),
            (&["192.0.2.1"], Some("10.0.0.1:1"), Some("192.0.2.1, 10.0.0.1")),
            (&["192.0.2.1, x"], Some("10.0.0.1:1"), Some("192.0.2.1, x, 10.0.0.1")),
            (&["192.0.2.1", "192.0.2.2"], Some("[::1]:1"), Some("192.0.2.1, 192.0.2.2, ::1")),
            (&["", " "], Some("[::ffff:10.0.0.1]:1"), Some("10.0.0.1")),
            (&["192.0.2.1"], None, Some("192.0.2.1")),
            (&[], None, None),
        ] {
            let mut request = TestRequest::default();
            for value in before {
                request = request.append_header((FORWARDED_FOR, *value));
            }
            if let Some(peer) = peer {
                request = request.peer_addr(peer.parse().unwrap());
            }
            let found = forwarded_for(&request.to_http_request());
            let found = found.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(found, expected, "{before:?}");
        }
    }
}
