//! Finds names of bodies that would become equal in the output.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use super::{
    body::TextBody,
    families::Roles,
    index::{IndexedFamily, SampleRun},
    names::is_legacy_metric_name,
    output_dialect::OutputDialect,
    renames::{LabelTraits, Renames, SourceNames, stem},
    sample::{self, TextLabel},
};

/// Gives bodies output names under which different series stay different.
///
/// Only bodies with equal added labels are compared. Otherwise the added labels make the series
/// different.
pub(super) fn resolve(instances: Vec<TextBody>, dialect: OutputDialect) -> Vec<TextBody> {
    let mut groups = HashMap::<&[u8], Vec<usize>>::new();
    for (i, instance) in instances.iter().enumerate() {
        groups.entry(instance.labels.inserted(true)).or_default().push(i);
    }
    let renames: Vec<_> = groups
        .into_values()
        .filter(|group| group.len() > 1)
        .flat_map(|group| {
            let bodies: Vec<_> = group.iter().filter_map(|&i| instances.get(i)).collect();
            let renames = find(&bodies, &dialect);
            group.into_iter().map(move |i| (i, renames.clone()))
        })
        .collect();
    let mut renames: HashMap<_, _> = renames.into_iter().collect();
    let renamed = |(i, instance): (usize, TextBody)| match renames.remove(&i) {
        Some(renames) => instance.renamed(renames, dialect),
        None => instance,
    };
    instances.into_iter().enumerate().map(renamed).collect()
}

/// The output names that differ from the usual ones, for bodies with equal added labels.
///
/// The bodies were indexed with the usual names.
pub(super) fn find(bodies: &[&TextBody], dialect: &OutputDialect) -> Renames {
    let Some(first) = bodies.first() else { return Renames::default() };
    let mut names = SourceNames::default();
    if !dialect.allows_quotes() && families(bodies).any(|(name, _)| !is_legacy_metric_name(&name)) {
        families(bodies).for_each(|(name, family)| names.add_family(&name, roles(family)));
    }
    for (name, _) in families(bodies).filter(|(_, family)| family.rule_result.has_equal_bounds) {
        names.add_equal_bounds(&name);
    }
    if must_be_checked(families(bodies), dialect) {
        collect_labels(bodies, dialect, &mut names);
    }
    Renames::new(&names, &first.labels, dialect.escaping())
}

type NamedFamily<'a> = (Cow<'a, [u8]>, &'a IndexedFamily);

fn families<'a>(bodies: &'a [&'a TextBody]) -> impl Iterator<Item = NamedFamily<'a>> {
    bodies.iter().flat_map(|body| {
        let families = body.index.families.iter();
        families.map(|family| (family.name.of(&body.body).unescaped(), family))
    })
}

fn roles(family: &IndexedFamily) -> Roles {
    family.shape.roles
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
fn collect_labels(bodies: &[&TextBody], dialect: &OutputDialect, names: &mut SourceNames) {
    let mut used = BTreeMap::<Vec<u8>, LabelTraits>::new();
    for (name, family) in families(bodies) {
        used.entry(stem(&name).to_vec()).or_default().join(family.shape.labels);
    }
    used.retain(|_, used| used.must_be_checked(dialect.escaping()));
    for body in bodies {
        for run in &body.index.runs {
            let Some(family) = body.index.families.get(run.family as usize) else { continue };
            let name = family.name.of(&body.body).unescaped();
            if used.contains_key(stem(&name)) {
                let own = names.labels_of(stem(&name));
                labels(body, run, |name| {
                    if !own.contains(&*name) {
                        own.insert(name.into());
                    }
                });
            }
        }
    }
}

/// Calls `each` with the label names of a run.
fn labels(body: &TextBody, run: &SampleRun, mut each: impl FnMut(Cow<'_, [u8]>)) {
    let mut offset = run.offset as usize;
    for _ in 0..run.count {
        let line = body.line(offset);
        offset = line.next;
        // The line was parsed before, so there is no error.
        let _ = sample::parse(line.text, &[], &mut |label: TextLabel<'_>| {
            each(label.name.unescaped());
            Ok(())
        });
    }
}
