//! Merges files with the expositions of several instances into one text exposition.
//!
//! `cargo run --example merge -- one.prom two.prom`

use std::{env, error::Error, fs, io::Write as _};

use exposition::{AddedLabels, Format, Limits, Merge, OutputFormat, Reader};

fn main() -> Result<(), Box<dyn Error>> {
    let output = OutputFormat::new(Format::Text004);
    let reader = Reader::new(output, Limits::default()).with_template();
    let mut instances = Vec::new();
    for (index, file) in env::args().skip(1).enumerate() {
        let labels = AddedLabels::new([("index", &*index.to_string())]);
        match reader.parse(fs::read(&file)?, Format::Text004, labels) {
            Ok(instance) => instances.push(instance),
            // The other files are still merged.
            Err(error) => eprintln!("{file}: {error}"),
        }
    }
    let mut merge = Merge::new(output, instances);
    let mut chunk = Vec::new();
    let mut out = std::io::stdout().lock();
    while merge.next_chunk(&mut chunk, 64 * 1024) {
        out.write_all(&chunk)?;
        chunk.clear();
    }
    Ok(())
}
