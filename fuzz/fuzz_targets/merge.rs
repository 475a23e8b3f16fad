//! Several bodies, told apart by a byte that is in no text, lose no sample in a
//! merge, and what comes out does not change any more.
//!
//! `cargo fuzz run merge`

#![no_main]

use libfuzzer_sys::fuzz_target;
use scrapebroker::exposition::{Instance, Labels, Limits, Merge, Stats};

fn written(mut merge: Merge, chunk: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while merge.next_chunk(&mut out, chunk) {}
    assert_eq!(out.len() as u64, merge.content_length());
    out
}

fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    let instances = || -> Vec<Instance> {
        let bodies = input.split(|byte| *byte == 0xff).take(8).enumerate();
        let parse = |(i, body): (usize, &[u8])| {
            let index = i.to_string();
            Instance::parse(body, Labels::new([("a", "x"), ("index", &index)]), &limits).ok()
        };
        bodies.filter_map(parse).collect()
    };
    let samples: usize = instances().iter().map(Instance::samples).sum();
    let out = written(Merge::new(instances()), 1 << 16);
    assert_eq!(written(Merge::new(instances()), 1), out);

    let unlimited = Limits { max_families: usize::MAX, max_labels: usize::MAX, ..limits };
    let again =
        Instance::parse(&*out, Labels::new([]), &unlimited).expect("an output is an exposition");
    assert_eq!(again.samples(), samples);
    let merge = Merge::new(vec![again]);
    assert_eq!(merge.stats(), Stats::default());
    assert_eq!(written(merge, 1000), out);
});
