//! Metric types, and the samples that a family of each type has.

use super::labels::LabelTraits;

/// The two ways in which formats name the samples of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FamilyNaming {
    /// Text formats: samples have the name of their family. Only histograms and summaries have
    /// suffixes.
    Classic,
    /// OpenMetrics: a counter `x` has a sample `x_total`, and more types have suffixes.
    OpenMetrics,
}

/// The metric types of all text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricType {
    Counter,
    Gauge,
    Histogram,
    Summary,
    /// `untyped` in the text formats.
    Unknown,
    GaugeHistogram,
    Info,
    StateSet,
}

impl MetricType {
    pub(super) const ALL: [Self; 8] = [
        Self::Counter,
        Self::Gauge,
        Self::Histogram,
        Self::Summary,
        Self::Unknown,
        Self::GaugeHistogram,
        Self::Info,
        Self::StateSet,
    ];

    pub(super) fn as_str(self, naming: FamilyNaming) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Unknown if naming == FamilyNaming::Classic => "untyped",
            Self::Unknown => "unknown",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }

    /// Whether formats of this naming have the type.
    fn is_in(self, naming: FamilyNaming) -> bool {
        naming == FamilyNaming::OpenMetrics
            || !matches!(self, Self::GaugeHistogram | Self::Info | Self::StateSet)
    }

    /// Parses a type without regard to case. `untyped` is accepted in OpenMetrics too, although
    /// OpenMetrics does not have it.
    pub(super) fn parse(text: &[u8], naming: FamilyNaming) -> Option<Self> {
        let is = |known: Self, naming| {
            text.eq_ignore_ascii_case(known.as_str(naming).as_bytes()) && known.is_in(naming)
        };
        Self::ALL.into_iter().find(|&known| is(known, naming) || is(known, FamilyNaming::Classic))
    }

    /// Whether a family of this type has samples in `role`.
    pub(super) fn has(self, role: Role, naming: FamilyNaming) -> bool {
        let created = role == Role::Created && naming == FamilyNaming::OpenMetrics;
        match self {
            Self::Counter if naming == FamilyNaming::OpenMetrics => role == Role::Total || created,
            Self::Counter | Self::Gauge | Self::Unknown | Self::StateSet => role == Role::Plain,
            Self::Histogram => matches!(role, Role::Bucket | Role::Sum | Role::Count) || created,
            Self::Summary => matches!(role, Role::Plain | Role::Sum | Role::Count) || created,
            Self::GaugeHistogram => {
                matches!(role, Role::Bucket | Role::GaugeSum | Role::GaugeCount)
            }
            Self::Info => role == Role::Info,
        }
    }

    /// Whether a family of this type has samples in `role` inside a merge. There a counter is named
    /// like its samples.
    pub(super) fn takes(self, role: Role, naming: FamilyNaming) -> bool {
        match (self, role) {
            (Self::Counter, Role::Plain) => true,
            (Self::Counter, Role::TotalCreated) => naming == FamilyNaming::OpenMetrics,
            (Self::Counter, _) => false,
            _ => self.has(role, naming),
        }
    }

    /// Whether one metric of this type has several samples.
    pub(super) fn is_compound(self) -> bool {
        matches!(self, Self::Histogram | Self::GaugeHistogram | Self::Summary)
    }
}

/// The role of a sample in its family, which its name suffix shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Role {
    /// The sample has the name of its family.
    #[default]
    Plain,
    Bucket,
    Sum,
    Count,
    GaugeSum,
    GaugeCount,
    Total,
    Created,
    /// The role [`Created`](Self::Created) of a counter that is named like its samples.
    TotalCreated,
    Info,
}

impl Role {
    pub(super) const ALL: [Self; 10] = [
        Self::Plain,
        Self::Bucket,
        Self::Sum,
        Self::Count,
        Self::GaugeSum,
        Self::GaugeCount,
        Self::Total,
        Self::Created,
        Self::TotalCreated,
        Self::Info,
    ];

    pub(super) fn suffix(self) -> &'static [u8] {
        match self {
            Self::Plain => b"",
            Self::Bucket => b"_bucket",
            Self::Sum => b"_sum",
            Self::Count => b"_count",
            Self::GaugeSum => b"_gsum",
            Self::GaugeCount => b"_gcount",
            Self::Total => b"_total",
            Self::Created | Self::TotalCreated => b"_created",
            Self::Info => b"_info",
        }
    }

    /// Splits a sample name into a family name and a role. `None` if the name ends in no suffix.
    pub(super) fn split(name: &[u8]) -> Option<(&[u8], Self)> {
        // Most names have no suffix, and their last byte shows it.
        let likely: &[Self] = match name.last()? {
            b't' => &[Self::Bucket, Self::Count, Self::GaugeCount],
            b'm' => &[Self::Sum, Self::GaugeSum],
            b'l' => &[Self::Total],
            b'd' => &[Self::Created],
            b'o' => &[Self::Info],
            _ => return None,
        };
        likely.iter().find_map(|role| Some((name.strip_suffix(role.suffix())?, *role)))
    }
}

/// A set of [`Role`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Roles(u16);

impl Roles {
    pub(super) const ANY: Self = Self(u16::MAX);

    pub(super) fn insert(&mut self, role: Role) {
        self.0 |= 1 << role as u16;
    }

    pub(super) fn contains(self, role: Role) -> bool {
        self.0 & (1 << role as u16) != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The number of families of a merge to which samples in these roles can belong.
    pub(super) fn possible_families(self) -> usize {
        let count = self.count();
        if count > 1 { count + 1 } else { 1 }
    }

    pub(super) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |&role| self.contains(role))
    }
}

impl From<Role> for Roles {
    fn from(role: Role) -> Self {
        let mut roles = Self::default();
        roles.insert(role);
        roles
    }
}

/// A set of [`MetricType`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MetricTypes(u8);

impl MetricTypes {
    pub(super) fn insert(&mut self, metric_type: MetricType) {
        self.0 |= 1 << metric_type as u8;
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The only type of the set. `None` if the set has no or several types.
    pub(super) fn agreed(self) -> Option<MetricType> {
        MetricType::ALL.into_iter().find(|&one| self.0 == 1 << one as u8)
    }

    pub(super) fn are_several(self) -> bool {
        self.0.count_ones() > 1
    }

    pub(super) fn contain(self, metric_type: MetricType) -> bool {
        self.0 & (1 << metric_type as u8) != 0
    }

    /// Whether one of these types has samples in `role` inside a merge.
    pub(super) fn take(self, role: Role, naming: FamilyNaming) -> bool {
        MetricType::ALL.into_iter().any(|one| self.contain(one) && one.takes(role, naming))
    }
}

impl Extend<MetricType> for MetricTypes {
    fn extend<I: IntoIterator<Item = MetricType>>(&mut self, types: I) {
        types.into_iter().for_each(|metric_type| self.insert(metric_type));
    }
}

impl From<MetricType> for MetricTypes {
    fn from(metric_type: MetricType) -> Self {
        let mut types = Self::default();
        types.insert(metric_type);
        types
    }
}

/// The value of a label `le` or `quantile`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Bound {
    #[default]
    Absent,
    Number(f64),
    Other,
}

impl Bound {
    pub(super) fn number(self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Absent | Self::Other => None,
        }
    }
}

/// Properties of the samples of a family that can contradict a metric type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FamilyShape {
    pub(super) roles: Roles,
    /// Roles with a sample that has no `le`.
    without_le: Roles,
    /// Roles with a sample that has no `quantile`.
    without_quantile: Roles,
    /// Whether the `le` of a sample is not a number.
    has_invalid_le: bool,
    /// Whether the `quantile` of a sample is not a number.
    has_invalid_quantile: bool,
    pub(super) labels: LabelTraits,
}

impl FamilyShape {
    /// Adds a sample.
    #[inline(always)]
    pub(super) fn add(&mut self, role: Role, le: Bound, quantile: Bound) {
        self.roles.insert(role);
        match le {
            Bound::Absent => self.without_le.insert(role),
            Bound::Number(_) => {}
            Bound::Other => self.has_invalid_le = true,
        }
        match quantile {
            Bound::Absent => self.without_quantile.insert(role),
            Bound::Number(_) => {}
            Bound::Other => self.has_invalid_quantile = true,
        }
    }

    /// Adds the samples of another instance.
    pub(super) fn join(&mut self, other: Self) {
        self.roles.join(other.roles);
        self.without_le.join(other.without_le);
        self.without_quantile.join(other.without_quantile);
        self.has_invalid_le |= other.has_invalid_le;
        self.has_invalid_quantile |= other.has_invalid_quantile;
        self.labels.join(other.labels);
    }

    /// The shape of the samples with role `from`, in a family where they have role `to`.
    pub(super) fn in_role(self, from: Role, to: Role) -> Self {
        let moved = |roles: Roles| match roles.contains(from) {
            true => to.into(),
            false => Roles::default(),
        };
        Self {
            roles: moved(self.roles),
            without_le: moved(self.without_le),
            without_quantile: moved(self.without_quantile),
            ..self
        }
    }

    /// Whether a parser that knows the type accepts all samples.
    pub(super) fn fits(self, metric_type: MetricType, naming: FamilyNaming) -> bool {
        if naming == FamilyNaming::OpenMetrics
            && self.roles.iter().any(|role| !metric_type.takes(role, naming))
        {
            return false;
        }
        match metric_type {
            MetricType::Histogram | MetricType::GaugeHistogram => {
                !self.has_invalid_le
                    && !self.without_le.contains(Role::Bucket)
                    && !self.roles.contains(Role::Plain)
            }
            MetricType::Summary => {
                !self.has_invalid_quantile && !self.without_quantile.contains(Role::Plain)
            }
            _ => true,
        }
    }
}
