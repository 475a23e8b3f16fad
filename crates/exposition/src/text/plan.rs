//! Which lines stand together: the families of all instances, lined up.

mod clashes;
mod collect;
mod rules;

use std::{collections::BTreeSet, ops::Range};

use super::{
    dialect::Dialect,
    families::{MetricType, Role, Roles, Shape, Types},
    index::Family,
    instance::Instance,
    planned::{Part, Planned, Text},
    regroup::Regrouped,
    span::Span,
    translate,
};
use collect::Collected;

/// What is written, in its order.
pub(super) struct Plan {
    pub(super) families: Vec<Planned>,
    /// Those of the first family, then those of the second, and so on.
    pub(super) parts: Vec<Part>,
    /// Samples that are not written in the order in which they stand in their body.
    pub(super) regrouped: Vec<Regrouped>,
    /// How many families had to become untyped because somebody contradicts.
    pub(super) type_conflicts: usize,
    /// How many families had to become unknown because they break a rule of their type.
    pub(super) broken_rules: usize,
    /// The length of all exemplars that are written.
    pub(super) exemplar_bytes: u64,
    pub(super) lost_exemplars: usize,
    pub(super) lost_units: usize,
    /// Samples that are left out, because their series has some with and some without a timestamp.
    pub(super) ambiguous: usize,
    /// How long those would be.
    pub(super) ambiguous_bytes: u64,
    /// How much longer lines are than they were measured, since their type came later.
    pub(super) grown_bytes: i64,
}

impl Plan {
    pub(super) fn new(instances: &[Instance], dialect: &Dialect) -> Self {
        let mut broken = BTreeSet::new();
        loop {
            let mut planner = Planner::new(instances, dialect);
            planner.find_owners();
            planner.find_conflicts();
            if dialect.is_openmetrics() {
                planner.find_clashes();
            }
            let type_conflicts = planner.splits();
            planner.split(&broken);
            if dialect.is_openmetrics() && !broken.is_empty() {
                planner.find_clashes();
            }
            planner.send_samples();
            let mut plan = planner.line_up(type_conflicts);
            if !dialect.is_openmetrics() {
                return plan;
            }
            plan.count_exemplars(instances);
            let before = broken.len();
            broken.extend(plan.put_in_order(instances, dialect));
            if broken.len() == before {
                plan.broken_rules = before;
                return plan;
            }
        }
    }
}

/// A family as all instances together know it, under the name that it has in the output.
struct Known {
    name: Box<[u8]>,
    /// The first of all instances.
    help: Option<Text>,
    unit: Option<Text>,
    types: Types,
    /// Those that its own samples have.
    roles: Roles,
    /// Of its samples, and of those that stand elsewhere but belong to it.
    shape: Shape,
    /// The family to which its samples belong.
    owner: Option<usize>,
    /// The family of which it was a part in its source.
    follows: Option<usize>,
    /// Its samples become untyped families by their names.
    is_split: bool,
    /// Where its samples go, by role.
    goes_to: [usize; Role::ALL.len()],
    /// Whether it is written, and in which order.
    position: Option<(usize, Role)>,
}

impl Known {
    fn new(name: &[u8]) -> Self {
        Self {
            name: name.into(),
            help: None,
            unit: None,
            types: Types::default(),
            roles: Roles::default(),
            shape: Shape::default(),
            owner: None,
            follows: None,
            is_split: false,
            goes_to: Default::default(),
            position: None,
        }
    }

    /// Takes note of the texts that an instance has for the family.
    fn hear(&mut self, family: &Family, text: impl Fn(Span) -> Text) {
        if self.help.is_none() && !family.help.is_empty() {
            self.help = Some(text(family.help));
        }
        if self.unit.is_none() && self.follows.is_none() && !family.unit.is_empty() {
            self.unit = Some(text(family.unit));
        }
    }

    /// Takes note that samples go here which first appeared at `position`.
    fn is_at(&mut self, position: (usize, Role)) {
        self.position = Some(self.position.map_or(position, |earlier| earlier.min(position)));
    }
}

struct Planner<'a> {
    instances: &'a [Instance],
    dialect: &'a Dialect,
    collected: Collected,
}

impl<'a> Planner<'a> {
    fn new(instances: &'a [Instance], dialect: &'a Dialect) -> Self {
        Self { instances, dialect, collected: Collected::new(instances, dialect) }
    }

    /// Splits the families of these names.
    fn split(&mut self, names: &BTreeSet<Box<[u8]>>) {
        for name in names {
            let Collected { known, names, .. } = &mut self.collected;
            let place = names.get(name);
            if let Some(known) = place.and_then(|&place| known.get_mut(place)) {
                known.is_split = true;
            }
        }
    }

    fn splits(&self) -> usize {
        self.collected.known.iter().filter(|known| known.is_split).count()
    }

    /// Gives samples that stand without a type to the family of which they are a part;
    /// where they have one of their own, it is a conflict.
    fn find_owners(&mut self) {
        let naming = self.dialect.naming;
        let Collected { known: all, names, .. } = &mut self.collected;
        for place in 0..all.len() {
            let Some(known) = all.get(place) else { continue };
            let (shape, types) = (known.shape, known.types);
            let Some((base, role)) = Role::of(&known.name) else { continue };
            let owner = |name: &[u8], role| {
                let &place = names.get(name)?;
                all.get(place)?.types.take(role, naming).then_some((place, role))
            };
            let total = || owner(&[base, Role::Total.suffix()].concat(), Role::TotalCreated);
            let found = match role {
                Role::Created => owner(base, role).or_else(total),
                _ => owner(base, role),
            };
            let Some((owner_place, role)) = found else { continue };
            let Some(owner) = all.get_mut(owner_place) else { continue };
            // The text format has no other type for the time at which a metric was created.
            let is_same = types.is_empty()
                || matches!(role, Role::Created | Role::TotalCreated)
                    && types.agreed() == Some(MetricType::Gauge);
            owner.is_split |= !is_same;
            owner.shape.join(shape.in_role(Role::Plain, role));
            if let Some(known) = all.get_mut(place) {
                known.is_split |= !is_same;
                known.owner = Some(owner_place);
            }
        }
    }

    fn find_conflicts(&mut self) {
        let naming = self.dialect.naming;
        for known in &mut self.collected.known {
            let misfits =
                known.types.agreed().is_some_and(|agreed| !known.shape.fits(agreed, naming));
            known.is_split |= known.types.are_several() || misfits;
        }
    }

    /// Decides where the samples of each family go, and so which families are written.
    fn send_samples(&mut self) {
        for place in 0..self.collected.known.len() {
            let Some(known) = self.collected.known.get(place) else { continue };
            if known.is_split {
                for role in known.roles.iter() {
                    self.send_untyped(place, role);
                }
                continue;
            }
            let owner = known
                .owner
                .and_then(|owner| Some((owner, self.collected.known.get(owner)?.is_split)));
            match owner {
                // It goes with the other samples that are split off there.
                Some((_, true)) => self.send_untyped(place, Role::Plain),
                Some((owner, false)) => self.send_all(place, owner),
                None => self.send_all(place, place),
            }
        }
    }

    /// Sends all samples of the family at `place` to the one at `target`.
    fn send_all(&mut self, place: usize, target: usize) {
        let all = &mut self.collected.known;
        let follows = all.get(place).and_then(|known| known.follows);
        if let Some(target) = all.get_mut(target) {
            target.is_at(follows.map_or((place, Role::Plain), |before| (before, Role::Created)));
        }
        if let Some(known) = all.get_mut(place) {
            known.goes_to = [target; Role::ALL.len()];
        }
    }

    /// Sends the samples of one role to the untyped family of their name.
    fn send_untyped(&mut self, place: usize, role: Role) {
        let Some(known) = self.collected.known.get(place) else { return };
        let help = known.help;
        let target = match role {
            Role::Plain => place,
            _ => {
                let name = translate::sample_name(&known.name, role);
                self.collected.place_named(&name)
            }
        };
        let all = &mut self.collected.known;
        if let Some(target) = all.get_mut(target) {
            target.is_at((place, role));
            target.help = target.help.or(help);
            target.types = Types::from(MetricType::Unknown);
            target.unit = None;
        }
        if let Some(goes_to) =
            all.get_mut(place).and_then(|known| known.goes_to.get_mut(role as usize))
        {
            *goes_to = target;
        }
    }

    /// Puts the families in order, and the runs of samples below them.
    fn line_up(self, type_conflicts: usize) -> Plan {
        let mut counts = vec![0_usize; self.collected.known.len()];
        self.each_part(|target, _| {
            if let Some(count) = counts.get_mut(target) {
                *count += 1;
            }
        });
        let mut parts = vec![NOWHERE; counts.iter().sum()];
        let mut order: Vec<_> = self.collected.known.iter().zip(0..).collect();
        order.retain(|(known, _)| known.position.is_some());
        order.sort_unstable_by_key(|(known, _)| known.position);
        // From here on a count is where the next part of its family goes.
        let mut end = 0;
        let families = order
            .iter()
            .map(|&(known, place): &(&Known, usize)| {
                let start = end;
                if let Some(count) = counts.get_mut(place) {
                    end += std::mem::replace(count, start);
                }
                self.planned(known, start..end)
            })
            .collect();
        self.each_part(|target, part| {
            if let Some(next) = counts.get_mut(target)
                && let Some(place) = parts.get_mut(*next)
            {
                *place = part;
                *next += 1;
            }
        });
        let mut plan = Plan {
            families,
            parts,
            regrouped: Vec::new(),
            type_conflicts,
            broken_rules: 0,
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

    fn planned(&self, known: &Known, parts: Range<usize>) -> Planned {
        let unit = known.unit.filter(|_| self.dialect.is_openmetrics() && !known.is_split);
        let metric_type = known.types.agreed();
        let is_cut = self.dialect.is_openmetrics() && metric_type == Some(MetricType::Counter);
        let cut = is_cut.then(|| translate::stem_of_total(&known.name)).flatten();
        Planned {
            key: known.name.clone(),
            name: cut.unwrap_or(&known.name).into(),
            help: known.help,
            unit,
            metric_type,
            parts,
        }
    }

    fn lost_units(&self, plan: &Plan) -> usize {
        let said = self.collected.units;
        said.saturating_sub(plan.families.iter().filter(|family| family.unit.is_some()).count())
    }

    /// Names every part with the place of its family, the parts of one family in their order.
    fn each_part(&self, mut each: impl FnMut(usize, Part)) {
        for (i, instance) in self.instances.iter().enumerate() {
            for (r, run) in instance.index.runs.iter().enumerate() {
                let part =
                    |only| Part { instance: i as u32, run: r as u32, only, is_regrouped: false };
                let roles = instance
                    .index
                    .families
                    .get(run.family as usize)
                    .map_or(Roles::default(), |family| family.shape.roles);
                let mut pending: Option<(usize, Roles)> = None;
                for role in roles.iter() {
                    let target = self.collected.target_of(i, run.family, role);
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

const NOWHERE: Part = Part { instance: 0, run: 0, only: Roles::ANY, is_regrouped: false };
