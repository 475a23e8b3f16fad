//! Parameters of lists, and links between their parts: filter, state and page.
//!
//! All lists have one rule: a parameter without a value is that of an empty form, unknown parameters
//! are ignored, and a wrong value is refused.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt::Write;
use url::form_urlencoded;

/// Maximum length of a filter, bytes.
const MAX_FILTER: usize = 200;

/// The states of the rows of a list.
pub trait ListState: Copy + PartialEq + 'static {
    /// In the order of their links.
    const ALL: &'static [Self];

    /// The value of the parameter `state`.
    fn as_str(self) -> &'static str;

    fn title(self) -> &'static str;
}

/// A parameter with a wrong value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be {expected}")]
pub struct BadParameter {
    pub name: &'static str,
    pub expected: String,
}

/// Which part of a list is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListParameters<S> {
    /// As the user typed it.
    pub filter: String,
    /// `None`: rows in any state.
    pub state: Option<S>,
    /// From 1 on.
    pub page: usize,
}

impl<S: ListState> ListParameters<S> {
    pub fn parse(query: &str) -> Result<Self, BadParameter> {
        Self::parse_with(query, |_, _| Ok(()))
    }

    /// Passes the parameters that not all lists have to `other`.
    pub fn parse_with(
        query: &str,
        mut other: impl FnMut(&str, &str) -> Result<(), BadParameter>,
    ) -> Result<Self, BadParameter> {
        let mut parsed = Self { filter: String::new(), state: None, page: 1 };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                _ if value.is_empty() => {}
                "q" if value.len() > MAX_FILTER => {
                    let expected = format!("at most {MAX_FILTER} bytes");
                    return Err(BadParameter { name: "q", expected });
                }
                "q" => parsed.filter = value.into_owned(),
                "state" if value == "all" => parsed.state = None,
                "state" => {
                    let words = S::ALL.iter().map(|state| (state.as_str(), *state));
                    parsed.state = Some(one_of("state", words, Some("all"), &value)?);
                }
                "page" => {
                    let page = value.parse().ok().filter(|page| *page > 0);
                    let expected = || "a number from 1 on".to_owned();
                    let wrong = || BadParameter { name: "page", expected: expected() };
                    parsed.page = page.ok_or_else(wrong)?;
                }
                name => other(name, &value)?,
            }
        }
        Ok(parsed)
    }

    /// The words of the filter, in lower case.
    pub fn words(&self) -> Vec<String> {
        self.filter.split_whitespace().map(str::to_lowercase).collect()
    }

    pub fn with_state(&self, state: Option<S>) -> Self {
        Self { state, page: 1, ..self.clone() }
    }

    pub fn with_page(&self, page: usize) -> Self {
        Self { page, ..self.clone() }
    }

    /// The query string with its `?`, and `others`. Their values need no escaping.
    pub fn query(&self, others: &[(&str, &str)]) -> String {
        let mut query = format!("?state={}", self.state.map_or("all", S::as_str));
        // Writing to a String cannot fail.
        if !self.filter.is_empty() {
            let _ = write!(query, "&q={}", utf8_percent_encode(&self.filter, NON_ALPHANUMERIC));
        }
        for (name, value) in others {
            let _ = write!(query, "&{name}={value}");
        }
        if self.page > 1 {
            let _ = write!(query, "&page={}", self.page);
        }
        query
    }

    /// Links to all rows and to those in each state. `count` returns the number of rows.
    pub fn state_links(
        &self,
        count: impl Fn(Option<S>) -> usize,
        href: impl Fn(&Self) -> String,
    ) -> Vec<StateLink> {
        let states = std::iter::once(None).chain(S::ALL.iter().copied().map(Some));
        let link = |state: Option<S>| StateLink {
            href: href(&self.with_state(state)),
            title: state.map_or("All", S::title),
            count: count(state),
            is_current: state == self.state,
        };
        states.map(link).collect()
    }
}

/// The value that one of the words stands for. `also` is another word that the caller accepts.
pub fn one_of<T>(
    name: &'static str,
    words: impl Iterator<Item = (&'static str, T)> + Clone,
    also: Option<&'static str>,
    value: &str,
) -> Result<T, BadParameter> {
    let found = words.clone().find(|(word, _)| *word == value).map(|(_, found)| found);
    found.ok_or_else(|| {
        let words: Vec<_> = also.into_iter().chain(words.map(|(word, _)| word)).collect();
        BadParameter { name, expected: format!("one of {}", words.join(", ")) }
    })
}

/// Whether a text contains all words, which are in lower case.
pub fn has_words(text: &str, words: &[String]) -> bool {
    words.is_empty() || {
        let text = text.to_lowercase();
        words.iter().all(|word| text.contains(word.as_str()))
    }
}

/// One page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// From 1 on.
    pub page: usize,
    pub pages: usize,
    per_page: usize,
}

impl Paging {
    /// The requested page of `total` items, or the last one if there are not so many.
    pub fn new(requested: usize, total: usize, per_page: usize) -> Self {
        let pages = total.div_ceil(per_page).max(1);
        Self { page: requested.clamp(1, pages), pages, per_page }
    }

    /// The items of this page.
    pub fn of<'a, T>(&self, items: &'a [T]) -> &'a [T] {
        items.chunks(self.per_page).nth(self.page - 1).unwrap_or_default()
    }
}

/// A link to the rows in one state.
#[derive(Debug)]
pub struct StateLink {
    pub href: String,
    pub title: &'static str,
    /// Number of rows.
    pub count: usize,
    pub is_current: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Light {
        Red,
        Green,
    }

    impl ListState for Light {
        const ALL: &'static [Self] = &[Self::Red, Self::Green];

        fn as_str(self) -> &'static str {
            match self {
                Self::Red => "red",
                Self::Green => "green",
            }
        }

        fn title(self) -> &'static str {
            self.as_str()
        }
    }

    fn parse(query: &str) -> Result<ListParameters<Light>, BadParameter> {
        ListParameters::parse(query)
    }

    #[test]
    fn links_lead_to_the_same_list_with_one_change() {
        let query = parse("q=Caf%C3%A9+%22shop%22&state=red&page=3").unwrap();
        assert_eq!(query.words(), ["café", "\"shop\""]);
        let parsed = |query: ListParameters<Light>| {
            let query = query.query(&[("sort", "name")]);
            assert!(query.contains("&sort=name"), "{query}");
            parse(query.strip_prefix('?').unwrap()).unwrap()
        };
        assert_eq!(parsed(query.clone()), query);
        assert_eq!(parsed(query.with_page(4)), ListParameters { page: 4, ..query.clone() });
        let all = ListParameters { state: None, page: 1, ..query.clone() };
        assert_eq!(parsed(query.with_state(None)), all);
        let count = |state: Option<Light>| if state.is_none() { 5 } else { 2 };
        let links = query.state_links(count, |it| it.query(&[]));
        let shown: Vec<_> = links.iter().map(|it| (it.title, it.count, it.is_current)).collect();
        assert_eq!(shown, [("All", 5, false), ("red", 2, true), ("green", 2, false)]);
        assert_eq!(links[2].href, "?state=green&q=Caf%C3%A9%20%22shop%22");
    }

    #[test]
    fn wrong_parameters_are_refused_and_empty_or_unknown_ones_ignored() {
        for query in ["", "q=&state=&page=", "state=all", "other=1"] {
            let expected = ListParameters { filter: String::new(), state: None, page: 1 };
            assert_eq!(parse(query).unwrap(), expected, "{query}");
        }
        let long = format!("q={}", "a".repeat(201));
        for (query, problem) in [
            ("state=down", "state must be one of all, red, green"),
            ("page=0", "page must be a number from 1 on"),
            ("page=-1", "page must be a number from 1 on"),
            ("page=x", "page must be a number from 1 on"),
            (&*long, "q must be at most 200 bytes"),
        ] {
            assert_eq!(parse(query).unwrap_err().to_string(), problem);
        }
    }

    #[test]
    fn all_words_must_occur_in_any_case() {
        let words = ["café".to_owned(), "web/1".to_owned()];
        assert!(has_words("Prod CAFÉ web/12", &words));
        assert!(!has_words("Prod CAFÉ web/2", &words));
        assert!(has_words("", &[]));
    }

    #[test]
    fn a_page_beyond_the_end_is_the_last_one() {
        let items: Vec<_> = (0..250).collect();
        for (requested, page, first, count) in [
            (0, 1, 0, 100),
            (1, 1, 0, 100),
            (3, 3, 200, 50),
            (4, 3, 200, 50),
            (usize::MAX, 3, 200, 50),
        ] {
            let paging = Paging::new(requested, items.len(), 100);
            let shown = paging.of(&items);
            assert_eq!((paging.page, paging.pages), (page, 3), "{requested}");
            assert_eq!((shown[0], shown.len()), (first, count), "{requested}");
        }
        let none = Paging::new(7, 0, 100);
        assert_eq!((none.page, none.pages, none.of::<u8>(&[])), (1, 1, &[][..]));
    }
}
