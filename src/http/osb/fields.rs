//! Fields of OSB requests. Each error names its field.

use super::OsbError;
use crate::{
    domain::{BindingId, IdError, InstanceId, tsuru_ids::is_tsuru_id},
    http::body,
};
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, http::header, web};
use futures_util::future::LocalBoxFuture;
use serde_json::{Map, Value};
use std::str::FromStr;

/// Ids from the catalog. The platform chooses all other ids.
const CATALOG_IDS: [&str; 2] = ["service_id", "plan_id"];

/// Otherwise a user of the broker could access instances of a Tsuru user.
const RESERVED_FOR_TSURU: &str = "must not begin with tsuru:, which is reserved for ids of Tsuru";

/// The fields of a JSON object. Unknown fields are ignored (OSB specification, "Vendor Extension
/// Fields").
#[derive(Default)]
pub(super) struct Fields {
    map: Map<String, Value>,
    path: String,
}

impl Fields {
    /// The value of a field. `null` and empty strings count as absent, because platforms written in
    /// Go send all fields (Korifi, controllers/controllers/services/osbapi).
    fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null() && !self.is_empty(name))
    }

    fn is_empty(&self, name: &str) -> bool {
        self.map.get(name).and_then(Value::as_str) == Some("")
    }

    fn wrong(&self, name: &str, problem: impl std::fmt::Display) -> OsbError {
        OsbError::Malformed(format!("{}{name} {problem}", self.path))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, OsbError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(name, "must be a string"))
    }

    /// An optional id. An id of the catalog must not be an empty string, even if it is optional.
    pub(super) fn optional<T>(&self, name: &str) -> Result<Option<T>, OsbError>
    where
        T: FromStr<Err = IdError>,
    {
        let is_of_catalog = CATALOG_IDS.contains(&name);
        if is_of_catalog && self.is_empty(name) {
            return Err(self.wrong(name, IdError::Empty));
        }
        let text = self.text(name)?;
        if text.is_some_and(is_tsuru_id) && !is_of_catalog {
            return Err(self.wrong(name, RESERVED_FOR_TSURU));
        }
        text.map(str::parse).transpose().map_err(|error| self.wrong(name, error))
    }

    /// A required id.
    pub(super) fn required<T>(&self, name: &str) -> Result<T, OsbError>
    where
        T: FromStr<Err = IdError>,
    {
        self.optional(name)?.ok_or_else(|| match self.is_empty(name) {
            true => self.wrong(name, IdError::Empty),
            false => self.wrong(name, "is missing"),
        })
    }

    /// An object. It is empty if the field is absent.
    pub(super) fn object(&self, name: &str) -> Result<Self, OsbError> {
        let map = match self.get(name) {
            None => Map::new(),
            Some(value) => {
                value.as_object().ok_or_else(|| self.wrong(name, "must be an object"))?.clone()
            }
        };
        Ok(Self { map, path: format!("{}{name}.", self.path) })
    }

    /// The user's parameters.
    pub(super) fn parameters(&self) -> Result<Map<String, Value>, OsbError> {
        Ok(self.object("parameters")?.map)
    }

    /// `maintenance_info.version`. Other fields of `maintenance_info` are not used.
    pub(super) fn maintenance_version(&self) -> Result<Option<String>, OsbError> {
        Ok(self.object("maintenance_info")?.text("version")?.map(str::to_owned))
    }
}

/// The body of a PUT or PATCH request. A missing content type means JSON, as the specification
/// allows.
impl FromRequest for Fields {
    type Error = OsbError;
    type Future = LocalBoxFuture<'static, Result<Self, OsbError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            check_content_type(&request)?;
            let body = body::read(payload).await?;
            let value = serde_json::from_slice(&body).map_err(|error| {
                OsbError::Malformed(format!("the body is not understood: {error}"))
            })?;
            match value {
                Value::Object(map) => Ok(Self { map, path: String::new() }),
                _ => Err(OsbError::Malformed("the body must be a JSON object".to_owned())),
            }
        })
    }
}

fn check_content_type(request: &HttpRequest) -> Result<(), OsbError> {
    let wrong = || OsbError::Malformed("Content-Type must be application/json".to_owned());
    if !request.headers().contains_key(header::CONTENT_TYPE) {
        return Ok(());
    }
    match request.mime_type() {
        Ok(Some(mime))
            if mime.subtype() == "json" || mime.suffix().is_some_and(|s| s == "json") =>
        {
            Ok(())
        }
        _ => Err(wrong()),
    }
}

/// The service instance in the path.
pub(super) struct InstancePath(pub(super) InstanceId);

/// The service instance and the binding in the path.
pub(super) struct BindingPath(pub(super) InstanceId, pub(super) BindingId);

impl FromRequest for InstancePath {
    type Error = OsbError;
    type Future = std::future::Ready<Result<Self, OsbError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(id(request, "instance_id").map(Self))
    }
}

impl FromRequest for BindingPath {
    type Error = OsbError;
    type Future = std::future::Ready<Result<Self, OsbError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let ids = id(request, "instance_id")
            .and_then(|instance| Ok(Self(instance, id(request, "binding_id")?)));
        std::future::ready(ids)
    }
}

/// An id in the path, percent-decoded. It may contain any character.
fn id<T: FromStr<Err = IdError>>(request: &HttpRequest, name: &str) -> Result<T, OsbError> {
    let text = request.match_info().get(name).unwrap_or_default();
    let text = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    if is_tsuru_id(&text) {
        return Err(OsbError::Malformed(format!("{name} in the URL {RESERVED_FOR_TSURU}")));
    }
    text.parse().map_err(|error| OsbError::Malformed(format!("{name} in the URL {error}")))
}

/// Proof that a DELETE request contains `service_id` and `plan_id`, which are required.
///
/// They are not compared with the stored ids. If a platform missed the response to an update, it
/// sends the previous plan, and must still be able to delete.
pub(super) struct RequiredIds;

impl RequiredIds {
    pub(super) fn in_query(request: &HttpRequest) -> Result<Self, OsbError> {
        for name in CATALOG_IDS {
            if !is_in_query(request, name)? {
                let problem = format!("{name} in the query is missing");
                return Err(OsbError::Malformed(problem));
            }
        }
        Ok(Self)
    }
}

/// Proof that the optional `service_id` and `plan_id` of a GET request are valid. They are not
/// used, but must not be empty.
pub(super) struct OptionalIds;

impl FromRequest for OptionalIds {
    type Error = OsbError;
    type Future = std::future::Ready<Result<Self, OsbError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let checked = CATALOG_IDS.iter().try_for_each(|name| is_in_query(request, name).map(drop));
        std::future::ready(checked.map(|()| Self))
    }
}

/// Whether the query contains this id. A present id must be valid.
fn is_in_query(request: &HttpRequest, name: &str) -> Result<bool, OsbError> {
    let Some(value) = query(request, name) else { return Ok(false) };
    // All types of ids have the same limits.
    match value.parse::<InstanceId>() {
        Ok(_) => Ok(true),
        Err(error) => Err(OsbError::Malformed(format!("{name} in the query {error}"))),
    }
}

/// The first value of a query parameter.
pub(super) fn query(request: &HttpRequest, name: &str) -> Option<String> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string()).ok()?;
    pairs.into_inner().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}
