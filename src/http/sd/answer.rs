//! A rendered list.

use actix_web::{http::header::EntityTag, web::Bytes};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest;

/// The text of a list and its entity tag.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Bytes,
    pub(super) tag: EntityTag,
}

impl Answer {
    pub(super) fn of(made: serde_json::Result<Vec<u8>>) -> serde_json::Result<Self> {
        let mut text = made?;
        // It may stay in the cache for long.
        text.shrink_to_fit();
        let digest = digest::digest(&digest::SHA256, &text);
        let tag = EntityTag::new_strong(URL_SAFE_NO_PAD.encode(digest));
        Ok(Self { body: text.into(), tag })
    }
}
