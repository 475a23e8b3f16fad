//! Detection of this installation's credentials in requests of scrapers.
//!
//! An app must never receive a current or former credential of this installation. This includes a
//! token under any scheme, and a user name of the broker or of an operator with any password.
//! Encoded text is decoded several times, because a lenient parser in the app would decode it as
//! well. If in doubt, a value counts as a credential of this installation. Then the app may respond
//! with 401.

use crate::{broker::TOKEN_PREFIX, http::auth::BasicCredentials};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use percent_encoding::percent_decode;
use std::{borrow::Cow, fmt};

/// Maximum number of nested encodings.
const MAX_DECODINGS: usize = 3;

/// Minimum length of the broker's password. Shorter words are not compared with it.
const MIN_PASSWORD_BYTES: usize = 12;

/// Accepts missing padding and non-zero trailing bits.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Credentials of the broker and of operators, reduced to the data that detection requires.
pub(super) struct OwnCredentials {
    /// In lower case. Names with characters outside ASCII are also stored in Latin-1.
    usernames: Vec<Vec<u8>>,
    broker: Option<BasicCredentials>,
}

impl fmt::Debug for OwnCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnCredentials").field("usernames", &self.usernames.len()).finish()
    }
}

impl OwnCredentials {
    pub(super) fn new<'a>(
        broker: Option<BasicCredentials>,
        operators: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let of_broker = broker.iter().flat_map(|broker| spellings(broker.username()));
        let all = of_broker.chain(operators.into_iter().flat_map(spellings));
        let usernames = all.filter(|name| !name.is_empty()).collect();
        Self { usernames, broker }
    }

    /// Whether `name` is the user name of the broker or of an operator.
    pub(super) fn is_username(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.usernames.iter().any(|own| own == name.as_bytes())
    }

    /// Whether the value of an `Authorization` header contains a credential of this installation,
    /// or cannot be parsed.
    pub(super) fn are_in_authorization(&self, value: &[u8]) -> bool {
        let (scheme, rest) = first_word(value);
        let is_unreadable = scheme.eq_ignore_ascii_case(b"basic") && !is_basic_pair(rest);
        is_unreadable || self.has_own_username(value) || self.match_request(value)
    }

    /// Whether another text of a request contains a credential of this installation.
    pub(super) fn match_request(&self, text: &[u8]) -> bool {
        self.are_in_text(text, 0)
    }

    fn are_in_text(&self, text: &[u8], round: usize) -> bool {
        let is_decoded = round > 0;
        contains_token(text)
            || self.is_pair(text, is_decoded)
            // Words of decoded text are data, such as scopes of a JSON Web Token.
            || (!is_decoded && self.is_pair(first_word(text).1, false))
            || (!is_decoded && words(text).any(|word| self.is_pair(word, false)))
            || (round < MAX_DECODINGS
                && decodings(text).any(|decoding| self.are_in_text(&decoding, round + 1)))
    }

    /// Whether `text` contains an own user name with a password, or the broker's password.
    fn is_pair(&self, text: &[u8], is_decoded: bool) -> bool {
        let text = text.trim_ascii();
        let lower = text.to_ascii_lowercase();
        let begins = |text: &[u8], name: &[u8]| {
            text.strip_prefix(name).is_some_and(|rest| rest.starts_with(b":"))
        };
        let is_own = |name: &Vec<u8>| {
            begins(&lower, name)
                || is_decoded && lower == *name
                || after(&lower, b"//").any(|rest| begins(rest, name))
        };
        let password = text.iter().position(|b| *b == b':').and_then(|at| text.get(at + 1..));
        self.usernames.iter().any(is_own)
            || self.is_password(text)
            || password.is_some_and(|password| self.is_password(password))
    }

    fn is_password(&self, text: &[u8]) -> bool {
        text.len() >= MIN_PASSWORD_BYTES
            && self.broker.as_ref().is_some_and(|broker| broker.has_password(text))
    }

    /// Whether the parameter `username` is an own user name, as in the Digest scheme (RFC 7616).
    fn has_own_username(&self, value: &[u8]) -> bool {
        let lower = value.to_ascii_lowercase();
        after(&lower, b"username").any(|rest| {
            let rest = trim_start(rest, b"*= \t");
            let rest = rest.strip_prefix(b"utf-8''").unwrap_or(rest);
            let rest = trim_start(rest, b"\"'");
            self.usernames.iter().any(|name| {
                let rest_after_name = rest.strip_prefix(name.as_slice());
                rest_after_name.is_some_and(|it| it.first().is_none_or(|b| b"\"', \t".contains(b)))
            })
        })
    }
}

/// The name in lower case in UTF-8, and in Latin-1 if that differs.
fn spellings(name: &str) -> Vec<Vec<u8>> {
    let name = name.to_lowercase();
    let latin1: Option<Vec<u8>> = name.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    let utf8 = name.into_bytes();
    let latin1 = latin1.filter(|latin1| *latin1 != utf8);
    std::iter::once(utf8).chain(latin1).collect()
}

fn contains_token(text: &[u8]) -> bool {
    let prefix = TOKEN_PREFIX.as_bytes();
    text.windows(prefix.len()).any(|window| window.eq_ignore_ascii_case(prefix))
}

/// Strict: all parsers interpret an accepted value in the same way.
fn is_basic_pair(encoded: &[u8]) -> bool {
    LENIENT.decode(encoded.trim_ascii()).is_ok_and(|pair| pair.contains(&b':'))
}

/// The first word, and the text after the following space.
fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii();
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    let (first, rest) = text.split_at(end);
    (first, rest.trim_ascii_start())
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_separator = |b: &u8| b.is_ascii_whitespace() || b",;\"'=&?".contains(b);
    text.split(is_separator).filter(|word| !word.is_empty() && word.len() < text.len())
}

/// The rest of `text` after each occurrence of `pattern`.
fn after<'a>(text: &'a [u8], pattern: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    text.windows(pattern.len())
        .enumerate()
        .filter(move |(_, window)| *window == pattern)
        .filter_map(move |(at, _)| text.get(at + pattern.len()..))
}

fn trim_start<'a>(text: &'a [u8], unwanted: &[u8]) -> &'a [u8] {
    let kept = text.iter().position(|b| !unwanted.contains(b)).unwrap_or(text.len());
    text.get(kept..).unwrap_or_default()
}

/// All decodings of a text by a lenient parser.
fn decodings(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let percent = match percent_decode(text).into() {
        Cow::Owned(decoded) => Some(decoded),
        Cow::Borrowed(_) => None,
    };
    let rest = Some(first_word(text).1).filter(|rest| !rest.is_empty());
    let encoded = std::iter::once(text).chain(rest).chain(words(text));
    percent.into_iter().chain(encoded.filter_map(lenient_base64))
}

/// Decodes base64 like lenient parsers. Invalid characters are ignored, and both alphabets are
/// accepted.
fn lenient_base64(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |b: &u8| match b {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        b'+' | b'/' => Some(*b),
        b if b.is_ascii_alphanumeric() => Some(*b),
        _ => None,
    };
    let mut digits: Vec<u8> = text.iter().filter_map(digit).collect();
    // A single digit after the last group is less than a byte.
    let complete = if digits.len() % 4 == 1 { digits.len() - 1 } else { digits.len() };
    digits.truncate(complete);
    LENIENT.decode(digits).ok().filter(|decoded| !decoded.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    fn own() -> OwnCredentials {
        let broker = BasicCredentials::new("broker", &"correct horse".into());
        OwnCredentials::new(Some(broker), ["Jörg", "admin"])
    }

    #[test]
    fn user_names_are_detected_in_both_encodings_and_any_case() {
        let own = own();
        assert!(own.is_username("BROKER") && own.is_username("jörg") && !own.is_username("eve"));
        for pair in ["broker:x".as_bytes(), "JÖRG:x".to_lowercase().as_bytes(), b"j\xf6rg:x"] {
            let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
            assert!(own.are_in_authorization(value.as_bytes()), "{value}");
        }
        for other in ["brokers:x", "a broker:x", "ad:min", "x:admin"] {
            let value = format!("Basic {}", BASE64_STANDARD.encode(other));
            assert!(!own.are_in_authorization(value.as_bytes()), "{other}");
        }
    }

    #[test]
    fn similar_words_are_not_credentials() {
        let own = own();
        let part = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
        let head = part(r#"{"alg":"HS256","typ":"JWT"}"#);
        assert_eq!(head.len() % 4, 0, "what follows is decoded, too");
        for claims in [r#"{"sub":"admin","scope":"admin:org x"}"#, r#"{"a": "broker: x"}"#] {
            let token = format!("Bearer {head}.{}.c2ln", part(claims));
            assert!(!own.are_in_authorization(token.as_bytes()), "{claims}");
        }
        for text in ["admin", "Bearer of-the-app", "read:admin", "sbt", "https://x/admin:y", ""] {
            assert!(!own.match_request(text.as_bytes()), "{text}");
        }
        for text in ["correct horse", "key correct horse", "x:correct horse", "//broker:x@y"] {
            assert!(own.match_request(text.as_bytes()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_token_is_found_in_nested_encodings(
            before in "[ -~]{0,20}",
            suffix in "[ -~]{0,20}",
            layers in prop::collection::vec(0..3_u8, 0..3),
        ) {
            let token = "sbt_47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
            let mut text = format!("{before}{token}{suffix}");
            for layer in layers {
                text = match layer {
                    0 => BASE64_STANDARD.encode(text),
                    1 => BASE64_URL_SAFE_NO_PAD.encode(text),
                    _ => text.bytes().map(|b| format!("%{b:02x}")).collect(),
                };
            }
            prop_assert!(own().match_request(text.as_bytes()), "{}", text);
        }

        #[test]
        fn detection_never_panics(text in prop::collection::vec(any::<u8>(), 0..200)) {
            own().are_in_authorization(&text);
        }
    }
}
