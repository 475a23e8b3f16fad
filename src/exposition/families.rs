//! Which samples a family of some type has, and what they must look like.

use super::metadata::MetricType;

/// What a sample's name says about its place in its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Named as the family is.
    Plain,
    Bucket,
    Sum,
    Count,
}

impl Role {
    pub(super) const ALL: [Self; 4] = [Self::Plain, Self::Bucket, Self::Sum, Self::Count];
    /// The roles in which a name is that of its family and a suffix.
    pub(super) const SUFFIXED: [Self; 3] = [Self::Bucket, Self::Sum, Self::Count];

    pub(super) fn suffix(self) -> &'static [u8] {
        match self {
            Self::Plain => b"",
            Self::Bucket => b"_bucket",
            Self::Sum => b"_sum",
            Self::Count => b"_count",
        }
    }

    /// Splits a sample's name into family and role, taking it to be in a histogram or summary.
    pub(super) fn of(name: &[u8]) -> Option<(&[u8], Self)> {
        // Most names are neither, and their last byte says so.
        if !matches!(name.last(), Some(b't' | b'm')) {
            return None;
        }
        Self::SUFFIXED.into_iter().find_map(|role| Some((name.strip_suffix(role.suffix())?, role)))
    }
}

/// A set of [`Role`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Roles(u8);

impl Roles {
    pub(super) fn insert(&mut self, role: Role) {
        self.0 |= 1 << role as u8;
    }

    pub(super) fn contains(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |&role| self.contains(role))
    }

    pub(super) fn is_single(self) -> bool {
        self.0.is_power_of_two()
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

    /// Whether samples in `role` would belong to a family of one of these types.
    pub(super) fn have(self, role: Role) -> bool {
        MetricType::ALL.into_iter().any(|one| self.0 & (1 << one as u8) != 0 && one.has(role))
    }
}

impl From<MetricType> for Types {
    fn from(metric_type: MetricType) -> Self {
        let mut types = Self::default();
        types.insert(metric_type);
        types
    }
}

impl MetricType {
    /// Whether a family of this type has samples in `role`.
    pub(super) fn has(self, role: Role) -> bool {
        match self {
            Self::Histogram => role != Role::Plain,
            Self::Summary => role != Role::Bucket,
            Self::Counter | Self::Gauge | Self::Untyped => role == Role::Plain,
        }
    }
}

/// What a label that is a number in some types holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Bound {
    #[default]
    Absent,
    Number,
    Other,
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
}

impl Shape {
    /// Takes note of a sample.
    pub(super) fn add(&mut self, role: Role, le: Bound, quantile: Bound) {
        self.roles.insert(role);
        match le {
            Bound::Absent => self.without_le.insert(role),
            Bound::Number => {}
            Bound::Other => self.odd_le = true,
        }
        match quantile {
            Bound::Absent => self.without_quantile.insert(role),
            Bound::Number => {}
            Bound::Other => self.odd_quantile = true,
        }
    }

    /// Takes note of another instance's samples of the family.
    pub(super) fn join(&mut self, other: Self) {
        self.roles.0 |= other.roles.0;
        self.without_le.0 |= other.without_le.0;
        self.without_quantile.0 |= other.without_quantile.0;
        self.odd_le |= other.odd_le;
        self.odd_quantile |= other.odd_quantile;
    }

    /// The shape that samples named as their own family have in the family that they belong to.
    pub(super) fn in_role(self, role: Role) -> Self {
        let moved = |roles: Roles| {
            let mut moved = Roles::default();
            if roles.contains(Role::Plain) {
                moved.insert(role);
            }
            moved
        };
        Self {
            roles: moved(self.roles),
            without_le: moved(self.without_le),
            without_quantile: moved(self.without_quantile),
            ..self
        }
    }

    /// Whether a reader that knows the type takes every such sample.
    pub(super) fn fits(self, metric_type: MetricType) -> bool {
        match metric_type {
            MetricType::Histogram => {
                !self.odd_le
                    && !self.without_le.contains(Role::Bucket)
                    && !self.roles.contains(Role::Plain)
            }
            MetricType::Summary => {
                !self.odd_quantile && !self.without_quantile.contains(Role::Plain)
            }
            MetricType::Counter | MetricType::Gauge | MetricType::Untyped => true,
        }
    }
}
