use super::{dialect::Dialect, families::Naming, labels::Labels, limits::Limits, renames::Renames};

/// How a body is to be read, and for which output.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) body: &'a [u8],
    pub(super) labels: &'a Labels,
    pub(super) limits: &'a Limits,
    /// Of the body's format.
    pub(super) source: Naming,
    pub(super) dialect: Dialect,
    /// Names that are not the usual ones.
    pub(super) renames: Option<&'a Renames>,
}
