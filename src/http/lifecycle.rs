//! Health, readiness and draining.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::ConnectionType,
    middleware::Next,
    web,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Readiness is set after the first complete route table, and cleared at shutdown. A source or database
/// that fails later does not clear it: all replicas would leave the balancer together. The database is
/// opened and migrated before the listeners start.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle(Arc<State>);

#[derive(Debug, Default)]
struct State {
    draining: AtomicBool,
    over: AtomicBool,
}

impl Lifecycle {
    /// Clears readiness for good.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the program drains.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Clears health for good: a drain script waits for the end of the process.
    pub fn end(&self) {
        self.0.over.store(true, Ordering::Relaxed);
    }

    /// Whether health was cleared.
    pub fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Relaxed)
    }
}

/// Closes kept connections while the program drains, each after an answer with `Connection: close`. The
/// balancer sends new connections to other replicas. Needs [`Lifecycle`] as app data.
///
/// # Errors
/// Those of the request.
pub async fn end_connections<B: MessageBody + 'static>(
    lifecycle: web::Data<Lifecycle>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let mut response = next.call(request).await?;
    if lifecycle.is_draining() {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}
