//! Adds a warning to a response of Prometheus' API.

/// The warning of a response that lacks samples.
pub(in crate::query) const INCOMPLETE: &str = "some samples may be missing: each replica of this \
    pool has missed scrapes in the time that this query reads, or does not respond";

/// Longer keys are not `warnings`.
const KEY: &[u8] = b"warnings";

/// Adds [`INCOMPLETE`] to the `warnings` of a streamed response.
///
/// Prometheus writes the warnings after the data, so the filter follows the structure of the JSON, and
/// buffers nothing but a key.
#[derive(Debug, Default)]
pub(in crate::query) struct WarningFilter {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// The last string, up to the length of the key.
    string: Vec<u8>,
    state: State,
    /// The last byte that is no white space.
    last: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Searching,
    /// After the first bracket of the warnings.
    InWarnings,
    Added,
}

impl WarningFilter {
    /// Returns the chunk with the warning, if it belongs there.
    pub(in crate::query) fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut passed = Vec::with_capacity(piece.len() + INCOMPLETE.len() + 16);
        for byte in piece {
            match self.in_string {
                true => self.text(*byte),
                false => self.structure(*byte, &mut passed),
            }
            passed.push(*byte);
        }
        passed
    }

    fn text(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = true,
            b'"' => {
                self.in_string = false;
                self.last = byte;
                return;
            }
            _ => {}
        }
        if self.string.len() <= KEY.len() {
            self.string.push(byte);
        }
    }

    fn structure(&mut self, byte: u8, passed: &mut Vec<u8>) {
        if byte.is_ascii_whitespace() {
            return;
        }
        if self.state == State::InWarnings {
            add(passed, if byte == b']' { "" } else { "," });
            self.state = State::Added;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.string.clear();
            }
            b'[' if self.depth == 1 && self.last == b':' && self.string == KEY => {
                self.depth += 1;
                self.state = State::InWarnings;
            }
            b'{' | b'[' => self.depth += 1,
            b'}' if self.depth == 1 && self.state == State::Searching => {
                passed.extend_from_slice(if self.last == b'{' { b"" } else { b"," });
                passed.extend_from_slice(b"\"warnings\":[");
                add(passed, "]");
                self.state = State::Added;
                self.depth = 0;
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.last = byte;
    }
}

fn add(passed: &mut Vec<u8>, after: &str) {
    passed.push(b'"');
    passed.extend_from_slice(INCOMPLETE.as_bytes());
    passed.push(b'"');
    passed.extend_from_slice(after.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn filtered(body: &str, size: usize) -> String {
        let mut filter = WarningFilter::default();
        let chunks = body.as_bytes().chunks(size).flat_map(|it| filter.pass(it));
        String::from_utf8(chunks.collect()).unwrap()
    }

    #[test]
    fn the_warning_is_added_to_those_of_the_server() {
        for (body, before) in [
            (r#"{"status":"success","data":{"warnings":["x"],"result":[]}}"#, json!(null)),
            (
                r#"{"data":["warnings",{"warnings":[1]}],"warnings":["a","b"],"infos":["c"]}"#,
                json!(["a", "b"]),
            ),
            (r#"{"warnings" : [ ], "status":"\"warnings\":["}"#, json!([])),
            (r#"{"warnings":"text"}"#, json!("text")),
            ("{}", json!(null)),
            ("{\"a\":\"}\\\\\"}\n", json!(null)),
        ] {
            let original: Value = serde_json::from_str(body).unwrap();
            assert_eq!(original.get("warnings").cloned().unwrap_or_default(), before);
            for size in [1, 2, 7, 1000] {
                let text = filtered(body, size);
                assert_eq!(text.matches(INCOMPLETE).count(), 1, "{text}");
                let mut found: Value = serde_json::from_str(&text).unwrap();
                let warnings = found["warnings"].take();
                let mut expected = vec![json!(INCOMPLETE)];
                expected.extend(before.as_array().cloned().unwrap_or_default());
                if before.is_string() {
                    assert!(text.ends_with("]}"), "both keys remain");
                } else {
                    assert_eq!(warnings, Value::Array(expected), "{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_json_object_is_not_changed() {
        for body in ["", "<html>{", "[1,2]", "{\"status\":\"succ", "]]}"] {
            assert_eq!(filtered(body, 3), body);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_may_be_passed(body in ".{0,80}", size in 1usize..9) {
            let _ = filtered(&body, size);
        }
    }
}
