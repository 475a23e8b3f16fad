//! Finds samples that a body has twice.
//!
//! The index of a body only marks the samples that are left out, so the body is read again.

use std::collections::HashMap;

use super::{
    body::TextBody,
    duplicate_sample::{DuplicateSample, SampleLocation},
    index::LineForm,
    output_dialect::OutputDialect,
    rewrite::RewriteContext,
    sample, sample_tail,
    shared_series::SeriesHasher,
};

/// Hashes of the series, and the timestamp.
type SampleKey = ([u64; 2], Option<u64>);

/// Adds the dropped samples of a body whose series the body has in an earlier line, until `found`
/// has `limit` samples.
pub(super) fn find(
    (i, instance): (usize, &TextBody),
    dialect: OutputDialect,
    limit: usize,
    found: &mut Vec<DuplicateSample>,
) {
    if instance.index.duplicates == 0 {
        return;
    }
    let mut hasher = SeriesHasher::new(dialect);
    let mut dropped = Vec::new();
    let room = limit.saturating_sub(found.len());
    each_line(instance, |form, is_dropped, offset, line| {
        if is_dropped && dropped.len() < room {
            let key = key(&mut hasher, instance, form, line, dialect);
            dropped.extend(key.map(|key| (key, offset, instance.series(form, line, dialect))));
        }
    });
    let mut kept: HashMap<SampleKey, Option<u32>> =
        dropped.iter().map(|(key, ..)| (*key, None)).collect();
    each_line(instance, |form, is_dropped, offset, line| {
        if !is_dropped
            && let Some(key) = key(&mut hasher, instance, form, line, dialect)
            && let Some(kept) = kept.get_mut(&key)
        {
            kept.get_or_insert(offset);
        }
    });
    for (key, offset, series) in dropped {
        // Another body can have the series before.
        let Some(kept) = kept.get(&key).copied().flatten() else { continue };
        let location = |offset| {
            let line = Some(instance.line_number(offset));
            SampleLocation { instance: i, line }
        };
        found.push(DuplicateSample { series, kept: location(kept), dropped: location(offset) });
    }
}

/// Calls `each` with the context, whether the line is dropped, its offset and its text.
fn each_line<'a>(
    instance: &'a TextBody,
    mut each: impl FnMut(RewriteContext<'a>, bool, u32, &'a [u8]),
) {
    for (r, run) in instance.index.runs.iter().enumerate() {
        let form = instance.form(r, false);
        let lines = instance.index.lines.iter().skip(run.line as usize);
        let mut offset = run.offset;
        for line_form in lines.take(run.count as usize) {
            let line = instance.line(offset as usize);
            each(form, *line_form == LineForm::DROPPED, offset, line.text);
            offset = line.next as u32;
        }
    }
}

fn key(
    hasher: &mut SeriesHasher,
    instance: &TextBody,
    form: RewriteContext<'_>,
    line: &[u8],
    dialect: OutputDialect,
) -> Option<SampleKey> {
    let series = hasher.series(instance, form, line)?;
    // The line was parsed before, so there is no error.
    let parsed = sample::parse(line, &[], &mut |_| Ok(())).ok()?;
    let tail = sample_tail::parse(line.get(parsed.end..)?, instance.naming).ok()?;
    let timestamp = tail
        .timestamp
        .map(|text| sample_tail::timestamp_key(text, instance.naming, dialect.naming));
    Some((series, timestamp))
}
