//! Families under the names and types that another format has for them.

use std::borrow::Cow;

use super::{
    dialect::Dialect,
    families::{MetricType, Naming, Role},
    renames::{LabelNames, Renames},
    sample::Name,
};

/// Where samples go that share a role in a family of their source.
///
/// Here a counter is named as its samples are, `x_total`, whichever format asks: so
/// it is told from a gauge `x`, and from nothing when its type is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    /// What is appended to the family's name.
    suffix: Role,
    pub(super) metric_type: Option<MetricType>,
    pub(super) role: Role,
}

impl Destination {
    /// Whether it is a part of another family that stands on its own here, and follows it.
    pub(super) fn is_split_off(&self) -> bool {
        self.suffix == Role::Created
    }
}

/// A family as its source names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) name: Name<'a>,
    pub(super) metric_type: Option<MetricType>,
    pub(super) naming: Naming,
    /// Names that are not the usual ones.
    pub(super) renames: Option<&'a Renames>,
}

impl<'a> Source<'a> {
    /// Where in a format of `naming` the samples in `role` go.
    pub(super) fn destination(&self, role: Role, naming: Naming) -> Destination {
        let same = Destination { suffix: Role::Plain, metric_type: self.metric_type, role };
        let Some(metric_type) = self.metric_type else { return same };
        let alone = |metric_type| Destination {
            suffix: role,
            metric_type: Some(metric_type),
            role: Role::Plain,
        };
        match (self.naming, naming) {
            (Naming::Classic, Naming::OpenMetrics) if metric_type == MetricType::Counter => {
                if stem_of_total(self.name.text).is_some() {
                    same
                } else {
                    alone(MetricType::Unknown)
                }
            }
            (Naming::OpenMetrics, _) if metric_type == MetricType::Counter => {
                match (role, naming) {
                    (Role::Total, _) => alone(MetricType::Counter),
                    (Role::Created, Naming::OpenMetrics) => {
                        Destination { suffix: Role::Total, role: Role::TotalCreated, ..same }
                    }
                    (Role::Created, Naming::Classic) => alone(MetricType::Gauge),
                    _ => alone(MetricType::Unknown),
                }
            }
            (Naming::OpenMetrics, Naming::Classic) => match (metric_type, role) {
                (MetricType::Info, Role::Info) | (MetricType::StateSet, _) | (_, Role::Created) => {
                    alone(MetricType::Gauge)
                }
                (MetricType::Info | MetricType::GaugeHistogram, _) => alone(MetricType::Unknown),
                _ => same,
            },
            _ => same,
        }
    }

    /// Whether all samples of the family stay together under its name, in the roles that
    /// they have.
    pub(super) fn stays_whole(&self, naming: Naming) -> bool {
        match (self.naming, naming) {
            (Naming::Classic, Naming::Classic) => true,
            (Naming::OpenMetrics, Naming::Classic) => self.metric_type.is_none(),
            (_, Naming::OpenMetrics) => self.metric_type != Some(MetricType::Counter),
        }
    }

    /// The role in which a family without samples is declared.
    pub(super) fn main_role(&self) -> Role {
        match (self.naming, self.metric_type) {
            (Naming::OpenMetrics, Some(MetricType::Counter)) => Role::Total,
            (_, Some(MetricType::Info)) => Role::Info,
            (_, Some(MetricType::Histogram | MetricType::GaugeHistogram)) => Role::Bucket,
            _ => Role::Plain,
        }
    }

    /// The name that the family has at its destination.
    pub(super) fn target_name(&self, to: &Destination, dialect: &Dialect) -> Cow<'a, [u8]> {
        if let Some(name) = self.renamed() {
            return Cow::Owned([name, to.suffix.suffix()].concat());
        }
        if to.suffix == Role::Plain {
            return dialect.metric_name(self.name.unescaped());
        }
        let mut name = self.name.unescaped().into_owned();
        name.extend_from_slice(to.suffix.suffix());
        dialect.metric_name(Cow::Owned(name))
    }

    /// The name that the family has where it keeps its samples.
    pub(super) fn family_name(&self, dialect: &Dialect) -> Cow<'a, [u8]> {
        let to = Destination { suffix: Role::Plain, metric_type: None, role: Role::Plain };
        self.target_name(&to, dialect)
    }

    /// The name of the family in the output, if it is not the usual one.
    fn renamed(&self) -> Option<&'a [u8]> {
        self.renames?.metric(&self.name.unescaped())
    }

    /// The names of labels of its samples in the output, if they are not the usual ones.
    pub(super) fn label_names(&self) -> Option<&'a LabelNames> {
        self.renames?.labels(&self.name.unescaped())
    }

    /// Whether its samples have bounds that are one number, and stay as they are spelled.
    pub(super) fn has_equal_bounds(&self) -> bool {
        self.renames.is_some_and(|renames| renames.has_equal_bounds(&self.name.unescaped()))
    }

    /// The role of a sample of this name in the family.
    pub(super) fn role_of(&self, sample: Name<'_>) -> Role {
        let suffix = sample.text.strip_prefix(self.name.text).unwrap_or_default();
        let has = |role: &Role| role.suffix() == suffix;
        Role::ALL.into_iter().find(has).unwrap_or(Role::Plain)
    }

    /// The name that a sample of the family has at its destination.
    pub(super) fn target_sample_name(&self, sample: Name<'_>, dialect: &Dialect) -> Vec<u8> {
        let to = self.destination(self.role_of(sample), dialect.naming);
        sample_name(&self.target_name(&to, dialect), to.role)
    }
}

/// The name that samples in `role` have in a family of this name.
pub(super) fn sample_name(family: &[u8], role: Role) -> Vec<u8> {
    let stem = if role == Role::TotalCreated { stem_of_total(family) } else { None };
    [stem.unwrap_or(family), role.suffix()].concat()
}

/// The name before `_total`, if it has that.
pub(super) fn stem_of_total(name: &[u8]) -> Option<&[u8]> {
    name.strip_suffix(Role::Total.suffix()).filter(|stem| !stem.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{
        super::format::{Format, Target},
        *,
    };

    #[test]
    fn a_family_has_its_name_and_type_in_both_namings() {
        use MetricType::{Counter, Gauge, GaugeHistogram, Histogram, Info, StateSet, Unknown};
        use Naming::{Classic, OpenMetrics};
        type Case<'a> = (&'a str, MetricType, Naming, Role, &'a str, MetricType, Role);
        let cases: &[Case<'_>] = &[
            ("x_total", Counter, Classic, Role::Plain, "x_total", Counter, Role::Plain),
            ("x", Counter, Classic, Role::Plain, "x", Unknown, Role::Plain),
            ("_total", Counter, Classic, Role::Plain, "_total", Unknown, Role::Plain),
            ("x", Histogram, Classic, Role::Bucket, "x", Histogram, Role::Bucket),
            ("x", Gauge, Classic, Role::Plain, "x", Gauge, Role::Plain),
            ("x", Counter, OpenMetrics, Role::Total, "x_total", Counter, Role::Plain),
            ("x", Counter, OpenMetrics, Role::Created, "x_created", Gauge, Role::Plain),
            ("x", Counter, OpenMetrics, Role::Plain, "x", Unknown, Role::Plain),
            ("x", Histogram, OpenMetrics, Role::Sum, "x", Histogram, Role::Sum),
            ("x", Histogram, OpenMetrics, Role::Created, "x_created", Gauge, Role::Plain),
            ("x", GaugeHistogram, OpenMetrics, Role::GaugeSum, "x_gsum", Unknown, Role::Plain),
            ("x", Info, OpenMetrics, Role::Info, "x_info", Gauge, Role::Plain),
            ("x", StateSet, OpenMetrics, Role::Plain, "x", Gauge, Role::Plain),
        ];
        for &(name, metric_type, naming, role, target_name, target_type, target_role) in cases {
            let text = name.as_bytes();
            let source = Source {
                name: Name { text, is_quoted: false },
                metric_type: Some(metric_type),
                naming,
                renames: None,
            };
            let target = match naming {
                Classic => Format::OpenMetrics100,
                OpenMetrics => Format::Text004,
            };
            let dialect = Dialect::new(Target::new(target));
            let to = source.destination(role, dialect.naming);
            assert_eq!(
                (&*source.target_name(&to, &dialect), to.metric_type, to.role),
                (target_name.as_bytes(), Some(target_type), target_role),
                "{name} {metric_type:?} {role:?}"
            );
        }
        let counter = Source {
            name: Name { text: b"x", is_quoted: false },
            metric_type: Some(Counter),
            naming: OpenMetrics,
            renames: None,
        };
        let dialect = Dialect::new(Target::new(Format::OpenMetrics100));
        for name in ["x_total", "x_created", "x"] {
            let sample = Name { text: name.as_bytes(), is_quoted: false };
            assert_eq!(counter.target_sample_name(sample, &dialect), name.as_bytes());
            let to = counter.destination(counter.role_of(sample), OpenMetrics);
            let family = if name == "x" { "x" } else { "x_total" };
            assert_eq!(&*counter.target_name(&to, &dialect), family.as_bytes());
        }
    }
}
