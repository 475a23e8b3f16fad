//! Merges the expositions of several instances, given as files, into one text exposition.
//!
//! `cargo run --example merge -- one.prom two.prom`

use std::{env, error::Error, fs, io::Write as _};

use exposition::{Format, Labels, Limits, Merge, Reader, Target};

fn main() -> Result<(), Box<dyn Error>> {
    let target = Target::new(Format::Text004);
    let reader = Reader::new(target, Limits::default()).for_siblings();
    let mut instances = Vec::new();
    for (index, file) in env::args().skip(1).enumerate() {
        let labels = Labels::new([("index", &*index.to_string())]);
        match reader.parse(fs::read(&file)?, Format::Text004, labels) {
            Ok(instance) => instances.push(instance),
            // The samples of the other instances are still merged.
            Err(error) => eprintln!("{file}: {error}"),
        }
    }
    let mut merge = Merge::new(target, instances);
    let mut chunk = Vec::new();
    let mut out = std::io::stdout().lock();
    while merge.next_chunk(&mut chunk, 64 * 1024) {
        out.write_all(&chunk)?;
        chunk.clear();
    }
    Ok(())
}
