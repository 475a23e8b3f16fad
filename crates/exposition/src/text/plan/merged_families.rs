//! Collects the families of all instances under their names in the output, and finds contradictions
//! between them.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use super::{
    super::{
        body::TextBody,
        families::{FamilyNaming, MetricType, Role, Roles},
        family_mapping::SourceFamily,
        index::IndexedFamily,
        lost_type::TypeConflict,
        output_dialect::OutputDialect,
        output_family::BodyText,
    },
    MergedFamily, SplitCause,
};

/// The families of all instances.
pub(in super::super) struct MergedFamilies {
    /// In the order of first appearance.
    pub(in super::super) families: Vec<MergedFamily>,
    pub(super) names: HashMap<Box<[u8]>, usize, RandomState>,
    /// For each instance and family, the destination of its samples.
    destinations: Vec<Vec<SampleDestination>>,
    /// The destinations by role, for families whose samples go to several ones.
    split: Vec<Vec<(Role, u32, Role)>>,
    /// The number of families with a unit.
    pub(super) units: usize,
}

/// The destination of the samples of an instance's family.
#[derive(Clone, Copy)]
enum SampleDestination {
    /// All samples go to this family and keep their roles.
    Same(u32),
    /// An index in `split`.
    Split(u32),
}

/// The memory of the destination of an instance's family.
pub(super) fn destination_memory(
    source: SourceFamily<'_>,
    roles: Roles,
    naming: FamilyNaming,
) -> usize {
    let destination = size_of::<SampleDestination>();
    if source.stays_whole(naming) {
        return destination;
    }
    // Small vectors have space for four entries.
    let entries = roles.count().next_power_of_two().max(4);
    let split = 2 * size_of::<Vec<(Role, u32, Role)>>();
    destination + split + entries * size_of::<(Role, u32, Role)>()
}

impl MergedFamilies {
    /// Collects the families, and finds contradictions between their types.
    pub(in super::super) fn new<'a>(
        instances: impl IntoIterator<Item = &'a TextBody>,
        dialect: &OutputDialect,
    ) -> Self {
        let mut merged = Self {
            families: Vec::new(),
            names: HashMap::default(),
            destinations: Vec::new(),
            split: Vec::new(),
            units: 0,
        };
        for (i, instance) in instances.into_iter().enumerate() {
            let mut destinations = Vec::with_capacity(instance.index.families.len());
            let mut expected = 0;
            for (f, family) in instance.index.families.iter().enumerate() {
                let destination = merged.add(instance, (i, f), family, dialect, &mut expected);
                destinations.push(destination);
            }
            merged.destinations.push(destinations);
        }
        merged.units =
            merged.families.iter().filter(|merged_family| merged_family.unit.is_some()).count();
        merged.find_owners(dialect.naming);
        merged.find_conflicts(dialect.naming);
        merged
    }

    /// Assigns samples without a type to the family of which they are a part. A type of their own
    /// is a conflict.
    fn find_owners(&mut self, naming: FamilyNaming) {
        let Self { families: all, names, .. } = self;
        for index in 0..all.len() {
            let Some(merged_family) = all.get(index) else { continue };
            let (shape, types) = (merged_family.shape, merged_family.types);
            let Some((base, role)) = Role::split(&merged_family.name) else { continue };
            let owner = |name: &[u8], role| {
                let &index = names.get(name)?;
                all.get(index)?.types.take(role, naming).then_some((index, role))
            };
            let total = || owner(&[base, Role::Total.suffix()].concat(), Role::TotalCreated);
            let found = match role {
                Role::Created => owner(base, role).or_else(total),
                _ => owner(base, role),
            };
            let Some((owner_index, role)) = found else { continue };
            let Some(owner) = all.get_mut(owner_index) else { continue };
            // Text formats have no other type for created timestamps.
            let is_same = types.is_empty()
                || matches!(role, Role::Created | Role::TotalCreated)
                    && types.agreed() == Some(MetricType::Gauge);
            let cause = SplitCause::Conflict(TypeConflict::Names);
            if !is_same {
                owner.split(cause);
            }
            owner.shape.join(shape.in_role(Role::Plain, role));
            if let Some(merged_family) = all.get_mut(index) {
                if !is_same {
                    merged_family.split(cause);
                }
                merged_family.owner = Some(owner_index);
            }
        }
    }

    fn find_conflicts(&mut self, naming: FamilyNaming) {
        for merged_family in &mut self.families {
            let misfits = merged_family
                .types
                .agreed()
                .is_some_and(|agreed| !merged_family.shape.fits(agreed, naming));
            if merged_family.types.are_several() {
                merged_family.split(SplitCause::Conflict(TypeConflict::Types));
            } else if misfits {
                merged_family.split(SplitCause::Conflict(TypeConflict::Samples));
            }
        }
    }

    /// Adds a family of one instance.
    fn add(
        &mut self,
        instance: &TextBody,
        (i, f): (usize, usize),
        family: &IndexedFamily,
        dialect: &OutputDialect,
        expected: &mut usize,
    ) -> SampleDestination {
        let source = instance.source(f as u32);
        let text = |span| BodyText { instance: i as u32, span };
        if source.stays_whole(dialect.naming) {
            let index = self.index_of_source(source, dialect, expected);
            if let Some(merged_family) = self.families.get_mut(index) {
                merged_family.add_metadata(family, text);
                merged_family.types.extend(source.metric_type);
                merged_family.shape.join(family.shape);
                merged_family.roles = merged_family.shape.roles;
            }
            return SampleDestination::Same(index as u32);
        }
        let mut roles = family.shape.roles;
        if roles.is_empty() {
            roles.insert(source.main_role());
        }
        let mut split: Vec<(Role, u32, Role)> = Vec::new();
        for role in roles.iter() {
            let to = source.destination(role, dialect.naming);
            let name = source.target_name(&to, dialect);
            let index = self.index_of(&name, expected);
            let Some(merged_family) = self.families.get_mut(index) else { continue };
            if to.is_split_off() {
                merged_family.split_from = split.first().map(|&(_, index, _)| index as usize);
            }
            if split.is_empty() || merged_family.split_from.is_some() {
                merged_family.add_metadata(family, text);
            }
            merged_family.types.extend(to.metric_type);
            merged_family.shape.join(family.shape.in_role(role, to.role));
            merged_family.roles = merged_family.shape.roles;
            split.push((role, index as u32, to.role));
        }
        match split.first() {
            Some(&(_, index, _)) if split.iter().all(|one| one.1 == index && one.0 == one.2) => {
                SampleDestination::Same(index)
            }
            _ => {
                self.split.push(split);
                SampleDestination::Split(self.split.len() as u32 - 1)
            }
        }
    }

    /// The index of a family that keeps its name.
    fn index_of_source(
        &mut self,
        source: SourceFamily<'_>,
        dialect: &OutputDialect,
        expected: &mut usize,
    ) -> usize {
        // A name that was found before needs no conversion.
        if !source.name.is_quoted
            && self
                .families
                .get(*expected)
                .is_some_and(|merged_family| *merged_family.name == *source.name.text)
        {
            *expected += 1;
            return *expected - 1;
        }
        self.index_of(&source.family_name(dialect), expected)
    }

    /// The index of the family with this name. The family after the last one is tried first,
    /// because instances mostly have the same order.
    fn index_of(&mut self, name: &[u8], expected: &mut usize) -> usize {
        // Several roles can go to one family.
        let is_here = |index: &usize| {
            self.families.get(*index).is_some_and(|merged_family| *merged_family.name == *name)
        };
        let found = [*expected, expected.wrapping_sub(1)].into_iter().find(is_here);
        let index = found.unwrap_or_else(|| self.index_or_add(name));
        *expected = index + 1;
        index
    }

    pub(super) fn index_or_add(&mut self, name: &[u8]) -> usize {
        if let Some(&index) = self.names.get(name) {
            return index;
        }
        let index = self.families.len();
        self.families.push(MergedFamily::new(name));
        self.names.insert(name.into(), index);
        index
    }

    /// The index of the output family of the samples in `role`.
    pub(super) fn target_of(&self, instance: usize, family: u32, role: Role) -> usize {
        let (index, role) = self.destination_of(instance, family, role);
        let merged_family = self.families.get(index);
        merged_family
            .and_then(|merged_family| merged_family.targets.get(role as usize))
            .copied()
            .unwrap_or_default()
    }

    /// The index of the family to which the samples in `role` belong if there are no conflicts.
    pub(in super::super) fn family_of(&self, instance: usize, family: u32, role: Role) -> usize {
        let (index, _) = self.destination_of(instance, family, role);
        let owner = self.families.get(index).and_then(|merged_family| merged_family.owner);
        owner.unwrap_or(index)
    }

    /// The index of the family to which the conversion moves the samples in `role`, and their role
    /// there.
    fn destination_of(&self, instance: usize, family: u32, role: Role) -> (usize, Role) {
        let destination = self
            .destinations
            .get(instance)
            .and_then(|destinations| destinations.get(family as usize));
        let (index, role) = match destination {
            Some(&SampleDestination::Same(index)) => (index, role),
            Some(&SampleDestination::Split(split)) => self
                .split
                .get(split as usize)
                .and_then(|split| split.iter().find(|one| one.0 == role))
                .map_or((0, role), |&(_, index, role)| (index, role)),
            None => (0, role),
        };
        (index as usize, role)
    }
}
