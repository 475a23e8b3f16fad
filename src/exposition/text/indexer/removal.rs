//! Takes samples out again that their body has twice.

use super::{
    super::{
        duplicates,
        index::{self, Index, Line, Run},
        rewrite::Form,
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
            .map(|suspect| (suspect.line, suspect.offset))
            .collect();
        duplicates::find(prints, is_same, |print| dropped.push((print.line, print.offset)));
        for (line, offset) in dropped {
            self.drop_line(line as usize, offset);
        }
    }

    fn drop_line(&mut self, i: usize, offset: u32) {
        let Self { task, rewriter, rewritten, index, .. } = self;
        if let Some(line) = index.lines.get_mut(i) {
            *line = Line::DROPPED;
        }
        if let Some(fact) = self.lessons.as_mut().and_then(|lessons| lessons.facts.get_mut(i)) {
            fact.end = 0;
        }
        index.duplicates += 1;
        rewritten.clear();
        let text = index::line(task.body, offset as usize).text;
        let form = index.form_at(offset, task);
        let role = form.family.role_of(sample::name_of(text));
        // It was read before, so there is no error to see here.
        let Ok(line) = rewriter.line(text, task.labels, form, rewritten) else { return };
        index.sample_bytes -= line.length(rewritten, task.labels) as u64;
        let run = index.run_at(offset).copied();
        if let Some(family) = run.and_then(|run| index.families.get_mut(run.family as usize)) {
            // The rules were asked before it went.
            family.strictness.is_irregular |= task.dialect.is_openmetrics();
            let exemplars = family.exemplars.of(role);
            exemplars.count -= u32::from(line.exemplar > 0);
            exemplars.bytes -= line.exemplar as u32;
        }
    }
}

impl Index {
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
