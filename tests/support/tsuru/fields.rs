//! Fields of requests, from the query string, a form or JSON.

use actix_web::HttpRequest;
use serde_json::Value;

/// Fields of a request. Keys are in lower case.
pub(super) struct Fields(pub(super) Vec<(String, String)>);

impl Fields {
    pub(super) fn get(&self, key: &str) -> String {
        let found = self.0.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    pub(super) fn is_true(&self, key: &str) -> bool {
        self.get(key) == "true"
    }

    /// The values of a repeated key (`tag=a&tag=b`) or of a numbered key (`tag.0=a`).
    pub(super) fn of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let is_one = move |known: &str| {
            let number = known.strip_prefix(key).map(|rest| rest.strip_prefix('.').unwrap_or(rest));
            number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        self.0.iter().filter(move |(known, _)| is_one(known)).map(|(_, value)| value.as_str())
    }
}

/// Reads the fields of the query string and of a body that is a form or JSON.
pub(super) fn fields(request: &HttpRequest, body: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let media_type = request.headers().get("Content-Type").and_then(|it| it.to_str().ok());
    let media_type = media_type.unwrap_or_default();
    let form = media_type.starts_with("application/x-www-form-urlencoded").then_some(body);
    for text in [request.query_string().as_bytes()].into_iter().chain(form) {
        let pairs = url::form_urlencoded::parse(text);
        fields.extend(pairs.map(|(key, value)| (key.to_lowercase(), value.into_owned())));
    }
    if media_type.starts_with("application/json") {
        flatten("", &serde_json::from_slice(body).unwrap_or_default(), &mut fields);
    }
    fields
}

fn flatten(key: &str, json: &Value, fields: &mut Vec<(String, String)>) {
    let deeper = |name: &str| match key {
        "" => name.to_lowercase(),
        key => format!("{key}.{}", name.to_lowercase()),
    };
    match json {
        Value::Object(map) => map.iter().for_each(|(k, v)| flatten(&deeper(k), v, fields)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(n, v)| flatten(&deeper(&n.to_string()), v, fields));
        }
        Value::String(text) => fields.push((key.to_owned(), text.clone())),
        Value::Null => {}
        other => fields.push((key.to_owned(), other.to_string())),
    }
}
