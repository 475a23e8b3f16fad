//! Which lines stand together: the families of all instances, lined up.

use std::{collections::HashMap, ops::Range};

use foldhash::quality::RandomState;

use super::{
    families::{Role, Roles, Shape, Types},
    index::Span,
    instance::Instance,
    metadata::{self, MetricType},
};

/// What is written, in its order.
pub(super) struct Plan {
    pub(super) families: Vec<Planned>,
    /// Those of the first family, then those of the second, and so on.
    pub(super) parts: Vec<Part>,
    /// How many families had to become untyped.
    pub(super) type_conflicts: usize,
}

/// A family of the output.
pub(super) struct Planned {
    /// The name of an instance's family, and the suffix to it.
    name: (Text, Role),
    help: Option<Text>,
    metric_type: Option<MetricType>,
    pub(super) parts: Range<usize>,
}

/// A run of samples, or those in it of one role.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) instance: u32,
    pub(super) run: u32,
    pub(super) only: Option<Role>,
}

/// A part of an instance's body.
#[derive(Clone, Copy)]
struct Text {
    instance: u32,
    span: Span,
}

impl Text {
    fn of(self, instances: &[Instance]) -> &[u8] {
        let instance = instances.get(self.instance as usize);
        instance.map(|instance| instance.text(self.span)).unwrap_or_default()
    }
}

impl Planned {
    /// Writes the lines that go before the samples.
    pub(super) fn write_metadata(&self, instances: &[Instance], out: &mut Vec<u8>) {
        let (name, role) = self.name;
        let name = [name.of(instances), role.suffix()];
        if let Some(help) = self.help {
            metadata::write_help(name, help.of(instances), out);
        }
        if let Some(metric_type) = self.metric_type {
            metadata::write_type(name, metric_type, out);
        }
    }
}

impl Plan {
    pub(super) fn new(instances: &[Instance]) -> Self {
        let mut planner = Planner::default();
        planner.collect(instances);
        planner.find_owners(instances);
        planner.find_conflicts();
        let type_conflicts = planner.known.iter().filter(|known| known.is_split).count();
        planner.send_samples(instances);
        let (families, parts) = planner.line_up(instances);
        Self { families, parts, type_conflicts }
    }
}

/// A family as all instances together know it.
struct Known {
    name: (Text, Role),
    /// The first of all instances.
    help: Option<Text>,
    types: Types,
    roles: Roles,
    /// Of its samples, and of those that stand elsewhere but belong to it.
    shape: Shape,
    /// The histogram or summary to which its samples belong.
    owner: Option<usize>,
    /// Its samples become untyped families by their names.
    is_split: bool,
    /// Where its samples go, by role.
    goes_to: [usize; Role::ALL.len()],
    /// Whether it is written, and in which order.
    position: Option<(usize, Role)>,
}

impl Known {
    fn new(name: (Text, Role)) -> Self {
        Self {
            name,
            help: None,
            types: Types::default(),
            roles: Roles::default(),
            shape: Shape::default(),
            owner: None,
            is_split: false,
            goes_to: Default::default(),
            position: None,
        }
    }

    /// Takes note that samples go here which first appeared at `position`.
    fn is_at(&mut self, position: (usize, Role)) {
        self.position = Some(self.position.map_or(position, |earlier| earlier.min(position)));
    }
}

#[derive(Default)]
struct Planner<'a> {
    /// In the order of their first appearance.
    known: Vec<Known>,
    names: HashMap<&'a [u8], usize, RandomState>,
    /// For each instance, its families' places in `known`.
    places: Vec<Vec<u32>>,
}

impl<'a> Planner<'a> {
    fn collect(&mut self, instances: &'a [Instance]) {
        for (i, instance) in instances.iter().enumerate() {
            let mut places = Vec::with_capacity(instance.index().families.len());
            let mut likely = 0;
            for family in &instance.index().families {
                let text = |span| Text { instance: i as u32, span };
                let place = self.place(text(family.name), likely, instances);
                likely = place + 1;
                places.push(place as u32);
                let Some(known) = self.known.get_mut(place) else { continue };
                if known.help.is_none() && !family.help.is_empty() {
                    known.help = Some(text(family.help));
                }
                if let Some(metric_type) = family.metric_type {
                    known.types.insert(metric_type);
                }
                known.shape.join(family.shape);
                known.roles = known.shape.roles;
            }
            self.places.push(places);
        }
    }

    /// The place of the family with this name. Instances mostly name them in
    /// the same order, so the one after the last is looked at first.
    fn place(&mut self, name: Text, likely: usize, instances: &'a [Instance]) -> usize {
        let text = name.of(instances);
        if self.known.get(likely).is_some_and(|known| known.name.0.of(instances) == text) {
            return likely;
        }
        *self.names.entry(text).or_insert_with(|| {
            self.known.push(Known::new((name, Role::Plain)));
            self.known.len() - 1
        })
    }

    /// Gives samples that stand without a type to the histogram or summary of
    /// which they are; where they have one of their own, it is a conflict.
    fn find_owners(&mut self, instances: &'a [Instance]) {
        for place in 0..self.known.len() {
            let Some(known) = self.known.get(place) else { continue };
            let (shape, is_typed) = (known.shape, !known.types.is_empty());
            let Some((base, role)) = Role::of(known.name.0.of(instances)) else { continue };
            let Some(&owner_place) = self.names.get(base) else { continue };
            let Some(owner) = self.known.get_mut(owner_place) else { continue };
            if !owner.types.have(role) {
                continue;
            }
            owner.is_split |= is_typed;
            owner.shape.join(shape.in_role(role));
            if let Some(known) = self.known.get_mut(place) {
                known.is_split |= is_typed;
                known.owner = Some(owner_place);
            }
        }
    }

    fn find_conflicts(&mut self) {
        for known in &mut self.known {
            let misfits = known.types.agreed().is_some_and(|agreed| !known.shape.fits(agreed));
            known.is_split |= known.types.are_several() || misfits;
        }
    }

    /// Decides where the samples of each family go, and so which families are written.
    fn send_samples(&mut self, instances: &'a [Instance]) {
        for place in 0..self.known.len() {
            let Some(known) = self.known.get(place) else { continue };
            if known.is_split {
                for role in known.roles.iter() {
                    self.send_untyped(place, role, instances);
                }
                continue;
            }
            let owner =
                known.owner.and_then(|owner| Some((owner, self.known.get(owner)?.is_split)));
            match owner {
                // It goes with the other samples that are split off there.
                Some((_, true)) => self.send_untyped(place, Role::Plain, instances),
                Some((owner, false)) => self.send_all(place, owner),
                None => self.send_all(place, place),
            }
        }
    }

    /// Sends all samples of the family at `place` to the one at `target`.
    fn send_all(&mut self, place: usize, target: usize) {
        if let Some(target) = self.known.get_mut(target) {
            target.is_at((place, Role::Plain));
        }
        if let Some(known) = self.known.get_mut(place) {
            known.goes_to = [target; Role::ALL.len()];
        }
    }

    /// Sends the samples of one role to the untyped family of their name.
    fn send_untyped(&mut self, place: usize, role: Role, instances: &'a [Instance]) {
        let Some(known) = self.known.get(place) else { return };
        let (name, help) = (known.name.0, known.help);
        let text = [name.of(instances), role.suffix()].concat();
        let target = self.names.get(&*text).copied().unwrap_or_else(|| {
            // No other family has this suffix to this name, so it is new but once.
            self.known.push(Known::new((name, role)));
            self.known.len() - 1
        });
        if let Some(target) = self.known.get_mut(target) {
            target.is_at((place, role));
            target.help = target.help.or(help);
            target.types = Types::from(MetricType::Untyped);
        }
        if let Some(goes_to) =
            self.known.get_mut(place).and_then(|known| known.goes_to.get_mut(role as usize))
        {
            *goes_to = target;
        }
    }

    /// Puts the families in order, and the runs of samples below them.
    fn line_up(&self, instances: &[Instance]) -> (Vec<Planned>, Vec<Part>) {
        let mut counts = vec![0_usize; self.known.len()];
        self.each_part(instances, |target, _| {
            if let Some(count) = counts.get_mut(target) {
                *count += 1;
            }
        });

        let mut order: Vec<_> =
            self.known.iter().zip(0..).filter(|(known, _)| known.position.is_some()).collect();
        order.sort_unstable_by_key(|(known, _)| known.position);
        // From here on a count is where the next part of its family goes.
        let mut end = 0;
        let families = order
            .into_iter()
            .map(|(known, place): (_, usize)| {
                let start = end;
                if let Some(count) = counts.get_mut(place) {
                    end += std::mem::replace(count, start);
                }
                Planned {
                    name: known.name,
                    help: known.help,
                    metric_type: known.types.agreed(),
                    parts: start..end,
                }
            })
            .collect();

        let mut parts = vec![Part { instance: 0, run: 0, only: None }; end];
        self.each_part(instances, |target, part| {
            if let Some(next) = counts.get_mut(target)
                && let Some(place) = parts.get_mut(*next)
            {
                *place = part;
                *next += 1;
            }
        });
        (families, parts)
    }

    /// Names every part with the place of its family, the parts of one family in their order.
    fn each_part(&self, instances: &[Instance], mut each: impl FnMut(usize, Part)) {
        for (i, (instance, places)) in instances.iter().zip(&self.places).enumerate() {
            let index = instance.index();
            for (r, run) in index.runs.iter().enumerate() {
                let family = run.family as usize;
                let known = places.get(family).and_then(|&place| self.known.get(place as usize));
                let (Some(known), Some(family)) = (known, index.families.get(family)) else {
                    continue;
                };
                let part = |only| Part { instance: i as u32, run: r as u32, only };
                let [plain, ..] = known.goes_to;
                if !known.is_split {
                    each(plain, part(None));
                    continue;
                }
                let roles = family.shape.roles;
                for role in roles.iter() {
                    let Some(&target) = known.goes_to.get(role as usize) else { continue };
                    each(target, part((!roles.is_single()).then_some(role)));
                }
            }
        }
    }
}
