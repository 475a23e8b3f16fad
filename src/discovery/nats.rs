//! The bus on which platforms tell their routers who exists.

mod heard;
mod message;

pub use message::{MessageError, Registration, parse as parse_message};
