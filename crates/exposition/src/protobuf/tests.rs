//! Tests of whole merges. Most use text; [`golden`] checks the conversion with bytes from other
//! programs.

use super::{
    super::{
        error::{Error, ErrorKind},
        labels::AddedLabels,
        limits::Limits,
        names::Escaping,
        stats::Stats,
    },
    *,
};

mod accepts;
mod conflicts;
mod golden;
mod merges;
mod properties;
mod text;

type Added<'a> = &'a [(&'a str, &'a str)];

/// Converts lines to a body.
fn body(lines: &str) -> Vec<u8> {
    from_text(format!("{lines}# EOF\n").as_bytes()).0
}

/// Converts a body to text without `# EOF`.
fn shown(body: &[u8]) -> String {
    let text = to_text(body, &unlimited(), usize::MAX).unwrap().text;
    let text = String::from_utf8(text).unwrap();
    text.strip_suffix("# EOF\n").unwrap().to_owned()
}

fn unlimited() -> Limits {
    let most = usize::MAX;
    Limits { max_line: most, max_samples: 0, max_families: most, max_labels: most }
}

fn parsed(body: &[u8], added: Added<'_>) -> ProtobufBody {
    let labels = AddedLabels::new(added.iter().copied());
    match ProtobufBody::parse(body, labels, &Limits::default()) {
        Ok(instance) => instance,
        Err(error) => panic!("{body:x?} is refused: {error}"),
    }
}

fn refused(body: &[u8], limits: &Limits) -> Error {
    match ProtobufBody::parse(body, AddedLabels::new([]), limits) {
        Ok(instance) => panic!("{body:x?} is accepted: {instance:?}"),
        Err(error) => error,
    }
}

fn merge(instances: Vec<ProtobufBody>) -> ProtobufMerge {
    ProtobufMerge::new(instances, Escaping::AllowUtf8)
}

/// Writes all chunks, each of about `max` bytes.
fn written(mut merge: ProtobufMerge, max: usize) -> Vec<u8> {
    let announced = merge.content_length();
    let mut out = Vec::new();
    loop {
        let before = out.len();
        let more = merge.next_chunk(&mut out, max);
        assert_eq!(more, out.len() > before, "an empty chunk was reported");
        if !more {
            break;
        }
    }
    assert_eq!(out.len() as u64, announced, "content_length is wrong");
    out
}

/// Merges bodies. `added` are the added labels of all of them.
fn merged(bodies: &[&[u8]], added: Added<'_>) -> (Vec<u8>, Stats, Dropped) {
    let instances = || bodies.iter().map(|body| parsed(body, added)).collect();
    let whole = merge(instances());
    let (stats, dropped) = (whole.stats(), whole.dropped());
    let out = written(whole, 1 << 16);
    for chunk in [1, 7, 100] {
        assert_eq!(written(merge(instances()), chunk), out, "chunks of {chunk}");
    }
    (out, stats, dropped)
}

/// Merges bodies that are given and compared as text.
fn merged_text(bodies: &[&str], added: Added<'_>) -> (String, Stats) {
    let bodies: Vec<_> = bodies.iter().map(|text| body(text)).collect();
    let bodies: Vec<_> = bodies.iter().map(Vec::as_slice).collect();
    let (out, stats, _) = merged(&bodies, added);
    (shown(&out), stats)
}
