//! Maps the families of a body to the families of another format.

use std::borrow::Cow;

use super::{
    families::{FamilyNaming, MetricType, Role},
    output_dialect::OutputDialect,
    renames::{LabelNames, Renames},
    sample::SourceName,
};

/// The output family of the samples of one role.
///
/// In a merge a counter is named like its samples, `x_total`, for any output format. Otherwise it
/// could not be distinguished from a gauge `x`, and would not match a family without type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FamilyDestination {
    /// The suffix that is appended to the family name.
    suffix: Role,
    pub(super) metric_type: Option<MetricType>,
    pub(super) role: Role,
}

impl FamilyDestination {
    /// Whether the samples become a family of their own, which follows the original family.
    pub(super) fn is_split_off(&self) -> bool {
        self.suffix == Role::Created
    }
}

/// A family with its name in a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceFamily<'a> {
    pub(super) name: SourceName<'a>,
    pub(super) metric_type: Option<MetricType>,
    pub(super) naming: FamilyNaming,
    /// Output names that differ from the usual ones.
    pub(super) renames: Option<&'a Renames>,
}

impl<'a> SourceFamily<'a> {
    /// The output family of the samples in `role`, in a format of `naming`.
    pub(super) fn destination(&self, role: Role, naming: FamilyNaming) -> FamilyDestination {
        let same = FamilyDestination { suffix: Role::Plain, metric_type: self.metric_type, role };
        let Some(metric_type) = self.metric_type else { return same };
        let own_family = |metric_type| FamilyDestination {
            suffix: role,
            metric_type: Some(metric_type),
            role: Role::Plain,
        };
        match (self.naming, naming) {
            (FamilyNaming::Classic, FamilyNaming::OpenMetrics)
                if metric_type == MetricType::Counter =>
            {
                if stem_of_total(self.name.text).is_some() {
                    same
                } else {
                    own_family(MetricType::Unknown)
                }
            }
            (FamilyNaming::OpenMetrics, _) if metric_type == MetricType::Counter => {
                match (role, naming) {
                    (Role::Total, _) => own_family(MetricType::Counter),
                    (Role::Created, FamilyNaming::OpenMetrics) => {
                        FamilyDestination { suffix: Role::Total, role: Role::TotalCreated, ..same }
                    }
                    (Role::Created, FamilyNaming::Classic) => own_family(MetricType::Gauge),
                    _ => own_family(MetricType::Unknown),
                }
            }
            (FamilyNaming::OpenMetrics, FamilyNaming::Classic) => match (metric_type, role) {
                (MetricType::Info, Role::Info) | (MetricType::StateSet, _) | (_, Role::Created) => {
                    own_family(MetricType::Gauge)
                }
                (MetricType::Info | MetricType::GaugeHistogram, _) => {
                    own_family(MetricType::Unknown)
                }
                _ => same,
            },
            _ => same,
        }
    }

    /// Whether all samples stay in a family of this name and keep their roles.
    pub(super) fn stays_whole(&self, naming: FamilyNaming) -> bool {
        match (self.naming, naming) {
            (FamilyNaming::Classic, FamilyNaming::Classic) => true,
            (FamilyNaming::OpenMetrics, FamilyNaming::Classic) => self.metric_type.is_none(),
            (_, FamilyNaming::OpenMetrics) => self.metric_type != Some(MetricType::Counter),
        }
    }

    /// The role in which a family without samples is declared.
    pub(super) fn main_role(&self) -> Role {
        match (self.naming, self.metric_type) {
            (FamilyNaming::OpenMetrics, Some(MetricType::Counter)) => Role::Total,
            (_, Some(MetricType::Info)) => Role::Info,
            (_, Some(MetricType::Histogram | MetricType::GaugeHistogram)) => Role::Bucket,
            _ => Role::Plain,
        }
    }

    /// The output name of the family.
    pub(super) fn target_name(
        &self,
        to: &FamilyDestination,
        dialect: &OutputDialect,
    ) -> Cow<'a, [u8]> {
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

    /// The output name of a family that keeps its samples.
    pub(super) fn family_name(&self, dialect: &OutputDialect) -> Cow<'a, [u8]> {
        let to = FamilyDestination { suffix: Role::Plain, metric_type: None, role: Role::Plain };
        self.target_name(&to, dialect)
    }

    /// The output name of the family, if it is not the usual one.
    fn renamed(&self) -> Option<&'a [u8]> {
        self.renames?.metric(&self.name.unescaped())
    }

    /// The output label names of the family, if one is not the usual one.
    pub(super) fn label_names(&self) -> Option<&'a LabelNames> {
        self.renames?.labels(&self.name.unescaped())
    }

    /// Whether two bounds have the same value. The bounds are not made canonical then.
    pub(super) fn has_equal_bounds(&self) -> bool {
        self.renames.is_some_and(|renames| renames.has_equal_bounds(&self.name.unescaped()))
    }

    /// The role of a sample of this name.
    pub(super) fn role_of(&self, sample: SourceName<'_>) -> Role {
        let suffix = sample.text.strip_prefix(self.name.text).unwrap_or_default();
        let has = |role: &Role| role.suffix() == suffix;
        Role::ALL.into_iter().find(has).unwrap_or(Role::Plain)
    }

    /// The output name of a sample.
    pub(super) fn target_sample_name(
        &self,
        sample: SourceName<'_>,
        dialect: &OutputDialect,
    ) -> Vec<u8> {
        let to = self.destination(self.role_of(sample), dialect.naming);
        sample_name(&self.target_name(&to, dialect), to.role)
    }
}

/// The name of the samples in `role` of a family.
pub(super) fn sample_name(family: &[u8], role: Role) -> Vec<u8> {
    let stem = if role == Role::TotalCreated { stem_of_total(family) } else { None };
    [stem.unwrap_or(family), role.suffix()].concat()
}

/// The name without `_total`. `None` if the name does not end in it or consists of it.
pub(super) fn stem_of_total(name: &[u8]) -> Option<&[u8]> {
    name.strip_suffix(Role::Total.suffix()).filter(|stem| !stem.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{
        super::format::{Format, OutputFormat},
        *,
    };

    #[test]
    fn a_family_has_its_name_and_type_in_both_namings() {
        use FamilyNaming::{Classic, OpenMetrics};
        use MetricType::{Counter, Gauge, GaugeHistogram, Histogram, Info, StateSet, Unknown};
        type Case<'a> = (&'a str, MetricType, FamilyNaming, Role, &'a str, MetricType, Role);
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
            let source = SourceFamily {
                name: SourceName { text, is_quoted: false },
                metric_type: Some(metric_type),
                naming,
                renames: None,
            };
            let target = match naming {
                Classic => Format::OpenMetrics100,
                OpenMetrics => Format::Text004,
            };
            let dialect = OutputDialect::new(OutputFormat::new(target));
            let to = source.destination(role, dialect.naming);
            assert_eq!(
                (&*source.target_name(&to, &dialect), to.metric_type, to.role),
                (target_name.as_bytes(), Some(target_type), target_role),
                "{name} {metric_type:?} {role:?}"
            );
        }
        let counter = SourceFamily {
            name: SourceName { text: b"x", is_quoted: false },
            metric_type: Some(Counter),
            naming: OpenMetrics,
            renames: None,
        };
        let dialect = OutputDialect::new(OutputFormat::new(Format::OpenMetrics100));
        for name in ["x_total", "x_created", "x"] {
            let sample = SourceName { text: name.as_bytes(), is_quoted: false };
            assert_eq!(counter.target_sample_name(sample, &dialect), name.as_bytes());
            let to = counter.destination(counter.role_of(sample), OpenMetrics);
            let family = if name == "x" { "x" } else { "x_total" };
            assert_eq!(&*counter.target_name(&to, &dialect), family.as_bytes());
        }
    }
}
