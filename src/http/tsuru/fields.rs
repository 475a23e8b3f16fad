//! Requests, field by field, whichever of its two encodings Tsuru uses.

use super::{TsuruError, form};
use crate::{domain::ParameterSchema, http::body};
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload};
use futures_util::future::LocalBoxFuture;
use serde_json::{Map, Value};

/// The fields of a form or a JSON object, by their names in forms. Unknown ones
/// are never asked for.
pub(super) struct Fields(Map<String, Value>);

fn wrong<T>(name: &str, problem: &str) -> Result<T, TsuruError> {
    Err(TsuruError::Malformed(format!("{name} {problem}")))
}

impl Fields {
    /// All values of a field.
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

    /// The first value of a field; an empty one is none, since forms send all fields.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, TsuruError> {
        Ok(self.list(name)?.first().copied().filter(|text| !text.is_empty()))
    }

    /// A value that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, TsuruError> {
        self.text(name)?.map_or_else(|| wrong(name, "is missing"), Ok)
    }

    /// The user's parameters, with texts made what the plan's schema expects.
    pub(super) fn parameters(
        &self,
        schema: Option<&ParameterSchema>,
    ) -> Result<Map<String, Value>, TsuruError> {
        let parameters = match self.0.get("parameters") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(map)) => map.clone(),
            Some(_) => return wrong("parameters", "must be an object"),
        };
        Ok(match schema {
            Some(schema) => schema.typed(parameters),
            None => parameters,
        })
    }
}

/// The body of a request that changes something, a DELETE among them. Tsuru
/// says what it sends; without a word it is taken for a form.
impl FromRequest for Fields {
    type Error = TsuruError;
    type Future = LocalBoxFuture<'static, Result<Self, TsuruError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            let body = body::read(payload).await?;
            if body.is_empty() {
                return Ok(Self(Map::new()));
            }
            let fields = match request.mime_type() {
                Ok(Some(mime)) if mime.subtype() == "json" => json(&body),
                Ok(Some(mime)) if mime.subtype() == "x-www-form-urlencoded" => form::parse(&body),
                Ok(None) => form::parse(&body),
                _ => Err("Content-Type must be application/x-www-form-urlencoded or \
                          application/json"
                    .to_owned()),
            };
            fields.map(Self).map_err(TsuruError::Malformed)
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

/// `appInternalHosts` is `app-internal-hosts`.
fn name_in_forms(name: &str) -> String {
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
    fn json_has_the_fields_of_forms() {
        let fields = fields(
            r#"{"name": "m", "plan": "", "appName": "shop", "appInternalHosts": ["tcp://a:1", "tcp://b:2"],
                "tags": null, "parameters": {"a": {"b": 1}}, "eventID": 5}"#,
        );
        assert_eq!(fields.required("name").unwrap(), "m");
        assert_eq!(fields.text("plan").unwrap(), None);
        assert_eq!(fields.text("app-name").unwrap(), Some("shop"));
        assert_eq!(fields.list("app-internal-hosts").unwrap(), ["tcp://a:1", "tcp://b:2"]);
        assert_eq!(fields.list("tags").unwrap(), [""; 0]);
        assert_eq!(fields.parameters(None).unwrap()["a"]["b"], 1);
    }

    #[test]
    fn what_is_no_text_is_named() {
        for (body, said) in [
            (r#"{"name": 5}"#, "name must be a text"),
            (r#"{"name": [[]]}"#, "name must be a text"),
            (r#"{"name": ["a\nb"]}"#, "name contains a control character"),
            (r#"{"name": ""}"#, "name is missing"),
            (r#"{"name": null}"#, "name is missing"),
            ("{}", "name is missing"),
        ] {
            let error = fields(body).required("name").map(drop).unwrap_err();
            assert_eq!(error.to_string(), said, "{body}");
        }
        let error = fields(r#"{"parameters": []}"#).parameters(None).unwrap_err();
        assert_eq!(error.to_string(), "parameters must be an object");
    }
}
