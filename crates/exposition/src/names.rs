//! Legacy names and the escaping of other names.
//!
//! The escaping schemes are those of the parameter `escaping` of `Accept`. A suffix is appended
//! after the family name is escaped, as Prometheus' client libraries do. `_bucket` is appended to
//! `U__a_2e_b`, and its `_` is not doubled.

/// How names are written that are not legacy names (`[a-zA-Z_:][a-zA-Z0-9_:]*`).
///
/// These are the schemes of Prometheus' "Escaping schemes" (content negotiation documentation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Escaping {
    /// `allow-utf-8`: names are quoted and not escaped.
    AllowUtf8,
    /// `underscores`: each invalid character becomes `_`.
    Underscores,
    /// `dots`: a dot becomes `_dot_`, and `_` and all other invalid characters become `__`.
    Dots,
    /// `values`: the name gets the prefix `U__`, and each invalid character becomes its code point,
    /// such as `_2e_` for a dot.
    Values,
}

impl Escaping {
    /// The value of the media type parameter `escaping`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    /// Parses the value of the media type parameter `escaping`, without regard to case.
    pub fn from_parameter(value: &str) -> Option<Self> {
        [Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values]
            .into_iter()
            .find(|escaping| escaping.as_str().eq_ignore_ascii_case(value))
    }
}

/// The label that holds the metric name in Prometheus.
pub(super) const RESERVED_LABEL: &[u8] = b"__name__";

/// Whether `name` is a metric name in every format.
pub(super) fn is_legacy_metric_name(name: &[u8]) -> bool {
    is_legacy(name, true)
}

/// Whether `name` is a label name in every format. Label names have no colons.
pub(super) fn is_legacy_label_name(name: &[u8]) -> bool {
    is_legacy(name, false)
}

/// Appends an escaped metric name. `name` is UTF-8.
///
/// A legacy name is not changed by any scheme. Prometheus' client libraries do the same, although
/// the scheme `dots` is defined to double each `_`.
pub(super) fn escape_metric_name(name: &[u8], escaping: Escaping, out: &mut Vec<u8>) {
    escape(name, escaping, true, out);
}

/// Appends an escaped label name. `name` is UTF-8.
///
/// Colons are escaped too, because old parsers refuse them. Prometheus' client libraries do not
/// escape them.
pub(super) fn escape_label_name(name: &[u8], escaping: Escaping, out: &mut Vec<u8>) {
    escape(name, escaping, false, out);
}

/// Escapes a legacy name with [`Escaping::Values`], so that it can be unescaped.
pub(super) fn escape_legacy_name(name: &[u8]) -> Vec<u8> {
    let mut escaped = b"U__".to_vec();
    for &byte in name {
        escaped.extend_from_slice(if byte == b'_' { b"__" } else { std::slice::from_ref(&byte) });
    }
    escaped
}

fn is_legacy(name: &[u8], colon: bool) -> bool {
    !name.is_empty() && name.iter().enumerate().all(|(i, byte)| is_allowed(*byte, i == 0, colon))
}

fn is_allowed(byte: u8, is_first: bool, colon: bool) -> bool {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => true,
        b'0'..=b'9' => !is_first,
        b':' => colon,
        _ => false,
    }
}

fn escape(name: &[u8], escaping: Escaping, colon: bool, out: &mut Vec<u8>) {
    if escaping == Escaping::AllowUtf8 || name.is_empty() || is_legacy(name, colon) {
        out.extend_from_slice(name);
        return;
    }
    if escaping == Escaping::Values {
        out.extend_from_slice(b"U__");
    }
    let mut is_first = true;
    for chunk in name.utf8_chunks() {
        let broken = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        for character in chunk.valid().chars().chain(broken) {
            escape_character(character, is_first, escaping, colon, out);
            is_first = false;
        }
    }
}

fn escape_character(
    character: char,
    is_first: bool,
    escaping: Escaping,
    colon: bool,
    out: &mut Vec<u8>,
) {
    let allowed = u8::try_from(character).ok().filter(|&byte| is_allowed(byte, is_first, colon));
    match (escaping, allowed) {
        (Escaping::Dots | Escaping::Values, Some(b'_')) => out.extend_from_slice(b"__"),
        (_, Some(byte)) => out.push(byte),
        (Escaping::Dots, None) if character == '.' => out.extend_from_slice(b"_dot_"),
        (Escaping::Dots, None) => out.extend_from_slice(b"__"),
        (Escaping::Values, None) => {
            out.push(b'_');
            write_hex(u32::from(character), out);
            out.push(b'_');
        }
        (Escaping::Underscores | Escaping::AllowUtf8, None) => out.push(b'_'),
    }
}

/// Writes lower-case hexadecimal digits without leading zeros.
fn write_hex(code: u32, out: &mut Vec<u8>) {
    let digits = (u32::BITS - code.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = (code >> (4 * place)) & 0xf;
        out.extend(char::from_digit(digit, 16).and_then(|digit| u8::try_from(digit).ok()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: [Escaping; 3] = [Escaping::Underscores, Escaping::Dots, Escaping::Values];

    fn metric(name: &str, escaping: Escaping) -> String {
        let mut out = Vec::new();
        escape_metric_name(name.as_bytes(), escaping, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn label(name: &str, escaping: Escaping) -> String {
        let mut out = Vec::new();
        escape_label_name(name.as_bytes(), escaping, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_are_escaped_as_client_libraries_do() {
        let cases = [
            // Name, and the results of underscores, dots and values.
            ("", "", "", ""),
            (
                "no:escaping_needed",
                "no:escaping_needed",
                "no:escaping_needed",
                "no:escaping_needed",
            ),
            ("a.b.c", "a_b_c", "a_dot_b_dot_c", "U__a_2e_b_2e_c"),
            ("a.b_total", "a_b_total", "a_dot_b__total", "U__a_2e_b__total"),
            ("http.status:sum", "http_status:sum", "http_dot_status:sum", "U__http_2e_status:sum"),
            ("with 😱 in", "with___in", "with______in", "U__with_20__1f631__20_in"),
            ("花火", "__", "____", "U___82b1__706b_"),
            ("Ā", "_", "__", "U___100_"),
            ("1a", "_a", "__a", "U___31_a"),
            ("a1.", "a1_", "a1_dot_", "U__a1_2e_"),
            ("\u{1}\u{7f}", "__", "____", "U___1__7f_"),
            ("\u{10ffff}", "_", "__", "U___10ffff_"),
            (".1", "_1", "_dot_1", "U___2e_1"),
        ];
        for (name, underscores, dots, values) in cases {
            assert_eq!(metric(name, Escaping::Underscores), underscores, "{name}");
            assert_eq!(metric(name, Escaping::Dots), dots, "{name}");
            assert_eq!(metric(name, Escaping::Values), values, "{name}");
            assert_eq!(metric(name, Escaping::AllowUtf8), name);
        }
    }

    #[test]
    fn colons_in_label_names_are_escaped() {
        assert_eq!(label("a:b", Escaping::Underscores), "a_b");
        assert_eq!(label("a:b_c", Escaping::Dots), "a__b__c");
        assert_eq!(label("a:b_c", Escaping::Values), "U__a_3a_b__c");
        assert_eq!(label("a_b", Escaping::Dots), "a_b");
        assert_eq!(label("a:b", Escaping::AllowUtf8), "a:b");
    }

    #[test]
    fn legacy_names_are_recognized() {
        for name in ["a", "_", "A9_", "__name__"] {
            assert!(
                is_legacy_metric_name(name.as_bytes()) && is_legacy_label_name(name.as_bytes())
            );
        }
        for name in [":", "a:b", ":1"] {
            assert!(
                is_legacy_metric_name(name.as_bytes()) && !is_legacy_label_name(name.as_bytes())
            );
        }
        for name in ["", "1", "a.b", "a b", "é", "a-b", "a\0"] {
            assert!(
                !is_legacy_metric_name(name.as_bytes()) && !is_legacy_label_name(name.as_bytes())
            );
        }
    }

    #[test]
    fn invalid_utf8_is_escaped_without_panic() {
        let mut out = Vec::new();
        escape_metric_name(b"a\xffb", Escaping::Values, &mut out);
        assert_eq!(out, b"U__a_fffd_b");
    }

    /// The inverse of [`Escaping::Values`]. It shows that the escaping is reversible.
    fn unescaped(escaped: &str) -> Option<String> {
        let Some(rest) = escaped.strip_prefix("U__") else { return Some(escaped.to_owned()) };
        let mut name = String::new();
        let mut rest = rest;
        while let Some((plain, after)) = rest.split_once('_') {
            name.push_str(plain);
            if let Some(after) = after.strip_prefix('_') {
                name.push('_');
                rest = after;
            } else {
                let (code, after) = after.split_once('_')?;
                name.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
                rest = after;
            }
        }
        name.push_str(rest);
        Some(name)
    }

    proptest! {
        #[test]
        fn escaped_names_are_legacy_names(name in "([a-z_:0-9. ]|\\PC|[\\x00-\\x1f]){1,20}") {
            for escaping in OLD {
                prop_assert!(is_legacy_metric_name(metric(&name, escaping).as_bytes()));
                prop_assert!(is_legacy_label_name(label(&name, escaping).as_bytes()));
            }
        }

        #[test]
        fn legacy_names_are_not_changed(name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,20}") {
            for escaping in OLD {
                prop_assert_eq!(metric(&name, escaping), name.clone());
            }
        }

        #[test]
        fn the_scheme_values_is_reversible(name in "([a-z_0-9.]|\\PC){1,20}") {
            prop_assume!(!name.starts_with("U__"));
            prop_assert_eq!(unescaped(&metric(&name, Escaping::Values)), Some(name));
        }

        #[test]
        fn escaping_of_legacy_names_is_reversible(name in "[a-z_U]{1,20}") {
            let escaped = String::from_utf8(escape_legacy_name(name.as_bytes())).unwrap();
            prop_assert!(is_legacy_label_name(escaped.as_bytes()));
            prop_assert_eq!(unescaped(&escaped), Some(name));
        }
    }
}
