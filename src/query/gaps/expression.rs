//! Which samples a PromQL expression reads.

use super::TimeRange;
use promql_parser::parser::{self, AtModifier, Expr, MatrixSelector, Offset};
use std::{
    panic,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Longer expressions are not parsed, bytes.
const MAX_LENGTH: usize = 32 << 10;
/// The parser needs time in proportion to the square of the number of tokens, and recurses.
const MAX_TOKENS: usize = 1000;
/// The parser panics on durations of more seconds than it can represent.
const MAX_NUMBER: f64 = 1e15;

/// The newest sample of a target is usually not older, milliseconds.
const NEWEST: i64 = 2 * 60 * 1000;

/// The samples that an expression reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SamplesRead {
    /// Times relative to each step.
    pub(super) relative: Vec<TimeRange>,
    /// Of these, the times that decide the value as long as no target disappears: of an instant
    /// selector only the newest sample counts.
    pub(super) decisive: Vec<TimeRange>,
    /// Times that are the same for all steps, because of `@`.
    pub(super) absolute: Vec<TimeRange>,
    /// Whether the value at a step depends on the first or last step.
    pub(super) depends_on_steps: bool,
}

/// Times at which an expression is evaluated: all from the first to the last.
#[derive(Clone, Copy, Debug)]
struct Times {
    is_relative: bool,
    first: i64,
    last: i64,
}

/// Finds the samples that an expression reads. `steps`: the first and the last step. `lookback`: how
/// far Prometheus looks back for the newest sample. `None` if the expression is not understood.
pub(super) fn samples_read(
    expression: &str,
    steps: (i64, i64),
    lookback: i64,
) -> Option<SamplesRead> {
    if !is_harmless(expression) {
        return None;
    }
    // The parser is tested with few of the inputs that the network can send.
    let parsed = panic::catch_unwind(|| parser::parse(expression).ok()).ok()??;
    let mut reader = Reader { steps, lookback, read: SamplesRead::default() };
    reader.visit(&parsed, Times { is_relative: true, first: 0, last: 0 });
    Some(reader.read)
}

/// Whether the parser can parse it in little time, with a small stack, and without a panic.
fn is_harmless(expression: &str) -> bool {
    if expression.len() > MAX_LENGTH {
        return false;
    }
    let code = without_strings(expression);
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let words = || code.split(|c| !is_word(c)).filter(|it| !it.is_empty());
    let others = code.chars().filter(|c| !is_word(*c) && !c.is_whitespace());
    words().count() + others.count() <= MAX_TOKENS && words().all(is_small)
}

/// The expression with empty strings.
fn without_strings(expression: &str) -> String {
    let (mut code, mut quote, mut is_escaped) = (String::new(), None, false);
    for c in expression.chars() {
        match quote {
            None => {
                code.push(c);
                quote = Some(c).filter(|c| matches!(c, '"' | '\'' | '`'));
            }
            Some(_) if is_escaped => is_escaped = false,
            Some(end) if c == end => quote = None,
            Some(end) => is_escaped = c == '\\' && end != '`',
        }
    }
    code
}

/// Whether a word is no number, or one that can be a duration in seconds.
fn is_small(word: &str) -> bool {
    word.parse::<f64>().map_or(true, |number| number < MAX_NUMBER)
}

struct Reader {
    steps: (i64, i64),
    lookback: i64,
    read: SamplesRead,
}

impl Reader {
    fn visit(&mut self, expression: &Expr, times: Times) {
        match expression {
            Expr::Aggregate(aggregate) => {
                self.visit(&aggregate.expr, times);
                if let Some(parameter) = &aggregate.param {
                    self.visit(parameter, times);
                }
            }
            Expr::Unary(unary) => self.visit(&unary.expr, times),
            Expr::Binary(binary) => {
                self.visit(&binary.lhs, times);
                self.visit(&binary.rhs, times);
            }
            Expr::Paren(paren) => self.visit(&paren.expr, times),
            Expr::Subquery(subquery) => {
                let times = self.moved(times, subquery.at.as_ref(), subquery.offset.as_ref());
                let first = times.first.saturating_sub(milliseconds(subquery.range));
                self.visit(&subquery.expr, Times { first, ..times });
            }
            Expr::VectorSelector(selector) => {
                let times = self.moved(times, selector.at.as_ref(), selector.offset.as_ref());
                self.add_newest(times);
            }
            Expr::MatrixSelector(MatrixSelector { vs: selector, range }) => {
                let times = self.moved(times, selector.at.as_ref(), selector.offset.as_ref());
                let range = milliseconds(*range);
                self.add(times, range, range);
            }
            Expr::Call(call) => {
                // These are functions of the whole query, and `info` reads series of its own.
                match call.func.name {
                    "start" | "end" | "range" => self.read.depends_on_steps = true,
                    "info" => self.add_newest(times),
                    _ => {}
                }
                call.args.args.iter().for_each(|it| self.visit(it, times));
            }
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }

    /// The newest sample at each of `times`.
    fn add_newest(&mut self, times: Times) {
        self.add(times, self.lookback, self.lookback.min(NEWEST));
    }

    /// The samples of `range` before each of `times`, of which those of `decisive` count.
    fn add(&mut self, times: Times, range: i64, decisive: i64) {
        let back = |range| TimeRange { start: times.first.saturating_sub(range), end: times.last };
        let SamplesRead { relative, absolute, decisive: of_relative, .. } = &mut self.read;
        match times.is_relative {
            true => {
                insert(relative, back(range));
                insert(of_relative, back(decisive));
            }
            false => insert(absolute, back(range)),
        }
    }

    /// Applies `@` and `offset`.
    fn moved(&mut self, times: Times, at: Option<&AtModifier>, offset: Option<&Offset>) -> Times {
        let at = at.map(|at| match at {
            AtModifier::At(time) => unix_milliseconds(*time),
            AtModifier::Start => {
                self.read.depends_on_steps = true;
                self.steps.0
            }
            AtModifier::End => {
                self.read.depends_on_steps = true;
                self.steps.1
            }
        });
        let times = at.map_or(times, |time| Times { is_relative: false, first: time, last: time });
        let back = match offset {
            None => 0,
            Some(Offset::Pos(offset)) => milliseconds(*offset),
            Some(Offset::Neg(offset)) => -milliseconds(*offset),
        };
        let moved = |time: i64| time.saturating_sub(back);
        Times { first: moved(times.first), last: moved(times.last), ..times }
    }
}

fn insert(all: &mut Vec<TimeRange>, range: TimeRange) {
    if !all.contains(&range) {
        all.push(range);
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn unix_milliseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => milliseconds(after),
        Err(before) => -milliseconds(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: i64 = 60_000;
    const STEPS: (i64, i64) = (1_000_000, 2_000_000);

    fn read(expression: &str) -> Option<SamplesRead> {
        samples_read(expression, STEPS, 5 * MINUTE)
    }

    #[test]
    fn ranges_offsets_and_subqueries_reach_back() {
        for (expression, expected) in [
            ("1 + 2", vec![]),
            ("up", vec![(-5, 0)]),
            ("rate(x[1m])", vec![(-1, 0)]),
            ("sum by (a) (rate(x[1m])) / sum(rate(x[1m]))", vec![(-1, 0)]),
            ("x offset 10m", vec![(-15, -10)]),
            ("x offset -10m", vec![(5, 10)]),
            ("rate(x[2m] offset 1h) + y", vec![(-62, -60), (-5, 0)]),
            ("max_over_time(rate(x[5m])[30m:1m])", vec![(-35, 0)]),
            ("max_over_time(rate(x[5m] offset 5m)[30m:] offset 1h)", vec![(-100, -65)]),
            ("topk(scalar(y offset 1h), -(x))", vec![(-5, 0), (-65, -60)]),
            ("info(x offset 1h)", vec![(-5, 0), (-65, -60)]),
            (r#"{"a.b", c="rate(x[1d])"}"#, vec![(-5, 0)]),
        ] {
            let found = read(expression).unwrap();
            let expected: Vec<_> = expected
                .iter()
                .map(|(start, end)| TimeRange { start: start * MINUTE, end: end * MINUTE })
                .collect();
            assert_eq!(found.relative, expected, "{expression}");
            assert!(found.absolute.is_empty() && !found.depends_on_steps, "{expression}");
        }
    }

    #[test]
    fn the_newest_sample_decides_the_value_of_an_instant_selector() {
        for (expression, expected) in [
            ("up", vec![(-2, 0)]),
            ("x offset 10m", vec![(-12, -10)]),
            ("rate(x[10m]) + x", vec![(-10, 0), (-2, 0)]),
            ("max_over_time(x[30m:1m])", vec![(-32, 0)]),
        ] {
            let found = read(expression).unwrap().decisive;
            let found: Vec<_> =
                found.iter().map(|it| (it.start / MINUTE, it.end / MINUTE)).collect();
            assert_eq!(found, expected, "{expression}");
        }
        let short = samples_read("up", STEPS, MINUTE).unwrap();
        assert_eq!((&short.decisive, short.relative[0].start), (&short.relative, -MINUTE));
    }

    #[test]
    fn times_can_be_absolute() {
        let at = |expression: &str| {
            let found = read(expression).unwrap();
            let [only] = &*found.absolute else { panic!("{expression}: {found:?}") };
            ((only.start, only.end), found.depends_on_steps, found.relative.len())
        };
        assert_eq!(at("rate(x[1m] @ 5000)"), ((4_940_000, 5_000_000), false, 0));
        assert_eq!(at("x @ 5000 offset 10m"), ((4_100_000, 4_400_000), false, 0));
        assert_eq!(at("rate(x[1m] @ start()) + y"), ((940_000, 1_000_000), true, 1));
        assert_eq!(at("max_over_time(x[10m:] @ end())"), ((1_100_000, 2_000_000), true, 0));
        assert_eq!(at("sum_over_time((x @ 5000)[10m:])"), ((4_700_000, 5_000_000), false, 0));
    }

    #[test]
    fn functions_of_the_whole_query_depend_on_its_steps() {
        for expression in ["up > start()", "end() - up", "range() + up"] {
            assert!(read(expression).is_some_and(|it| it.depends_on_steps), "{expression}");
        }
    }

    #[test]
    fn what_is_not_understood_is_passed_on() {
        let nested = "(".repeat(40_000) + "x";
        let sums = "1+".repeat(20_000) + "1";
        let long = format!("x{{a=\"{}\"}}", "b".repeat(MAX_LENGTH));
        for expression in [
            "",
            "sum(",
            "x[5m] anchored",
            "x[1e300]",
            "x offset 1e300",
            "x offset -1e300",
            "x[5m:1e300]",
            "x[99999999999999999999]",
            "x offset Inf",
            &nested,
            &sums,
            &long,
        ] {
            let shown: String = expression.chars().take(40).collect();
            assert_eq!(read(expression), None, "{shown}");
        }
        let sums = "x+".repeat(400) + "x";
        assert!(read(&sums).is_some(), "as long as a person may write");
        let regex = format!("x{{a=~\"{}\"}}", "b(c|d)+|".repeat(1000));
        assert!(read(&regex).is_some(), "the tokens of a string do not count");
        let guid = r#"x{guid="550e8400-e29b", b="\"1e999"} > 1e6"#;
        assert!(read(guid).is_some(), "numbers of a string do not count");
    }

    proptest! {
        #[test]
        fn no_input_panics(expression in "[a-z0-9\\[\\]\\(\\){}:@. +\"',=~\\\\e-]{0,60}") {
            let _ = read(&expression);
        }

        #[test]
        fn no_duration_panics(number in "[0-9.]{1,18}(e[0-9]{1,3})?[smhdwy]{0,2}") {
            for expression in [
                format!("x[{number}]"),
                format!("x offset -{number}"),
                format!("x[{number}:{number}] @ {number}"),
            ] {
                let _ = read(&expression);
            }
        }
    }
}
