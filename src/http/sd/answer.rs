//! A list as it is sent.

use actix_web::{http::header::EntityTag, web::Bytes};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest;

/// The text of a list, and what tells it from another.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Bytes,
    pub(super) tag: EntityTag,
}

impl Answer {
    /// Of the text that was made.
    pub(super) fn of(made: serde_json::Result<Vec<u8>>) -> serde_json::Result<Self> {
        let mut text = made?;
        // It may be kept for long.
        text.shrink_to_fit();
        let digest = digest::digest(&digest::SHA256, &text);
        let tag = EntityTag::new_strong(URL_SAFE_NO_PAD.encode(digest));
        Ok(Self { body: text.into(), tag })
    }
}
