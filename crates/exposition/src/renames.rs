//! Output names that differ from the usual ones, because the usual names would make different
//! series equal.
//!
//! The usual name is the escaped name, or the name with one prefix `exported_`. The choice depends
//! only on the names in one body. It depends neither on other instances nor on the order of lines.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    iter,
};

use super::{
    families::{Role, Roles},
    labels::{AddedLabels, EXPORTED},
    names::{
        Escaping, RESERVED_LABEL, escape_label_name, escape_legacy_name, escape_metric_name,
        is_legacy_label_name, is_legacy_metric_name,
    },
};

type Name = Box<[u8]>;

/// The memory of an entry of a map in addition to its texts.
const ENTRY: usize = 64;

/// The label names of one family: name in the body, name in the output.
pub(super) type LabelNames = BTreeMap<Name, Name>;

/// The names of a body that differ from the usual ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Renames {
    /// Output name by family name in the body.
    metrics: BTreeMap<Name, Name>,
    /// Label names by the [stem] of the sample names.
    labels: BTreeMap<Name, LabelNames>,
    /// Families with two bounds of one value, such as `1` and `1.0`. Their bounds are not made
    /// canonical.
    equal_bounds: BTreeSet<Name>,
}

impl Renames {
    /// Chooses the output names of a body.
    pub(super) fn new(names: &SourceNames, added: &AddedLabels, escaping: Escaping) -> Self {
        let labels = names.labels.iter().filter_map(|(stem, original)| {
            let labels = label_names(original, added, escaping)?;
            Some((stem.clone(), labels))
        });
        Self {
            metrics: metric_names(&names.families, escaping),
            labels: labels.collect(),
            equal_bounds: names.equal_bounds.clone(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.metrics.is_empty() && self.labels.is_empty() && self.equal_bounds.is_empty()
    }

    /// The memory of the names, in bytes.
    pub(super) fn memory(&self) -> usize {
        let of_names = |names: &BTreeMap<Name, Name>| -> usize {
            names.iter().map(|(name, output)| name.len() + output.len() + ENTRY).sum()
        };
        let labels = self.labels.iter();
        let labels: usize = labels.map(|(stem, names)| stem.len() + ENTRY + of_names(names)).sum();
        let equal_bounds: usize = self.equal_bounds.iter().map(|name| name.len() + ENTRY).sum();
        of_names(&self.metrics) + labels + equal_bounds
    }

    /// The output name of a family, if it is not the usual one.
    pub(super) fn metric(&self, family: &[u8]) -> Option<&[u8]> {
        self.metrics.get(family).map(|name| &**name)
    }

    /// The output names of the labels of this sample or family, if one is not the usual one.
    pub(super) fn labels(&self, name: &[u8]) -> Option<&LabelNames> {
        if self.labels.is_empty() { None } else { self.labels.get(stem(name)) }
    }

    pub(super) fn add_equal_bounds(&mut self, family: &[u8]) {
        self.equal_bounds.insert(family.into());
    }

    pub(super) fn has_equal_bounds(&self, family: &[u8]) -> bool {
        self.equal_bounds.contains(family)
    }
}

/// The unescaped names in a body.
#[derive(Debug, Default)]
pub(super) struct SourceNames {
    /// Families and the roles of their samples. Empty unless a family name must be escaped.
    families: BTreeMap<Name, Roles>,
    /// Label names by the [stem] of metric names. Only families with possible collisions are
    /// included.
    labels: BTreeMap<Name, BTreeSet<Name>>,
    equal_bounds: BTreeSet<Name>,
}

impl SourceNames {
    pub(super) fn add_family(&mut self, name: &[u8], roles: Roles) {
        match self.families.get_mut(name) {
            Some(known) => known.join(roles),
            None => _ = self.families.insert(name.into(), roles),
        }
    }

    pub(super) fn add_equal_bounds(&mut self, family: &[u8]) {
        self.equal_bounds.insert(family.into());
    }

    /// The label names of metrics with this stem.
    pub(super) fn labels_of(&mut self, stem: &[u8]) -> &mut BTreeSet<Name> {
        self.labels.entry(stem.into()).or_default()
    }
}

/// The part that the sample names of a family have in common for any type: `x` for `x_total` and
/// `x_bucket`.
pub(super) fn stem(mut name: &[u8]) -> &[u8] {
    while let Some((stem, _)) = Role::split(name).filter(|(stem, _)| !stem.is_empty()) {
        name = stem;
    }
    name
}

/// The families that cannot have the usual name, with their output names.
///
/// Legacy names are not changed. Of the others, the first in byte order gets the usual name if it
/// is free. The rest are escaped with [`Escaping::Values`].
fn metric_names(families: &BTreeMap<Name, Roles>, escaping: Escaping) -> BTreeMap<Name, Name> {
    let mut renamed = BTreeMap::new();
    let mut taken = BTreeSet::new();
    let mut groups: BTreeMap<&[u8], Group<'_>> = BTreeMap::new();
    for (name, &roles) in families {
        if is_legacy_metric_name(name) {
            taken.extend(sample_names(name, roles));
        } else {
            groups.entry(base(name, families)).or_default().push((name, roles));
        }
    }
    for (base, group) in groups {
        let usual: Vec<_> = group.iter().map(|(name, _)| escaped_metric(name, escaping)).collect();
        let others = escapes(escaped_metric(base, Escaping::Values)).map(|escaped| {
            let suffixes = group.iter().map(|(name, _)| name.get(base.len()..).unwrap_or_default());
            suffixes.map(|suffix| [&*escaped, suffix].concat()).collect()
        });
        for (i, names) in iter::once(usual).chain(others).enumerate() {
            let samples = samples(&names, &group);
            if !samples.is_disjoint(&taken) {
                continue;
            }
            taken.extend(samples);
            if i > 0 {
                let original = group.iter().map(|(name, _)| (*name).clone());
                renamed.extend(original.zip(names.into_iter().map(Vec::into_boxed_slice)));
            }
            break;
        }
    }
    renamed
}

/// Families whose samples could belong to one family.
type Group<'a> = Vec<(&'a Name, Roles)>;

/// The name of the family to which a sample of this name can belong, or the name itself.
fn base<'a>(name: &'a [u8], families: &BTreeMap<Name, Roles>) -> &'a [u8] {
    let base = Role::split(name).map(|(base, _)| base);
    base.filter(|base| families.contains_key(*base) && !is_legacy_metric_name(base)).unwrap_or(name)
}

/// The sample names of a group if its families get these names.
fn samples(names: &[Vec<u8>], group: &Group<'_>) -> BTreeSet<Vec<u8>> {
    names.iter().zip(group).flat_map(|(name, (_, roles))| sample_names(name, *roles)).collect()
}

/// The sample names of a family, and its own name.
fn sample_names(family: &[u8], roles: Roles) -> impl Iterator<Item = Vec<u8>> {
    let suffixes = roles.iter().map(Role::suffix).chain([Role::Plain.suffix()]);
    suffixes.map(move |suffix| [family, suffix].concat())
}

fn escaped_metric(name: &[u8], escaping: Escaping) -> Vec<u8> {
    let mut escaped = Vec::new();
    escape_metric_name(name, escaping, &mut escaped);
    escaped
}

/// A name, and the results of escaping it once, twice and so on.
fn escapes(name: Vec<u8>) -> impl Iterator<Item = Vec<u8>> {
    iter::successors(Some(name), |name| Some(escape_legacy_name(name)))
}

/// The output names of the labels that collide with added labels or must be escaped. `None` if all
/// of them get the usual name.
fn label_names(
    original: &BTreeSet<Name>,
    added: &AddedLabels,
    escaping: Escaping,
) -> Option<LabelNames> {
    let is_kept = |name: &&Name| is_legacy_label_name(name) || escaping == Escaping::AllowUtf8;
    let mut taken: BTreeSet<Cow<'_, [u8]>> =
        original.iter().filter(is_kept).map(|name| Cow::Borrowed(&**name)).collect();
    let mut choice = LabelNames::new();
    let mut is_usual = true;
    let mut choose = |name: &Name, candidates: &mut dyn Iterator<Item = Vec<u8>>| {
        let is_free =
            |name: &[u8]| name != RESERVED_LABEL && !added.has(name) && !taken.contains(name);
        let mut tried = candidates.map(|name| (is_free(&name), name)).enumerate();
        let Some((i, (_, free))) = tried.find(|(_, (is_free, _))| *is_free) else { return };
        is_usual &= i == 0;
        taken.insert(Cow::Owned(free.clone()));
        choice.insert(name.clone(), free.into());
    };
    // Shorter names first. Otherwise `x` could become `exported_x` before a label `exported_x` of
    // the sample is renamed.
    let mut clashing: Vec<_> = original.iter().filter(|name| added.has(name)).collect();
    clashing.sort_by_key(|name| name.len());
    for name in clashing {
        let usual = exported(name, added);
        choose(name, &mut iter::successors(Some(usual), |name| Some([EXPORTED, name].concat())));
    }
    for name in original.iter().filter(|name| !is_kept(name)) {
        let escaped = |escaping| {
            let mut escaped = Vec::new();
            escape_label_name(name, escaping, &mut escaped);
            escaped
        };
        let others = escapes(escaped(Escaping::Values));
        choose(name, &mut iter::once(escaped(escaping)).chain(others));
    }
    (!is_usual).then_some(choice)
}

/// The usual output name of a label whose name is that of an added label.
pub(super) fn exported(name: &[u8], added: &AddedLabels) -> Vec<u8> {
    let mut exported = [EXPORTED, name].concat();
    while added.has(&exported) {
        exported.splice(..0, EXPORTED.iter().copied());
    }
    exported
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(families: &[(&str, &[Role])]) -> BTreeMap<Name, Roles> {
        let mut names = SourceNames::default();
        for (name, roles) in families {
            let mut all = Roles::default();
            roles.iter().for_each(|role| all.insert(*role));
            names.add_family(name.as_bytes(), all);
        }
        names.families
    }

    fn text(name: &[u8]) -> String {
        String::from_utf8(name.to_vec()).unwrap()
    }

    fn metrics(families: &[(&str, &[Role])], escaping: Escaping) -> Vec<(String, String)> {
        let renamed = metric_names(&names(families), escaping);
        renamed.iter().map(|(original, name)| (text(original), text(name))).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(original, name)| (original.to_owned(), name.to_owned())).collect()
    }

    #[test]
    fn metrics_whose_escaped_names_are_equal_get_different_names() {
        use Escaping::{AllowUtf8, Dots, Underscores, Values};
        const PLAIN: &[Role] = &[Role::Plain];
        const HISTOGRAM: &[Role] = &[Role::Bucket, Role::Sum, Role::Count];
        type Case<'a> = (&'a [(&'a str, &'a [Role])], Escaping, &'a [(&'a str, &'a str)]);
        let cases: &[Case<'_>] = &[
            (&[("a.b", PLAIN), ("a.c", PLAIN)], Underscores, &[]),
            (&[("a.b", PLAIN), ("a_b", PLAIN)], Underscores, &[("a.b", "U__a_2e_b")]),
            (&[("a.b", PLAIN), ("a_b", PLAIN)], AllowUtf8, &[]),
            (&[("a.b", PLAIN), ("a_b", PLAIN)], Dots, &[]),
            (&[("a.b", PLAIN), ("a_dot_b", PLAIN)], Dots, &[("a.b", "U__a_2e_b")]),
            (&[("a.b", PLAIN), ("a-b", PLAIN)], Underscores, &[("a.b", "U__a_2e_b")]),
            (&[("a.b", PLAIN), ("U__a_2e_b", PLAIN)], Values, &[("a.b", "U__U____a__2e__b")]),
            (
                &[("a.b", PLAIN), ("a_b", PLAIN), ("U__a_2e_b", PLAIN)],
                Underscores,
                &[("a.b", "U__U____a__2e__b")],
            ),
            // Sample names count, not only family names.
            (&[("a.b", HISTOGRAM), ("a_b_sum", PLAIN)], Underscores, &[("a.b", "U__a_2e_b")]),
            (
                &[("a.b_total", PLAIN), ("a_b", &[Role::Total])],
                Underscores,
                &[("a.b_total", "U__a_2e_b__total")],
            ),
            // The same samples, with a type in one place and without in another.
            (
                &[("a.b", HISTOGRAM), ("a.b_sum", PLAIN), ("a_b", PLAIN)],
                Underscores,
                &[("a.b", "U__a_2e_b"), ("a.b_sum", "U__a_2e_b_sum")],
            ),
        ];
        for (families, escaping, expected) in cases {
            assert_eq!(metrics(families, *escaping), pairs(expected), "{families:?} {escaping:?}");
        }
    }

    #[test]
    fn labels_of_one_family_get_different_names() {
        use Escaping::{AllowUtf8, Underscores};
        type Case<'a> = (&'a [&'a str], &'a [&'a str], Escaping, &'a [(&'a str, &'a str)]);
        let cases: &[Case<'_>] = &[
            (&["i", "b"], &["i"], AllowUtf8, &[]),
            (&["i", "exported_i"], &["i"], AllowUtf8, &[("i", "exported_exported_i")]),
            (&["i"], &["i", "exported_i"], AllowUtf8, &[]),
            (
                &["i", "exported_i"],
                &["i", "exported_i"],
                AllowUtf8,
                &[("exported_i", "exported_exported_exported_i"), ("i", "exported_exported_i")],
            ),
            (&["a.b"], &[], Underscores, &[]),
            (&["a.b", "a_b"], &[], AllowUtf8, &[]),
            (&["a.b", "a_b"], &[], Underscores, &[("a.b", "U__a_2e_b")]),
            (&["a.b"], &["a_b"], Underscores, &[("a.b", "U__a_2e_b")]),
            (&["a-b", "a.b"], &[], Underscores, &[("a-b", "a_b"), ("a.b", "U__a_2e_b")]),
            (&["a.b", "a_b", "U__a_2e_b"], &[], Underscores, &[("a.b", "U__U____a__2e__b")]),
            (&["__name_."], &[], Underscores, &[("__name_.", "U______name___2e_")]),
        ];
        for (original, added, escaping, expected) in cases {
            let original = original.iter().map(|name| name.as_bytes().into()).collect();
            let added = AddedLabels::new(added.iter().map(|&name| (name, "")));
            let found = label_names(&original, &added, *escaping).unwrap_or_default();
            let found: Vec<_> =
                found.iter().map(|(original, name)| (text(original), text(name))).collect();
            assert_eq!(found, pairs(expected), "{original:?}");
        }
    }

    #[test]
    fn all_sample_names_of_a_family_have_one_stem() {
        for name in ["x", "x_total", "x_bucket", "x_sum", "x_count", "x_created", "x_sum_count"] {
            assert_eq!(stem(name.as_bytes()), b"x", "{name}");
        }
        assert_eq!(stem(b"_sum"), b"_sum");
    }
}
