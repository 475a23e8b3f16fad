//! An instance of an app, as a route describes it.

use crate::domain::App;
use std::{net::SocketAddr, sync::Arc};

/// Process type of instances whose source names none. Every app has this process.
pub const DEFAULT_PROCESS_TYPE: &str = "web";

/// Address and identity of an instance.
///
/// Every `Endpoint` belongs to an app. Platform components never become endpoints, so they cannot
/// be scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address of the cell and port. The TLS port if `tls` is set.
    pub address: SocketAddr,
    /// The app as the tags of this instance describe it.
    pub app: Arc<App>,
    /// Index of the instance within its process type (tag `instance_id`) as the platform writes it.
    /// A decimal number on Cloud Foundry.
    pub index: Option<Arc<str>>,
    /// For example `web` or `worker`. `web` if the tags contain none.
    pub process_type: Arc<str>,
    /// GUID of the instance. Changes with a restart.
    pub process_instance_id: Option<Arc<str>>,
    pub availability_zone: Option<Arc<str>>,
    /// Whether the instance's proxy expects TLS at `address`.
    pub tls: bool,
    pub http2: bool,
    /// Name that the instance's certificate must contain.
    pub server_cert_domain_san: Option<Arc<str>>,
    pub isolation_segment: Option<Arc<str>>,
    /// Route service through which the router sends requests.
    pub route_service_url: Option<Arc<str>>,
    /// Value of the Host header if `address` belongs to a router, which then selects an instance.
    /// None: the address belongs to the instance.
    pub behind_host: Option<Arc<str>>,
}

impl Endpoint {
    /// Sort key: numeric indexes by value, then other indexes, then endpoints without an index.
    /// Ties are broken by address.
    pub(super) fn order(&self) -> (u8, u64, &str, SocketAddr) {
        match self.index.as_deref() {
            None => (2, 0, "", self.address),
            Some(text) => match text.parse() {
                Ok(number) => (0, number, text, self.address),
                Err(_) => (1, 0, text, self.address),
            },
        }
    }

    /// Whether the two contradict each other: the same address, but different apps or instances. A
    /// missing id is no contradiction. Several instances may share the address of a router.
    pub(super) fn contradicts(&self, other: &Self) -> bool {
        let differ = |a: &Option<Arc<str>>, b: &Option<Arc<str>>| matches!((a, b), (Some(a), Some(b)) if a != b);
        self.address == other.address
            && self.behind_host.is_none()
            && other.behind_host.is_none()
            && (self.app.id != other.app.id
                || differ(&self.process_instance_id, &other.process_instance_id))
    }
}
