//! JSON that every reader of YAML takes for the same.

use serde_json::Value;
use std::fmt::Write as _;

/// `value` as a text, readable for people.
pub(super) fn text(value: &Value) -> String {
    // With an object of texts as keys, alternate formatting cannot fail.
    let json = format!("{value:#}");
    let mut text = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        match is_special(character) {
            true => {
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            false => text.push(character),
        }
    }
    text.push('\n');
    text
}

/// JSON takes them as they are; YAML refuses some of them and makes blanks of
/// others. They stand within quotes, where both read the same escape.
fn is_special(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}
