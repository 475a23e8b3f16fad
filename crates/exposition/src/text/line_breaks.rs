//! Unescaped line breaks inside quotes.
//!
//! Prometheus' text parser accepts them as part of a label value. They are escaped before the body
//! is parsed.

use super::sample::skip_blanks;

/// For each escaped line break, the number of its line in the escaped body, counted from 1.
pub(super) struct EscapedBreaks(Vec<usize>);

impl EscapedBreaks {
    /// The number of line breaks that were escaped before this line.
    pub(super) fn before(&self, line: usize) -> usize {
        self.0.partition_point(|escaped| *escaped < line)
    }
}

/// Escapes the line breaks inside quotes of sample lines. `None` if there are none or a quote is
/// not closed.
pub(super) fn escape(body: &[u8]) -> Option<(Vec<u8>, EscapedBreaks)> {
    let (mut escaped, mut breaks) = (Vec::with_capacity(body.len() + 16), Vec::new());
    let (mut rest, mut line) = (body, 0);
    while !rest.is_empty() {
        line += 1;
        let is_sample = !matches!(skip_blanks(rest).first(), Some(b'#' | b'\n'));
        let mut quotes = QuoteState::default();
        let mut is_ended = false;
        while let Some((&byte, after)) = rest.split_first()
            && !is_ended
        {
            rest = after;
            if byte == b'\n' && is_sample && quotes.are_open {
                // A backslash before a line break is not a valid escape in Prometheus.
                if quotes.is_escaped {
                    return None;
                }
                escaped.extend_from_slice(b"\\n");
                breaks.push(line);
                continue;
            }
            quotes.pass(byte);
            escaped.push(byte);
            is_ended = byte == b'\n';
        }
        if is_sample && quotes.are_open {
            return None;
        }
    }
    (!breaks.is_empty()).then_some((escaped, EscapedBreaks(breaks)))
}

/// Whether the next byte is inside quotes.
#[derive(Default)]
struct QuoteState {
    are_open: bool,
    is_escaped: bool,
}

impl QuoteState {
    fn pass(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.are_open => self.is_escaped = true,
            b'"' => self.are_open = !self.are_open,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_line_breaks_in_quotes_of_samples_are_escaped() {
        let cases = [
            ("x{a=\"1\n2\"} 1\ny 1\n", Some("x{a=\"1\\n2\"} 1\ny 1\n")),
            ("x{a=\"\n\n\",b=\"\\\"\n\"} 1", Some("x{a=\"\\n\\n\",b=\"\\\"\\n\"} 1")),
            ("# HELP x \"quoted\nx{a=\"\n\"} 1\n", Some("# HELP x \"quoted\nx{a=\"\\n\"} 1\n")),
            ("{\"a\nb\"} 1\n", Some("{\"a\\nb\"} 1\n")),
            ("x{a=\"1\"} 1\n", None),
            ("x{a=\"1\ny 1\n", None),
            ("x{a=\"1\\\n\"} 1\n", None),
            ("", None),
        ];
        for (body, expected) in cases {
            let escaped = escape(body.as_bytes()).map(|one| String::from_utf8(one.0).unwrap());
            assert_eq!(escaped.as_deref(), expected, "{body:?}");
        }
        let (_, breaks) = escape(b"x 1\nx{a=\"\n\n\"} 1\ny 1\n").unwrap();
        assert_eq!([1, 2, 3].map(|line| breaks.before(line)), [0, 0, 2]);
    }
}
