//! Takes samples out again that their body has twice.

use super::{
    super::{
        duplicates::{self, Cause},
        index::{self, Index, Line, Run},
        rewrite::{Form, Rewriter},
        sample,
        task::Task,
    },
    Indexer,
};

impl Indexer<'_> {
    pub(super) fn drop_duplicates(&mut self) {
        let Self { task, prints, index, suspects, .. } = self;
        let line = |offset: u32| {
            let text = index::line(task.body, offset as usize).text;
            (text, index.form_at(offset, task))
        };
        let is_same = |one: u32, other: u32| duplicates::are_same([line(one), line(other)], task);
        let mut dropped: Vec<_> = suspects
            .iter()
            .filter(|suspect| is_same(suspect.earlier, suspect.offset))
            .map(|suspect| (suspect.line, suspect.offset, suspect.earlier))
            .collect();
        duplicates::find(prints, is_same, |print, earlier| {
            dropped.push((print.line, print.offset, earlier));
        });
        let cause = |&(_, offset, earlier): &(u32, u32, u32)| {
            duplicates::cause([line(earlier), line(offset)], task)
        };
        let causes: Vec<_> = dropped.iter().map(cause).collect();
        for ((line, offset, _), cause) in dropped.into_iter().zip(causes) {
            self.drop_line(line as usize, offset, cause);
        }
    }

    fn drop_line(&mut self, i: usize, offset: u32, cause: Cause) {
        if let Some(fact) = self.lessons.as_mut().and_then(|lessons| lessons.facts.get_mut(i)) {
            fact.end = 0;
        }
        let index = &mut self.index;
        index.lost_timestamps += usize::from(cause == Cause::Timestamp);
        index.drop_line(i, offset, &self.task);
        let run = index.run_at(offset).copied();
        if let Some(family) = run.and_then(|run| index.families.get_mut(run.family as usize)) {
            family.strictness.has_equal_bounds |= cause == Cause::Bound;
        }
    }
}

impl Index {
    /// Takes the sample `i` out, whose line starts at `offset`.
    pub(in super::super) fn drop_line(&mut self, i: usize, offset: u32, task: &Task<'_>) {
        if let Some(line) = self.lines.get_mut(i) {
            *line = Line::DROPPED;
        }
        self.duplicates += 1;
        let (mut rewriter, mut rewritten) = (Rewriter::new(task.dialect), Vec::new());
        let text = index::line(task.body, offset as usize).text;
        let form = self.form_at(offset, task);
        let role = form.family.role_of(sample::name_of(text));
        // It was read before, so there is no error to see here.
        let Ok(line) = rewriter.line(text, task.labels, form, &mut rewritten) else { return };
        self.sample_bytes -= line.length(&rewritten, task.labels) as u64;
        let run = self.run_at(offset).copied();
        if let Some(family) = run.and_then(|run| self.families.get_mut(run.family as usize)) {
            // The rules were asked before it went.
            family.strictness.is_irregular |= task.dialect.is_openmetrics();
            let exemplars = family.exemplars.of(role);
            exemplars.count -= u32::from(line.exemplar > 0);
            exemplars.bytes -= line.exemplar as u32;
        }
    }

    /// The run in which the line at `offset` is.
    fn run_at(&self, offset: u32) -> Option<&Run> {
        let after = self.runs.partition_point(|run| run.offset <= offset);
        self.runs.get(after.checked_sub(1)?)
    }

    /// The form that the line at `offset` has in an output that takes all of it.
    fn form_at<'a>(&self, offset: u32, task: &Task<'a>) -> Form<'a> {
        let run = self.run_at(offset);
        Form {
            family: self.source(run.map_or(0, |run| run.family), task),
            has_bounds: run.is_some_and(|run| run.has_bounds),
            keeps_exemplar: true,
        }
    }
}
