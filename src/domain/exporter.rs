//! Exporters outside the platform that have metrics about its apps.

mod template;

pub use template::{FillError, Template, TemplateError};

use super::MetricsPath;
use std::{collections::BTreeMap, fmt};
use url::Url;

/// An external exporter. It is scraped once per scrape of an app, like an entry of promfetcher's
/// `external_exporters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalExporter {
    /// The name for logs and metrics.
    pub name: String,
    pub host: ExporterHost,
    /// Path of its metrics.
    pub path: MetricsPath,
    /// Query parameters, with templates that refer to the app.
    pub params: BTreeMap<String, Vec<Template>>,
}

impl fmt::Display for ExternalExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exporter {} at {}", self.name, self.host)
    }
}

/// A host name or address with a port, for HTTP or HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExporterHost {
    text: String,
    name: String,
    port: u16,
    tls: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a host with an optional port; write it like exporter.example.com:9100")]
pub struct ExporterHostError;

impl ExporterHost {
    /// Parses `text`. The default port is that of HTTP, or of HTTPS if `tls` is set.
    ///
    /// # Errors
    /// Returns an error if `text` is not a host with an optional port.
    pub fn parse(text: &str, tls: bool) -> Result<Self, ExporterHostError> {
        // The URL parser would silently remove line breaks, and interpret these characters as
        // delimiters.
        let is_forbidden = |byte: u8| !byte.is_ascii_graphic() || b"@/\\?#".contains(&byte);
        if text.bytes().any(is_forbidden) {
            return Err(ExporterHostError);
        }
        let scheme = if tls { "https" } else { "http" };
        let url = Url::parse(&format!("{scheme}://{text}/")).map_err(|_| ExporterHostError)?;
        let name = url.host_str().ok_or(ExporterHostError)?;
        let port = url.port_or_known_default().filter(|port| *port != 0);
        Ok(Self {
            text: text.to_owned(),
            name: name.trim_matches(['[', ']']).to_owned(),
            port: port.ok_or(ExporterHostError)?,
            tls,
        })
    }

    /// The original text, for the Host header and the `instance` label.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host without its port, for name resolution and certificate validation.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether to connect by HTTPS.
    pub fn tls(&self) -> bool {
        self.tls
    }
}

impl fmt::Display for ExporterHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_have_a_port_and_nothing_else() {
        let cases = [
            ("e.example.com", false, "e.example.com", 80),
            ("e.example.com", true, "e.example.com", 443),
            ("e.example.com:9100", true, "e.example.com", 9100),
            ("E.example.com:80", false, "e.example.com", 80),
            ("10.0.0.1:9100", false, "10.0.0.1", 9100),
            ("[::1]:9100", false, "::1", 9100),
        ];
        for (text, tls, name, port) in cases {
            let host = ExporterHost::parse(text, tls).unwrap();
            assert_eq!((host.name(), host.port(), host.tls()), (name, port, tls), "{text}");
            assert_eq!(host.as_str(), text);
        }
        let wrong = [
            "",
            ":9100",
            "http://e.example.com",
            "e.example.com/metrics",
            "e.example.com?x",
            "e.example.com#x",
            "u@e.example.com",
            "u:p@e.example.com",
            "e.example.com:99999",
            "e.example.com:0",
            "e.example.com:x",
            "e.exa\nmple.com",
            "e example.com",
            "e.example.com\\x",
            "[::1",
        ];
        for text in wrong {
            assert_eq!(ExporterHost::parse(text, false), Err(ExporterHostError), "{text:?}");
        }
    }
}
