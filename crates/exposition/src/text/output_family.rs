//! Families of the output and the lines of each.

use std::ops::Range;

use super::{
    body::TextBody,
    families::{MetricType, Role, Roles},
    metadata,
    output_dialect::OutputDialect,
    span::Span,
};

/// A family of the output.
pub(super) struct OutputFamily {
    /// The unique name in the merge. The name of a counter has its `_total` here.
    pub(super) key: Box<[u8]>,
    /// The name in the output, without quotes.
    pub(super) name: Box<[u8]>,
    pub(super) help: Option<BodyText>,
    pub(super) unit: Option<BodyText>,
    pub(super) metric_type: Option<MetricType>,
    pub(super) parts: Range<usize>,
}

/// A run of samples, or the regrouped samples of one instance.
#[derive(Clone, Copy)]
pub(super) struct OutputPart {
    pub(super) instance: u32,
    /// The index of the run, or of the entry in
    /// [`TextPlan::regrouped`](super::plan::TextPlan::regrouped).
    pub(super) run: u32,
    pub(super) only: Roles,
    pub(super) is_regrouped: bool,
}

/// A part of an instance's body.
#[derive(Clone, Copy)]
pub(super) struct BodyText {
    pub(super) instance: u32,
    pub(super) span: Span,
}

impl BodyText {
    pub(super) fn of(self, instances: &[TextBody]) -> &[u8] {
        let instance = instances.get(self.instance as usize);
        instance.map(|instance| instance.text(self.span)).unwrap_or_default()
    }
}

impl OutputFamily {
    /// Writes the metadata lines.
    pub(super) fn write_metadata(
        &self,
        instances: &[TextBody],
        dialect: &OutputDialect,
        out: &mut Vec<u8>,
    ) {
        let write_help = |out: &mut Vec<u8>| {
            let Some(help) = self.help else { return };
            let Some(instance) = instances.get(help.instance as usize) else { return };
            let text = (help.of(instances), instance.naming);
            metadata::write_help(&self.name, text, dialect, out);
        };
        let write_type = |out: &mut Vec<u8>| {
            let Some(metric_type) = self.metric_type else { return };
            metadata::write_type(&self.name, metric_type, dialect, out);
        };
        if dialect.is_openmetrics() {
            write_type(out);
            if let Some(unit) = self.unit {
                metadata::write_unit(&self.name, unit.of(instances), dialect, out);
            }
            write_help(out);
        } else {
            write_help(out);
            write_type(out);
        }
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    pub(super) fn metric_type(&self) -> Option<MetricType> {
        self.metric_type
    }

    /// The role of a sample of this name.
    pub(super) fn role_of(&self, sample: &[u8]) -> Role {
        if *sample == *self.key {
            return Role::Plain;
        }
        let suffix = sample.strip_prefix(&*self.name).unwrap_or_default();
        Role::ALL.into_iter().find(|role| role.suffix() == suffix).unwrap_or(Role::Plain)
    }

    /// Whether the type of the family allows exemplars.
    pub(super) fn keeps_exemplars(&self) -> bool {
        self.metric_type.is_some_and(has_exemplars)
    }
}

fn has_exemplars(metric_type: MetricType) -> bool {
    matches!(metric_type, MetricType::Counter | MetricType::Histogram | MetricType::GaugeHistogram)
}
