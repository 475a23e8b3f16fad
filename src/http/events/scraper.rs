//! The name of the scraper that sent a request.

use crate::{
    events::{ScraperName, ScraperNameError},
    query::client_address,
};
use actix_web::{HttpRequest, http::header::HeaderName};
use ipnet::IpNet;
use std::net::IpAddr;

/// How scrapers are distinguished.
#[derive(Clone, Debug, Default)]
pub struct ScraperIdentity {
    /// A header with the name of the scraper.
    pub header: Option<HeaderName>,
    /// Proxies whose `X-Real-Ip` and `X-Forwarded-For` name the scraper's address.
    pub trusted_proxies: Vec<IpNet>,
}

impl ScraperIdentity {
    /// The name of a header that only scrapers set.
    ///
    /// # Errors
    /// The text is no name of a header, or that of a header with another meaning.
    pub fn header_name(text: &str) -> Result<HeaderName, String> {
        let name: HeaderName =
            text.parse().map_err(|_| "is not the name of a header".to_owned())?;
        let is_taken = ["authorization", "host", "cookie", "x-real-ip", "forwarded"]
            .contains(&name.as_str())
            || name.as_str().starts_with("x-forwarded-");
        match is_taken {
            true => {
                Err("has another meaning; use a header of your own, as in X-Scraper".to_owned())
            }
            false => Ok(name),
        }
    }

    /// The name of the scraper: that of the parameter or the header, else its address. With a
    /// principal, each principal has its own scrapers.
    pub(super) fn name(
        &self,
        request: &HttpRequest,
        parameter: Option<&str>,
        principal: Option<&str>,
    ) -> Result<ScraperName, ScraperNameError> {
        let header = self.header.as_ref().and_then(|name| request.headers().get(name));
        let name = match (parameter, header) {
            (Some(name), _) => name.parse()?,
            (None, Some(name)) => name.to_str().map_err(|_| ScraperNameError::Control)?.parse()?,
            (None, None) => ScraperName::of_address(self.address(request)),
        };
        Ok(match principal {
            Some(principal) => name.of_principal(principal),
            None => name,
        })
    }

    fn address(&self, request: &HttpRequest) -> IpAddr {
        let peer = request.peer_addr().map_or(IpAddr::from([0; 4]), |peer| peer.ip());
        let peer = peer.to_canonical();
        if !self.trusted_proxies.iter().any(|network| network.contains(&peer)) {
            return peer;
        }
        let texts = |name: &str| {
            let values = request.headers().get_all(name);
            values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>()
        };
        let real = texts("x-real-ip").into_iter().find_map(|text| text.trim().parse().ok());
        real.unwrap_or_else(|| {
            let forwarded = texts("x-forwarded-for");
            client_address(peer, forwarded.into_iter(), &self.trusted_proxies)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn identity() -> ScraperIdentity {
        ScraperIdentity {
            header: Some(HeaderName::from_static("x-scraper")),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        }
    }

    fn name(peer: &str, headers: &[(&str, &str)]) -> String {
        let mut request = TestRequest::default().peer_addr(peer.parse().unwrap());
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        identity().name(&request.to_http_request(), None, None).unwrap().to_string()
    }

    #[test]
    fn only_trusted_proxies_name_the_address() {
        let forwarded = ("x-forwarded-for", "192.0.2.9, 192.0.2.1, 10.0.0.2");
        let real = ("x-real-ip", "192.0.2.7");
        for (peer, headers, expected) in [
            ("192.0.2.3:1", &[forwarded, real][..], "192.0.2.3"),
            ("10.0.0.1:1", &[forwarded, real], "192.0.2.7"),
            ("10.0.0.1:1", &[forwarded], "192.0.2.1"),
            ("10.0.0.1:1", &[("x-real-ip", "x"), forwarded], "192.0.2.1"),
            ("10.0.0.1:1", &[], "10.0.0.1"),
            ("[::ffff:10.0.0.1]:1", &[real], "192.0.2.7"),
            ("[2001:db8::1]:1", &[real], "2001:db8::1"),
            ("192.0.2.3:1", &[("x-scraper", "prom-0")], "prom-0"),
        ] {
            assert_eq!(name(peer, headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn the_parameter_wins_and_principals_have_their_own_scrapers() {
        let request = TestRequest::default()
            .peer_addr("192.0.2.3:1".parse().unwrap())
            .append_header(("x-scraper", "b"))
            .to_http_request();
        let name = |principal| identity().name(&request, Some("a"), principal).unwrap();
        assert_eq!(name(None).as_str(), "a");
        assert_eq!(name(Some("operator:ann")).as_str(), "operator:ann@a");
        assert!(identity().name(&request, Some(""), None).is_err());
    }
}
