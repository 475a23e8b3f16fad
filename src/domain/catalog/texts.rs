//! Converts string parameters to the types that a schema expects.
//!
//! HTML forms send only strings, and encode lists as objects with numeric keys. Values that cannot
//! be converted are left unchanged, and schema validation rejects them.

use serde_json::{Map, Number, Value};

/// Converts parameters to the types that the schema `document` expects.
pub(super) fn typed(document: &Value, parameters: Map<String, Value>) -> Map<String, Value> {
    let root = ApplicableSchemas {
        document,
        schemas: ApplicableSchemas::alternatives(document, [document]),
    };
    let typed = |(name, value): (String, Value)| {
        let value = root.property(&name).typed(value);
        (name, value)
    };
    parameters.into_iter().map(typed).collect()
}

/// Names of the properties of a schema.
pub(super) fn names(document: &Value) -> Vec<&str> {
    let properties = document.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

/// The schemas that apply to one value. Each of several alternatives may apply.
struct ApplicableSchemas<'a> {
    document: &'a Value,
    schemas: Vec<&'a Value>,
}

impl<'a> ApplicableSchemas<'a> {
    fn alternatives(
        document: &'a Value,
        schemas: impl IntoIterator<Item = &'a Value>,
    ) -> Vec<&'a Value> {
        let mut found = Vec::new();
        for schema in schemas {
            Self::collect(document, schema, &mut found);
        }
        found
    }

    fn collect(document: &'a Value, schema: &'a Value, found: &mut Vec<&'a Value>) {
        // Schemas can be recursive.
        if found.iter().any(|known| std::ptr::eq(*known, schema)) {
            return;
        }
        found.push(schema);
        let reference = schema.get("$ref").and_then(Value::as_str);
        let pointer = reference.and_then(|reference| reference.strip_prefix('#'));
        if let Some(target) = pointer.and_then(|pointer| document.pointer(pointer)) {
            Self::collect(document, target, found);
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            for schema in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
                Self::collect(document, schema, found);
            }
        }
    }

    fn below(&self, schemas: impl IntoIterator<Item = &'a Value>) -> Self {
        let schemas = Self::alternatives(self.document, schemas);
        Self { document: self.document, schemas }
    }

    fn property(&self, name: &str) -> Self {
        let schemas = self.schemas.iter().copied();
        let named = schemas.clone().filter_map(|schema| schema.get("properties")?.get(name));
        let named: Vec<_> = named.collect();
        if !named.is_empty() {
            return self.below(named);
        }
        let patterns = schemas.clone().filter_map(|it| it.get("patternProperties")?.as_object());
        let others = schemas.filter_map(|schema| schema.get("additionalProperties"));
        self.below(patterns.flat_map(Map::values).chain(others))
    }

    fn items(&self) -> Self {
        self.below(self.schemas.iter().filter_map(|schema| schema.get("items")))
    }

    /// Whether a value of this type is allowed.
    fn takes(&self, kind: &str) -> bool {
        self.kinds().any(|expected| expected == kind)
    }

    /// All allowed types. It is empty if the schema has no `type`.
    fn kinds(&self) -> impl Iterator<Item = &'a str> {
        let kinds = self.schemas.iter().filter_map(|schema| schema.get("type"));
        kinds.flat_map(|kind| match kind {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect::<Vec<_>>(),
        })
    }

    fn typed(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.typed_text(text),
            Value::Array(values) => {
                let items = self.items();
                values.into_iter().map(|value| items.typed(value)).collect()
            }
            Value::Object(map) if is_list(&map) && !self.takes("object") => {
                let items = self.items();
                let mut values: Vec<_> = map.into_iter().collect();
                values.sort_by_key(|(number, _)| number.parse::<usize>().unwrap_or(usize::MAX));
                values.into_iter().map(|(_, value)| items.typed(value)).collect()
            }
            Value::Object(map) => map
                .into_iter()
                .map(|(name, value)| {
                    let value = self.property(&name).typed(value);
                    (name, value)
                })
                .collect(),
            other => other,
        }
    }

    fn typed_text(&self, text: String) -> Value {
        if self.kinds().next().is_none() || self.takes("string") {
            return text.into();
        }
        let whole = || text.parse::<u64>().map(Number::from).ok();
        let negative = || text.parse::<i64>().map(Number::from).ok();
        let float = || text.parse().ok().and_then(Number::from_f64);
        if self.takes("integer") || self.takes("number") {
            let number = whole().or_else(negative);
            let number = number.or_else(|| float().filter(|_| self.takes("number")));
            if let Some(number) = number {
                return number.into();
            }
        }
        if self.takes("boolean")
            && let Ok(flag) = text.parse::<bool>()
        {
            return flag.into();
        }
        match serde_json::from_str(&text) {
            _ if text.is_empty() && self.takes("array") => Value::Array(Vec::new()),
            _ if text.is_empty() && self.takes("object") => Value::Object(Map::new()),
            Ok(Value::Object(map)) if self.takes("object") => Value::Object(map),
            Ok(Value::Array(values)) if self.takes("array") => Value::Array(values),
            // A single string is treated as the only element of a list.
            _ if self.takes("array") => Value::Array(vec![self.items().typed_text(text)]),
            _ => text.into(),
        }
    }
}

/// Whether the keys are 0, 1, 2 and so on.
fn is_list(map: &Map<String, Value>) -> bool {
    !map.is_empty() && (0..map.len()).all(|number| map.contains_key(&number.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({
            "$schema": "http://json-schema.org/draft-04/schema#",
            "definitions": {"count": {"type": "integer"}},
            "properties": {
                "text": {"type": "string"},
                "limit": {"type": "integer", "minimum": 1},
                "ratio": {"type": ["number", "null"]},
                "on": {"type": "boolean"},
                "paths": {"type": "array", "items": {"type": "string"}},
                "sizes": {"type": "array", "items": {"$ref": "#/definitions/count"}},
                "deep": {"type": "object", "properties": {"series": {"type": "integer"}}},
                "labels": {"type": "object", "patternProperties": {"^[a-z]": {"type": "string"}}},
                "params": {"type": "object", "additionalProperties": {"anyOf": [
                    {"type": "string"}, {"type": "array", "items": {"type": "string"}}
                ]}},
                "anything": {}
            },
            "additionalProperties": false
        })
    }

    #[test]
    fn strings_are_converted_to_the_types_of_the_schema() {
        for (name, sent, expected) in [
            ("text", json!("30"), json!("30")),
            ("limit", json!("5000"), json!(5000)),
            ("limit", json!("-5"), json!(-5)),
            ("limit", json!(5), json!(5)),
            ("ratio", json!("0.5"), json!(0.5)),
            ("ratio", json!("2"), json!(2)),
            ("on", json!("true"), json!(true)),
            ("paths", json!({"0": "/a", "1": "/b"}), json!(["/a", "/b"])),
            ("paths", json!("[\"/a\"]"), json!(["/a"])),
            ("paths", json!("/a,b"), json!(["/a,b"])),
            ("paths", json!(""), json!([])),
            ("sizes", json!(""), json!([])),
            ("deep", json!(""), json!({})),
            ("labels", json!(""), json!({})),
            ("text", json!(""), json!("")),
            ("params", json!({"x": ""}), json!({"x": ""})),
            ("sizes", json!({"0": "1", "1": "2"}), json!([1, 2])),
            ("sizes", json!(["1", 2]), json!([1, 2])),
            ("sizes", json!("7"), json!([7])),
            ("deep", json!({"series": "5000"}), json!({"series": 5000})),
            ("deep", json!("{\"series\": 5000}"), json!({"series": 5000})),
            ("labels", json!({"0": "a"}), json!({"0": "a"})),
            ("labels", json!({"tier": "1"}), json!({"tier": "1"})),
            (
                "params",
                json!({"x": "[1]", "y": {"0": "a", "1": "b"}}),
                json!({"x": "[1]", "y": ["a", "b"]}),
            ),
            ("anything", json!("5"), json!("5")),
            ("unknown", json!({"0": "5"}), json!(["5"])),
        ] {
            let parameters = Map::from_iter([(name.to_owned(), sent)]);
            assert_eq!(typed(&schema(), parameters.clone())[name], expected, "{parameters:?}");
        }
    }

    #[test]
    fn lists_keep_their_order_beyond_ten() {
        let sent: Map<_, _> = (0..12).map(|n| (n.to_string(), json!(n.to_string()))).collect();
        let parameters = Map::from_iter([("sizes".to_owned(), Value::Object(sent))]);
        assert_eq!(typed(&schema(), parameters)["sizes"], json!((0..12).collect::<Vec<_>>()));
    }

    #[test]
    fn values_that_cannot_be_converted_are_left_unchanged() {
        for (name, sent) in [
            ("limit", json!("many")),
            ("limit", json!("")),
            ("limit", json!("1.5")),
            ("ratio", json!("NaN")),
            ("on", json!("yes")),
            ("deep", json!("[1]")),
            ("paths", json!({"0": "/a", "2": "/b"})),
        ] {
            let parameters = Map::from_iter([(name.to_owned(), sent)]);
            assert_eq!(typed(&schema(), parameters.clone()), parameters);
        }
    }

    #[test]
    fn recursive_schemas_terminate() {
        let schema =
            json!({"properties": {"a": {"$ref": "#/properties/a", "anyOf": [{"$ref": "#"}]}}});
        let parameters = Map::from_iter([("a".to_owned(), json!("1"))]);
        assert_eq!(typed(&schema, parameters.clone()), parameters);
    }
}
