//! Header and navigation of all pages.

use crate::{broker::Scope, http::access::Caller};

/// A group of pages. Each has a link in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Overview,
    Apps,
    Prometheus,
    Pools,
    Events,
    Doc,
}

/// Decides which pages the navigation offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// Sent no credentials, or such as are not known.
    Anonymous,
    Operator,
    /// Has a token of apps.
    Apps,
    /// Has a token of a provisioned Prometheus.
    Prometheus,
    /// Has a token of a queue of events.
    Queue,
}

/// Data of the template of all pages.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    /// Path of style sheet, script and icon on the listener of this page.
    pub assets: &'a str,
    /// Path or URL of the main listener, without a trailing slash.
    pub site: &'a str,
    pub section: Section,
    pub viewer: Viewer,
}

pub struct Link {
    pub path: &'static str,
    pub title: &'static str,
    pub is_current: bool,
}

impl Section {
    const ALL: [Self; 6] =
        [Self::Overview, Self::Apps, Self::Prometheus, Self::Pools, Self::Events, Self::Doc];

    fn path_and_title(self) -> (&'static str, &'static str) {
        match self {
            Self::Overview => ("/", "Overview"),
            Self::Apps => ("/apps", "Apps"),
            Self::Prometheus => ("/prometheus", "Prometheus"),
            Self::Pools => ("/pools", "Query pools"),
            Self::Events => ("/events", "Events"),
            Self::Doc => ("/doc", "Docs"),
        }
    }
}

impl Viewer {
    pub fn of(caller: &Caller) -> Self {
        match caller {
            Caller::Anyone => Self::Anonymous,
            Caller::Operator => Self::Operator,
            Caller::Token(scope) | Caller::OptionalToken(scope) => match scope {
                Scope::App(_) | Scope::Space(_) | Scope::PrometheusTargets(..) => Self::Apps,
                Scope::Query(_) => Self::Prometheus,
                Scope::Events(_) => Self::Queue,
            },
        }
    }

    fn may_open(self, section: Section) -> bool {
        match section {
            Section::Overview | Section::Doc => true,
            Section::Apps => matches!(self, Self::Operator | Self::Apps),
            Section::Prometheus => matches!(self, Self::Operator | Self::Prometheus),
            Section::Pools => self == Self::Operator,
            Section::Events => matches!(self, Self::Operator | Self::Queue),
        }
    }
}

impl<'a> Layout<'a> {
    /// The layout of a page of the main listener, which clients reach at the path `base`.
    pub fn new(base: &'a str, section: Section, viewer: Viewer) -> Self {
        Self { assets: base, site: base, section, viewer }
    }

    pub fn links(&self) -> impl Iterator<Item = Link> {
        let (viewer, current) = (self.viewer, self.section);
        let sections = Section::ALL.into_iter().filter(move |it| viewer.may_open(*it));
        sections.map(move |section| {
            let (path, title) = section.path_and_title();
            Link { path, title, is_current: section == current }
        })
    }

    pub fn offers_login(&self) -> bool {
        self.viewer == Viewer::Anonymous
    }
}
