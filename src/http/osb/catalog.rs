//! `GET /v2/catalog`

use super::{OsbError, OsbState};
use actix_web::{
    HttpResponse,
    http::header::{ETag, EntityTag, IfNoneMatch},
    web,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest;

/// The current catalog. 304 is used only for conditional requests. Cloud Controller sends none, and
/// does not support 304.
pub(super) async fn fetch(
    if_none_match: Option<web::Header<IfNoneMatch>>,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    let body = state.broker.catalog().document().to_string();
    let digest = digest::digest(&digest::SHA256, body.as_bytes());
    let tag = EntityTag::new_strong(URL_SAFE_NO_PAD.encode(digest));
    let known = match if_none_match.map(web::Header::into_inner) {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
        None => false,
    };
    let mut response = match known {
        true => return Ok(HttpResponse::NotModified().insert_header(ETag(tag)).finish()),
        false => HttpResponse::Ok(),
    };
    Ok(response.insert_header(ETag(tag)).content_type("application/json").body(body))
}
