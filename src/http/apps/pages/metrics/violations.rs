//! Families that violate the specification of the format in which they are merged.

use super::differences::names;
use crate::scrape::InspectedInstance;
use exposition::{LostType, LostTypeReason, TypeConflict};
use std::collections::BTreeMap;

/// The violations of all families by name.
pub(super) struct Violations<'a> {
    families: BTreeMap<&'a str, Vec<FamilyViolation>>,
}

/// A violation of one family.
#[derive(Debug)]
pub(super) struct FamilyViolation {
    pub(super) reason: LostTypeReason,
    /// Positions of the instances.
    pub(super) instances: Vec<usize>,
}

impl<'a> Violations<'a> {
    /// Contradicting types and samples are not included, because they are differences. Types that
    /// the format does not have violate nothing.
    pub(super) fn new(lost_types: &'a [LostType]) -> Self {
        let mut families = BTreeMap::<&str, Vec<FamilyViolation>>::new();
        for LostType { family, reason, location, .. } in lost_types {
            match reason {
                LostTypeReason::Rule(_)
                | LostTypeReason::CounterName
                | LostTypeReason::Conflict(TypeConflict::Names) => {}
                LostTypeReason::Conflict(_) | LostTypeReason::Format => continue,
            }
            let of_family = families.entry(family).or_default();
            match of_family.iter_mut().find(|known| known.reason == *reason) {
                Some(known) => known.instances.push(location.instance),
                None => of_family
                    .push(FamilyViolation { reason: *reason, instances: vec![location.instance] }),
            }
        }
        Self { families }
    }

    pub(super) fn of(&self, family: &str) -> &[FamilyViolation] {
        self.families.get(family).map(Vec::as_slice).unwrap_or_default()
    }
}

impl FamilyViolation {
    /// For example `the sum is negative or NaN at web/0; it is stored without a type`.
    pub(super) fn text(&self, instances: &[InspectedInstance]) -> String {
        let at = names(&self.instances, instances);
        format!("{} at {at}; it is stored without a type", self.reason)
    }
}
