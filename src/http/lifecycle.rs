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

/// Readiness is set after the first complete route table, and cleared at shutdown. A later failure
/// of a source or of the database does not clear it, because all replicas would become unready at
/// the same time. The database is opened and migrated before the listeners start.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle(Arc<State>);

#[derive(Debug, Default)]
struct State {
    draining: AtomicBool,
    ended: AtomicBool,
}

impl Lifecycle {
    /// Clears readiness permanently.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Whether readiness was cleared by [`drain`](Self::drain).
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Clears health permanently. A drain script waits for the end of the process.
    pub fn end(&self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }

    /// Whether health was cleared.
    pub fn is_over(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }
}

/// Middleware that closes keep-alive connections while the program drains. It adds `Connection:
/// close` to responses. The load balancer then opens connections to other replicas. Requires
/// [`Lifecycle`] as app data.
///
/// # Errors
/// Returns errors of the wrapped service.
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
