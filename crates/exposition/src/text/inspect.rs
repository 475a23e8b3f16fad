//! Passes the families and samples of text bodies to an [`Inspector`].

use std::borrow::Cow;

use memchr::memchr;

use super::{
    super::inspect::{FamilyReport, Inspector},
    body::TextBody,
    families::Role,
    family_mapping::SourceFamily,
    format::OutputFormat,
    index::{IndexedFamily, LineForm},
    labels::AddedLabels,
    metadata,
    output_dialect::OutputDialect,
    output_family::BodyText,
    plan::MergedFamilies,
    renames,
    sample::{self, SourceName, TextLabel},
};

/// Inspects bodies that were parsed for `output`, each with its position.
///
/// Families are aligned as in a merge, so a family has the same name in each body.
pub(in super::super) fn inspect(
    bodies: &[(usize, &TextBody)],
    output: OutputFormat,
    inspector: &mut Inspector<'_>,
) {
    let dialect = OutputDialect::new(output);
    let merged = MergedFamilies::new(bodies.iter().map(|(_, body)| *body), &dialect);
    let mut reports = FamilyReports { merged, dialect, reported: Vec::new() };
    for (i, (position, body)) in bodies.iter().enumerate() {
        let families = reports.of_body(bodies, i, *position, inspector);
        let mut sampler = BodyInspector { body, dialect, families, labels: Vec::new() };
        for run in 0..body.index.runs.len() {
            sampler.inspect_run(run, inspector);
        }
    }
}

/// The families of a body in the report, by the role of their samples. `None` if there are too many.
type ReportedFamilies = Vec<[Option<usize>; Role::ALL.len()]>;

/// The families of all bodies in the report.
struct FamilyReports {
    merged: MergedFamilies,
    dialect: OutputDialect,
    /// For each merged family, its index in the report if it was added.
    reported: Vec<Option<usize>>,
}

impl FamilyReports {
    /// Adds the families of a body to the report.
    fn of_body(
        &mut self,
        bodies: &[(usize, &TextBody)],
        i: usize,
        position: usize,
        inspector: &mut Inspector<'_>,
    ) -> ReportedFamilies {
        let Some((_, body)) = bodies.get(i) else { return Vec::new() };
        let naming = self.dialect.naming;
        let of_family = |(f, family): (usize, &IndexedFamily)| {
            let source = body.source(f as u32);
            let mut roles = family.shape.roles;
            if roles.is_empty() {
                roles.insert(source.main_role());
            }
            let mut of_roles = [None; Role::ALL.len()];
            for role in roles.iter() {
                let merged = self.merged.family_of(i, f as u32, role);
                let Some(report) = self.report_of(merged, bodies, inspector) else { continue };
                let to = source.destination(role, naming);
                // The type as the app declares it, also if the output has no such type.
                let metric_type =
                    if to.is_split_off() { to.metric_type } else { source.metric_type };
                inspector.add_body(report, position, metric_type.map(|one| one.as_str(naming)));
                if let Some(of_role) = of_roles.get_mut(role as usize) {
                    *of_role = Some(report);
                }
            }
            of_roles
        };
        body.index.families.iter().enumerate().map(of_family).collect()
    }

    /// The index of a merged family in the report.
    fn report_of(
        &mut self,
        index: usize,
        bodies: &[(usize, &TextBody)],
        inspector: &mut Inspector<'_>,
    ) -> Option<usize> {
        if self.reported.len() <= index {
            self.reported.resize(index + 1, None);
        }
        let reported = self.reported.get_mut(index)?;
        if reported.is_none() {
            let family = self.merged.families.get(index)?;
            let text = |part: BodyText| {
                let (_, body) = bodies.get(part.instance as usize)?;
                Some((body.text(part.span), body.naming))
            };
            *reported = inspector.add_family(FamilyReport {
                name: lossy(&family.name),
                help: family.help.and_then(text).map(|(help, naming)| {
                    let plain: Vec<u8> = metadata::unescaped_help(help, naming).collect();
                    String::from_utf8_lossy(&plain).into_owned()
                }),
                unit: family.unit.and_then(text).map(|(unit, _)| lossy(unit)),
                has_conflict: family.is_split(),
                ..FamilyReport::default()
            });
        }
        *reported
    }
}

struct BodyInspector<'a> {
    body: &'a TextBody,
    dialect: OutputDialect,
    families: ReportedFamilies,
    /// The labels of one sample.
    labels: Vec<TextLabel<'a>>,
}

impl<'a> BodyInspector<'a> {
    fn inspect_run(&mut self, run: usize, inspector: &mut Inspector<'_>) {
        let Self { body, dialect, families, labels } = self;
        let body = *body;
        let Some(run) = body.index.runs.get(run) else { return };
        let source = body.source(run.family);
        let Some(of_roles) = families.get(run.family as usize) else { return };
        let first = run.line as usize;
        let forms = body.index.lines.get(first..first + run.count as usize).unwrap_or_default();
        let mut offset = run.offset as usize;
        let mut previous = SourceName::default();
        for form in forms {
            let line = body.line(offset);
            offset = line.next;
            if *form == LineForm::DROPPED {
                continue;
            }
            labels.clear();
            let parsed = sample::parse(line.text, previous.text, &mut |label: TextLabel<'a>| {
                labels.push(label);
                Ok(())
            });
            // The line was parsed before, so there is no error.
            let Ok(series) = parsed else { continue };
            previous = series.name;
            let role = source.role_of(series.name);
            let Some(family) = of_roles.get(role as usize).copied().flatten() else { continue };
            inspector.add_sample(family);
            for label in labels.iter() {
                let usual = dialect.label_name(label.name.unescaped());
                let value = unescaped(label.value);
                match renamed(label, &usual, source, &body.labels) {
                    None => inspector.add_label(family, &usual, &value),
                    Some(name) => {
                        inspector.add_rename(family, &label.name.unescaped());
                        inspector.add_label(family, &name, &value);
                    }
                }
            }
        }
    }
}

/// The output name of a label, if it is not the usual one.
fn renamed<'a>(
    label: &TextLabel<'_>,
    usual: &[u8],
    source: SourceFamily<'a>,
    added: &AddedLabels,
) -> Option<Cow<'a, [u8]>> {
    let is_clashing = added.has(usual);
    if !is_clashing && !label.name.is_quoted {
        return None;
    }
    let chosen = source.label_names().and_then(|names| names.get(&*label.name.unescaped()));
    match chosen {
        Some(chosen) => (**chosen != *usual).then_some(Cow::Borrowed(&**chosen)),
        None => is_clashing.then(|| Cow::Owned(renames::exported(usual, added))),
    }
}

fn unescaped(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\\', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut plain = Vec::with_capacity(value.len());
    sample::unescape(value, &mut plain);
    Cow::Owned(plain)
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
