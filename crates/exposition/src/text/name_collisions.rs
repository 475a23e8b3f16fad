//! Finds names of bodies that would become equal in the output.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    index::{self, IndexedFamily, IndexedText, SampleRun},
    labels::{AddedLabels, LabelTraits},
    names::is_legacy_metric_name,
    output_dialect::OutputDialect,
    renames::{Renames, SourceNames, stem},
    sample::{self, TextLabel},
};

/// The output names that differ from the usual ones, for bodies with equal `added` labels.
///
/// The bodies were indexed with the usual names.
pub(super) fn find(
    bodies: &[IndexedText<'_>],
    added: &AddedLabels,
    dialect: &OutputDialect,
) -> Renames {
    let mut names = SourceNames::default();
    if !dialect.allows_quotes() && families(bodies).any(|(name, _)| !is_legacy_metric_name(&name)) {
        families(bodies).for_each(|(name, family)| names.add_family(&name, family.shape.roles));
    }
    for (name, _) in families(bodies).filter(|(_, family)| family.rule_result.has_equal_bounds) {
        names.add_equal_bounds(&name);
    }
    if must_be_checked(families(bodies), dialect) {
        collect_labels(bodies, dialect, &mut names);
    }
    Renames::new(&names, added, dialect.escaping())
}

type NamedFamily<'a> = (Cow<'a, [u8]>, &'a IndexedFamily);

fn families<'a>(bodies: &'a [IndexedText<'a>]) -> impl Iterator<Item = NamedFamily<'a>> {
    bodies.iter().flat_map(|body| {
        let families = body.index.families.iter();
        families.map(|family| (family.name.of(body.body).unescaped(), family))
    })
}

/// Whether two label names of these families can become equal.
fn must_be_checked<'a>(
    families: impl Iterator<Item = NamedFamily<'a>>,
    dialect: &OutputDialect,
) -> bool {
    let mut used = LabelTraits::default();
    families.for_each(|(_, family)| used.join(family.shape.labels));
    used.must_be_checked(dialect.escaping())
}

/// Collects the label names of families in which a collision is possible.
fn collect_labels(bodies: &[IndexedText<'_>], dialect: &OutputDialect, names: &mut SourceNames) {
    let mut used = BTreeMap::<Vec<u8>, LabelTraits>::new();
    for (name, family) in families(bodies) {
        used.entry(stem(&name).to_vec()).or_default().join(family.shape.labels);
    }
    used.retain(|_, used| used.must_be_checked(dialect.escaping()));
    for body in bodies {
        for run in &body.index.runs {
            let Some(family) = body.index.families.get(run.family as usize) else { continue };
            let name = family.name.of(body.body).unescaped();
            if used.contains_key(stem(&name)) {
                let known = names.labels_of(stem(&name));
                labels(*body, run, |name| {
                    if !known.contains(&*name) {
                        known.insert(name.into());
                    }
                });
            }
        }
    }
}

/// Calls `each` with the label names of a run.
fn labels(body: IndexedText<'_>, run: &SampleRun, mut each: impl FnMut(Cow<'_, [u8]>)) {
    let mut offset = run.offset as usize;
    for _ in 0..run.count {
        let line = index::line(body.body, offset);
        offset = line.next;
        // The line was parsed before, so there is no error.
        let _ = sample::parse(line.text, &[], &mut |label: TextLabel<'_>| {
            each(label.name.unescaped());
            Ok(())
        });
    }
}
