//! Plans a merge: aligns the families of all instances and assigns their metrics to messages.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::Range,
};

use foldhash::quality::RandomState;

use super::{
    super::{
        families::{Role, Roles},
        label_sets::LabelSets,
        names::Escaping,
        span::Span,
    },
    body::ProtobufBody,
    index::{FamilyMessage, ValueKinds},
    message::{ProtobufType, ProtobufTypes, ValueKind, number},
    wire::{put_bytes, put_varint_field},
};

/// The messages of the output in their order.
pub(super) struct ProtobufPlan {
    pub(super) messages: Vec<OutputMessage>,
    /// The parts of all messages, grouped by message.
    pub(super) parts: Vec<MessagePart>,
    /// Families that became untyped because of a conflict.
    pub(super) type_conflicts: usize,
}

/// A family of the output, or only its native or only its classic histograms.
pub(super) struct OutputMessage {
    pub(super) name: Box<[u8]>,
    pub(super) help: Option<MessageText>,
    pub(super) unit: Option<MessageText>,
    pub(super) metric_type: ProtobufType,
    pub(super) only: Option<HistogramKind>,
    pub(super) parts: Range<usize>,
}

/// The kind of histograms in a message.
///
/// Prometheus 2.42 reads all histograms of a message as the kind of the first one. Prometheus 3.14
/// reads all histograms after a classic one as classic. A family with both kinds is therefore
/// written as two messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HistogramKind {
    Native,
    Classic,
}

/// The metrics of one message of an instance.
#[derive(Clone, Copy)]
pub(super) struct MessagePart {
    pub(super) instance: u32,
    pub(super) family: u32,
    /// Only the samples of this role are written, as untyped metrics.
    pub(super) only: Option<Role>,
}

impl MessagePart {
    pub(super) fn of(self, instances: &[ProtobufBody]) -> Option<(&ProtobufBody, &FamilyMessage)> {
        let instance = instances.get(self.instance as usize)?;
        Some((instance, instance.index().families.get(self.family as usize)?))
    }
}

/// A part of an instance's body.
#[derive(Clone, Copy)]
pub(super) struct MessageText {
    instance: u32,
    span: Span,
}

impl MessageText {
    pub(super) fn of(self, instances: &[ProtobufBody]) -> &[u8] {
        let instance = instances.get(self.instance as usize);
        instance.map(|instance| self.span.of(instance.body())).unwrap_or_default()
    }
}

impl OutputMessage {
    /// Writes the fields before the metrics.
    pub(super) fn write_metadata(&self, instances: &[ProtobufBody], out: &mut Vec<u8>) {
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

/// The memory of the plan of a merge for a family that no other instance has, in bytes.
///
/// It includes the memory that is used only while the merge is planned.
pub(super) fn family_memory(name: usize, roles: Roles) -> usize {
    // A growing vector can be twice as large as its content.
    let family = 2 * size_of::<CollectedFamily>() + 2 * size_of::<OutputMessage>();
    let entries = 2 * (size_of::<(Box<[u8]>, usize)>() + 1) + 4 * size_of::<(usize, Role)>();
    let names = 4 * (name + size_of::<Box<[u8]>>());
    roles.possible_families() * (family + entries + names)
}

/// The memory of the plan of a merge for a family of one instance, in bytes.
pub(super) fn part_memory(roles: Roles) -> usize {
    // Small vectors have space for four entries.
    4 * size_of::<(u32, u32)>()
        + 2 * roles.possible_families() * (size_of::<MessagePart>() + size_of::<u64>())
}

impl ProtobufPlan {
    pub(super) fn new(instances: &[ProtobufBody], escaping: Escaping) -> Self {
        let mut planner = ProtobufPlanner::default();
        planner.collect(instances, escaping);
        planner.find_conflicts();
        planner.find_shared_samples(instances);
        planner.split();
        planner.arrange(instances)
    }

    /// The parts of a message with their indexes. Parts of preferred instances are first.
    pub(super) fn by_preference(
        &self,
        message: &OutputMessage,
        instances: &[ProtobufBody],
    ) -> Vec<(u32, MessagePart)> {
        let parts = self.parts.get(message.parts.clone()).unwrap_or_default();
        let mut parts: Vec<_> = (message.parts.start as u32..).zip(parts.iter().copied()).collect();
        parts.sort_by_key(|(_, part)| {
            !part.of(instances).is_some_and(|(instance, _)| instance.is_preferred)
        });
        parts
    }
}

/// A family of all instances.
#[derive(Default)]
struct CollectedFamily {
    name: Box<[u8]>,
    help: Option<MessageText>,
    unit: Option<MessageText>,
    types: ProtobufTypes,
    kinds: ValueKinds,
    /// Instances, and the indexes of their messages.
    sources: Vec<(u32, u32)>,
    /// Whether each sample name becomes an untyped family.
    is_split: bool,
    /// Families and roles whose samples are written in this family, if it is split.
    incoming: Vec<(usize, Role)>,
}

impl CollectedFamily {
    fn is_untyped(&self) -> bool {
        let is_untyped = self.types.agreed() == Some(ProtobufType::Untyped);
        self.sources.is_empty() || is_untyped && self.kinds.are_all(ValueKind::Untyped)
    }

    /// Whether two instances with possibly equal series have one of these families each.
    fn can_overlap(&self, other: &Self, sets: &LabelSets<'_>) -> bool {
        let mut instances = self.sources.iter().map(|(instance, _)| *instance as usize);
        instances.any(|one| {
            other.sources.iter().any(|(other, _)| sets.can_overlap(one, *other as usize))
        })
    }
}

#[derive(Default)]
struct ProtobufPlanner {
    /// In the order of first appearance.
    families: Vec<CollectedFamily>,
    names: HashMap<Box<[u8]>, usize, RandomState>,
    type_conflicts: usize,
}

impl ProtobufPlanner {
    fn collect(&mut self, instances: &[ProtobufBody], escaping: Escaping) {
        for (i, instance) in (0..).zip(instances) {
            let output_names = instance.output_names(escaping);
            for (f, family) in (0..).zip(&instance.index().families) {
                let index =
                    self.index_or_add(&output_names.family(family.name.of(instance.body())));
                let Some(collected) = self.families.get_mut(index) else { continue };
                let text =
                    |span: Span| (!span.is_empty()).then_some(MessageText { instance: i, span });
                collected.help = collected.help.or(text(family.help));
                collected.unit = collected.unit.or(text(family.unit));
                collected.types.insert(family.metric_type);
                collected.kinds.join(family.kinds);
                collected.sources.push((i, f));
            }
        }
    }

    /// The index of the family with this name.
    fn index_or_add(&mut self, name: &[u8]) -> usize {
        if let Some(&index) = self.names.get(name) {
            return index;
        }
        match self.names.entry(name.into()) {
            Entry::Occupied(index) => *index.get(),
            Entry::Vacant(entry) => {
                self.families
                    .push(CollectedFamily { name: name.into(), ..CollectedFamily::default() });
                *entry.insert(self.families.len() - 1)
            }
        }
    }

    fn find_conflicts(&mut self) {
        for collected in &mut self.families {
            let agreed = collected.types.agreed();
            let fits = agreed.is_some_and(|one| collected.kinds.are_all(one.kind()));
            collected.is_split = !fits;
            self.type_conflicts += usize::from(!fits);
        }
    }

    /// Splits families whose sample names are names of other families, if their series can be
    /// equal. Only single samples can be compared between the two.
    fn find_shared_samples(&mut self, instances: &[ProtobufBody]) {
        let sets = LabelSets::new(instances.iter().map(ProtobufBody::labels));
        if sets.are_disjoint {
            return;
        }
        for index in 0..self.families.len() {
            let is_shared = self
                .families
                .get(index)
                .filter(|collected| !collected.is_split)
                .is_some_and(|one| {
                    let names = one.kinds.roles().iter().filter(|role| *role != Role::Plain);
                    let mut others = names.filter_map(|role| {
                        self.families.get(*self.names.get(&*[&one.name, role.suffix()].concat())?)
                    });
                    others.any(|other| one.can_overlap(other, &sets))
                });
            if let Some(collected) = self.families.get_mut(index).filter(|_| is_shared) {
                collected.is_split = true;
                self.type_conflicts += 1;
            }
        }
    }

    /// Assigns the samples of split families to families of their names. This can split further
    /// families.
    fn split(&mut self) {
        let is_split =
            |(index, collected): (usize, &CollectedFamily)| collected.is_split.then_some(index);
        let mut waiting: Vec<_> = self.families.iter().enumerate().filter_map(is_split).collect();
        while let Some(index) = waiting.pop() {
            let Some(collected) = self.families.get(index) else { continue };
            let (help, roles) = (collected.help, collected.kinds.roles());
            let name = collected.name.clone();
            for role in roles.iter() {
                let target_index = match role {
                    Role::Plain => index,
                    _ => self.index_or_add(&[&name, role.suffix()].concat()),
                };
                let Some(target) = self.families.get_mut(target_index) else { continue };
                if !target.is_split {
                    self.type_conflicts += usize::from(!target.is_untyped());
                    target.is_split = true;
                    waiting.push(target_index);
                }
                target.help = target.help.or(help);
                target.incoming.push((index, role));
            }
        }
    }

    fn arrange(mut self, instances: &[ProtobufBody]) -> ProtobufPlan {
        let position = |(index, collected): (usize, &CollectedFamily)| {
            let first = match collected.is_split {
                true => collected.incoming.iter().copied().min()?,
                false => (index, Role::Plain),
            };
            Some((first, index))
        };
        let mut order: Vec<_> = self.families.iter().enumerate().filter_map(position).collect();
        order.sort_unstable();

        let mut plan = ProtobufPlan {
            messages: Vec::new(),
            parts: Vec::new(),
            type_conflicts: self.type_conflicts,
        };
        for (_, index) in order {
            let start = plan.parts.len();
            self.add_parts(index, instances, &mut plan.parts);
            let Some(collected) = self.families.get_mut(index) else { continue };
            let parts = start..plan.parts.len();
            let agreed = collected.types.agreed().filter(|_| !collected.is_split);
            let metric_type = agreed.unwrap_or(ProtobufType::Untyped);
            let lengths = plan.parts.get(start..).unwrap_or_default().iter().filter_map(|part| {
                let (_, family) = part.of(instances)?;
                Some(family.lengths)
            });
            let [others, native] =
                lengths.fold([0, 0], |[a, b], [other, native]| [a + other, b + native]);
            let both = [Some(HistogramKind::Native), Some(HistogramKind::Classic)];
            let is_mixed = !collected.is_split && others > 0 && native > 0;
            for only in if is_mixed { &both[..] } else { &[None] } {
                plan.messages.push(OutputMessage {
                    name: collected.name.clone(),
                    help: collected.help,
                    unit: collected.unit,
                    metric_type,
                    only: *only,
                    parts: parts.clone(),
                });
            }
        }
        plan
    }

    /// Adds the parts of a family in the order of instances.
    fn add_parts(&self, index: usize, instances: &[ProtobufBody], parts: &mut Vec<MessagePart>) {
        let Some(collected) = self.families.get(index) else { return };
        if !collected.is_split {
            let whole = |&(instance, family)| MessagePart { instance, family, only: None };
            parts.extend(collected.sources.iter().map(whole));
            return;
        }
        let start = parts.len();
        for &(origin, role) in &collected.incoming {
            let Some(origin) = self.families.get(origin) else { continue };
            for &(instance, family) in &origin.sources {
                let part = MessagePart { instance, family, only: Some(role) };
                if part.of(instances).is_some_and(|(_, family)| family.kinds.roles().contains(role))
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
