//! Applies the OpenMetrics rules on order, types, units and exemplars.

use super::{
    super::{
        body::TextBody,
        families::{MetricType, Role, Roles},
        index::{FamilyExemplars, IndexedFamily, SampleRun},
        output_dialect::OutputDialect,
        output_family::{OutputFamily, OutputPart},
        regroup::regroup,
    },
    TextPlan,
};

impl TextPlan {
    /// Sorts samples that are not in the required order. Returns the indexes of families that
    /// violate a rule of their type.
    pub(super) fn sort_samples(
        &mut self,
        instances: &[TextBody],
        dialect: &OutputDialect,
    ) -> Vec<usize> {
        let mut violating = Vec::new();
        for (index, planned) in self.families.iter().enumerate() {
            let mut is_violated = !planned.unit_fits(instances);
            let has_rules = planned.has_rules();
            let parts = self.parts.get_mut(planned.parts.clone()).unwrap_or_default();
            for parts in parts.chunk_by_mut(|one, next| one.instance == next.instance) {
                let Some(instance) =
                    parts.first().and_then(|part| instances.get(part.instance as usize))
                else {
                    continue;
                };
                is_violated |= has_rules && have_equal_bounds(parts, instance);
                if !must_regroup(parts, instance, planned.metric_type, dialect) {
                    is_violated |= has_rules && any_is_violated(parts, instance);
                    continue;
                }
                let regrouped = regroup(instance, parts, dialect, planned);
                is_violated |= has_rules && regrouped.violation.is_some();
                self.ambiguous += regrouped.ambiguous;
                self.ambiguous_bytes += regrouped.ambiguous_bytes;
                self.grown_bytes += regrouped.grown_bytes;
                let run = self.regrouped.len() as u32;
                self.regrouped.push(regrouped);
                for (i, part) in parts.iter_mut().enumerate() {
                    // The first part includes all samples of the instance.
                    let only = if i == 0 { Roles::ANY } else { Roles::default() };
                    *part = OutputPart { run, only, is_regrouped: true, ..*part };
                }
            }
            if is_violated {
                violating.push(index);
            }
        }
        violating
    }

    /// Counts written and lost exemplars.
    pub(super) fn count_exemplars(&mut self, instances: &[TextBody]) {
        for planned in &self.families {
            let parts = self.parts.get(planned.parts.clone()).unwrap_or_default();
            for parts in parts.chunk_by(|one, next| one.instance == next.instance) {
                let instance = parts.first().and_then(|part| instances.get(part.instance as usize));
                let Some(instance) = instance else { continue };
                // The counts are per family, and a family can have several runs.
                let mut seen = Vec::new();
                for (part, (run, family)) in parts.iter().zip(families(parts, instance)) {
                    let exemplars = instance.index.exemplars.get(&run.family).copied();
                    let FamilyExemplars { plain, part: of_part } = exemplars.unwrap_or_default();
                    for (exemplars, roles) in [(plain, [Role::Plain; 2]), (of_part, PARTS)] {
                        let is_here = roles.iter().any(|&role| {
                            part.only.contains(role) && family.shape.roles.contains(role)
                        });
                        if exemplars.count == 0 || !is_here || seen.contains(&(run.family, roles)) {
                            continue;
                        }
                        seen.push((run.family, roles));
                        if planned.keeps_exemplars() {
                            self.exemplar_bytes += u64::from(exemplars.bytes);
                        } else {
                            self.lost_exemplars += exemplars.count as usize;
                        }
                    }
                }
            }
        }
    }
}

/// The roles other than [`Role::Plain`] that can have exemplars. A family has samples in at most
/// one of them.
const PARTS: [Role; 2] = [Role::Bucket, Role::Total];

impl OutputFamily {
    pub(in super::super) fn has_rules(&self) -> bool {
        !matches!(self.metric_type, None | Some(MetricType::Gauge | MetricType::Unknown))
    }

    pub(in super::super) fn unit_fits(&self, instances: &[TextBody]) -> bool {
        let Some(unit) = self.unit else { return true };
        let has_none = matches!(self.metric_type, Some(MetricType::Info | MetricType::StateSet));
        let stem = self.name.strip_suffix(unit.of(instances));
        !has_none && stem.is_some_and(|stem| stem.ends_with(b"_"))
    }
}

fn families<'a>(
    parts: &'a [OutputPart],
    instance: &'a TextBody,
) -> impl Iterator<Item = (&'a SampleRun, &'a IndexedFamily)> {
    parts.iter().filter_map(|part| {
        let run = instance.index.runs.get(part.run as usize)?;
        Some((run, instance.index.families.get(run.family as usize)?))
    })
}

/// Whether the samples of one instance are possibly not in the required order.
fn must_regroup(
    parts: &[OutputPart],
    instance: &TextBody,
    metric_type: Option<MetricType>,
    dialect: &OutputDialect,
) -> bool {
    let mut first = None;
    families(parts, instance).any(|(run, family)| {
        let rule_result = family.rule_result;
        let is_same = *first.get_or_insert(run.family) == run.family;
        let is_checked = || {
            let source = instance.source(run.family);
            let to = source.destination(source.main_role(), dialect.naming);
            is_same && !rule_result.is_unchecked && to.metric_type == metric_type
        };
        let has_rules =
            !matches!(metric_type, None | Some(MetricType::Gauge | MetricType::Unknown));
        rule_result.needs_reordering || has_rules && !is_checked()
    })
}

fn any_is_violated(parts: &[OutputPart], instance: &TextBody) -> bool {
    families(parts, instance).any(|(_, family)| family.rule_result.is_violated)
}

fn have_equal_bounds(parts: &[OutputPart], instance: &TextBody) -> bool {
    families(parts, instance).any(|(_, family)| family.rule_result.has_equal_bounds)
}
