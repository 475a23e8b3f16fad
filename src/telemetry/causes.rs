//! Formats an error and its causes in one line.

use std::error::Error;

/// The error and its causes, separated by colons. Many errors contain the text of their cause, so a
/// cause that the line already contains is omitted.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let shown = cause.to_string();
        if !text.contains(&shown) {
            text.push_str(": ");
            text.push_str(&shown);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Outer(&'static str, #[source] io::Error);

    #[test]
    fn each_cause_appears_once() {
        let cause = || io::Error::other("connection refused");
        for (text, expected) in [
            ("cannot connect", "cannot connect: connection refused"),
            ("cannot connect: connection refused", "cannot connect: connection refused"),
        ] {
            assert_eq!(causes(&Outer(text, cause())), expected);
        }
        let chain = anyhow::Error::from(Outer("connection refused", cause()));
        let chain = chain.context("database_url").context("start");
        assert_eq!(causes(chain.as_ref()), "start: database_url: connection refused");
    }
}
