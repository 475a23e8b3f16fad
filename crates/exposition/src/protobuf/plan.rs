//! Which metrics stand together: the families of all instances, lined up.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::Range,
};

use foldhash::quality::RandomState;

use super::{
    super::{
        families::{Role, Roles},
        format::Escaping,
        label_sets::LabelSets,
        span::Span,
    },
    index::{Family, Kinds},
    instance::Instance,
    message::{Kind, MetricType, Types, number},
    wire::{put_bytes, put_varint_field},
};

/// What is written, in its order.
pub(super) struct Plan {
    pub(super) messages: Vec<Message>,
    /// Those of the first family, then those of the second, and so on.
    pub(super) parts: Vec<Part>,
    /// How many families had to become untyped.
    pub(super) type_conflicts: usize,
}

/// A family of the output, or its native histograms, or the others.
pub(super) struct Message {
    pub(super) name: Box<[u8]>,
    pub(super) help: Option<Text>,
    pub(super) unit: Option<Text>,
    pub(super) metric_type: MetricType,
    pub(super) only: Option<Nativeness>,
    pub(super) parts: Range<usize>,
}

/// Which metrics of a family stand in one message.
///
/// Prometheus 2.42 takes all histograms in a message for what the first one is,
/// and 3.14 all that follow on a classic one for classic. So the two kinds go into
/// messages of their own, where a family has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nativeness {
    Native,
    Classic,
}

/// What one message of an instance has for a family.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) instance: u32,
    pub(super) family: u32,
    /// The samples of this role as untyped ones, instead of whole metrics.
    pub(super) only: Option<Role>,
}

impl Part {
    pub(super) fn of(self, instances: &[Instance]) -> Option<(&Instance, &Family)> {
        let instance = instances.get(self.instance as usize)?;
        Some((instance, instance.index().families.get(self.family as usize)?))
    }
}

/// A part of an instance's body.
#[derive(Clone, Copy)]
pub(super) struct Text {
    instance: u32,
    span: Span,
}

impl Text {
    pub(super) fn of(self, instances: &[Instance]) -> &[u8] {
        let instance = instances.get(self.instance as usize);
        instance.map(|instance| self.span.of(instance.body())).unwrap_or_default()
    }
}

impl Message {
    /// Writes the fields that go before the metrics.
    pub(super) fn write_head(&self, instances: &[Instance], out: &mut Vec<u8>) {
        put_bytes(number::FAMILY_NAME, &self.name, out);
        if let Some(help) = self.help {
            put_bytes(number::FAMILY_HELP, help.of(instances), out);
        }
        put_varint_field(number::FAMILY_TYPE, self.metric_type as u64, out);
        if let Some(unit) = self.unit {
            put_bytes(number::FAMILY_UNIT, unit.of(instances), out);
        }
    }
}

impl Plan {
    pub(super) fn new(instances: &[Instance], escaping: Escaping) -> Self {
        let mut planner = Planner::default();
        planner.collect(instances, escaping);
        planner.find_conflicts();
        planner.find_shared_samples(instances);
        planner.split();
        planner.line_up(instances)
    }

    /// The parts of a message with their places, those of preferred instances first.
    pub(super) fn by_preference(
        &self,
        message: &Message,
        instances: &[Instance],
    ) -> Vec<(u32, Part)> {
        let parts = self.parts.get(message.parts.clone()).unwrap_or_default();
        let mut parts: Vec<_> = (message.parts.start as u32..).zip(parts.iter().copied()).collect();
        parts.sort_by_key(|(_, part)| {
            !part.of(instances).is_some_and(|(instance, _)| instance.is_preferred)
        });
        parts
    }
}

/// The roles of the samples that such values have.
pub(super) fn roles(kinds: Kinds) -> Roles {
    let mut roles = Roles::default();
    let mut insert = |is_there, role| {
        if is_there {
            roles.insert(role);
        }
    };
    let has = |kind| kinds.contains(kind);
    let is_plain = has(Kind::Gauge) || has(Kind::Counter) || has(Kind::Untyped);
    insert(is_plain || has(Kind::Summary), Role::Plain);
    insert(has(Kind::Histogram), Role::Bucket);
    insert(has(Kind::Histogram) || has(Kind::Summary), Role::Sum);
    insert(has(Kind::Histogram) || has(Kind::Summary), Role::Count);
    roles
}

/// A family as all instances together know it.
#[derive(Default)]
struct Known {
    name: Box<[u8]>,
    help: Option<Text>,
    unit: Option<Text>,
    types: Types,
    kinds: Kinds,
    /// Instances, and the places of their messages.
    own: Vec<(u32, u32)>,
    /// Its samples become untyped families by their names.
    is_split: bool,
    /// Families, and the samples of them that come here, where that is so.
    incoming: Vec<(usize, Role)>,
}

impl Known {
    fn is_untyped(&self) -> bool {
        let is_untyped = self.types.agreed() == Some(MetricType::Untyped);
        self.own.is_empty() || is_untyped && self.kinds.are_all(Kind::Untyped)
    }

    /// Whether two instances that no added label tells apart have one of these families each.
    fn can_meet(&self, other: &Self, sets: &LabelSets<'_>) -> bool {
        let mut instances = self.own.iter().map(|(instance, _)| *instance as usize);
        instances.any(|one| other.own.iter().any(|(other, _)| sets.can_meet(one, *other as usize)))
    }
}

#[derive(Default)]
struct Planner {
    /// In the order of their first appearance.
    known: Vec<Known>,
    names: HashMap<Box<[u8]>, usize, RandomState>,
    type_conflicts: usize,
}

impl Planner {
    fn collect(&mut self, instances: &[Instance], escaping: Escaping) {
        for (i, instance) in (0..).zip(instances) {
            let naming = instance.naming(escaping);
            for (f, family) in (0..).zip(&instance.index().families) {
                let place = self.place(&naming.family(family.name.of(instance.body())));
                let Some(known) = self.known.get_mut(place) else { continue };
                let text = |span: Span| (!span.is_empty()).then_some(Text { instance: i, span });
                known.help = known.help.or(text(family.help));
                known.unit = known.unit.or(text(family.unit));
                known.types.insert(family.metric_type);
                known.kinds.join(family.kinds);
                known.own.push((i, f));
            }
        }
    }

    /// The place of the family with this name.
    fn place(&mut self, name: &[u8]) -> usize {
        if let Some(&place) = self.names.get(name) {
            return place;
        }
        match self.names.entry(name.into()) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(entry) => {
                self.known.push(Known { name: name.into(), ..Known::default() });
                *entry.insert(self.known.len() - 1)
            }
        }
    }

    fn find_conflicts(&mut self) {
        for known in &mut self.known {
            let agreed = known.types.agreed();
            let fits = agreed.is_some_and(|one| known.kinds.are_all(one.kind()));
            known.is_split = !fits;
            self.type_conflicts += usize::from(!fits);
        }
    }

    /// Finds families whose samples have the name of another family, where no added label tells
    /// the two apart: only as single samples can the two be compared.
    fn find_shared_samples(&mut self, instances: &[Instance]) {
        let sets = LabelSets::new(instances.iter().map(Instance::labels));
        if sets.are_apart {
            return;
        }
        for place in 0..self.known.len() {
            let is_shared =
                self.known.get(place).filter(|known| !known.is_split).is_some_and(|one| {
                    let names = roles(one.kinds).iter().filter(|role| *role != Role::Plain);
                    let mut others = names.filter_map(|role| {
                        self.known.get(*self.names.get(&*[&one.name, role.suffix()].concat())?)
                    });
                    others.any(|other| one.can_meet(other, &sets))
                });
            if let Some(known) = self.known.get_mut(place).filter(|_| is_shared) {
                known.is_split = true;
                self.type_conflicts += 1;
            }
        }
    }

    /// Sends the samples of families in conflict to families of their names,
    /// which may bring others into conflict.
    fn split(&mut self) {
        let is_split = |(place, known): (usize, &Known)| known.is_split.then_some(place);
        let mut waiting: Vec<_> = self.known.iter().enumerate().filter_map(is_split).collect();
        while let Some(place) = waiting.pop() {
            let Some(known) = self.known.get(place) else { continue };
            let (help, roles) = (known.help, roles(known.kinds));
            let name = known.name.clone();
            for role in roles.iter() {
                let target_place = match role {
                    Role::Plain => place,
                    _ => self.place(&[&name, role.suffix()].concat()),
                };
                let Some(target) = self.known.get_mut(target_place) else { continue };
                if !target.is_split {
                    self.type_conflicts += usize::from(!target.is_untyped());
                    target.is_split = true;
                    waiting.push(target_place);
                }
                target.help = target.help.or(help);
                target.incoming.push((place, role));
            }
        }
    }

    fn line_up(mut self, instances: &[Instance]) -> Plan {
        let position = |(place, known): (usize, &Known)| {
            let first = match known.is_split {
                true => known.incoming.iter().copied().min()?,
                false => (place, Role::Plain),
            };
            Some((first, place))
        };
        let mut order: Vec<_> = self.known.iter().enumerate().filter_map(position).collect();
        order.sort_unstable();

        let mut plan =
            Plan { messages: Vec::new(), parts: Vec::new(), type_conflicts: self.type_conflicts };
        for (_, place) in order {
            let start = plan.parts.len();
            self.add_parts(place, instances, &mut plan.parts);
            let Some(known) = self.known.get_mut(place) else { continue };
            let parts = start..plan.parts.len();
            let agreed = known.types.agreed().filter(|_| !known.is_split);
            let metric_type = agreed.unwrap_or(MetricType::Untyped);
            let lengths = plan.parts.get(start..).unwrap_or_default().iter().filter_map(|part| {
                let (_, family) = part.of(instances)?;
                Some(family.lengths)
            });
            let [others, native] =
                lengths.fold([0, 0], |[a, b], [other, native]| [a + other, b + native]);
            let both = [Some(Nativeness::Native), Some(Nativeness::Classic)];
            let is_mixed = !known.is_split && others > 0 && native > 0;
            for only in if is_mixed { &both[..] } else { &[None] } {
                plan.messages.push(Message {
                    name: known.name.clone(),
                    help: known.help,
                    unit: known.unit,
                    metric_type,
                    only: *only,
                    parts: parts.clone(),
                });
            }
        }
        plan
    }

    /// Adds the parts of a family, in the order of instances.
    fn add_parts(&self, place: usize, instances: &[Instance], parts: &mut Vec<Part>) {
        let Some(known) = self.known.get(place) else { return };
        if !known.is_split {
            let whole = |&(instance, family)| Part { instance, family, only: None };
            parts.extend(known.own.iter().map(whole));
            return;
        }
        let start = parts.len();
        for &(origin, role) in &known.incoming {
            let Some(origin) = self.known.get(origin) else { continue };
            for &(instance, family) in &origin.own {
                let part = Part { instance, family, only: Some(role) };
                if part.of(instances).is_some_and(|(_, family)| roles(family.kinds).contains(role))
                {
                    parts.push(part);
                }
            }
        }
        if let Some(added) = parts.get_mut(start..) {
            added.sort_by_key(|part| (part.instance, part.family, part.only));
        }
    }
}
