//! Finds the names of a body that would become equal in the output.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use super::{
    dialect::Dialect,
    families::Roles,
    index::{Family, Run},
    instance::Instance,
    names::is_legacy_metric_name,
    renames::{LabelUse, Names, Renames, stem},
    sample::{self, Label},
};

/// Gives bodies names under which the series of no two of them become equal that differ.
///
/// Only those with the same added labels are looked at together: of others, an added label
/// tells the series apart.
pub(super) fn resolve(instances: Vec<Instance>, dialect: Dialect) -> Vec<Instance> {
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
    let renamed = |(i, instance): (usize, Instance)| match renames.remove(&i) {
        Some(renames) => instance.renamed(renames, dialect),
        None => instance,
    };
    instances.into_iter().enumerate().map(renamed).collect()
}

/// How the names of bodies differ from the usual ones, in which they were indexed.
///
/// All of the bodies get the same labels, so that their series could become equal.
pub(super) fn find(bodies: &[&Instance], dialect: &Dialect) -> Renames {
    let Some(first) = bodies.first() else { return Renames::default() };
    let mut names = Names::default();
    if !dialect.has_quotes() && families(bodies).any(|(name, _)| !is_legacy_metric_name(&name)) {
        families(bodies).for_each(|(name, family)| names.add_family(&name, roles(family)));
    }
    for (name, _) in families(bodies).filter(|(_, family)| family.strictness.has_equal_bounds) {
        names.add_equal_bounds(&name);
    }
    if must_be_checked(families(bodies), dialect) {
        collect_labels(bodies, dialect, &mut names);
    }
    Renames::new(&names, &first.labels, dialect.escaping())
}

type Named<'a> = (Cow<'a, [u8]>, &'a Family);

fn families<'a>(bodies: &'a [&'a Instance]) -> impl Iterator<Item = Named<'a>> {
    bodies.iter().flat_map(|body| {
        let families = body.index.families.iter();
        families.map(|family| (family.name.of(&body.body).unescaped(), family))
    })
}

fn roles(family: &Family) -> Roles {
    family.shape.roles
}

/// Whether some labels of these families could get one name.
fn must_be_checked<'a>(families: impl Iterator<Item = Named<'a>>, dialect: &Dialect) -> bool {
    let mut used = LabelUse::default();
    families.for_each(|(_, family)| used.join(family.shape.labels));
    used.must_be_checked(dialect.escaping())
}

/// Collects the labels of all samples with these stems.
fn collect_labels(bodies: &[&Instance], dialect: &Dialect, names: &mut Names) {
    let mut used = BTreeMap::<Vec<u8>, LabelUse>::new();
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

/// The names of the labels of a run.
fn labels(body: &Instance, run: &Run, mut each: impl FnMut(Cow<'_, [u8]>)) {
    let mut offset = run.offset as usize;
    for _ in 0..run.count {
        let line = body.line(offset);
        offset = line.next;
        // It was read before, so there is no error to see here.
        let _ = sample::parse(line.text, &[], &mut |label: Label<'_>| {
            each(label.name.unescaped());
            Ok(())
        });
    }
}
