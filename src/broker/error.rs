//! What a platform's user is told.

use crate::{
    domain::{
        BindingError, OperationKind,
        prometheus::{LossOfData, Refusal},
    },
    secrets::KeyError,
    store::StoreError,
};

/// Everything that can go wrong when a platform asks for something.
///
/// `Display` is what the platform's user reads, so it shows no internals and no
/// values; the source chain is what the operator reads in the log.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No such `service_id` in the catalog.
    #[error("service_id names no service of the catalog")]
    UnknownService,
    /// No such `plan_id` in this service.
    #[error("plan_id names no plan of this service")]
    UnknownPlan,
    /// A parameter that the plan does not take, or takes differently.
    #[error(transparent)]
    Parameter(#[from] BindingError),
    /// Parameters where there is nothing to say.
    #[error("this plan takes no parameters")]
    NoParameters,
    /// Parameters of a service key.
    #[error(
        "a service key takes no parameters: they say how an app is scraped, and it names no app"
    )]
    NoKeyParameters,
    /// The version is not the catalog's.
    #[error("maintenance_info.version is not the one in the catalog")]
    MaintenanceInfoConflict,
    /// The same instance id with other attributes.
    #[error("a service instance with this id exists already, with different attributes")]
    InstanceConflict,
    /// There is nothing to fetch, update or bind.
    #[error("there is no service instance with this id")]
    InstanceUnknown,
    /// There is nothing to delete; the platform may forget it, too.
    #[error("the service instance is gone")]
    InstanceGone,
    /// `service_id` is not that of the instance, which can never change.
    #[error("service_id is not that of the service instance")]
    OtherService,
    /// `plan_id` is not that of the instance that is to be bound.
    #[error("plan_id is not that of the service instance")]
    OtherPlan,
    /// The plan cannot be left.
    #[error("the plan of this service instance cannot be changed")]
    PlanNotUpdateable,
    /// The plan cannot be bound.
    #[error("this plan cannot be bound")]
    NotBindable,
    /// The same binding id with other attributes.
    #[error("a service binding with this id exists already, with different attributes")]
    BindingConflict,
    /// There is nothing to fetch.
    #[error("there is no service binding with this id")]
    BindingUnknown,
    /// There is nothing to unbind; the platform may forget it, too.
    #[error("the service binding is gone")]
    BindingGone,
    /// A predecessor that is no binding of this instance.
    #[error("predecessor_binding_id names no service binding of this service instance")]
    PredecessorUnknown,
    /// A plan without `binding_rotatable`.
    #[error("bindings of this plan cannot be rotated")]
    NotRotatable,
    /// The plan takes longer than a request, and the platform does not wait (OSB "Asynchronous
    /// Operations"). A client in Go compares the text (go-open-service-broker-client, errors.go,
    /// `AsyncErrorDescription`).
    #[error("This service plan requires client support for asynchronous service operations.")]
    AsyncRequired,
    /// Something else is being done about the instance.
    #[error(
        "an operation on this service instance is in progress ({0}); try again when it has ended"
    )]
    Concurrency(OperationKind),
    /// It was never made, so there is nothing to use or change.
    #[error("this service instance could not be made, and can only be deleted: {0}")]
    ProvisionFailed(String),
    /// It is still there.
    #[error("the service instance could not be removed; try again: {0}")]
    DeprovisionFailed(String),
    /// A Prometheus cannot become something else, nor the other way round.
    #[error("an instance of one kind of plan cannot get a plan of another kind")]
    OtherKind,
    /// It cannot be made.
    #[error(transparent)]
    Refused(Refusal),
    /// It cannot be changed like that.
    #[error("{0}")]
    Loss(LossOfData),
    /// This installation makes none.
    #[error("no provisioner is configured, so no Prometheus can be made or changed")]
    NoProvisioner,
    /// The database is away, or our fault.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing can be sealed.
    #[error("secrets cannot be sealed")]
    Keys(#[from] KeyError),
}

/// A sealed text that the key does not open.
pub(super) fn cannot_decrypt(column: &'static str) -> StoreError {
    StoreError::Corrupt { column, problem: "broker.token_key does not open it".to_owned() }
}
