//! Media types with parameters, as in `Accept` and `Content-Type`.

/// A media type.
#[derive(Clone, Copy, Debug)]
pub(super) struct MediaType<'a> {
    /// Type and subtype as received: `text/plain`.
    pub(super) name: &'a str,
    parameters: &'a str,
}

impl<'a> MediaType<'a> {
    /// Splits a media type from its parameters. Any text is accepted.
    pub(super) fn new(text: &'a str) -> Self {
        let (name, parameters) = split_once(text, b';').unwrap_or((text, ""));
        Self { name: name.trim(), parameters }
    }

    /// Whether type and subtype are `name`, without regard to case.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The first parameter of this name, without quotes.
    pub(super) fn parameter(&self, name: &str) -> Option<&'a str> {
        split(self.parameters, b';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| unquoted(value.trim()))
        })
    }

    /// Whether the parameter `name` has this value, without regard to case.
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        self.parameter(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
    }
}

/// The media types of a comma-separated list. Empty entries are skipped.
pub(super) fn list(header: &str) -> impl Iterator<Item = MediaType<'_>> {
    split(header, b',').filter(|text| !text.trim().is_empty()).map(MediaType::new)
}

fn unquoted(value: &str) -> &str {
    let Some(rest) = value.strip_prefix('"') else { return value };
    rest.strip_suffix('"').unwrap_or(rest).trim()
}

/// Splits at each `separator` outside quotes.
fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (first, after) = match split_once(text, separator) {
            Some((first, after)) => (first, Some(after)),
            None => (text, None),
        };
        rest = after;
        Some(first)
    })
}

fn split_once(text: &str, separator: u8) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    let found = text.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return !quoted && byte == separator,
        }
        false
    });
    // An unclosed quote is ignored. Otherwise one error would hide the rest of the header.
    let at = if quoted { text.bytes().position(|byte| byte == separator) } else { found }?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_are_found_in_any_notation() {
        let media_type =
            MediaType::new(" Text/Plain ;VERSION = \"1.0.0\";a;b=\"x;y\" ; q=0.5;q=1;");
        assert!(media_type.is("text/plain"));
        assert_eq!(media_type.parameter("version"), Some("1.0.0"));
        assert_eq!(media_type.parameter("b"), Some("x;y"));
        assert_eq!(media_type.parameter("q"), Some("0.5"));
        assert_eq!(media_type.parameter("a"), None);
        assert!(media_type.has("Version", "1.0.0") && !media_type.has("version", "1.0"));
    }

    #[test]
    fn commas_separate_unless_they_are_quoted() {
        let names = |header| list(header).map(|one| one.name).collect::<Vec<_>>();
        assert_eq!(names("a/b, c/d;x=\"1,2\\\",3\" ,,e/f,"), ["a/b", "c/d", "e/f"]);
        assert_eq!(names("a/b;x=\"1,c/d"), ["a/b", "c/d"]);
        assert_eq!(names(" , "), [""; 0]);
    }

    proptest! {
        #[test]
        fn any_header_is_parsed_without_panic(header in "[a-z/;,=\" \\\\*é]{0,40}") {
            for media_type in list(&header) {
                media_type.parameter("q");
            }
        }
    }
}
