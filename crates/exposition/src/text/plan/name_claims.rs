//! Resolves name conflicts between families in OpenMetrics.
//!
//! A family claims its own name and the sample names of its type. A counter `x` claims `x_total`
//! and `x_created`, so there cannot be a gauge `x` (OpenMetrics 1.0.0, section "MetricFamily").

use std::collections::{BTreeSet, HashMap};

use super::{
    super::{
        families::{FamilyNaming, MetricType, Role},
        family_mapping::{sample_name, stem_of_total},
        lost_type::TypeConflict,
    },
    MergedFamily, SplitCause, TextPlanner,
};

/// After this number of rounds no family keeps a type that claims several names.
const ROUNDS: usize = 8;

impl TextPlanner<'_> {
    /// Splits families until no two claim the same name.
    pub(super) fn resolve_name_claims(&mut self) {
        for round in 0..=ROUNDS {
            let conflicting = self.conflicting();
            if conflicting.is_empty() {
                return;
            }
            for (index, merged_family) in self.merged.families.iter_mut().enumerate() {
                if conflicting.contains(&index)
                    || round == ROUNDS && merged_family.types.agreed().is_some_and(claims_parts)
                {
                    merged_family.split(SplitCause::Conflict(TypeConflict::Names));
                }
            }
        }
    }

    /// The families to split in this round.
    fn conflicting(&self) -> BTreeSet<usize> {
        let families = &self.merged.families;
        let mut claims: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut conflicting = BTreeSet::new();
        for (index, one) in families.iter().enumerate() {
            for name in self.claims(one) {
                let Some(&other) = claims.get(&name) else {
                    claims.insert(name, index);
                    continue;
                };
                if other == index {
                    continue;
                }
                let yields = [other, index].into_iter().filter(|&index| {
                    families.get(index).is_some_and(|one| {
                        !one.is_split() && one.types.agreed().is_some_and(claims_parts)
                    })
                });
                // A counter is split first, because its samples keep their meaning without a type.
                conflicting.extend(yields.max_by_key(|&index| {
                    families.get(index).is_some_and(|one| one.types.contain(MetricType::Counter))
                }));
            }
        }
        conflicting
    }

    fn claims(&self, merged_family: &MergedFamily) -> Vec<Vec<u8>> {
        let owner = merged_family.owner.and_then(|owner| self.merged.families.get(owner));
        if merged_family.is_split() {
            return merged_family
                .roles
                .iter()
                .map(|role| sample_name(&merged_family.name, role))
                .collect();
        }
        if owner.is_some_and(|owner| !owner.is_split()) {
            return Vec::new();
        }
        let mut names = vec![merged_family.name.to_vec()];
        let Some(metric_type) = merged_family.types.agreed() else { return names };
        let parts = Role::ALL.into_iter().filter(|role| {
            *role != Role::Plain && metric_type.takes(*role, FamilyNaming::OpenMetrics)
        });
        names.extend(parts.map(|role| sample_name(&merged_family.name, role)));
        if metric_type == MetricType::Counter
            && let Some(stem) = stem_of_total(&merged_family.name)
        {
            names.push(stem.to_vec());
        }
        names
    }
}

/// Whether a family of this type claims several names.
fn claims_parts(metric_type: MetricType) -> bool {
    !matches!(metric_type, MetricType::Gauge | MetricType::Unknown | MetricType::StateSet)
}
