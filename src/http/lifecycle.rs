//! Whether we are alive, ready, or leaving.

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

/// Readiness is earned once, by the first route table of any configured source, and lost once, by
/// leaving. A source or database that is away later does not take it back: all
/// replicas would leave the balancer together. (The store is opened and
/// migrated before anything listens.)
#[derive(Clone, Debug, Default)]
pub struct Lifecycle(Arc<State>);

#[derive(Debug, Default)]
struct State {
    draining: AtomicBool,
    over: AtomicBool,
}

impl Lifecycle {
    /// Readiness goes, for good.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Whether we are leaving.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Health goes as well, for good: a drain script waits for our end.
    pub fn end(&self) {
        self.0.over.store(true, Ordering::Relaxed);
    }

    /// Whether health is gone.
    pub fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Relaxed)
    }
}

/// Ends kept connections while we are leaving, each with an answer that says so: whoever comes
/// again opens a new one, which the balancer leads elsewhere. Needs [`Lifecycle`] as app data.
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
