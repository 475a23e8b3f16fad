//! Label selectors, as the section "Labels and Selectors" of the Kubernetes documentation defines
//! them.

use std::{fmt, str::FromStr};

/// A label selector that Kubernetes accepts. It has at least one requirement, because an empty one
/// would select every pod of the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector(String);

impl LabelSelector {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LabelSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let requirements: Result<Vec<_>, _> =
            split_outside_parentheses(text).into_iter().map(requirement).collect();
        Ok(Self(requirements?.join(",")))
    }
}

/// The commas within parentheses separate values, all others separate requirements.
fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut is_inside = false;
    let is_separator = |c: char| {
        is_inside = match c {
            '(' => true,
            ')' => false,
            _ => is_inside,
        };
        c == ',' && !is_inside
    };
    text.split(is_separator).collect()
}

/// Checks a requirement and writes it without optional blanks.
fn requirement(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("has an empty requirement; write requirements like app=prometheus, \
                    separated by commas"
            .to_owned());
    }
    if let Some(label) = text.strip_prefix('!') {
        return Ok(format!("!{}", key(label)?));
    }
    // `!=` and `==` contain `=`.
    for operator in ["!=", "==", "="] {
        if let Some((label, text)) = text.split_once(operator) {
            return Ok(format!("{}{operator}{}", key(label)?, value(text)?));
        }
    }
    match text.split_once(|c: char| c.is_whitespace() || c == '(') {
        None => key(text),
        Some((label, _)) => set_requirement(label, &text[label.len()..]),
    }
}

/// Checks `label in (a, b)` or `label notin (a, b)`.
fn set_requirement(label: &str, rest: &str) -> Result<String, String> {
    let rest = rest.trim();
    let list = |operator| {
        let list = rest.strip_prefix(operator)?.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some((operator, list))
    };
    let (operator, list) = list("notin").or_else(|| list("in")).ok_or_else(|| {
        format!(
            "has the requirement {}, which is not one of: label=value, label!=value, \
             label in (a,b), label notin (a,b), label, !label",
            quoted(&format!("{label} {rest}"))
        )
    })?;
    if list.trim().is_empty() {
        return Err(format!("lists no values for the label {}", quoted(label)));
    }
    let values: Result<Vec<_>, _> = list.split(',').map(value).collect();
    Ok(format!("{} {operator} ({})", key(label)?, values?.join(",")))
}

/// Checks the key of a label: a name, optionally with a DNS domain and a slash before it.
fn key(text: &str) -> Result<String, String> {
    let text = text.trim();
    let (domain, name) = match text.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    match is_name(name) && domain.is_none_or(is_domain) {
        true => Ok(text.to_owned()),
        false => Err(format!("has {}, which is not the key of a label", quoted(text))),
    }
}

fn value(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.is_empty() || is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("has {}, which is not the value of a label", quoted(text))),
    }
}

fn is_name(text: &str) -> bool {
    let is_outer = |c: char| c.is_ascii_alphanumeric();
    let is_inner = |c: char| is_outer(c) || "-_.".contains(c);
    (1..=63).contains(&text.len())
        && text.chars().all(is_inner)
        && text.starts_with(is_outer)
        && text.ends_with(is_outer)
}

fn is_domain(text: &str) -> bool {
    let is_lower = |c: char| !c.is_ascii_uppercase() && c != '_';
    text.len() <= 253 && text.chars().all(is_lower) && text.split('.').all(is_name)
}

fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_requirement_is_accepted() {
        for (text, expected) in [
            ("app=prometheus", "app=prometheus"),
            ("app==prometheus", "app==prometheus"),
            ("app != prometheus", "app!=prometheus"),
            ("a in (x,y)", "a in (x,y)"),
            ("a  notin ( x , y )", "a notin (x,y)"),
            ("a in(x)", "a in (x)"),
            ("a", "a"),
            ("!a", "!a"),
            ("! a", "!a"),
            ("in", "in"),
            ("notin in (in)", "notin in (in)"),
            ("a=", "a="),
            (
                "app.kubernetes.io/name=prometheus, tier in (a, b) ,!canary",
                "app.kubernetes.io/name=prometheus,tier in (a,b),!canary",
            ),
        ] {
            assert_eq!(text.parse::<LabelSelector>().unwrap().as_str(), expected, "{text}");
        }
    }

    #[test]
    fn a_wrong_requirement_is_named() {
        for (text, part) in [
            ("", "empty requirement"),
            ("a=b,", "empty requirement"),
            ("a=b,,c", "empty requirement"),
            ("=b", "not the key"),
            ("!", "not the key"),
            ("!a=b", "not the key"),
            ("-a=b", "`-a`"),
            ("a=b=c", "`b=c`"),
            ("a=b c", "`b c`"),
            ("a=/b", "`/b`"),
            ("a/b/c=d", "`a/b/c`"),
            ("A.b/c", "`A.b/c`"),
            ("a..b/c", "`a..b/c`"),
            ("/c", "`/c`"),
            ("a in ()", "no values"),
            ("a in x", "`a in x`"),
            ("a in (x", "`a in (x`"),
            ("a within (x)", "`a within (x)`"),
            ("a b", "`a b`"),
            ("a>1", "`a>1`"),
            ("a in (x y)", "`x y`"),
            (&format!("a={}", "x".repeat(64)), "not the value"),
            (&"a".repeat(64), "not the key"),
        ] {
            let problem = text.parse::<LabelSelector>().unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }
}
