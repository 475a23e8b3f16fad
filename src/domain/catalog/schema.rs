//! JSON schemas of request parameters.

use super::texts;
use crate::domain::BindingError;
use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::{Map, Value};

/// Maximum size of a schema as JSON, in bytes. Cloud Controller has the same limit.
const MAX_LEN: usize = 65_536;

/// A draft-04 schema of request parameters.
#[derive(Clone, Debug)]
pub struct ParameterSchema {
    validator: jsonschema::Validator,
    document: Value,
}

impl ParameterSchema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// States what to change. The text continues a sentence that starts with the schema's path in
    /// the catalog.
    pub fn parse(schema: &Value) -> Result<Self, String> {
        let Some(map) = schema.as_object() else {
            return Err("must be a JSON schema, an object".to_owned());
        };
        if !map.get("$schema").is_some_and(Value::is_string) {
            return Err("must name its draft, as in \"$schema\": \
                        \"http://json-schema.org/draft-04/schema#\""
                .to_owned());
        }
        if schema.to_string().len() > MAX_LEN {
            return Err(format!("is longer than {MAX_LEN} bytes"));
        }
        if let Some(reference) = external_reference(schema) {
            return Err(format!("must not refer to another document ({reference})"));
        }
        jsonschema::draft4::meta::validate(schema)
            .map_err(|error| format!("is not a draft-04 schema: {}", described(&error)))?;
        let validator = jsonschema::draft4::new(schema)
            .map_err(|error| format!("is not a draft-04 schema: {}", described(&error)))?;
        Ok(Self { validator, document: schema.clone() })
    }

    /// Converts strings to numbers, arrays and other types where this schema expects them.
    pub fn typed(&self, parameters: Map<String, Value>) -> Map<String, Value> {
        texts::typed(&self.document, parameters)
    }

    /// Whether the schema allows a parameter with this name.
    pub fn takes(&self, name: &str) -> bool {
        texts::names(&self.document).contains(&name)
            || self.document.get("additionalProperties") != Some(&Value::Bool(false))
    }

    /// Validates `parameters`.
    ///
    /// # Errors
    /// Names the first invalid parameter. The text omits values, because a parameter may be a
    /// secret.
    pub fn check(&self, parameters: &Map<String, Value>) -> Result<(), BindingError> {
        let parameters = Value::Object(parameters.clone());
        let first = self.validator.iter_errors(&parameters).next();
        first.map_or(Ok(()), |error| Err(self.misfit(&error)))
    }

    fn misfit(&self, error: &ValidationError<'_>) -> BindingError {
        let path = dotted(error);
        let below = |name: &str| match path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => BindingError {
                field: below(unexpected.first().map_or("", String::as_str)),
                problem: match texts::names(&self.document) {
                    names if path.is_empty() && !names.is_empty() => {
                        format!("is unknown; known are {}", names.join(", "))
                    }
                    _ => "is unknown".to_owned(),
                },
            },
            ValidationErrorKind::Required { property } => BindingError {
                field: below(property.as_str().unwrap_or_default()),
                problem: "is missing".to_owned(),
            },
            _ => BindingError {
                field: if path.is_empty() { "values".to_owned() } else { path },
                problem: format!("does not fit the plan's schema: {}", error.masked()),
            },
        }
    }
}

/// A `$ref` to another document. Cloud Controller does not resolve such references.
fn external_reference(schema: &Value) -> Option<&str> {
    match schema {
        Value::Object(map) => {
            let external =
                map.get("$ref").and_then(Value::as_str).filter(|to| !to.starts_with('#'));
            external.or_else(|| map.values().find_map(external_reference))
        }
        Value::Array(values) => values.iter().find_map(external_reference),
        _ => None,
    }
}

fn described(error: &ValidationError<'_>) -> String {
    match dotted(error) {
        path if path.is_empty() => error.masked().to_string(),
        path => format!("{path}: {}", error.masked()),
    }
}

/// The path of an error in the notation of users: `basic_auth.username`.
fn dotted(error: &ValidationError<'_>) -> String {
    let pointer = error.instance_path().as_str();
    let parts = pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"));
    parts.collect::<Vec<_>>().join(".")
}
