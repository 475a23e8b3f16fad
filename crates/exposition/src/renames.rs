//! Names that differ from what escaping or one `exported_` would make of them, because
//! series that are different would become equal otherwise.
//!
//! The names depend on one source alone, so that its series are the same whichever other
//! instances answer, and not on the order of its lines.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    iter,
};

use super::{
    families::{Role, Roles},
    format::Escaping,
    labels::Labels,
    names::{
        RESERVED_LABEL, escape_again, escape_label_name, escape_metric_name, is_legacy_label_name,
        is_legacy_metric_name,
    },
};

type Name = Box<[u8]>;

/// The names of one family's labels: as the source has them, and as they are written.
pub(super) type LabelNames = BTreeMap<Name, Name>;

/// What goes before the name of a label if a label of that name is added.
pub(super) const EXPORTED: &[u8] = b"exported_";

/// How a source is written where the usual names would make series equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Renames {
    /// By the name that a family has in its source.
    metrics: BTreeMap<Name, Name>,
    /// By the [stem] of the names of its samples.
    labels: BTreeMap<Name, LabelNames>,
    /// Families with two bounds that are one number, which stay as they are spelled.
    equal_bounds: BTreeSet<Name>,
}

impl Renames {
    /// Decides on the names of a source.
    pub(super) fn new(names: &Names, added: &Labels, escaping: Escaping) -> Self {
        let labels = names.labels.iter().filter_map(|(stem, own)| {
            let labels = label_names(own, added, escaping)?;
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

    /// The name that a family is written under, if it is not the usual one.
    pub(super) fn metric(&self, family: &[u8]) -> Option<&[u8]> {
        self.metrics.get(family).map(|name| &**name)
    }

    /// The names of labels of samples or a family with this name, if they are not the usual ones.
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

/// The names that a source uses, none of them escaped.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Families, and the roles of their samples. Empty unless one must be escaped.
    families: BTreeMap<Name, Roles>,
    /// Labels, by the [stem] of their metrics' names. Empty for those that need no look.
    labels: BTreeMap<Name, BTreeSet<Name>>,
    equal_bounds: BTreeSet<Name>,
}

impl Names {
    pub(super) fn add_family(&mut self, name: &[u8], roles: Roles) {
        match self.families.get_mut(name) {
            Some(known) => known.join(roles),
            None => _ = self.families.insert(name.into(), roles),
        }
    }

    pub(super) fn add_equal_bounds(&mut self, family: &[u8]) {
        self.equal_bounds.insert(family.into());
    }

    /// The labels of metrics whose names have this stem.
    pub(super) fn labels_of(&mut self, stem: &[u8]) -> &mut BTreeSet<Name> {
        self.labels.entry(stem.into()).or_default()
    }
}

/// The part of a name that the samples of one family have in common, whatever its type.
pub(super) fn stem(mut name: &[u8]) -> &[u8] {
    while let Some((stem, _)) = Role::of(name).filter(|(stem, _)| !stem.is_empty()) {
        name = stem;
    }
    name
}

/// How labels with these properties are used in a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LabelUse(u8);

impl LabelUse {
    /// One has the name of an added label.
    pub(super) const CLASH: Self = Self(1);
    /// The name of one starts with `exported_`.
    pub(super) const EXPORTED: Self = Self(2);
    /// The name of one is not valid in every format.
    pub(super) const ODD: Self = Self(4);

    /// That of a label with this name, which is not escaped.
    pub(super) fn of(name: &[u8], added: &Labels) -> Self {
        let mut used = Self::default();
        for (is_used, this) in [
            (added.has(name), Self::CLASH),
            (name.starts_with(EXPORTED), Self::EXPORTED),
            (!is_legacy_label_name(name), Self::ODD),
        ] {
            if is_used {
                used.join(this);
            }
        }
        used
    }

    #[inline(always)]
    pub(super) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    #[inline(always)]
    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether two labels could get one name.
    pub(super) fn must_be_checked(self, escaping: Escaping) -> bool {
        self.has(Self::CLASH) && self.has(Self::EXPORTED)
            || self.has(Self::ODD) && escaping != Escaping::AllowUtf8
    }
}

/// The families that cannot have the usual name, and the one that they get.
///
/// A name that needs no escaping keeps its form. Of the others the first in the order of
/// their bytes gets the usual form, and the rest are written with [`Escaping::Values`].
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
                let own = group.iter().map(|(name, _)| (*name).clone());
                renamed.extend(own.zip(names.into_iter().map(Vec::into_boxed_slice)));
            }
            break;
        }
    }
    renamed
}

/// Families whose samples could belong to one family.
type Group<'a> = Vec<(&'a Name, Roles)>;

/// The family to which samples with this name would belong, or the name itself.
fn base<'a>(name: &'a [u8], families: &BTreeMap<Name, Roles>) -> &'a [u8] {
    let base = Role::of(name).map(|(base, _)| base);
    base.filter(|base| families.contains_key(*base) && !is_legacy_metric_name(base)).unwrap_or(name)
}

/// The names that the samples of a group get when its families get these.
fn samples(names: &[Vec<u8>], group: &Group<'_>) -> BTreeSet<Vec<u8>> {
    names.iter().zip(group).flat_map(|(name, (_, roles))| sample_names(name, *roles)).collect()
}

/// The names that samples of a family have, and its own.
fn sample_names(family: &[u8], roles: Roles) -> impl Iterator<Item = Vec<u8>> {
    let suffixes = roles.iter().map(Role::suffix).chain([Role::Plain.suffix()]);
    suffixes.map(move |suffix| [family, suffix].concat())
}

fn escaped_metric(name: &[u8], escaping: Escaping) -> Vec<u8> {
    let mut escaped = Vec::new();
    escape_metric_name(name, escaping, &mut escaped);
    escaped
}

/// A name and the results of escaping it repeatedly.
fn escapes(name: Vec<u8>) -> impl Iterator<Item = Vec<u8>> {
    iter::successors(Some(name), |name| Some(escape_again(name)))
}

/// The names of the labels of a family that are added or must be escaped, unless all of them
/// get the usual name.
fn label_names(own: &BTreeSet<Name>, added: &Labels, escaping: Escaping) -> Option<LabelNames> {
    let is_kept = |name: &&Name| is_legacy_label_name(name) || escaping == Escaping::AllowUtf8;
    let mut taken: BTreeSet<Cow<'_, [u8]>> =
        own.iter().filter(is_kept).map(|name| Cow::Borrowed(&**name)).collect();
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
    // The shortest goes first, so that `exported_x` is not taken for `x` before its own turn.
    let mut clashing: Vec<_> = own.iter().filter(|name| added.has(name)).collect();
    clashing.sort_by_key(|name| name.len());
    for name in clashing {
        let usual = exported(name, added);
        choose(name, &mut iter::successors(Some(usual), |name| Some([EXPORTED, name].concat())));
    }
    for name in own.iter().filter(|name| !is_kept(name)) {
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

/// The usual name of a label whose name is that of an added one.
pub(super) fn exported(name: &[u8], added: &Labels) -> Vec<u8> {
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
        let mut names = Names::default();
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
        renamed.iter().map(|(own, name)| (text(own), text(name))).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(own, name)| (own.to_owned(), name.to_owned())).collect()
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
            // Names of samples count, not only those of families.
            (&[("a.b", HISTOGRAM), ("a_b_sum", PLAIN)], Underscores, &[("a.b", "U__a_2e_b")]),
            (
                &[("a.b_total", PLAIN), ("a_b", &[Role::Total])],
                Underscores,
                &[("a.b_total", "U__a_2e_b__total")],
            ),
            // The same samples, in one place with their type and in another without.
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
        for (own, added, escaping, expected) in cases {
            let own = own.iter().map(|name| name.as_bytes().into()).collect();
            let added = Labels::new(added.iter().map(|&name| (name, "")));
            let found = label_names(&own, &added, *escaping).unwrap_or_default();
            let found: Vec<_> = found.iter().map(|(own, name)| (text(own), text(name))).collect();
            assert_eq!(found, pairs(expected), "{own:?}");
        }
    }

    #[test]
    fn a_stem_is_common_to_all_samples_of_a_family() {
        for name in ["x", "x_total", "x_bucket", "x_sum", "x_count", "x_created", "x_sum_count"] {
            assert_eq!(stem(name.as_bytes()), b"x", "{name}");
        }
        assert_eq!(stem(b"_sum"), b"_sum");
    }
}
