//! Reads mpp's command line and environment into one table, with the flag as the key.

use crate::config::{Mistakes, sources::Table};
use ::config::{Value, ValueKind};
use std::collections::BTreeMap;

const PREFIX: &str = "MPP_";
/// Kubernetes sets these variables in each pod if a service is called `mpp`.
const OF_KUBERNETES: [&str; 3] = ["MPP_SERVICE_HOST", "MPP_SERVICE_PORT", "MPP_PORT_"];
/// Short flags and the flags that they abbreviate.
const SHORT: [(&str, &str); 4] =
    [("-k", "--insecure-certs"), ("-V", "--verbose"), ("-h", "--help"), ("-v", "--version")];
/// Flags without a value.
const SWITCHES: [&str; 3] = ["--verbose", "--help", "--version"];

/// The value of each flag. A flag takes precedence over its variable, and the last of equal flags
/// counts.
pub(super) fn table(
    arguments: &[String],
    environment: &BTreeMap<String, String>,
    mistakes: &mut Mistakes,
) -> Table {
    let mut table = variables(environment);
    let mut rest = arguments.iter().enumerate();
    while let Some((index, argument)) = rest.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let Some(flag) = flag(name) else {
            // Not quoted: it may be a part of a secret.
            mistakes.add(
                format!("argument {}", index + 1),
                "is not a flag; write flags like --port=9090",
            );
            continue;
        };
        let value = match value {
            None if SWITCHES.contains(&&*flag) => Some("true".to_owned()),
            None => rest.next().map(|(_, value)| value.clone()),
            value => value,
        };
        match value {
            Some(value) => {
                table.insert(flag, Value::new(None, ValueKind::String(value)));
            }
            None => mistakes.add(flag, "has no value"),
        }
    }
    table
}

fn variables(environment: &BTreeMap<String, String>) -> Table {
    let is_of_kubernetes = |name: &str| OF_KUBERNETES.iter().any(|start| name.starts_with(start));
    environment
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX) && !is_of_kubernetes(name))
        .map(|(name, value)| {
            let flag = format!("--{}", name[PREFIX.len()..].to_lowercase().replace('_', "-"));
            (flag, Value::new(Some(name), ValueKind::String(value.clone())))
        })
        .collect()
}

/// The flag with two dashes. Go accepts one dash as well.
fn flag(name: &str) -> Option<String> {
    if let Some((_, long)) = SHORT.iter().find(|(short, _)| *short == name) {
        return Some((*long).to_owned());
    }
    let plain = name.strip_prefix("--").or_else(|| name.strip_prefix('-'))?;
    plain.starts_with(|c: char| c.is_ascii_alphanumeric()).then(|| format!("--{plain}"))
}
