//! Finds the families that a merge writes without the type that a body declares.
//!
//! A plan only has the names of these families, so the merge is planned again.

use std::collections::HashMap;

use super::{
    body::TextBody,
    duplicate_sample::SampleLocation,
    families::MetricType,
    index::IndexedFamily,
    lost_type::{LostType, LostTypeReason, TypeConflict, TypeRule},
    output_dialect::OutputDialect,
    output_family::{OutputFamily, OutputPart},
    plan::TextPlan,
    regroup::{self, Violation},
};

/// The first `limit` lost types, in the order of instances and lines.
pub(super) fn find(instances: &[TextBody], dialect: &OutputDialect, limit: usize) -> Vec<LostType> {
    let mut search = LostTypeSearch { instances, dialect, limit, found: Vec::new() };
    let plan = TextPlan::with_violations(instances, dialect, |plan, family| {
        search.add_violations(plan, family);
    });
    search.add_declared(&plan.conflicts.into_iter().collect());
    search.finish()
}

struct LostTypeSearch<'a> {
    instances: &'a [TextBody],
    dialect: &'a OutputDialect,
    limit: usize,
    found: Vec<FoundType>,
}

struct FoundType {
    instance: usize,
    offset: u32,
    family: String,
    metric_type: &'static str,
    reason: LostTypeReason,
}

impl LostTypeSearch<'_> {
    /// Adds a family that violates a rule, for each instance where it does.
    fn add_violations(&mut self, plan: &TextPlan, family: &OutputFamily) {
        if let Some(unit) = family.unit.filter(|_| !family.unit_fits(self.instances)) {
            let violation = Violation { rule: TypeRule::Unit, offset: unit.span.start() as u32 };
            self.add_violation(unit.instance as usize, family, violation);
            return;
        }
        let parts = plan.parts.get(family.parts.clone()).unwrap_or_default();
        for parts in parts.chunk_by(|one, next| one.instance == next.instance) {
            let Some(first) = parts.first() else { continue };
            let at = first.instance as usize;
            let Some(instance) = self.instances.get(at) else { continue };
            let violation = match plan.regrouped.get(first.run as usize) {
                Some(regrouped) if first.is_regrouped => regrouped.violation,
                _ => regroup::violation(instance, parts, self.dialect, family),
            };
            let violation = violation.or_else(|| {
                let source = source_of(plan, first, instance)?;
                let offset = source.name.start() as u32;
                let rule = TypeRule::EqualBounds;
                source.rule_result.has_equal_bounds.then_some(Violation { rule, offset })
            });
            if let Some(violation) = violation {
                self.add_violation(at, family, violation);
            }
        }
    }

    fn add_violation(&mut self, instance: usize, family: &OutputFamily, violation: Violation) {
        let naming = self.instances.get(instance).map(|instance| instance.naming);
        let Some(naming) = naming else { return };
        // A family can have a unit without a type.
        let metric_type = family.metric_type.unwrap_or(MetricType::Unknown);
        self.add(FoundType {
            instance,
            offset: violation.offset,
            family: String::from_utf8_lossy(&family.key).into_owned(),
            metric_type: metric_type.as_str(naming),
            reason: LostTypeReason::Rule(violation.rule),
        });
    }

    /// Adds the families whose type is contradicted, or that the output does not have.
    fn add_declared(&mut self, conflicts: &HashMap<Box<[u8]>, TypeConflict>) {
        for (i, instance) in self.instances.iter().enumerate() {
            for (f, family) in instance.index.families.iter().enumerate() {
                let lost = self.declared(instance, f as u32, family, conflicts);
                let Some((name, metric_type, reason)) = lost else { continue };
                self.add(FoundType {
                    instance: i,
                    offset: family.name.start() as u32,
                    family: String::from_utf8_lossy(&name).into_owned(),
                    metric_type: metric_type.as_str(instance.naming),
                    reason,
                });
            }
        }
    }

    /// The name, the type and why it is lost.
    fn declared(
        &self,
        instance: &TextBody,
        f: u32,
        family: &IndexedFamily,
        conflicts: &HashMap<Box<[u8]>, TypeConflict>,
    ) -> Option<(Vec<u8>, MetricType, LostTypeReason)> {
        let source = instance.source(f);
        let metric_type = source.metric_type?;
        let naming = self.dialect.naming;
        let mut roles = family.shape.roles;
        let is_empty = roles.is_empty();
        if is_empty {
            roles.insert(source.main_role());
        }
        let lost = roles.iter().filter_map(|role| {
            let to = source.destination(role, naming);
            if to.is_split_off() {
                return None;
            }
            let name = source.target_name(&to, self.dialect).into_owned();
            let reason = match conflicts.get(&*name) {
                Some(&conflict) => LostTypeReason::Conflict(conflict),
                None if is_empty || to.metric_type == Some(metric_type) => return None,
                None if metric_type == MetricType::Counter => LostTypeReason::CounterName,
                None => LostTypeReason::Format,
            };
            Some((name, metric_type, reason))
        });
        // Samples of a counter can go to several families.
        lost.min_by_key(|(.., reason)| !matches!(reason, LostTypeReason::Conflict(_)))
    }

    fn add(&mut self, found: FoundType) {
        if self.found.len() < self.limit {
            self.found.push(found);
        }
    }

    /// Numbers the lines of each instance in one pass.
    fn finish(mut self) -> Vec<LostType> {
        self.found.sort_by_key(|found| (found.instance, found.offset));
        let (mut instance, mut offset, mut line) = (usize::MAX, 0, 1);
        let numbered = |found: FoundType| {
            if found.instance != instance {
                (instance, offset, line) = (found.instance, 0, 1);
            }
            line += self.instances.get(instance).map_or(0, |body| body.lines(offset..found.offset));
            offset = found.offset;
            let FoundType { family, metric_type, reason, .. } = found;
            let location = SampleLocation { instance, line: Some(line) };
            LostType { family, metric_type, reason, location }
        };
        self.found.into_iter().map(numbered).collect()
    }
}

/// The family in the body of an instance that has the first lines of `part`.
fn source_of<'a>(
    plan: &TextPlan,
    part: &OutputPart,
    instance: &'a TextBody,
) -> Option<&'a IndexedFamily> {
    let run = match part.is_regrouped {
        true => plan.regrouped.get(part.run as usize)?.lines.first()?.run,
        false => part.run,
    };
    let run = instance.index.runs.get(run as usize)?;
    instance.index.families.get(run.family as usize)
}
