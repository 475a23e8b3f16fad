//! Validated types for ids, apps, paths, catalogs and bindings.
//!
//! Constructors validate the values. This module does no I/O, reads no clock and contains no wire
//! formats.

mod app;
mod base_url;
mod binding;
mod catalog;
mod database_url;
mod disclosure;
mod event;
mod exporter;
mod ids;
mod metrics_path;
mod operation;
pub mod prometheus;
mod service_instance;
mod tsuru;
pub mod tsuru_ids;

pub use app::{APP_LABELS, App, AppKey, AppKeyError, Prefer};
pub use base_url::{BaseUrl, http_url};
pub use binding::{BasicAuth, BindingError, ScrapeOptions};
pub use catalog::{Catalog, CatalogProblem, ParameterSchema, Plan, Service};
pub use database_url::{DatabaseUrl, MASK};
pub use disclosure::{Disclosure, Parameter, disclosed};
pub use event::{EventLabelError, EventLabels, EventValue, NewEvent, NotANumber, QueueId};
pub use exporter::{
    ExporterHost, ExporterHostError, ExternalExporter, FillError, Template, TemplateError,
};
pub use ids::{
    AppGuid, BindingId, IdError, InstanceId, OrganizationGuid, PlanId, ServiceId, SpaceGuid,
};
pub use metrics_path::{MetricsPath, MetricsPathError};
pub use operation::{OperationKind, OperationState};
pub use service_instance::{InstanceNames, ServiceInstance};
pub use tsuru::{CallsWithoutEventId, TsuruApp};
