//! `scrapebroker merge`: merges exposition files with the same library as the server.
//!
//! A file has no `Content-Type`. So its format is detected from its content, unless `--from` sets
//! the format. The subcommand uses neither the network nor a configuration.

mod arguments;
mod check;
mod content;
mod error;
mod input;
mod mistakes;
mod repeated;

use super::failure::Failure;
use arguments::Arguments;
use error::MergeError;
use exposition::{Escaping, Format, Limits, Merge, Reader, Stats};
use std::{
    ffi::OsString,
    io::{self, Read, Write},
};

const CHUNK_BYTES: usize = 256 << 10;

#[derive(clap::Args)]
pub(super) struct Options {
    /// The output: text, text-1.0.0, openmetrics-0.0.1, openmetrics or protobuf
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Text004)]
    to: Format,
    /// The format of all files [default: recognised from the content of each]
    #[arg(long, value_name = "FORMAT")]
    from: Option<Format>,
    /// How names are written that old readers do not know: allow-utf-8, underscores, dots or
    /// values [default: allow-utf-8 where the format can have them, else underscores]
    #[arg(long, value_name = "SCHEME", value_parser = escaping)]
    escaping: Option<Escaping>,
    /// Write no exposition, but each mistake as FILE:LINE: REASON, and what a merge would change
    #[arg(long)]
    check: bool,
    /// A label for the samples of all files
    #[arg(long = "label", value_name = "K=V")]
    labels: Vec<String>,
    /// Files to merge, in this order; `-` is standard input; each may have labels of its own
    #[arg(required = true, value_name = "FILE[:K=V,K=V]")]
    files: Vec<OsString>,
}

fn escaping(name: &str) -> Result<Escaping, &'static str> {
    Escaping::from_parameter(name).ok_or("not one of allow-utf-8, underscores, dots, values")
}

impl Options {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { to, from, escaping, check, labels, files } = self;
        let arguments = Arguments::parse(labels, files).and_then(|arguments| {
            arguments.with_input_format(from).with_output_format(to, escaping)
        })?;
        let (mut stdin, mut out) = (io::stdin(), io::stdout().lock());
        let done = match check {
            true => check::check(&arguments, &mut stdin, &mut out),
            false => merge(&arguments, &mut stdin, &mut out).map(|merged| {
                for line in merged.repeated {
                    eprintln!("warning: {line}, and left out");
                }
            }),
        };
        match done {
            // A closed output (`| head`) is not a failure.
            Err(MergeError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            done => Ok(done?),
        }
    }
}

impl From<MergeError> for Failure {
    fn from(error: MergeError) -> Self {
        match error.is_usage() {
            true => Self::usage(error),
            false => Self::other(error),
        }
    }
}

#[derive(Debug)]
struct Merged {
    #[cfg_attr(not(test), expect(dead_code, reason = "tests compare it"))]
    stats: Stats,
    /// Samples that are dropped because an earlier file contains the same series. Each entry is a
    /// sentence.
    repeated: Vec<String>,
}

/// Writes nothing unless all files are valid.
fn merge(
    arguments: &Arguments,
    stdin: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<Merged, MergeError> {
    let reader = Reader::new(arguments.target, Limits::default());
    let mut instances = Vec::new();
    for input in &arguments.inputs {
        let file = || input.name();
        let body = input.read(stdin).map_err(|source| MergeError::Read { file: file(), source })?;
        let format = arguments.format_of(&body);
        let instance = reader
            .parse(body, format, input.labels())
            .map_err(|problem| MergeError::Exposition { file: file(), problem })?;
        instances.push(instance);
    }
    let mut merge = Merge::new(arguments.target, instances);
    let repeated = repeated::describe(merge.duplicate_samples(), &arguments.inputs);
    let mut chunk = Vec::new();
    while merge.next_chunk(&mut chunk, CHUNK_BYTES) {
        out.write_all(&chunk).map_err(MergeError::Write)?;
        chunk.clear();
    }
    out.flush().map_err(MergeError::Write)?;
    Ok(Merged { stats: merge.stats(), repeated })
}

#[cfg(test)]
mod tests;
