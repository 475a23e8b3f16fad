//! Removes duplicate samples of a body.

use super::{
    super::{
        duplicates::{self, DuplicateCause},
        index::ParseContext,
        index::{self, LineForm, SampleRun, TextIndex},
        rewrite::{RewriteContext, Rewriter},
        sample,
    },
    Indexer,
};

impl Indexer<'_> {
    pub(super) fn drop_duplicates(&mut self) {
        let Self { context, fingerprints, index, duplicate_candidates, .. } = self;
        let line = |offset: u32| {
            let text = index::line(context.body, offset as usize).text;
            (text, index.form_at(offset, context))
        };
        let is_same =
            |one: u32, other: u32| duplicates::are_same([line(one), line(other)], context);
        let mut dropped: Vec<_> = duplicate_candidates
            .iter()
            .filter(|candidate| is_same(candidate.earlier, candidate.offset))
            .map(|candidate| (candidate.line, candidate.offset, candidate.earlier))
            .collect();
        duplicates::find(fingerprints, is_same, |fingerprint, earlier| {
            dropped.push((fingerprint.line, fingerprint.offset, earlier));
        });
        let cause = |&(_, offset, earlier): &(u32, u32, u32)| {
            duplicates::cause([line(earlier), line(offset)], context)
        };
        let causes: Vec<_> = dropped.iter().map(cause).collect();
        for ((line, offset, _), cause) in dropped.into_iter().zip(causes) {
            self.drop_line(line as usize, offset, cause);
        }
    }

    fn drop_line(&mut self, i: usize, offset: u32, cause: DuplicateCause) {
        if let Some(sample) = self
            .template_builder
            .as_mut()
            .and_then(|template_builder| template_builder.samples.get_mut(i))
        {
            sample.end = 0;
        }
        let index = &mut self.index;
        index.lost_timestamps += usize::from(cause == DuplicateCause::Timestamp);
        index.drop_line(i, offset, &self.context);
        let run = index.run_at(offset).copied();
        if let Some(family) = run.and_then(|run| index.families.get_mut(run.family as usize)) {
            family.rule_result.has_equal_bounds |= cause == DuplicateCause::Bound;
        }
    }
}

impl TextIndex {
    /// Drops sample `i`, whose line starts at `offset`.
    pub(in super::super) fn drop_line(
        &mut self,
        i: usize,
        offset: u32,
        context: &ParseContext<'_>,
    ) {
        if let Some(line) = self.lines.get_mut(i) {
            *line = LineForm::DROPPED;
        }
        self.duplicates += 1;
        let (mut rewriter, mut rewritten) = (Rewriter::new(context.dialect), Vec::new());
        let text = index::line(context.body, offset as usize).text;
        let form = self.form_at(offset, context);
        let role = form.family.role_of(sample::name_of(text));
        // The line was parsed before, so there is no error.
        let Ok(line) = rewriter.line(text, context.labels, form, &mut rewritten) else { return };
        self.sample_bytes -= line.length(&rewritten, context.labels) as u64;
        let Some(run) = self.run_at(offset).copied() else { return };
        if let Some(family) = self.families.get_mut(run.family as usize) {
            // The rules were checked with this sample.
            family.rule_result.needs_reordering |= context.dialect.is_openmetrics();
        }
        if let Some(exemplars) = self.exemplars.get_mut(&run.family) {
            let exemplars = exemplars.of(role);
            exemplars.count -= u32::from(line.exemplar > 0);
            exemplars.bytes -= line.exemplar as u32;
        }
    }

    /// The run with the line at `offset`.
    fn run_at(&self, offset: u32) -> Option<&SampleRun> {
        let after = self.runs.partition_point(|run| run.offset <= offset);
        self.runs.get(after.checked_sub(1)?)
    }

    /// The context for rewriting the line at `offset` with its exemplar.
    fn form_at<'a>(&self, offset: u32, context: &ParseContext<'a>) -> RewriteContext<'a> {
        let run = self.run_at(offset);
        RewriteContext {
            family: self.source(run.map_or(0, |run| run.family), context),
            has_canonical_bounds: run.is_some_and(|run| run.has_canonical_bounds),
            keeps_exemplar: true,
        }
    }
}
