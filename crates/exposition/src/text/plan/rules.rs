//! What OpenMetrics asks of the samples of a family, besides their names.

use super::{
    super::{
        dialect::Dialect,
        families::{MetricType, Role, Roles},
        index::{Family, FamilyExemplars, Run},
        instance::Instance,
        planned::{Part, Planned},
        regroup::regroup,
    },
    Plan,
};

impl Plan {
    /// Puts samples in order where they do not stand so, and returns the families that
    /// break a rule of their type.
    pub(super) fn put_in_order(
        &mut self,
        instances: &[Instance],
        dialect: &Dialect,
    ) -> Vec<Box<[u8]>> {
        let mut broken = Vec::new();
        for planned in &self.families {
            let mut is_broken = !planned.unit_fits(instances);
            let has_rules = planned.has_rules();
            let parts = self.parts.get_mut(planned.parts.clone()).unwrap_or_default();
            for parts in parts.chunk_by_mut(|one, next| one.instance == next.instance) {
                let Some(instance) =
                    parts.first().and_then(|part| instances.get(part.instance as usize))
                else {
                    continue;
                };
                is_broken |= has_rules && have_equal_bounds(parts, instance);
                if !must_regroup(parts, instance, planned.metric_type, dialect) {
                    is_broken |= has_rules && any_is_broken(parts, instance);
                    continue;
                }
                let regrouped = regroup(instance, parts, dialect, planned);
                is_broken |= has_rules && regrouped.is_broken;
                self.ambiguous += regrouped.ambiguous;
                self.ambiguous_bytes += regrouped.ambiguous_bytes;
                self.grown_bytes += regrouped.grown_bytes;
                let run = self.regrouped.len() as u32;
                self.regrouped.push(regrouped);
                for (i, part) in parts.iter_mut().enumerate() {
                    // The first stands for all of them.
                    let only = if i == 0 { Roles::ANY } else { Roles::default() };
                    *part = Part { run, only, is_regrouped: true, ..*part };
                }
            }
            if is_broken {
                broken.push(planned.key.clone());
            }
        }
        broken
    }

    /// Counts the exemplars of the families whose type has some, and those of the others.
    pub(super) fn count_exemplars(&mut self, instances: &[Instance]) {
        for planned in &self.families {
            let parts = self.parts.get(planned.parts.clone()).unwrap_or_default();
            for parts in parts.chunk_by(|one, next| one.instance == next.instance) {
                let instance = parts.first().and_then(|part| instances.get(part.instance as usize));
                let Some(instance) = instance else { continue };
                // The counts are those of a family, however many runs it has.
                let mut seen = Vec::new();
                for (part, (run, family)) in parts.iter().zip(families(parts, instance)) {
                    let FamilyExemplars { plain, part: of_part } = family.exemplars;
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

/// The roles other than [`Role::Plain`] of samples that may have exemplars; a family has
/// samples in one of them at most.
const PARTS: [Role; 2] = [Role::Bucket, Role::Total];

impl Planned {
    fn has_rules(&self) -> bool {
        !matches!(self.metric_type, None | Some(MetricType::Gauge | MetricType::Unknown))
    }

    fn unit_fits(&self, instances: &[Instance]) -> bool {
        let Some(unit) = self.unit else { return true };
        let has_none = matches!(self.metric_type, Some(MetricType::Info | MetricType::StateSet));
        let stem = self.name.strip_suffix(unit.of(instances));
        !has_none && stem.is_some_and(|stem| stem.ends_with(b"_"))
    }
}

fn families<'a>(
    parts: &'a [Part],
    instance: &'a Instance,
) -> impl Iterator<Item = (&'a Run, &'a Family)> {
    parts.iter().filter_map(|part| {
        let run = instance.index.runs.get(part.run as usize)?;
        Some((run, instance.index.families.get(run.family as usize)?))
    })
}

/// Whether the samples of one instance may not stand as a reader wants them.
fn must_regroup(
    parts: &[Part],
    instance: &Instance,
    metric_type: Option<MetricType>,
    dialect: &Dialect,
) -> bool {
    let mut first = None;
    families(parts, instance).any(|(run, family)| {
        let strictness = family.strictness;
        let is_same = *first.get_or_insert(run.family) == run.family;
        let is_checked = || {
            let source = instance.source(run.family);
            let to = source.destination(source.main_role(), dialect.naming);
            is_same && !strictness.is_unchecked && to.metric_type == metric_type
        };
        let has_rules =
            !matches!(metric_type, None | Some(MetricType::Gauge | MetricType::Unknown));
        strictness.is_irregular || has_rules && !is_checked()
    })
}

fn any_is_broken(parts: &[Part], instance: &Instance) -> bool {
    families(parts, instance).any(|(_, family)| family.strictness.is_broken)
}

fn have_equal_bounds(parts: &[Part], instance: &Instance) -> bool {
    families(parts, instance).any(|(_, family)| family.strictness.has_equal_bounds)
}
