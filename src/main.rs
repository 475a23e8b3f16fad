//! The program: allocator, arguments and environment, exit code.

#[cfg(feature = "jemalloc")]
use allocator as _;
use std::{collections::BTreeMap, process::ExitCode};

fn main() -> ExitCode {
    scrapebroker::cli::main(std::env::args_os(), environment())
}

/// Reads the environment once. Variables that are not UTF-8 are not settings of this program.
#[expect(clippy::disallowed_methods, reason = "the only place that reads the environment")]
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
