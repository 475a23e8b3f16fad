//! Filter, order and page of the list of apps.

use crate::http::apps::request::BadRequest;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt::Write;
use url::form_urlencoded;

/// Maximum length of a filter, bytes.
const MAX_FILTER: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListQuery {
    /// As the user typed it.
    pub(super) filter: String,
    pub(super) state: AppState,
    pub(super) sort: SortColumn,
    pub(super) order: SortOrder,
    /// From 1 on.
    pub(super) page: usize,
}

/// Which apps are listed, by their last scrapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AppState {
    All,
    /// At least one instance failed.
    Failing,
    /// All scraped instances responded.
    Up,
    Unscraped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SortColumn {
    Name,
    Routes,
    Up,
    Samples,
    Size,
    Duration,
    Scraped,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SortOrder {
    Ascending,
    Descending,
}

impl AppState {
    pub(super) const ALL: [Self; 4] = [Self::All, Self::Failing, Self::Up, Self::Unscraped];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Failing => "failing",
            Self::Up => "up",
            Self::Unscraped => "unscraped",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::All => "All",
            Self::Failing => "Failing",
            Self::Up => "Up",
            Self::Unscraped => "Not scraped",
        }
    }
}

impl SortColumn {
    pub(super) const ALL: [Self; 8] = [
        Self::Name,
        Self::Routes,
        Self::Up,
        Self::Samples,
        Self::Size,
        Self::Duration,
        Self::Scraped,
        Self::Error,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Routes => "routes",
            Self::Up => "up",
            Self::Samples => "samples",
            Self::Size => "size",
            Self::Duration => "duration",
            Self::Scraped => "scraped",
            Self::Error => "error",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Name => "App",
            Self::Routes => "Routes",
            Self::Up => "Instances up",
            Self::Samples => "Samples",
            Self::Size => "Size",
            Self::Duration => "Duration",
            Self::Scraped => "Last scrape",
            Self::Error => "Last error",
        }
    }

    /// Whether the values are aligned at the right.
    pub(super) fn is_number(self) -> bool {
        !matches!(self, Self::Name | Self::Error)
    }

    /// The order of a first click: the rows that matter most come first.
    fn first_order(self) -> SortOrder {
        match self {
            Self::Name | Self::Up | Self::Error => SortOrder::Ascending,
            _ => SortOrder::Descending,
        }
    }
}

impl SortOrder {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }

    /// The value of `aria-sort`.
    fn aria(self) -> &'static str {
        match self {
            Self::Ascending => "ascending",
            Self::Descending => "descending",
        }
    }

    fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

impl ListQuery {
    /// Parses a query string. Empty values are those of an empty form.
    pub(super) fn parse(query: &str) -> Result<Self, BadRequest> {
        let mut parsed = Self {
            filter: String::new(),
            state: AppState::All,
            sort: SortColumn::Name,
            order: SortColumn::Name.first_order(),
            page: 1,
        };
        let mut order = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                _ if value.is_empty() => {}
                "q" if value.len() > MAX_FILTER => {
                    return Err(BadRequest::Parameter("q", format!("at most {MAX_FILTER} bytes")));
                }
                "q" => parsed.filter = value.into_owned(),
                "state" => {
                    parsed.state = one_of("state", AppState::ALL, AppState::as_str, &value)?;
                }
                "sort" => {
                    parsed.sort = one_of("sort", SortColumn::ALL, SortColumn::as_str, &value)?;
                }
                "order" => {
                    let both = [SortOrder::Ascending, SortOrder::Descending];
                    order = Some(one_of("order", both, SortOrder::as_str, &value)?);
                }
                "page" => {
                    let page = value.parse().ok().filter(|page| *page > 0);
                    parsed.page = page.ok_or_else(|| {
                        BadRequest::Parameter("page", "a number from 1 on".into())
                    })?;
                }
                _ => {}
            }
        }
        parsed.order = order.unwrap_or_else(|| parsed.sort.first_order());
        Ok(parsed)
    }

    /// The words of the filter, in lower case.
    pub(super) fn terms(&self) -> Vec<String> {
        self.filter.split_whitespace().map(str::to_lowercase).collect()
    }

    /// Link to the same list in the order of `column`, reversed if it has that order already.
    pub(super) fn sorted_by(&self, column: SortColumn) -> String {
        let order = if column == self.sort { self.order.reversed() } else { column.first_order() };
        Self { sort: column, order, page: 1, ..self.clone() }.href()
    }

    /// The value of `aria-sort` in the heading of a column.
    pub(super) fn aria_sort(&self, column: SortColumn) -> &'static str {
        if column == self.sort { self.order.aria() } else { "none" }
    }

    pub(super) fn with_state(&self, state: AppState) -> String {
        Self { state, page: 1, ..self.clone() }.href()
    }

    pub(super) fn with_page(&self, page: usize) -> String {
        Self { page, ..self.clone() }.href()
    }

    fn href(&self) -> String {
        let mut href = format!("?sort={}&order={}", self.sort.as_str(), self.order.as_str());
        // Writing to a String cannot fail.
        if !self.filter.is_empty() {
            let _ = write!(href, "&q={}", utf8_percent_encode(&self.filter, NON_ALPHANUMERIC));
        }
        if self.state != AppState::All {
            let _ = write!(href, "&state={}", self.state.as_str());
        }
        if self.page > 1 {
            let _ = write!(href, "&page={}", self.page);
        }
        href
    }
}

fn one_of<T: Copy, const N: usize>(
    name: &'static str,
    allowed: [T; N],
    text: fn(T) -> &'static str,
    value: &str,
) -> Result<T, BadRequest> {
    let found = allowed.into_iter().find(|it| text(*it) == value);
    found.ok_or_else(|| {
        BadRequest::Parameter(name, format!("one of {}", allowed.map(text).join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_the_same_list_with_one_change() {
        let query = ListQuery::parse("q=Caf%C3%A9+shop&state=failing&sort=samples&page=3").unwrap();
        assert_eq!(query.terms(), ["café", "shop"]);
        assert_eq!((query.order, query.page), (SortOrder::Descending, 3));
        let parsed = |href: String| ListQuery::parse(href.strip_prefix('?').unwrap()).unwrap();
        assert_eq!(parsed(query.with_page(4)), ListQuery { page: 4, ..query.clone() });
        let reversed = ListQuery { order: SortOrder::Ascending, page: 1, ..query.clone() };
        assert_eq!(parsed(query.sorted_by(SortColumn::Samples)), reversed);
        let by_name = ListQuery { sort: SortColumn::Name, ..reversed };
        assert_eq!(parsed(query.sorted_by(SortColumn::Name)), by_name);
        assert_eq!(query.aria_sort(SortColumn::Samples), "descending");
        assert_eq!(query.aria_sort(SortColumn::Name), "none");
        assert_eq!(parsed(query.with_state(AppState::All)).state, AppState::All);
    }

    #[test]
    fn wrong_parameters_are_refused_and_empty_ones_ignored() {
        for query in ["", "q=&state=&sort=&order=&page=", "other=1"] {
            let parsed = ListQuery::parse(query).unwrap();
            assert_eq!((parsed.page, parsed.sort), (1, SortColumn::Name), "{query}");
        }
        let long = format!("q={}", "a".repeat(201));
        for (query, problem) in [
            ("state=down", "state must be one of all, failing, up, unscraped"),
            ("order=up", "order must be one of asc, desc"),
            ("page=0", "page must be a number from 1 on"),
            ("page=x", "page must be a number from 1 on"),
            (&*long, "q must be at most 200 bytes"),
        ] {
            assert_eq!(ListQuery::parse(query).unwrap_err().to_string(), problem);
        }
        let problem = ListQuery::parse("sort=age").unwrap_err().to_string();
        assert!(problem.starts_with("sort must be one of name, routes, up"), "{problem}");
    }
}
