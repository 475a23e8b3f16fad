//! Which samples a family of some type has, and what they must look like.

use super::renames::LabelUse;

/// Who belongs to whom: the two ways in which formats name families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// A family is named as its samples are; only histograms and summaries have suffixes.
    Classic,
    /// A counter `x` has a sample `x_total`, and more types have more suffixes.
    OpenMetrics,
}

/// The types of all formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricType {
    Counter,
    Gauge,
    Histogram,
    Summary,
    /// `untyped` in the text format.
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

    pub(super) fn as_str(self, naming: Naming) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Unknown if naming == Naming::Classic => "untyped",
            Self::Unknown => "unknown",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }

    /// Whether a format of this naming has the type.
    fn is_in(self, naming: Naming) -> bool {
        naming == Naming::OpenMetrics
            || !matches!(self, Self::GaugeHistogram | Self::Info | Self::StateSet)
    }

    /// Reads a type in whatever case; `untyped` in OpenMetrics too, where it is none.
    pub(super) fn parse(text: &[u8], naming: Naming) -> Option<Self> {
        let is = |known: Self, naming| {
            text.eq_ignore_ascii_case(known.as_str(naming).as_bytes()) && known.is_in(naming)
        };
        Self::ALL.into_iter().find(|&known| is(known, naming) || is(known, Naming::Classic))
    }

    /// Whether a family of this type has samples in `role`.
    pub(super) fn has(self, role: Role, naming: Naming) -> bool {
        let created = role == Role::Created && naming == Naming::OpenMetrics;
        match self {
            Self::Counter if naming == Naming::OpenMetrics => role == Role::Total || created,
            Self::Counter | Self::Gauge | Self::Unknown | Self::StateSet => role == Role::Plain,
            Self::Histogram => matches!(role, Role::Bucket | Role::Sum | Role::Count) || created,
            Self::Summary => matches!(role, Role::Plain | Role::Sum | Role::Count) || created,
            Self::GaugeHistogram => {
                matches!(role, Role::Bucket | Role::GaugeSum | Role::GaugeCount)
            }
            Self::Info => role == Role::Info,
        }
    }

    /// Whether a family of this type has samples in `role` once it has its place in a
    /// merge, where a counter is named as its samples are.
    pub(super) fn takes(self, role: Role, naming: Naming) -> bool {
        match (self, role) {
            (Self::Counter, Role::Plain) => true,
            (Self::Counter, Role::TotalCreated) => naming == Naming::OpenMetrics,
            (Self::Counter, _) => false,
            _ => self.has(role, naming),
        }
    }

    /// Whether the points of one metric are several samples.
    pub(super) fn is_compound(self) -> bool {
        matches!(self, Self::Histogram | Self::GaugeHistogram | Self::Summary)
    }
}

/// What a sample's name says about its place in its family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Role {
    /// Named as the family is.
    #[default]
    Plain,
    Bucket,
    Sum,
    Count,
    GaugeSum,
    GaugeCount,
    Total,
    Created,
    /// As [`Created`](Self::Created), of a counter that is named as its samples are.
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

    /// Splits a sample's name into family and role, where it ends as a part of some family may.
    pub(super) fn of(name: &[u8]) -> Option<(&[u8], Self)> {
        // Most names end in no suffix, and their last byte says so.
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
pub(super) struct Types(u8);

impl Types {
    pub(super) fn insert(&mut self, metric_type: MetricType) {
        self.0 |= 1 << metric_type as u8;
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The type, where there is one and no other.
    pub(super) fn agreed(self) -> Option<MetricType> {
        MetricType::ALL.into_iter().find(|&one| self.0 == 1 << one as u8)
    }

    pub(super) fn are_several(self) -> bool {
        self.0.count_ones() > 1
    }

    pub(super) fn contain(self, metric_type: MetricType) -> bool {
        self.0 & (1 << metric_type as u8) != 0
    }

    /// Whether samples in `role` would belong to a family of one of these types.
    pub(super) fn take(self, role: Role, naming: Naming) -> bool {
        MetricType::ALL.into_iter().any(|one| self.contain(one) && one.takes(role, naming))
    }
}

impl Extend<MetricType> for Types {
    fn extend<I: IntoIterator<Item = MetricType>>(&mut self, types: I) {
        types.into_iter().for_each(|metric_type| self.insert(metric_type));
    }
}

impl From<MetricType> for Types {
    fn from(metric_type: MetricType) -> Self {
        let mut types = Self::default();
        types.insert(metric_type);
        types
    }
}

/// What a label that is a number in some types holds.
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

/// What the samples of a family look like, as far as a type can contradict it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) roles: Roles,
    /// Roles with a sample that has no `le`.
    without_le: Roles,
    /// Roles with a sample that has no `quantile`.
    without_quantile: Roles,
    /// Some sample's `le` is no number.
    odd_le: bool,
    /// Some sample's `quantile` is no number.
    odd_quantile: bool,
    pub(super) labels: LabelUse,
}

impl Shape {
    /// Takes note of a sample.
    #[inline(always)]
    pub(super) fn add(&mut self, role: Role, le: Bound, quantile: Bound) {
        self.roles.insert(role);
        match le {
            Bound::Absent => self.without_le.insert(role),
            Bound::Number(_) => {}
            Bound::Other => self.odd_le = true,
        }
        match quantile {
            Bound::Absent => self.without_quantile.insert(role),
            Bound::Number(_) => {}
            Bound::Other => self.odd_quantile = true,
        }
    }

    /// Takes note of another instance's samples of the family.
    pub(super) fn join(&mut self, other: Self) {
        self.roles.join(other.roles);
        self.without_le.join(other.without_le);
        self.without_quantile.join(other.without_quantile);
        self.odd_le |= other.odd_le;
        self.odd_quantile |= other.odd_quantile;
        self.labels.join(other.labels);
    }

    /// The shape that the samples in `from` have in the family in which they are in role `to`.
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

    /// Whether a reader that knows the type takes every such sample.
    pub(super) fn fits(self, metric_type: MetricType, naming: Naming) -> bool {
        if naming == Naming::OpenMetrics
            && self.roles.iter().any(|role| !metric_type.takes(role, naming))
        {
            return false;
        }
        match metric_type {
            MetricType::Histogram | MetricType::GaugeHistogram => {
                !self.odd_le
                    && !self.without_le.contains(Role::Bucket)
                    && !self.roles.contains(Role::Plain)
            }
            MetricType::Summary => {
                !self.odd_quantile && !self.without_quantile.contains(Role::Plain)
            }
            _ => true,
        }
    }
}
