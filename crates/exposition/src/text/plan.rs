//! Plans a merge: aligns the families of all instances and assigns their lines.

mod merged_families;
mod name_claims;
mod openmetrics;

use std::{collections::BTreeSet, ops::Range};

use super::{
    body::TextBody,
    families::{FamilyShape, MetricType, MetricTypes, Role, Roles},
    family_mapping,
    index::{IndexedFamily, SampleRun, TextIndex},
    lost_type::TypeConflict,
    output_dialect::OutputDialect,
    output_family::{BodyText, OutputFamily, OutputPart},
    regroup::{Regrouped, RegroupedLine},
    span::Span,
};
pub(super) use merged_families::MergedFamilies;

/// The families and lines of the output in their order.
pub(super) struct TextPlan {
    pub(super) families: Vec<OutputFamily>,
    /// The parts of all families, grouped by family.
    pub(super) parts: Vec<OutputPart>,
    /// Samples whose order in the output differs from that in the body.
    pub(super) regrouped: Vec<Regrouped>,
    /// Families that became untyped because of a conflict, by their names in the merge.
    pub(super) conflicts: Vec<(Box<[u8]>, TypeConflict)>,
    /// Families that became `unknown` because they violate a rule of their type.
    pub(super) spec_violations: usize,
    /// The length of all exemplars in the output.
    pub(super) exemplar_bytes: u64,
    pub(super) lost_exemplars: usize,
    pub(super) lost_units: usize,
    /// Samples that are left out, because their series has samples with and without a timestamp.
    pub(super) ambiguous: usize,
    /// The length of these samples.
    pub(super) ambiguous_bytes: u64,
    /// The change in length of lines that were measured before their type was known.
    pub(super) grown_bytes: i64,
}

impl TextPlan {
    pub(super) fn new(instances: &[TextBody], dialect: &OutputDialect) -> Self {
        Self::with_violations(instances, dialect, |_, _| {})
    }

    /// Passes each family that violates a rule to `each`, with a plan in which the family has its
    /// type.
    pub(super) fn with_violations(
        instances: &[TextBody],
        dialect: &OutputDialect,
        mut each: impl FnMut(&Self, &OutputFamily),
    ) -> Self {
        let mut violating = BTreeSet::new();
        loop {
            let mut planner = TextPlanner::new(instances, dialect);
            if dialect.is_openmetrics() {
                planner.resolve_name_claims();
            }
            let conflicts = planner.conflicts();
            planner.split(&violating);
            if dialect.is_openmetrics() && !violating.is_empty() {
                planner.resolve_name_claims();
            }
            planner.assign_targets();
            let mut plan = planner.arrange(conflicts);
            if !dialect.is_openmetrics() {
                return plan;
            }
            plan.count_exemplars(instances);
            let found = plan.sort_samples(instances, dialect);
            let before = violating.len();
            for family in found.iter().filter_map(|&index| plan.families.get(index)) {
                each(&plan, family);
                violating.insert(family.key.clone());
            }
            if violating.len() == before {
                plan.spec_violations = before;
                return plan;
            }
        }
    }
}

/// Why a family loses its type.
#[derive(Clone, Copy)]
enum SplitCause {
    Conflict(TypeConflict),
    /// Its samples violate a rule of its type.
    Violation,
}

/// A family of all instances, under its name in the merge.
pub(super) struct MergedFamily {
    pub(super) name: Box<[u8]>,
    /// The first `HELP` of all instances.
    pub(super) help: Option<BodyText>,
    pub(super) unit: Option<BodyText>,
    types: MetricTypes,
    /// The roles of the samples that the family has in bodies.
    roles: Roles,
    /// The shape of these samples and of samples without a type that belong to the family.
    shape: FamilyShape,
    /// The family to which the samples of this family belong.
    owner: Option<usize>,
    /// The family from which this one was split off by the conversion.
    split_from: Option<usize>,
    /// Why each sample name becomes an untyped family.
    split: Option<SplitCause>,
    /// The output family of the samples, by role.
    targets: [usize; Role::ALL.len()],
    /// The sort key in the output. `None` if the family is not written.
    position: Option<(usize, Role)>,
}

impl MergedFamily {
    fn new(name: &[u8]) -> Self {
        Self {
            name: name.into(),
            help: None,
            unit: None,
            types: MetricTypes::default(),
            roles: Roles::default(),
            shape: FamilyShape::default(),
            owner: None,
            split_from: None,
            split: None,
            targets: Default::default(),
            position: None,
        }
    }

    /// Whether each sample name becomes an untyped family.
    pub(super) fn is_split(&self) -> bool {
        self.split.is_some()
    }

    /// Makes each sample name an untyped family.
    fn split(&mut self, cause: SplitCause) {
        self.split.get_or_insert(cause);
    }

    /// Adds the metadata of one instance.
    fn add_metadata(&mut self, family: &IndexedFamily, text: impl Fn(Span) -> BodyText) {
        if self.help.is_none() && !family.help.is_empty() {
            self.help = Some(text(family.help));
        }
        if self.unit.is_none() && self.split_from.is_none() && !family.unit.is_empty() {
            self.unit = Some(text(family.unit));
        }
    }

    /// Adds samples that first occurred at `position`.
    fn note_position(&mut self, position: (usize, Role)) {
        self.position = Some(self.position.map_or(position, |earlier| earlier.min(position)));
    }
}

/// The memory of the plan of a merge for a family that no other instance has, in bytes.
///
/// It includes the memory that is used only while the merge is planned.
pub(super) fn family_memory(name: usize, roles: Roles) -> usize {
    // A growing vector can be twice as large as its content.
    let family = 2 * size_of::<MergedFamily>() + size_of::<OutputFamily>();
    let entries = 2 * (size_of::<(Box<[u8]>, usize)>() + 1) + 3 * size_of::<usize>();
    // The name as a key of families, of output families and of name claims.
    let names = 6 * (name + size_of::<Box<[u8]>>());
    roles.possible_families() * (family + entries + names)
}

/// The memory of the plan of a merge for the samples of one instance, in bytes.
pub(super) fn instance_memory(instance: &TextBody, dialect: &OutputDialect) -> usize {
    let TextIndex { runs, families, .. } = &instance.index;
    let parts = |run: &SampleRun| {
        let family = families.get(run.family as usize);
        let parts = family.map_or(0, |family| family.shape.roles.count());
        // OpenMetrics samples of a type that is not known yet can have to be sorted.
        let is_sorted = dialect.is_openmetrics()
            && family.is_some_and(|family| {
                family.rule_result.needs_reordering || family.rule_result.is_unchecked
            });
        let sorted = 2 * size_of::<Regrouped>() + run.count as usize * size_of::<RegroupedLine>();
        parts * size_of::<OutputPart>() + if is_sorted { sorted } else { 0 }
    };
    let parts: usize = runs.iter().map(parts).sum();
    let destinations: usize = (0..)
        .zip(families)
        .map(|(f, family)| {
            let source = instance.source(f);
            merged_families::destination_memory(source, family.shape.roles, dialect.naming)
        })
        .sum();
    parts + destinations
}

struct TextPlanner<'a> {
    instances: &'a [TextBody],
    dialect: &'a OutputDialect,
    merged: MergedFamilies,
}

impl<'a> TextPlanner<'a> {
    fn new(instances: &'a [TextBody], dialect: &'a OutputDialect) -> Self {
        Self { instances, dialect, merged: MergedFamilies::new(instances, dialect) }
    }

    /// Splits the families of these names.
    fn split(&mut self, names: &BTreeSet<Box<[u8]>>) {
        for name in names {
            let MergedFamilies { families, names, .. } = &mut self.merged;
            let index = names.get(name);
            if let Some(merged_family) = index.and_then(|&index| families.get_mut(index)) {
                merged_family.split(SplitCause::Violation);
            }
        }
    }

    fn conflicts(&self) -> Vec<(Box<[u8]>, TypeConflict)> {
        let conflict = |merged_family: &MergedFamily| match merged_family.split {
            Some(SplitCause::Conflict(conflict)) => Some((merged_family.name.clone(), conflict)),
            _ => None,
        };
        self.merged.families.iter().filter_map(conflict).collect()
    }

    /// Decides which families are written, and with which samples.
    fn assign_targets(&mut self) {
        for index in 0..self.merged.families.len() {
            let Some(merged_family) = self.merged.families.get(index) else { continue };
            if merged_family.is_split() {
                for role in merged_family.roles.iter() {
                    self.assign_untyped(index, role);
                }
                continue;
            }
            let owner = merged_family
                .owner
                .and_then(|owner| Some((owner, self.merged.families.get(owner)?.is_split())));
            match owner {
                // It joins the samples that are split off from its owner.
                Some((_, true)) => self.assign_untyped(index, Role::Plain),
                Some((owner, false)) => self.assign_all(index, owner),
                None => self.assign_all(index, index),
            }
        }
    }

    /// Assigns all samples of the family at `index` to the family at `target`.
    fn assign_all(&mut self, index: usize, target: usize) {
        let all = &mut self.merged.families;
        let split_from = all.get(index).and_then(|merged_family| merged_family.split_from);
        if let Some(target) = all.get_mut(target) {
            target.note_position(
                split_from.map_or((index, Role::Plain), |before| (before, Role::Created)),
            );
        }
        if let Some(merged_family) = all.get_mut(index) {
            merged_family.targets = [target; Role::ALL.len()];
        }
    }

    /// Assigns the samples of one role to the untyped family of their name.
    fn assign_untyped(&mut self, index: usize, role: Role) {
        let Some(merged_family) = self.merged.families.get(index) else { return };
        let help = merged_family.help;
        let target = match role {
            Role::Plain => index,
            _ => {
                let name = family_mapping::sample_name(&merged_family.name, role);
                self.merged.index_or_add(&name)
            }
        };
        let all = &mut self.merged.families;
        if let Some(target) = all.get_mut(target) {
            target.note_position((index, role));
            target.help = target.help.or(help);
            target.types = MetricTypes::from(MetricType::Unknown);
            target.unit = None;
        }
        if let Some(targets) = all
            .get_mut(index)
            .and_then(|merged_family| merged_family.targets.get_mut(role as usize))
        {
            *targets = target;
        }
    }

    /// Sorts the families and lists the parts of each.
    fn arrange(self, conflicts: Vec<(Box<[u8]>, TypeConflict)>) -> TextPlan {
        let mut counts = vec![0_usize; self.merged.families.len()];
        self.each_part(|target, _| {
            if let Some(count) = counts.get_mut(target) {
                *count += 1;
            }
        });
        let mut parts = vec![NOWHERE; counts.iter().sum()];
        let mut order: Vec<_> = self.merged.families.iter().zip(0..).collect();
        order.retain(|(merged_family, _)| merged_family.position.is_some());
        order.sort_unstable_by_key(|(merged_family, _)| merged_family.position);
        // From here on, a count is the index of the next part of its family.
        let mut end = 0;
        let families = order
            .iter()
            .map(|&(merged_family, index): &(&MergedFamily, usize)| {
                let start = end;
                if let Some(count) = counts.get_mut(index) {
                    end += std::mem::replace(count, start);
                }
                self.planned(merged_family, start..end)
            })
            .collect();
        self.each_part(|target, part| {
            if let Some(next) = counts.get_mut(target)
                && let Some(index) = parts.get_mut(*next)
            {
                *index = part;
                *next += 1;
            }
        });
        let mut plan = TextPlan {
            families,
            parts,
            regrouped: Vec::new(),
            conflicts,
            spec_violations: 0,
            exemplar_bytes: 0,
            lost_exemplars: 0,
            lost_units: 0,
            ambiguous: 0,
            ambiguous_bytes: 0,
            grown_bytes: 0,
        };
        plan.lost_units = self.lost_units(&plan);
        plan
    }

    fn planned(&self, merged_family: &MergedFamily, parts: Range<usize>) -> OutputFamily {
        let unit = merged_family
            .unit
            .filter(|_| self.dialect.is_openmetrics() && !merged_family.is_split());
        let metric_type = merged_family.types.agreed();
        let is_cut = self.dialect.is_openmetrics() && metric_type == Some(MetricType::Counter);
        let cut = is_cut.then(|| family_mapping::stem_of_total(&merged_family.name)).flatten();
        OutputFamily {
            key: merged_family.name.clone(),
            name: cut.unwrap_or(&merged_family.name).into(),
            help: merged_family.help,
            unit,
            metric_type,
            parts,
        }
    }

    fn lost_units(&self, plan: &TextPlan) -> usize {
        let total = self.merged.units;
        total.saturating_sub(plan.families.iter().filter(|family| family.unit.is_some()).count())
    }

    /// Calls `each` with each part and the index of its family, in the order of the parts.
    fn each_part(&self, mut each: impl FnMut(usize, OutputPart)) {
        for (i, instance) in self.instances.iter().enumerate() {
            for (r, run) in instance.index.runs.iter().enumerate() {
                let part = |only| OutputPart {
                    instance: i as u32,
                    run: r as u32,
                    only,
                    is_regrouped: false,
                };
                let roles = instance.index.roles(run.family);
                let mut pending: Option<(usize, Roles)> = None;
                for role in roles.iter() {
                    let target = self.merged.target_of(i, run.family, role);
                    match &mut pending {
                        Some((same, only)) if *same == target => only.insert(role),
                        _ => {
                            if let Some((target, only)) = pending.replace((target, role.into())) {
                                each(target, part(only));
                            }
                        }
                    }
                }
                if let Some((target, only)) = pending {
                    each(target, part(if only == roles { Roles::ANY } else { only }));
                }
            }
        }
    }
}

const NOWHERE: OutputPart =
    OutputPart { instance: 0, run: 0, only: Roles::ANY, is_regrouped: false };
