//! Errors of the broker.

use crate::{
    domain::{
        BindingError, OperationKind,
        prometheus::{DataLoss, Refusal},
    },
    secrets::KeyError,
    store::StoreError,
};

/// Error of a request to the broker.
///
/// `Display` is for the user of the platform, so it contains no internals and no values. The source
/// chain is for the log.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("service_id names no service of the catalog")]
    UnknownService,
    #[error("plan_id names no plan of this service")]
    UnknownPlan,
    #[error(transparent)]
    Parameter(#[from] BindingError),
    #[error("this plan takes no parameters")]
    NoParameters,
    #[error(
        "a service key takes no parameters: they configure the scrape of an app, and a service key has no app"
    )]
    NoKeyParameters,
    #[error("a binding of this plan takes no parameters")]
    NoBindParameters,
    #[error("maintenance_info.version is not the one in the catalog")]
    MaintenanceInfoConflict,
    #[error("a service instance with this id exists already, with different attributes")]
    InstanceConflict,
    #[error("there is no service instance with this id")]
    InstanceUnknown,
    #[error("the service instance is gone")]
    InstanceGone,
    #[error("service_id is not that of the service instance")]
    OtherService,
    #[error("plan_id is not that of the service instance")]
    OtherPlan,
    #[error("the plan of this service instance cannot be changed")]
    PlanNotUpdateable,
    #[error("this plan cannot be bound")]
    NotBindable,
    #[error("a service binding with this id exists already, with different attributes")]
    BindingConflict,
    #[error("there is no service binding with this id")]
    BindingUnknown,
    #[error("the service binding is gone")]
    BindingGone,
    #[error("predecessor_binding_id names no service binding of this service instance")]
    PredecessorUnknown,
    #[error("bindings of this plan cannot be rotated")]
    NotRotatable,
    /// The plan needs an asynchronous operation, and the platform does not support that (OSB
    /// "Asynchronous Operations"). A client in Go compares the text (go-open-service-broker-client,
    /// errors.go, `AsyncErrorDescription`).
    #[error("This service plan requires client support for asynchronous service operations.")]
    AsyncRequired,
    #[error(
        "an operation on this service instance is in progress ({0}); try again when it has ended"
    )]
    Concurrency(OperationKind),
    #[error("this service instance could not be provisioned and can only be deleted: {0}")]
    ProvisionFailed(String),
    #[error("the service instance could not be removed; try again: {0}")]
    DeprovisionFailed(String),
    #[error("an instance of one kind of plan cannot get a plan of another kind")]
    OtherKind,
    #[error(transparent)]
    Refused(Refusal),
    #[error("{0}")]
    Loss(DataLoss),
    #[error("no provisioner is configured, so no Prometheus can be created or changed")]
    NoProvisioner,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("secrets cannot be encrypted")]
    Keys(#[from] KeyError),
}

/// An encrypted column that the key cannot decrypt.
pub(super) fn cannot_decrypt(column: &'static str) -> StoreError {
    StoreError::Corrupt { column, problem: "broker.token_key does not decrypt it".to_owned() }
}
