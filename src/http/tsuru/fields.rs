//! Fields of requests, in both encodings that Tsuru uses.

use super::{TsuruError, event, form};
use crate::{domain::ParameterSchema, http::body};
use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{CONTENT_TYPE, HeaderMap},
};
use futures_util::future::LocalBoxFuture;
use serde_json::{Map, Value};

/// Fields of a form or a JSON object, by their names in forms. Unknown fields are ignored.
///
/// Handlers only receive fields of Tsuru's own calls ([`event::check`]).
pub(super) struct Fields(Map<String, Value>);

/// The object of a `…/bind` call.
pub(super) enum BindCall {
    /// A unit of an app. Tsuru before 1.18 sends these calls in addition to the call for the app,
    /// without an event id. `unit-host` is empty while the unit has no address.
    Unit,
    /// An app.
    App(Fields),
}

fn wrong<T>(name: &str, problem: &str) -> Result<T, TsuruError> {
    Err(TsuruError::Malformed(format!("{name} {problem}")))
}

impl Fields {
    pub(super) fn list(&self, name: &str) -> Result<Vec<&str>, TsuruError> {
        let values = match self.0.get(name) {
            None | Some(Value::Null) => &[],
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        let texts = values.iter().map(|value| match value.as_str() {
            Some(text) if text.chars().any(char::is_control) => {
                wrong(name, "contains a control character")
            }
            Some(text) => Ok(text),
            None => wrong(name, "must be a text"),
        });
        texts.collect()
    }

    /// The first value of a field. An empty string counts as absent, because forms contain all
    /// fields.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, TsuruError> {
        Ok(self.list(name)?.first().copied().filter(|text| !text.is_empty()))
    }

    /// A required value.
    pub(super) fn required(&self, name: &str) -> Result<&str, TsuruError> {
        self.text(name)?.map_or_else(|| wrong(name, "is missing"), Ok)
    }

    /// The user's parameters, with strings converted to the types of the plan's schema.
    pub(super) fn parameters(
        &self,
        schema: Option<&ParameterSchema>,
    ) -> Result<Map<String, Value>, TsuruError> {
        Ok(typed(self.raw_parameters()?, schema))
    }

    /// The user's parameters without conversion.
    pub(super) fn raw_parameters(&self) -> Result<Map<String, Value>, TsuruError> {
        match self.0.get("parameters") {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map.clone()),
            Some(_) => wrong("parameters", "must be an object"),
        }
    }

    /// Parses the body of a request that changes something. A DELETE request has a body too.
    async fn read(headers: &HeaderMap, payload: Payload) -> Result<Self, TsuruError> {
        let body = body::read(payload).await?;
        if body.is_empty() {
            return Ok(Self(Map::new()));
        }
        let fields = match content_type(headers) {
            Some(FORM) => form::parse(&body),
            Some(JSON) => json(&body),
            _ => Err(format!("Content-Type must be {FORM} or {JSON}")),
        };
        fields.map(Self).map_err(TsuruError::Malformed)
    }
}

/// Converts strings to the types of the first schema that contains the parameter.
pub(super) fn typed<'a>(
    parameters: Map<String, Value>,
    schemas: impl IntoIterator<Item = &'a ParameterSchema>,
) -> Map<String, Value> {
    let parameters = schemas.into_iter().fold(parameters, |map, schema| schema.typed(map));
    // Forms cannot distinguish an empty list from an absent one.
    parameters.into_iter().filter(|(_, value)| !is_empty_container(value)).collect()
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// The content type, if there is exactly one. It must be spelled exactly: for other content types
/// Tsuru creates the event before it reads the body of a forwarded request. Then the sender could
/// find out the event id.
fn content_type(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(CONTENT_TYPE);
    let (first, second) = (values.next()?, values.next());
    first.to_str().ok().filter(|_| second.is_none())
}

fn is_empty_container(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

impl FromRequest for Fields {
    type Error = TsuruError;
    type Future = LocalBoxFuture<'static, Result<Self, TsuruError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let fields = Self::read(request.headers(), payload).await?;
            event::check(&request, &fields)?;
            Ok(fields)
        })
    }
}

impl FromRequest for BindCall {
    type Error = TsuruError;
    type Future = LocalBoxFuture<'static, Result<Self, TsuruError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let fields = Fields::read(request.headers(), payload).await?;
            if fields.0.contains_key("unit-host") {
                return Ok(Self::Unit);
            }
            event::check(&request, &fields)?;
            Ok(Self::App(fields))
        })
    }
}

fn json(body: &[u8]) -> Result<Map<String, Value>, String> {
    let value = serde_json::from_slice(body)
        .map_err(|error| format!("the body is not understood: {error}"))?;
    let Value::Object(map) = value else {
        return Err("the body must be a JSON object".to_owned());
    };
    Ok(map.into_iter().map(|(name, value)| (name_in_forms(&name), value)).collect())
}

/// `appInternalHosts` becomes `app-internal-hosts`, but `eventID` becomes `eventid`.
fn name_in_forms(name: &str) -> String {
    if name == "eventID" {
        return "eventid".to_owned();
    }
    let mut name_in_forms = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            name_in_forms.push('-');
        }
        name_in_forms.push(character.to_ascii_lowercase());
    }
    name_in_forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields(json(body.as_bytes()).unwrap())
    }

    #[test]
    fn json_and_forms_have_the_same_fields() {
        let fields = fields(
            r#"{"name": "m", "plan": "", "appName": "shop", "appInternalHosts": ["tcp://a:1", "tcp://b:2"],
                "tags": null, "parameters": {"a": {"b": 1}, "c": [], "d": {}}, "eventID": "e"}"#,
        );
        assert_eq!(fields.required("name").unwrap(), "m");
        assert_eq!(fields.text("plan").unwrap(), None);
        assert_eq!(fields.text("app-name").unwrap(), Some("shop"));
        assert_eq!(fields.list("app-internal-hosts").unwrap(), ["tcp://a:1", "tcp://b:2"]);
        assert_eq!(fields.list("tags").unwrap(), [""; 0]);
        assert_eq!(fields.text("eventid").unwrap(), Some("e"));
        let parameters = Value::Object(fields.parameters(None).unwrap());
        assert_eq!(parameters, serde_json::json!({"a": {"b": 1}}));
    }

    #[test]
    fn values_that_are_not_strings_are_named() {
        for (body, expected) in [
            (r#"{"name": 5}"#, "name must be a text"),
            (r#"{"name": [[]]}"#, "name must be a text"),
            (r#"{"name": ["a\nb"]}"#, "name contains a control character"),
            (r#"{"name": ""}"#, "name is missing"),
            (r#"{"name": null}"#, "name is missing"),
            ("{}", "name is missing"),
        ] {
            let error = fields(body).required("name").map(drop).unwrap_err();
            assert_eq!(error.to_string(), expected, "{body}");
        }
        let error = fields(r#"{"parameters": []}"#).parameters(None).unwrap_err();
        assert_eq!(error.to_string(), "parameters must be an object");
    }
}
