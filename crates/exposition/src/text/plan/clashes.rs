//! Names that OpenMetrics gives to one family only.
//!
//! A family claims its own name and those that samples of its type can have, so a
//! counter `x` claims `x_total` and `x_created`, and cannot stand beside a gauge `x`.

use std::collections::{BTreeSet, HashMap};

use super::{
    super::{
        families::{MetricType, Naming, Role},
        translate::{sample_name, stem_of_total},
    },
    Known, Planner,
};

/// After so many rounds no family keeps a type that claims more than a name.
const ROUNDS: usize = 8;

impl Planner<'_> {
    /// Splits families until no two claim the same name.
    pub(super) fn find_clashes(&mut self) {
        for round in 0..=ROUNDS {
            let clashing = self.clashing();
            if clashing.is_empty() {
                return;
            }
            for (place, known) in self.collected.known.iter_mut().enumerate() {
                known.is_split |= clashing.contains(&place)
                    || round == ROUNDS && known.types.agreed().is_some_and(claims_parts);
            }
        }
    }

    /// The families that must give way.
    fn clashing(&self) -> BTreeSet<usize> {
        let known = &self.collected.known;
        let mut claims: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut clashing = BTreeSet::new();
        for (place, one) in known.iter().enumerate() {
            for name in self.claims(one) {
                let Some(&other) = claims.get(&name) else {
                    claims.insert(name, place);
                    continue;
                };
                if other == place {
                    continue;
                }
                let yields = [other, place].into_iter().filter(|&place| {
                    known.get(place).is_some_and(|one| {
                        !one.is_split && one.types.agreed().is_some_and(claims_parts)
                    })
                });
                // A counter stays readable without its type.
                clashing.extend(yields.max_by_key(|&place| {
                    known.get(place).is_some_and(|one| one.types.contain(MetricType::Counter))
                }));
            }
        }
        clashing
    }

    fn claims(&self, known: &Known) -> Vec<Vec<u8>> {
        let owner = known.owner.and_then(|owner| self.collected.known.get(owner));
        if known.is_split {
            return known.roles.iter().map(|role| sample_name(&known.name, role)).collect();
        }
        if owner.is_some_and(|owner| !owner.is_split) {
            return Vec::new();
        }
        let mut names = vec![known.name.to_vec()];
        let Some(metric_type) = known.types.agreed() else { return names };
        let parts = Role::ALL
            .into_iter()
            .filter(|role| *role != Role::Plain && metric_type.takes(*role, Naming::OpenMetrics));
        names.extend(parts.map(|role| sample_name(&known.name, role)));
        if metric_type == MetricType::Counter
            && let Some(stem) = stem_of_total(&known.name)
        {
            names.push(stem.to_vec());
        }
        names
    }
}

/// Whether a family of this type claims other names than that of its samples.
fn claims_parts(metric_type: MetricType) -> bool {
    !matches!(metric_type, MetricType::Gauge | MetricType::Unknown | MetricType::StateSet)
}
