//! Failed calls of the Kubernetes API, in words for operators.

use std::{fmt, time::Duration};

/// Why no endpoints were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KubernetesError {
    /// The configuration of the client cannot be used.
    Config(String),
    Call {
        verb: &'static str,
        resource: String,
        group: String,
        namespace: String,
        problem: Problem,
    },
    /// What was found out before the call that failed.
    After(&'static str, Box<KubernetesError>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Status {
        code: u16,
        message: String,
    },
    Unreachable {
        server: String,
        reason: String,
    },
    Timeout(Duration),
    /// The response ended early, or is too long.
    Body(String),
    /// The response is not the expected object.
    Invalid {
        line: usize,
        column: usize,
    },
    TooMany(usize),
    Request(String),
}

impl KubernetesError {
    pub(super) fn after(self, finding: &'static str) -> Self {
        Self::After(finding, Box::new(self))
    }

    pub(super) fn is_unauthorized(&self) -> bool {
        self.code() == Some(401)
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    pub(super) fn is_expired(&self) -> bool {
        self.code() == Some(410)
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Call { problem: Problem::Status { code, .. }, .. } => Some(*code),
            Self::After(_, error) => error.code(),
            _ => None,
        }
    }
}

impl fmt::Display for KubernetesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problem) => f.write_str(problem),
            Self::After(finding, error) => write!(f, "{finding}; {error}"),
            Self::Call { verb, resource, group, namespace, problem } => {
                write!(f, "cannot {verb} {resource} in namespace {namespace}: {problem}")?;
                if let Problem::Status { code: 403, .. } = problem {
                    write!(
                        f,
                        "; create a Role with the verb `{verb}` for the resource `{resource}` in \
                         the API group `{group}`, and a RoleBinding"
                    )?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { code, message } => {
                let meaning = meaning(*code);
                write!(f, "{meaning} (status {code}, {message})")
            }
            Self::Unreachable { server, reason } => {
                write!(f, "the API server {server} cannot be reached: {reason}")
            }
            Self::Timeout(timeout) => write!(f, "no response within {timeout:?}"),
            Self::Body(reason) => write!(f, "the response cannot be read: {reason}"),
            Self::Invalid { line, column } => write!(
                f,
                "the response is not what the Kubernetes API returns (line {line}, column \
                 {column}); check the address of the API server"
            ),
            Self::TooMany(limit) => {
                write!(f, "there are more than {limit}; use a selector that selects fewer")
            }
            Self::Request(reason) => write!(f, "the request is not valid: {reason}"),
        }
    }
}

fn meaning(code: u16) -> &'static str {
    match code {
        401 => "the credentials are missing, wrong or expired",
        403 => "the credentials do not allow it",
        404 => "it does not exist",
        429 => "the API server is overloaded",
        500.. => "the API server failed",
        _ => "the API server rejected the request",
    }
}
