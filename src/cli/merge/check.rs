//! `--check`: lists the problems of files, and what a merge would resolve.
//!
//! A merge stops at the first problem. A check lists all problems, one per line. Editors can parse
//! the format `FILE:LINE: reason`. Consequences of the output format are notes.

use std::io::{self, Read, Write};

use super::{
    arguments::Arguments,
    error::MergeError,
    input::Input,
    mistakes::{self, CheckedFiles, Findings},
};
use exposition::{Error, ErrorKind, Format, IndexedBody, Limits, Merge, Reader, Stats};

/// Maximum number of problems per file. The file is parsed again after each problem.
const MAX_PROBLEMS: usize = 100;

/// Writes all problems of the files to `out`. If there are none, writes the mistakes that a merge
/// resolves, and then what else a merge into the target format changes besides adding labels.
pub(super) fn check(
    arguments: &Arguments,
    stdin: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), MergeError> {
    let checker = FileChecker::new(arguments);
    let (mut instances, mut strict_instances) = (Vec::new(), Vec::new());
    for input in &arguments.inputs {
        let checked = checker.check(input, stdin, out).map_err(MergeError::Write)?;
        let (instance, strict) = checked.unzip();
        instances.extend(instance);
        strict_instances.extend(strict);
    }
    let files = arguments.inputs.len();
    let broken = files - instances.len();
    if broken > 0 {
        out.flush().map_err(MergeError::Write)?;
        return Err(MergeError::Broken { broken, files });
    }
    let bodies = instances.iter().map(|instance| (instance.format(), instance.samples())).collect();
    let merge = Merge::new(arguments.target, instances);
    let strict = Merge::new(mistakes::strict_output(), strict_instances);
    let output = arguments.target.format();
    let inputs = &arguments.inputs;
    let checked = CheckedFiles { inputs, bodies, merge: &merge, output, strict: &strict };
    let findings = checked.findings();
    write_findings(&findings, merge.stats(), output, out).map_err(MergeError::Write)?;
    match findings.mistakes.len() {
        0 => Ok(()),
        _ if findings.are_only_shared_series => Err(MergeError::Repeated),
        count => Err(MergeError::Mistakes(count)),
    }
}

/// Parses files for the target format and for the strict check.
struct FileChecker<'a> {
    arguments: &'a Arguments,
    reader: Reader,
    strict: Reader,
}

impl<'a> FileChecker<'a> {
    fn new(arguments: &'a Arguments) -> Self {
        let reader = |output| Reader::new(output, Limits::default());
        let strict = reader(mistakes::strict_output());
        Self { arguments, reader: reader(arguments.target), strict }
    }

    /// Returns the parsed file if it has no problems, for each of the two formats. Errors are those
    /// of `out`.
    fn check(
        &self,
        input: &Input,
        stdin: &mut dyn Read,
        out: &mut dyn Write,
    ) -> io::Result<Option<(IndexedBody, IndexedBody)>> {
        let path = input.path();
        let body = match input.read(stdin) {
            Ok(body) => body,
            Err(error) => {
                writeln!(out, "{path}: cannot be read: {error}")?;
                return Ok(None);
            }
        };
        let format = self.arguments.format_of(&body);
        let (mut problems, instance) = problems(body.clone(), format, &self.reader, input);
        if let Some(instance) = instance.filter(|_| problems.is_empty()) {
            match self.strict.parse(body, format, input.labels()) {
                Ok(strict) => return Ok(Some((instance, strict))),
                Err(problem) => problems.push(problem),
            }
        }
        for problem in &problems {
            let (line, kind) = (problem.line(), problem.kind());
            match format {
                Format::Protobuf => writeln!(out, "{path}: message {line}: {kind}")?,
                _ => writeln!(out, "{path}:{line}: {kind}")?,
            }
        }
        if problems.len() == MAX_PROBLEMS {
            writeln!(out, "note: {path}: only the first {MAX_PROBLEMS} problems are listed")?;
        }
        if self.arguments.detects_formats() {
            writeln!(out, "note: {path}: detected as {format}; set another with `--from`")?;
        }
        Ok(None)
    }
}

/// Returns all problems of a body.
///
/// The parser stops at the first invalid line. That line is replaced by an empty line, which is
/// valid in all text formats, and the body is parsed again.
fn problems(
    mut body: Vec<u8>,
    format: Format,
    reader: &Reader,
    input: &Input,
) -> (Vec<Error>, Option<IndexedBody>) {
    let mut problems = Vec::new();
    while problems.len() < MAX_PROBLEMS {
        match reader.parse(body.clone(), format, input.labels()) {
            Ok(instance) => return (problems, Some(instance)),
            Err(problem) => {
                problems.push(problem);
                let is_recoverable = format != Format::Protobuf && affects_one_line(problem.kind());
                if !is_recoverable || !clear_line(&mut body, problem.line()) {
                    break;
                }
            }
        }
    }
    (problems, None)
}

/// Whether the problem affects only one line.
fn affects_one_line(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::BodyTooLarge
            | ErrorKind::TooManySamples
            | ErrorKind::TooManyFamilies
            | ErrorKind::MissingEof
            | ErrorKind::AfterEof
    )
}

/// Clears a line, counted from 1. Returns whether the line was non-empty.
fn clear_line(body: &mut Vec<u8>, line: usize) -> bool {
    let mut breaks = memchr::memchr_iter(b'\n', body);
    let start = match line.checked_sub(2) {
        None => Some(0),
        Some(before) => breaks.nth(before).map(|at| at + 1),
    };
    let Some(start) = start else { return false };
    let end = breaks.next().unwrap_or(body.len());
    !body.drain(start..end).as_slice().is_empty()
}

fn write_findings(
    findings: &Findings,
    stats: Stats,
    format: Format,
    out: &mut dyn Write,
) -> io::Result<()> {
    for mistake in &findings.mistakes {
        writeln!(out, "{mistake}")?;
    }
    if findings.is_truncated {
        let max = mistakes::MAX_LISTED;
        writeln!(out, "note: only the first {max} families and samples are listed")?;
    }
    for lost in &findings.lost_types {
        writeln!(out, "note: {lost}")?;
    }
    // Destructured, so that a new field of `Stats` is not missing here.
    let Stats {
        // Both are in the findings.
        type_conflicts: _,
        spec_violations: _,
        renamed_labels,
        duplicates,
        lost_timestamps,
        synthesized,
        lost_exemplars,
        lost_units,
        lost_native_histograms,
        lost_created,
    } = stats;
    let notes = [
        (renamed_labels, "labels that get another name, as an added or another label has theirs"),
        (
            duplicates.saturating_sub(findings.duplicates),
            "samples that are left out, as their file or another one has them before",
        ),
        (
            lost_timestamps,
            "samples that are left out, as an earlier timestamp is the same in milliseconds",
        ),
        (synthesized, "sums and counts that no file has, as the format must have them"),
        (
            lost_exemplars,
            "exemplars that are left out, as the format or the type has none, or their labels have more than 128 characters",
        ),
        (lost_units, "units that are left out, as the format or the type has none"),
        (
            lost_native_histograms,
            "native histograms that are left out, except for their classic buckets, sum and count",
        ),
        (lost_created, "times of creation that are left out, as the type has none"),
    ];
    for (count, what) in notes {
        if count > 0 {
            writeln!(out, "note: merged as {format}: {what}: {count}")?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests;
