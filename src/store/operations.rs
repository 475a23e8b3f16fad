//! Operations on service instances and their results.

use super::{
    StoreError, Tx,
    instances::{corrupt, id, readable},
    prometheus::number,
    state,
};
use crate::domain::{InstanceId, OperationKind, OperationState, PlanId};
use sqlx::{Row, any::AnyRow};

/// The last operation on a service instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub instance_id: InstanceId,
    /// Distinguishes operations on the same instance.
    pub operation_id: String,
    pub kind: OperationKind,
    pub state: OperationState,
    /// Shown to users.
    pub description: String,
    /// Milliseconds since 1970, by the clock of the database.
    pub started_at: i64,
    /// State to which a failed update is rolled back.
    pub before: Option<PreviousState>,
}

/// The state of a service instance before an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousState {
    pub plan_id: PlanId,
    /// Encrypted.
    pub parameters: String,
    /// Specification of the Prometheus, encrypted.
    pub spec: String,
    pub replicas: u8,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT instance_id, operation_id, kind, state, description, started_at, \
             before_plan_id, before_parameters, before_spec, before_replicas FROM operations ",
            $rest
        )
    };
}

pub async fn find(tx: &mut Tx, id: &InstanceId) -> Result<Option<Operation>, StoreError> {
    let row = sqlx::query(select!("WHERE instance_id = $1"))
        .bind(id.as_str())
        .fetch_optional(tx.connection())
        .await?;
    row.as_ref().map(operation).transpose()
}

/// Returns the last operation of each instance, oldest first. Rows that cannot be read are logged
/// and skipped.
pub async fn all(tx: &mut Tx) -> Result<Vec<Operation>, StoreError> {
    let rows = sqlx::query(select!("ORDER BY started_at, operation_id"))
        .fetch_all(tx.connection())
        .await?;
    Ok(rows.iter().filter_map(|row| readable(operation(row))).collect())
}

/// Stores an operation. Replaces the previous operation of the instance.
pub async fn put(tx: &mut Tx, operation: &Operation) -> Result<(), StoreError> {
    state::bump(tx).await?;
    sqlx::query("DELETE FROM operations WHERE instance_id = $1")
        .bind(operation.instance_id.as_str())
        .execute(tx.connection())
        .await?;
    let before = operation.before.as_ref();
    sqlx::query(
        "INSERT INTO operations (instance_id, operation_id, kind, state, description, started_at, \
         before_plan_id, before_parameters, before_spec, before_replicas) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(operation.instance_id.as_str())
    .bind(&operation.operation_id)
    .bind(operation.kind.as_str())
    .bind(operation.state.as_str())
    .bind(&operation.description)
    .bind(operation.started_at)
    .bind(before.map(|before| before.plan_id.as_str()))
    .bind(before.map(|before| before.parameters.as_str()))
    .bind(before.map(|before| before.spec.as_str()))
    .bind(before.map(|before| i64::from(before.replicas)))
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Updates the state of an operation. Returns `false` and changes nothing if the operation has
/// ended or was replaced.
pub async fn update_state(
    tx: &mut Tx,
    operation_id: &str,
    state: OperationState,
    description: &str,
) -> Result<bool, StoreError> {
    state::bump(tx).await?;
    let updated = sqlx::query(
        "UPDATE operations SET state = $2, description = $3 \
         WHERE operation_id = $1 AND state = 'in progress'",
    )
    .bind(operation_id)
    .bind(state.as_str())
    .bind(description)
    .execute(tx.connection())
    .await?;
    Ok(updated.rows_affected() == 1)
}

fn operation(row: &AnyRow) -> Result<Operation, StoreError> {
    let before_plan: Option<String> = row.try_get("before_plan_id")?;
    let before = match before_plan {
        None => None,
        Some(_) => Some(PreviousState {
            plan_id: id(row, "before_plan_id")?,
            parameters: row.try_get("before_parameters")?,
            spec: row.try_get("before_spec")?,
            replicas: number(row, "before_replicas")?,
        }),
    };
    Ok(Operation {
        instance_id: id(row, "instance_id")?,
        operation_id: row.try_get("operation_id")?,
        kind: word(row, "kind", &OperationKind::ALL, OperationKind::as_str)?,
        state: word(row, "state", &OperationState::ALL, OperationState::as_str)?,
        description: row.try_get("description")?,
        started_at: row.try_get("started_at")?,
        before,
    })
}

/// Parses an enum value.
pub(super) fn word<T: Copy>(
    row: &AnyRow,
    column: &'static str,
    known: &[T],
    word: fn(T) -> &'static str,
) -> Result<T, StoreError> {
    let text: String = row.try_get(column)?;
    let found = known.iter().copied().find(|known| word(*known) == text);
    found.ok_or_else(|| corrupt(column, &"is unknown to this version"))
}
