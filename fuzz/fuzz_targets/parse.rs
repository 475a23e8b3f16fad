//! Any bytes are refused, or come out in a form that does not change any more.
//!
//! `cargo fuzz run parse`

#![no_main]

use libfuzzer_sys::fuzz_target;
use scrapebroker::exposition::{Instance, Labels, Limits, Merge, Stats};

fn written(mut merge: Merge) -> Vec<u8> {
    let mut out = Vec::new();
    while merge.next_chunk(&mut out, 1000) {}
    assert_eq!(out.len() as u64, merge.content_length());
    out
}

fuzz_target!(|body: &[u8]| {
    let (labels, limits) = (Labels::new([]), Limits::default());
    let Ok(instance) = Instance::parse(body, labels.clone(), &limits) else { return };
    let samples = instance.samples();
    let out = written(Merge::new(vec![instance]));
    let again = Instance::parse(&*out, labels, &limits).expect("an output is an exposition");
    assert_eq!(again.samples(), samples);
    let merge = Merge::new(vec![again]);
    assert_eq!(merge.stats(), Stats::default());
    assert_eq!(written(merge), out);
});
