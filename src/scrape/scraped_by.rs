//! The scraper of an app.

use crate::domain::InstanceId;
use std::{net::IpAddr, time::SystemTime};

/// Who scraped an app, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapedBy {
    /// Address of the connection. It may be that of a proxy.
    pub address: Option<IpAddr>,
    /// The start of the `User-Agent` header, as visible ASCII characters.
    pub agent: Box<str>,
    pub role: ScraperRole,
    pub at: SystemTime,
}

/// How a scraper authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScraperRole {
    Anonymous,
    Operator,
    /// The token of a binding or service key.
    Token,
    /// A provisioned Prometheus.
    Prometheus(InstanceId),
    /// A page of Scrapebroker, for a user who looks at the app.
    Page,
}

impl ScraperRole {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Operator => "operator",
            Self::Token => "token",
            Self::Prometheus(_) => "prometheus",
            Self::Page => "page",
        }
    }

    pub(super) fn is_page(&self) -> bool {
        *self == Self::Page
    }
}
