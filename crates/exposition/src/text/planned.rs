//! What a plan consists of.

use std::ops::Range;

use super::{
    dialect::Dialect,
    families::{MetricType, Role, Roles},
    instance::Instance,
    metadata,
    span::Span,
};

/// A family of the output.
pub(super) struct Planned {
    /// Tells it from all others.
    pub(super) key: Box<[u8]>,
    /// As the output has it, without quotes.
    pub(super) name: Box<[u8]>,
    pub(super) help: Option<Text>,
    pub(super) unit: Option<Text>,
    pub(super) metric_type: Option<MetricType>,
    pub(super) parts: Range<usize>,
}

/// A run of samples, those in it of some roles, or some that were put in order.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) instance: u32,
    /// The run, or the place among those that were regrouped.
    pub(super) run: u32,
    pub(super) only: Roles,
    pub(super) is_regrouped: bool,
}

/// A part of an instance's body.
#[derive(Clone, Copy)]
pub(super) struct Text {
    pub(super) instance: u32,
    pub(super) span: Span,
}

impl Text {
    pub(super) fn of(self, instances: &[Instance]) -> &[u8] {
        let instance = instances.get(self.instance as usize);
        instance.map(|instance| instance.text(self.span)).unwrap_or_default()
    }
}

impl Planned {
    /// Writes the lines that go before the samples.
    pub(super) fn write_metadata(
        &self,
        instances: &[Instance],
        dialect: &Dialect,
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

    /// Whether exemplars of its samples are written.
    pub(super) fn keeps_exemplars(&self) -> bool {
        self.metric_type.is_some_and(has_exemplars)
    }
}

fn has_exemplars(metric_type: MetricType) -> bool {
    matches!(metric_type, MetricType::Counter | MetricType::Histogram | MetricType::GaugeHistogram)
}
