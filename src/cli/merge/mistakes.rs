//! Mistakes in files that are valid expositions.

use super::{input::Input, repeated};
use exposition::{
    DuplicateSample, Escaping, Format, LostType, LostTypeReason, Merge, OutputFormat,
    SampleLocation,
};
use std::collections::BTreeSet;

/// Maximum number of families, and of samples within files, that are listed.
pub(super) const MAX_LISTED: usize = 1000;

/// The format whose rules include those of all others.
pub(super) fn strict_output() -> OutputFormat {
    OutputFormat::new(Format::OpenMetrics100).with_escaping(Escaping::AllowUtf8)
}

/// What a merge would resolve silently.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// A scraper of the file gets wrong or incomplete metrics. In the order of files and lines.
    pub(super) mistakes: Vec<String>,
    /// Types that the output format cannot have.
    pub(super) lost_types: Vec<String>,
    /// Number of samples of `mistakes` that a merge leaves out.
    pub(super) duplicates: usize,
    /// Whether series of several files are the only mistakes.
    pub(super) are_only_shared_series: bool,
    /// Whether more is wrong than is listed.
    pub(super) is_truncated: bool,
}

/// The files of a merge.
pub(super) struct CheckedFiles<'a> {
    pub(super) inputs: &'a [Input],
    /// The format and number of samples of each file.
    pub(super) bodies: Vec<(Format, usize)>,
    /// The merge into the output format.
    pub(super) merge: &'a Merge,
    pub(super) output: Format,
    /// The merge of the same files into [`strict_output`].
    pub(super) strict: &'a Merge,
}

impl CheckedFiles<'_> {
    pub(super) fn findings(&self) -> Findings {
        let mut findings = Findings::default();
        let mut mistakes = Vec::new();
        for (instance, (_, samples)) in self.bodies.iter().enumerate() {
            if *samples == 0 {
                let location = SampleLocation { instance, line: None };
                mistakes.push((location, "the file has no samples".to_owned()));
            }
        }
        let lost = self.lost_types();
        self.add_unlisted_families(&lost, &mut findings);
        findings.is_truncated |= lost.len() >= MAX_LISTED;
        for one in lost {
            let LostType { family, metric_type, reason, location } = &one;
            if self.is_mistake(&one) {
                mistakes.push((*location, format!("{metric_type} {family}: {reason}")));
            } else {
                let (place, output) = (repeated::place(location, self.inputs), self.output);
                findings.lost_types.push(format!(
                    "{place}: {metric_type} {family} loses its type in {output}: {reason}"
                ));
            }
        }
        let own = self.strict.duplicates_within_bodies(MAX_LISTED);
        let shared = self.merge.duplicate_samples();
        findings.duplicates = own.len() + shared.len();
        findings.is_truncated |= own.len() >= MAX_LISTED;
        findings.are_only_shared_series =
            !shared.is_empty() && mistakes.is_empty() && own.is_empty();
        mistakes.extend(own.iter().chain(shared).map(|one| self.duplicate(one)));
        mistakes.sort_by_key(|(location, _)| (location.instance, location.line));
        let lines = mistakes
            .iter()
            .map(|(location, text)| format!("{}: {text}", repeated::place(location, self.inputs)));
        findings.mistakes.extend(lines);
        findings
    }

    fn duplicate(&self, duplicate: &DuplicateSample) -> (SampleLocation, String) {
        (duplicate.dropped, repeated::is_in_too(duplicate, self.inputs))
    }

    /// Rules come from the strict merge, because text formats have none in a merge. Conflicts and
    /// names of types depend on the output.
    fn lost_types(&self) -> Vec<LostType> {
        let mut lost = self.strict.lost_types(MAX_LISTED);
        if is_text(self.output) {
            lost.retain(|one| match one.reason {
                LostTypeReason::Rule(rule) => {
                    rule.is_in(self.output) || rule.is_in(self.format_of(&one.location))
                }
                _ => false,
            });
            lost.extend(self.merge.lost_types(MAX_LISTED));
        }
        lost
    }

    /// Whether the file violates its own format, or contradicts another file.
    fn is_mistake(&self, lost: &LostType) -> bool {
        match lost.reason {
            LostTypeReason::Conflict(_) | LostTypeReason::Rule(_) => true,
            LostTypeReason::CounterName => !is_text(self.format_of(&lost.location)),
            LostTypeReason::Format => false,
        }
    }

    fn format_of(&self, location: &SampleLocation) -> Format {
        self.bodies.get(location.instance).map_or(Format::Text004, |(format, _)| *format)
    }

    /// Notes conflicts that only a merge into protobuf has: a family is untyped there if one of the
    /// files has no `TYPE` line for it.
    fn add_unlisted_families(&self, lost: &[LostType], findings: &mut Findings) {
        let stats = self.merge.stats();
        let families = |is_listed: fn(LostTypeReason) -> bool| {
            let listed = lost.iter().filter(|one| is_listed(one.reason));
            listed.map(|one| &one.family).collect::<BTreeSet<_>>().len()
        };
        let conflicts = families(|reason| matches!(reason, LostTypeReason::Conflict(_)));
        let violations = families(|reason| matches!(reason, LostTypeReason::Rule(_)));
        let unlisted = [
            (stats.type_conflicts, conflicts, "types conflict"),
            (stats.spec_violations, violations, "they break its rules"),
        ];
        for (count, listed, why) in unlisted {
            if count > 0 && listed == 0 {
                let output = self.output;
                findings.lost_types.push(format!(
                    "merged as {output}: families that lose their type, as {why}: {count}"
                ));
            }
        }
    }
}

fn is_text(format: Format) -> bool {
    matches!(format, Format::Text004 | Format::Text100)
}
