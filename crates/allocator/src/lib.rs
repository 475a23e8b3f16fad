//! The allocator of the program: jemalloc, with its settings in the binary.
//!
//! The system's allocator keeps fragmented memory for each thread: bodies of many megabytes are
//! allocated and freed with every scrape.
//!
//! Source: jemalloc's manual, sections TUNING and `opt.…` (<https://jemalloc.net/jemalloc.3.html>).

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// * `narenas:1`: with several arenas, each worker keeps the memory of its own largest scrape.
/// * `lg_extent_max_active_fit:8`: free space between bodies may be used for much smaller ones.
/// * `background_thread:true`: a thread returns unused memory to the system.
///
/// jemalloc reads this symbol before `main`, and then the environment variable
/// `_RJEM_MALLOC_CONF`, which wins.
#[expect(unsafe_code, reason = "a symbol that C code reads; no other symbol has this name")]
#[unsafe(export_name = "_rjem_malloc_conf")]
#[used]
static SETTINGS: &[u8; 60] = b"narenas:1,lg_extent_max_active_fit:8,background_thread:true\0";
