//! Base URLs of Scrapebroker and of the APIs that it calls.

use percent_encoding::percent_decode_str;
use std::{fmt, net::SocketAddr, str::FromStr};
use url::Url;

/// An HTTP URL without credentials, query, fragment and trailing slash.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    is_https: bool,
    host: String,
    port: Option<u16>,
    path: String,
}

impl BaseUrl {
    /// `http://localhost` or `https://localhost`, and a port.
    pub fn of_localhost(is_https: bool, port: u16) -> Self {
        let scheme = if is_https { "https" } else { "http" };
        let host = "localhost".to_owned();
        let text = format!("{scheme}://{host}:{port}");
        Self { text, is_https, host, port: Some(port), path: String::new() }
    }

    /// `http://` and an address.
    pub fn of_address(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        Self {
            text: format!("http://{host}:{}", address.port()),
            is_https: false,
            host,
            port: Some(address.port()),
            path: String::new(),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }

    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `None` for the default port of the scheme.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// `host:port`, the format of Prometheus target lists.
    pub fn target(&self) -> String {
        let port = self.port.unwrap_or(if self.is_https { 443 } else { 80 });
        format!("{}:{port}", self.host)
    }

    /// The path, percent-encoded. It is empty, or begins with a slash and does not end with one.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path without percent-encoding.
    pub fn decoded_path(&self) -> String {
        percent_decode_str(&self.path).decode_utf8_lossy().into_owned()
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = http_url(text)?;
        match url.query() {
            Some(_) => Err("must not contain a query".to_owned()),
            None => Ok(Self {
                text: url.as_str().trim_end_matches('/').to_owned(),
                is_https: url.scheme() == "https",
                host: url.host_str().unwrap_or_default().to_owned(),
                port: url.port(),
                path: url.path().trim_end_matches('/').to_owned(),
            }),
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Parses an HTTP URL without credentials. Error messages continue a sentence that starts with the
/// name of the setting.
pub fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err("must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password".to_owned());
    }
    match url.fragment() {
        Some(_) => Err("must not contain a #".to_owned()),
        None => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_http_without_credentials_and_query() {
        let cases = [
            ("https://metrics.example.com/", "https://metrics.example.com"),
            ("http://localhost:8085", "http://localhost:8085"),
            ("https://example.com/scrapebroker/", "https://example.com/scrapebroker"),
        ];
        for (input, expected) in cases {
            assert_eq!(input.parse::<BaseUrl>().unwrap().as_str(), expected, "{input}");
        }
        let wrong = [
            "metrics.example.com",
            "ftp://example.com",
            "https://",
            "https://example.com/?a=b",
            "https://example.com/#top",
            "https://user:hunter2@example.com",
        ];
        for wrong in wrong {
            assert!(!wrong.parse::<BaseUrl>().unwrap_err().contains("hunter2"), "{wrong}");
        }
    }

    #[test]
    fn a_base_url_has_parts() {
        for (text, scheme, host, port, target, path) in [
            ("http://x", "http", "x", None, "x:80", ""),
            ("https://x/", "https", "x", None, "x:443", ""),
            ("https://x:443", "https", "x", None, "x:443", ""),
            ("https://x:1/a/b/", "https", "x", Some(1), "x:1", "/a/b"),
            ("http://[::1]:8085/a%20b", "http", "[::1]", Some(8085), "[::1]:8085", "/a%20b"),
        ] {
            let url: BaseUrl = text.parse().unwrap();
            let parts = (url.scheme(), url.host(), url.port(), &*url.target(), url.path());
            assert_eq!(parts, (scheme, host, port, target, path), "{text}");
            assert_eq!(url.decoded_path(), path.replace("%20", " "));
        }
        for address in ["127.0.0.1:8085", "[::1]:8085"] {
            let url = BaseUrl::of_address(address.parse().unwrap());
            assert_eq!(url, format!("http://{address}").parse().unwrap());
        }
    }
}
