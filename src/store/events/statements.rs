//! Texts of statements with many rows.
//!
//! Each connection keeps the prepared statements of the texts that it has seen. So there are only a
//! few texts, whatever the number of rows is.

/// Maximum number of rows of a statement.
const MAX_ROWS: usize = 64;

/// Splits rows into parts of 64, 32, 16, … rows.
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

/// Splits values of a search into parts of equal size. The last part repeats its last value.
pub(super) fn padded<T: Clone>(values: &[T]) -> impl Iterator<Item = Vec<T>> {
    values.chunks(MAX_ROWS).map(|chunk| {
        let mut chunk = chunk.to_vec();
        if let Some(last) = chunk.last().cloned() {
            chunk.resize(MAX_ROWS, last);
        }
        chunk
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
    fn values_of_a_search_are_repeated() {
        assert_eq!(padded::<i64>(&[]).count(), 0);
        let numbers: Vec<i64> = (0..65).collect();
        let parts: Vec<_> = padded(&numbers).collect();
        assert_eq!(parts, [(0..64).collect::<Vec<_>>(), vec![64; 64]]);
    }

    #[test]
    fn parameters_are_numbered() {
        assert_eq!(values(2, 2), "($1, $2), ($3, $4)");
        assert_eq!(list(3, 2), "$3, $4");
    }
}
