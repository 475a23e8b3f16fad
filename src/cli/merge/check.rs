//! `--check`: lists the problems of files, and the differences that a merge would resolve.
//!
//! A merge stops at the first problem. A check lists all problems, one per line. Editors can parse
//! the format `FILE:LINE: reason`. Differences between files are notes without a line number.

use std::io::{self, Read, Write};

use super::{arguments::Arguments, error::MergeError, input::Input, repeated};
use exposition::{Error, ErrorKind, Format, IndexedBody, Limits, Merge, Reader, Stats};

/// Maximum number of problems per file. The file is parsed again after each problem.
const MAX_PROBLEMS: usize = 100;

/// Writes all problems of the files to `out`. If there are none, writes what a merge into the
/// target format would change besides adding labels.
pub(super) fn check(
    arguments: &Arguments,
    stdin: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), MergeError> {
    let reader = Reader::new(arguments.target, Limits::default());
    let mut instances = Vec::new();
    for input in &arguments.inputs {
        let instance = check_file(arguments, &reader, input, stdin, out);
        instances.extend(instance.map_err(MergeError::Write)?);
    }
    let files = arguments.inputs.len();
    let broken = files - instances.len();
    if broken == 0 {
        let format = arguments.target.format();
        let merge = Merge::new(arguments.target, instances);
        let repeated = repeated::describe(merge.duplicate_samples(), &arguments.inputs);
        for line in &repeated {
            writeln!(out, "{line}").map_err(MergeError::Write)?;
        }
        write_notes(merge.stats(), format, out).map_err(MergeError::Write)?;
        if !repeated.is_empty() {
            out.flush().map_err(MergeError::Write)?;
            return Err(MergeError::Repeated);
        }
    }
    out.flush().map_err(MergeError::Write)?;
    if broken == 0 { Ok(()) } else { Err(MergeError::Broken { broken, files }) }
}

/// Returns the parsed file if it has no problems. Errors are those of `out`.
fn check_file(
    arguments: &Arguments,
    reader: &Reader,
    input: &Input,
    stdin: &mut dyn Read,
    out: &mut dyn Write,
) -> io::Result<Option<IndexedBody>> {
    let path = input.path();
    let body = match input.read(stdin) {
        Ok(body) => body,
        Err(error) => {
            writeln!(out, "{path}: cannot be read: {error}")?;
            return Ok(None);
        }
    };
    let format = arguments.format_of(&body);
    let (problems, instance) = problems(body, format, reader, input);
    if problems.is_empty() {
        return Ok(instance);
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
    if arguments.detects_formats() {
        writeln!(out, "note: {path}: detected as {format}; set another with `--from`")?;
    }
    Ok(None)
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

fn write_notes(stats: Stats, format: Format, out: &mut dyn Write) -> io::Result<()> {
    // Destructured, so that a new field of `Stats` is not missing here.
    let Stats {
        type_conflicts,
        spec_violations,
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
        (type_conflicts, "families that lose their type, as types conflict"),
        (spec_violations, "families that lose their type, as they break its rules"),
        (renamed_labels, "labels that get another name, as an added or another label has theirs"),
        (duplicates, "samples that are left out, as their file or another one has them before"),
        (
            lost_timestamps,
            "samples that are left out, as an earlier timestamp is the same in milliseconds",
        ),
        (synthesized, "sums and counts that no file has, as the format must have them"),
        (lost_exemplars, "exemplars that are left out, as the format or the type has none"),
        (lost_units, "units that are left out, as the format or the type has none"),
        (lost_native_histograms, "native histograms of which sum and count are left"),
        (lost_created, "times of creation that are left out, as the type has none"),
    ];
    for (count, what) in notes {
        if count > 0 {
            writeln!(out, "note: merged as {format}: {what}: {count}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
