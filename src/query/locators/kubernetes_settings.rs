//! Settings of the locator `kubernetes`, which also exist in a program without it.

mod label_selector;

pub use label_selector::LabelSelector;

use std::{fmt, path::PathBuf, str::FromStr};

/// Settings of `KubernetesLocator`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSettings {
    pub namespace: KubernetesName,
    pub source: KubernetesSource,
    pub port: KubernetesPort,
    /// `None` for the service account of the pod in which Scrapebroker runs.
    pub kubeconfig: Option<PathBuf>,
    /// Whether the replicas use HTTPS.
    pub is_https: bool,
    /// Path of the replicas: empty, or begins with a slash.
    pub path_prefix: String,
}

/// Where replicas are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubernetesSource {
    Service(KubernetesName),
    Pods(LabelSelector),
}

/// The port of a replica. For a service, it is the target port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubernetesPort {
    FirstTcp,
    Name(String),
    /// Matches a port of this name first, because names may consist of digits.
    Number(u16),
}

impl FromStr for KubernetesPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = text.parse().ok().filter(|number| *number > 0);
            return number.map(Self::Number).ok_or_else(|| "is not a port".to_owned());
        }
        KubernetesName::from_str(text).map(|KubernetesName(name)| Self::Name(name))
    }
}

/// The name of a namespace, service or port: a label as RFC 1123 defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesName(String);

impl KubernetesName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KubernetesName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KubernetesName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let is_label = (1..=63).contains(&text.len())
            && text.bytes().all(is_allowed)
            && !text.starts_with('-')
            && !text.ends_with('-');
        match is_label {
            true => Ok(Self(text.to_owned())),
            false => Err("is not a name in Kubernetes: at most 63 lower-case letters, digits \
                          and `-`, with a letter or digit at both ends"
                .to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_label() {
        for name in ["a", "prometheus-0", "0a", &"a".repeat(63)] {
            assert_eq!(name.parse::<KubernetesName>().unwrap().as_str(), name);
        }
        for wrong in ["", "-a", "a-", "A", "a.b", "a/b", "a b", "é", &"a".repeat(64)] {
            assert!(wrong.parse::<KubernetesName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_port_is_a_number_or_a_name() {
        assert_eq!("9090".parse(), Ok(KubernetesPort::Number(9090)));
        assert_eq!("web".parse(), Ok(KubernetesPort::Name("web".to_owned())));
        for wrong in ["", "0", "65536", "99999999999", "-1", "web/9090", "Web"] {
            assert!(wrong.parse::<KubernetesPort>().is_err(), "{wrong}");
        }
    }
}
