//! A rendered target list.

use actix_web::{http::header::EntityTag, web::Bytes};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest;

/// The body of a list and its entity tag.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Bytes,
    pub(super) tag: EntityTag,
}

impl Answer {
    pub(super) fn of(rendered: serde_json::Result<Vec<u8>>) -> serde_json::Result<Self> {
        let mut text = rendered?;
        // It may remain in the cache for a long time.
        text.shrink_to_fit();
        let digest = digest::digest(&digest::SHA256, &text);
        let tag = EntityTag::new_strong(URL_SAFE_NO_PAD.encode(digest));
        Ok(Self { body: text.into(), tag })
    }
}
