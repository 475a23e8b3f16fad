//! Keys of `query`.
