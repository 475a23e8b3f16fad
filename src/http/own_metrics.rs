//! Scrapebroker's own metrics, in every format, optionally compressed.

use super::exposition_body::{Accepted, ConvertError};
use crate::{
    http::read_only,
    telemetry::{
        OwnScrapeMetrics,
        metrics::{self, Namespace},
    },
};
use actix_web::{HttpRequest, HttpResponse, web};
use exposition::Format;
use prometheus_client::registry::Registry;
use std::{fmt, sync::Arc};

/// State of the handler, shared by all workers.
#[derive(Clone)]
pub struct OwnMetrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    scrapes: OwnScrapeMetrics,
    path: String,
    namespace: Namespace,
}

/// Reasons why the own metrics cannot be written.
#[derive(Debug, thiserror::Error)]
enum RenderError {
    #[error("a collector failed")]
    Collector(#[from] fmt::Error),
    #[error(transparent)]
    Convert(#[from] ConvertError),
}

impl OwnMetrics {
    /// `path` is the path of the handler, and `namespace` the prefix of the metrics.
    pub fn new(mut registry: Registry, path: String, namespace: Namespace) -> Self {
        let scrapes = OwnScrapeMetrics::register(&mut registry);
        Self(Arc::new(Inner { registry, scrapes, path, namespace }))
    }

    pub fn path(&self) -> &str {
        &self.0.path
    }

    fn render(&self, accepted: Accepted) -> Result<Vec<u8>, RenderError> {
        let Inner { registry, scrapes, namespace, .. } = &*self.0;
        scrapes.observe(|| {
            let text = metrics::render(registry, namespace)?;
            Ok(accepted.convert([(text, Format::OpenMetrics100)])?)
        })
    }
}

/// Adds the path of the metrics.
pub fn configure(config: &mut web::ServiceConfig, metrics: &OwnMetrics) {
    let resource = read_only(metrics.path(), show);
    config.app_data(web::Data::new(metrics.clone())).service(resource);
}

async fn show(request: HttpRequest, metrics: web::Data<OwnMetrics>) -> HttpResponse {
    let accepted = Accepted::by(request.headers());
    match metrics.render(accepted) {
        Ok(bytes) => accepted.response().body(bytes),
        Err(error) => {
            tracing::error!(%error, "own metrics could not be written");
            HttpResponse::InternalServerError().body("own metrics could not be written\n")
        }
    }
}
