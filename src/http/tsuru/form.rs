//! Parsing of forms in Tsuru's format.
//!
//! Parameters are nested with dots, `parameters.limits.series=5000`, and lists with numbers,
//! `parameters.paths.0=/metrics`. A backslash escapes a dot in a name.

use serde_json::{Map, Value, map::Entry};
use url::form_urlencoded;

/// Prefix of the user's parameters.
const PARAMETERS: &str = "parameters.";

/// Maximum nesting of parameters.
const MAX_DEPTH: usize = 16;

/// Maximum length of a parameter name in error texts, in characters.
const MAX_SHOWN: usize = 80;

/// Parses a form. Each field is a list of strings. In addition, `parameters` is an object of
/// strings and objects.
///
/// # Errors
///
/// Returns an error if the body is not UTF-8, or if a parameter is repeated, nested too deeply, or
/// has an empty name.
pub(super) fn parse(body: &[u8]) -> Result<Map<String, Value>, String> {
    // The decoder would replace invalid bytes.
    if percent_encoding::percent_decode(body).decode_utf8().is_err() {
        return Err("the body is not UTF-8".to_owned());
    }
    let (mut fields, mut parameters) = (Map::new(), Map::new());
    for (name, value) in form_urlencoded::parse(body) {
        let value = Value::from(value);
        match name.strip_prefix(PARAMETERS) {
            // An empty map.
            Some("") if value == "" => {}
            Some(path) => {
                let shown = || name.chars().take(MAX_SHOWN).collect::<String>();
                let path =
                    split(path).ok_or_else(|| format!("{:?} names no parameter", shown()))?;
                let repeated =
                    || format!("{:?} is given twice, or with two kinds of value", shown());
                insert(&mut parameters, &path, value).ok_or_else(repeated)?;
            }
            None => match fields.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(values) => values.push(value),
                _ => return Err("the body is not understood".to_owned()),
            },
        }
    }
    // Inserted last, because a field with this name must not replace it.
    fields.insert("parameters".to_owned(), Value::Object(parameters));
    Ok(fields)
}

/// Splits the path of a parameter into names.
fn split(path: &str) -> Option<Vec<String>> {
    let mut names = vec![String::new()];
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '.' => names.push(String::new()),
            '\\' => names.last_mut()?.push(characters.next().unwrap_or('\\')),
            other => names.last_mut()?.push(other),
        }
    }
    let is_valid = names.len() <= MAX_DEPTH && names.iter().all(|name| !name.is_empty());
    is_valid.then_some(names)
}

/// Inserts a value. Returns `None` if the path already has another value.
fn insert(map: &mut Map<String, Value>, path: &[String], value: Value) -> Option<()> {
    let (name, rest) = path.split_first()?;
    if rest.is_empty() {
        return match map.entry(name) {
            Entry::Vacant(free) => {
                free.insert(value);
                Some(())
            }
            Entry::Occupied(_) => None,
        };
    }
    match map.entry(name).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(inner) => insert(inner, rest, value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn fields_are_lists_and_parameters_are_nested() {
        let body = b"name=my+m%C3%A9trics&tags=team%3Aa&tags=tier%3A1&plan=&parameters.a=1\
            &parameters.b.0=x&parameters.b.1=y&parameters.c.d.e=%3D&parameters.f%5C.g=2&parameters=z";
        assert_eq!(
            Value::Object(parse(body).unwrap()),
            json!({
                "name": ["my métrics"], "tags": ["team:a", "tier:1"], "plan": [""],
                "parameters": {
                    "a": "1", "b": {"0": "x", "1": "y"}, "c": {"d": {"e": "="}}, "f.g": "2",
                },
            })
        );
        assert_eq!(Value::Object(parse(b"").unwrap()), json!({"parameters": {}}));
        let empty = parse(b"parameters.=&parameters.=&plan=").unwrap();
        assert_eq!(Value::Object(empty), json!({"parameters": {}, "plan": [""]}));
    }

    #[test]
    fn invalid_forms_are_rejected() {
        let deep = format!("parameters{}=1", ".a".repeat(MAX_DEPTH + 1));
        for body in [
            "name=%ff",
            "parameters.=1",
            "parameters..a=1",
            "parameters.a.=1",
            "parameters.a=1&parameters.a=2",
            "parameters.a=1&parameters.a.b=2",
            "parameters.a.b=1&parameters.a=2",
            &deep,
        ] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&body));
        }

        #[test]
        fn escaped_names_are_preserved(
            names in prop::collection::vec("[a-z.\\\\ü&=+ ]{1,5}", 1..5),
            value in "[ -~ü]{0,20}",
        ) {
            let escaped = names.iter().map(|it| it.replace('\\', "\\\\").replace('.', "\\."));
            let path = format!("parameters.{}", escaped.collect::<Vec<_>>().join("."));
            let body = form_urlencoded::Serializer::new(String::new())
                .append_pair(&path, &value)
                .finish();
            let fields = parse(body.as_bytes()).unwrap();
            let found = names.iter().fold(&fields["parameters"], |at, name| &at[name]);
            prop_assert_eq!(found, &Value::from(value));
        }
    }
}
