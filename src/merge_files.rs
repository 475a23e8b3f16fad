//! `scrapebroker merge`: what a merge makes of expositions that lie in files.
//!
//! For debugging and benchmarks, so it shares nothing with the server but the
//! engine: no network, no configuration.
//!
//! A file has no `Content-Type`, so its format is told from its content, unless the
//! command line names one.

mod arguments;
mod check;
mod content;
mod error;
mod input;
mod repeated;

pub use arguments::Arguments;
pub use check::check;
pub use error::MergeError;

use std::io::{self, Read, Write};

use exposition::{Limits, Merge, Reader, Stats};

const CHUNK_BYTES: usize = 256 << 10;

/// What a merge came to, besides its output.
#[derive(Debug)]
pub struct Merged {
    /// What was done to the samples.
    pub stats: Stats,
    /// Samples that are left out, since an earlier file has them: one sentence each.
    pub repeated: Vec<String>,
}

/// Merges files into `out`; nothing is written unless all of them are expositions.
///
/// # Errors
///
/// A file that cannot be read or is no exposition, an output that takes no more.
pub fn merge(arguments: &Arguments, out: &mut dyn Write) -> Result<Merged, MergeError> {
    merge_with(arguments, &mut io::stdin(), out)
}

fn merge_with(
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
    let repeated = repeated::describe(merge.repeated(), &arguments.inputs);
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
