//! One instance, as a route of the platform names it.

use crate::domain::App;
use std::{net::SocketAddr, sync::Arc};

/// Where an app's instance listens, and who it is.
///
/// Every one of these belongs to an app: what a router says about platform
/// components never becomes an `Endpoint`, so it cannot be scraped by any key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address of the cell and port; the TLS port when `tls` is set.
    pub address: SocketAddr,
    /// The app, as this instance's own tags describe it.
    pub app: Arc<App>,
    /// Index of the instance within its process type (tag `instance_id`), as
    /// the platform wrote it: on Cloud Foundry a decimal number.
    pub index: Option<Arc<str>>,
    /// `web`, `worker`, …; `web` when the tags do not tell.
    pub process_type: Arc<str>,
    /// GUID of this very instance; a restart changes it.
    pub process_instance_id: Option<Arc<str>>,
    /// Availability zone of its cell.
    pub availability_zone: Option<Arc<str>>,
    /// The instance's proxy speaks TLS at `address`.
    pub tls: bool,
    /// The instance speaks HTTP/2.
    pub http2: bool,
    /// Name that the instance's certificate must carry.
    pub server_cert_domain_san: Option<Arc<str>>,
    /// Isolation segment of its cell.
    pub isolation_segment: Option<Arc<str>>,
    /// Route service that requests through the router take first.
    pub route_service_url: Option<Arc<str>>,
    /// The host to ask for at `address`, when that is a router's: whichever
    /// instance it chooses answers. None: the address is the instance's own.
    pub behind_host: Option<Arc<str>>,
}

impl Endpoint {
    /// Sorts as people count: numbers by value, then other texts, then those
    /// without an index; equal ones by address.
    pub(super) fn order(&self) -> (u8, u64, &str, SocketAddr) {
        match self.index.as_deref() {
            None => (2, 0, "", self.address),
            Some(text) => match text.parse() {
                Ok(number) => (0, number, text, self.address),
                Err(_) => (1, 0, text, self.address),
            },
        }
    }

    /// Whether both cannot be true: one address, but two apps or two
    /// instances. An id that one of them does not tell is no contradiction,
    /// and behind a router are many.
    pub(super) fn contradicts(&self, other: &Self) -> bool {
        let differ = |a: &Option<Arc<str>>, b: &Option<Arc<str>>| matches!((a, b), (Some(a), Some(b)) if a != b);
        self.address == other.address
            && self.behind_host.is_none()
            && other.behind_host.is_none()
            && (self.app.id != other.app.id
                || differ(&self.process_instance_id, &other.process_instance_id))
    }
}
