//! The only requests and responses; wire formats stop here.

pub mod auth;
pub mod osb;
