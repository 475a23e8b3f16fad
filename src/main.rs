//! The program: allocator, arguments and environment, exit code.

use std::{collections::BTreeMap, process::ExitCode};

/// Bodies of many megabytes are allocated and freed with every scrape. The system's allocator
/// keeps fragmented memory for each thread.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    scrapebroker::cli::main(std::env::args_os(), environment())
}

/// Reads the environment once. Variables that are not UTF-8 are not settings of this program.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
