//! What is to be done about service instances, and how it ended.

use super::{
    StoreError, Tx,
    instances::{corrupt, id},
    prometheus::number,
    state,
};
use crate::domain::{InstanceId, OperationKind, OperationState, PlanId};
use sqlx::{Row, any::AnyRow};

/// The last operation on a service instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The service instance.
    pub instance_id: InstanceId,
    /// Tells it from others on the same instance.
    pub operation_id: String,
    /// What is to be done.
    pub kind: OperationKind,
    /// How far it is.
    pub state: OperationState,
    /// What people are told of it.
    pub description: String,
    /// Milliseconds since 1970, by the clock of the database.
    pub started_at: i64,
    /// What an update goes back to when it fails.
    pub before: Option<Before>,
}

/// A service instance as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// Its plan.
    pub plan_id: PlanId,
    /// Its parameters, sealed.
    pub parameters: String,
    /// What its Prometheus was like, sealed.
    pub spec: String,
    /// How many servers there were.
    pub replicas: u8,
}

/// All columns, in every query: they are few, and so is the code.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT instance_id, operation_id, kind, state, description, started_at, \
             before_plan_id, before_parameters, before_spec, before_replicas FROM operations ",
            $rest
        )
    };
}

/// The last operation on an instance.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn find(tx: &mut Tx, id: &InstanceId) -> Result<Option<Operation>, StoreError> {
    let row = sqlx::query(select!("WHERE instance_id = $1"))
        .bind(id.as_str())
        .fetch_optional(tx.connection())
        .await?;
    row.as_ref().map(operation).transpose()
}

/// The last operations on all instances, the oldest first. One that cannot be
/// read does not hide the others.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn all(tx: &mut Tx) -> Result<Vec<Result<Operation, StoreError>>, StoreError> {
    let rows = sqlx::query(select!("ORDER BY started_at, operation_id"))
        .fetch_all(tx.connection())
        .await?;
    Ok(rows.iter().map(operation).collect())
}

/// Orders an operation, in place of the one before it.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
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

/// Notes how far an operation is; `false`, and nothing done, if it is no longer
/// the last one or has ended before.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn note(
    tx: &mut Tx,
    operation_id: &str,
    state: OperationState,
    description: &str,
) -> Result<bool, StoreError> {
    state::bump(tx).await?;
    let noted = sqlx::query(
        "UPDATE operations SET state = $2, description = $3 \
         WHERE operation_id = $1 AND state = 'in progress'",
    )
    .bind(operation_id)
    .bind(state.as_str())
    .bind(description)
    .execute(tx.connection())
    .await?;
    Ok(noted.rows_affected() == 1)
}

fn operation(row: &AnyRow) -> Result<Operation, StoreError> {
    let before_plan: Option<String> = row.try_get("before_plan_id")?;
    let before = match before_plan {
        None => None,
        Some(_) => Some(Before {
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

/// One of a few words.
pub(super) fn word<T: Copy>(
    row: &AnyRow,
    column: &'static str,
    known: &[T],
    word: fn(T) -> &'static str,
) -> Result<T, StoreError> {
    let text: String = row.try_get(column)?;
    let found = known.iter().copied().find(|known| word(*known) == text);
    found.ok_or_else(|| corrupt(column, &"is not a word that this version knows"))
}
