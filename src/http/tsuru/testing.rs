//! Checks of form parsing, for a fuzz target.

use super::form::parse;
use serde_json::{Map, Value, json};
use url::form_urlencoded::Serializer;

/// Maximum nesting of parameters.
const MAX_DEPTH: usize = 16;

/// Checks a form, and parameters in JSON that are encoded as a form.
pub fn check_form(input: &[u8]) {
    if let Ok(Value::Object(parameters)) = serde_json::from_slice(input) {
        check_parameters(&parameters);
    }
    let Ok(fields) = parse(input) else { return };
    let mut size = Size::default();
    let mut form = Serializer::new(String::new());
    for (name, value) in &fields {
        match value {
            Value::Object(parameters) if name == "parameters" => {
                size.add_parameters(parameters, 1);
                write_parameters(&mut form, parameters);
            }
            Value::Array(values) if name != "parameters" && !values.is_empty() => {
                size.bytes += name.len();
                for value in values {
                    let value = value.as_str().expect("a field is a list of texts");
                    size.add_text(value);
                    form.append_pair(name, value);
                }
            }
            other => panic!("{name} is {other}"),
        }
    }
    assert!(fields.contains_key("parameters"));
    assert!(size.bytes <= input.len(), "{} bytes", size.bytes);
    assert!(size.values <= input.split(|byte| *byte == b'&').count(), "{} values", size.values);
    assert_eq!(parse(form.finish().as_bytes()), Ok(fields), "a form written again");
}

/// Parameters are preserved as far as forms can express them: as strings and objects.
fn check_parameters(parameters: &Map<String, Value>) {
    // An empty name could be encoded like an empty map.
    if parameters.contains_key("") {
        return;
    }
    let mut form = Serializer::new(String::new());
    write_parameters(&mut form, parameters);
    let found = parse(form.finish().as_bytes());
    if parameters.iter().all(|(name, value)| is_readable(name, value, 1)) {
        let parameters: Map<_, _> =
            parameters.iter().map(|(name, value)| (name.clone(), as_read(value))).collect();
        assert_eq!(found.map(Value::Object), Ok(json!({"parameters": parameters})));
    } else {
        assert!(found.is_err(), "{found:?}");
    }
}

#[derive(Debug, Default)]
struct Size {
    bytes: usize,
    values: usize,
}

impl Size {
    fn add_text(&mut self, text: &str) {
        self.bytes += text.len();
        self.values += 1;
    }

    fn add_parameters(&mut self, parameters: &Map<String, Value>, depth: usize) {
        assert!(depth <= MAX_DEPTH, "parameters are nested too deeply");
        for (name, value) in parameters {
            assert!(!name.is_empty(), "a parameter without a name");
            self.bytes += name.len();
            match value {
                Value::String(text) => self.add_text(text),
                Value::Object(inner) if !inner.is_empty() => self.add_parameters(inner, depth + 1),
                other => panic!("a parameter is {other}"),
            }
        }
    }
}

/// Encodes parameters like Tsuru.
fn write_parameters(form: &mut Serializer<'_, String>, parameters: &Map<String, Value>) {
    if parameters.is_empty() {
        form.append_pair("parameters.", "");
    }
    for (name, value) in parameters {
        write(form, &below("parameters", name), value);
    }
}

fn write(form: &mut Serializer<'_, String>, path: &str, value: &Value) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().for_each(|(name, value)| write(form, &below(path, name), value));
        }
        Value::Array(list) if !list.is_empty() => {
            let items = list.iter().enumerate();
            items.for_each(|(i, value)| write(form, &below(path, &i.to_string()), value));
        }
        other => {
            form.append_pair(path, &text(other));
        }
    }
}

fn below(path: &str, name: &str) -> String {
    format!("{path}.{}", name.replace('\\', "\\\\").replace('.', "\\."))
}

/// Empty lists and maps are encoded as empty strings.
fn text(value: &Value) -> String {
    match value {
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn as_read(value: &Value) -> Value {
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().map(|(name, value)| (name.clone(), as_read(value))).collect()
        }
        Value::Array(list) if !list.is_empty() => {
            list.iter().enumerate().map(|(i, value)| (i.to_string(), as_read(value))).collect()
        }
        other => text(other).into(),
    }
}

/// Empty names and deep nesting are rejected.
fn is_readable(name: &str, value: &Value, depth: usize) -> bool {
    !name.is_empty()
        && depth <= MAX_DEPTH
        && match value {
            Value::Object(map) => {
                map.iter().all(|(name, value)| is_readable(name, value, depth + 1))
            }
            Value::Array(list) => list.iter().all(|value| is_readable("0", value, depth + 1)),
            _ => true,
        }
}

#[test]
fn seeds_of_the_fuzz_target() {
    exposition::testing::replay("fuzz/seeds/tsuru_form", check_form);
}
