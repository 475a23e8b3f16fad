//! Statements with many rows, and statements of large tables.

use sqlx::{Any, SqlSafeStr, any::AnyArguments, query::Query};

/// Maximum number of rows or searched values of a statement.
pub(super) const MAX_ROWS: usize = 64;

/// A search in a table that grows quickly.
///
/// It is not prepared. PostgreSQL keeps the plan of a prepared statement: one that was made while the
/// table was small would read the whole table later, until the table is analyzed.
pub(super) fn search<'q>(sql: impl SqlSafeStr) -> Query<'q, Any, AnyArguments> {
    sqlx::query(sql).persistent(false)
}

/// Splits rows into parts of 64, 32, 16, … rows, because each connection keeps the prepared
/// statements of all texts that it has seen.
pub(super) fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let largest = MAX_ROWS.min(rows.len());
        // The largest power of two that is not larger.
        let size = 1 << largest.checked_ilog2()?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

/// Parameters of rows: `($1, $2), ($3, $4)`.
pub(super) fn values(columns: usize, rows: usize) -> String {
    let row = |row: usize| format!("({})", list(row * columns + 1, columns));
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// Parameters of a list: `$3, $4, $5`.
pub(super) fn list(first: usize, number: usize) -> String {
    (first..first + number).map(|it| format!("${it}")).collect::<Vec<_>>().join(", ")
}

/// A number of rows as SQL has it.
pub(super) fn limit_of(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_into_few_sizes() {
        let sizes =
            |rows: usize| -> Vec<usize> { chunks(&vec![0; rows]).map(<[i32]>::len).collect() };
        assert_eq!(sizes(0), [0; 0]);
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(200), [64, 64, 64, 8]);
        assert_eq!(sizes(63), [32, 16, 8, 4, 2, 1]);
    }

    #[test]
    fn parameters_are_numbered() {
        assert_eq!(values(2, 2), "($1, $2), ($3, $4)");
        assert_eq!(list(3, 2), "$3, $4");
    }
}
