//! Failing instances of an app, grouped by the reason.
//!
//! Instances usually fail for the same reason, so it is explained once and not for each of them.

use crate::scrape::Explanation;
use std::collections::HashMap;

/// Maximum number of groups on a page.
const MAX_GROUPS: usize = 20;

/// Maximum number of instances that are named beside the reason.
const MAX_NAMED: usize = 3;

/// Maximum number of instances in the list of a group.
const MAX_LISTED: usize = 200;

/// A failing instance.
pub(super) struct Failure<'a> {
    pub(super) instance: String,
    pub(super) reason: &'static str,
    pub(super) detail: &'a str,
    pub(super) explanation: Explanation,
}

/// The instances that fail for one reason.
pub(super) struct FailureGroup {
    pub(super) reason: &'static str,
    pub(super) detail: String,
    pub(super) explanation: Explanation,
    pub(super) instances: Vec<String>,
}

/// The largest groups first.
pub(super) struct FailureGroups {
    pub(super) shown: Vec<FailureGroup>,
    /// Number of instances in groups that are not shown.
    pub(super) others: usize,
}

impl FailureGroups {
    pub(super) fn of<'a>(failures: impl Iterator<Item = Failure<'a>>) -> Self {
        let mut positions = HashMap::new();
        let mut groups: Vec<FailureGroup> = Vec::new();
        for Failure { instance, reason, detail, explanation } in failures {
            let position = *positions.entry((reason, detail)).or_insert(groups.len());
            match groups.get_mut(position) {
                Some(group) => group.instances.push(instance),
                None => groups.push(FailureGroup {
                    reason,
                    detail: detail.to_owned(),
                    explanation,
                    instances: vec![instance],
                }),
            }
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group.instances.len()));
        let others = groups.iter().skip(MAX_GROUPS).map(|group| group.instances.len()).sum();
        groups.truncate(MAX_GROUPS);
        Self { shown: groups, others }
    }
}

impl FailureGroup {
    /// The names of the instances if there are few.
    pub(super) fn named(&self) -> Option<String> {
        (self.instances.len() <= MAX_NAMED).then(|| self.instances.join(", "))
    }

    pub(super) fn listed(&self) -> String {
        let mut listed = self.instances.iter().take(MAX_LISTED).cloned().collect::<Vec<_>>();
        if self.instances.len() > MAX_LISTED {
            listed.push(format!("and {} more", self.instances.len() - MAX_LISTED));
        }
        listed.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::{Platform, explanations};

    fn failure(index: usize, detail: &str) -> Failure<'_> {
        let (_, explanation) = explanations(Platform::CloudFoundry).remove(0);
        Failure { instance: format!("web/{index}"), reason: "connect", detail, explanation }
    }

    #[test]
    fn equal_failures_are_one_group_and_the_largest_comes_first() {
        let detail = |index: usize| if index.is_multiple_of(3) { "no route" } else { "refused" };
        let groups = FailureGroups::of((0..600).map(|index| failure(index, detail(index))));
        let shown = groups.shown.iter().map(|it| (&*it.detail, it.instances.len()));
        assert_eq!(shown.collect::<Vec<_>>(), [("refused", 400), ("no route", 200)]);
        assert_eq!((groups.shown[0].named(), groups.others), (None, 0));
        let listed = groups.shown[0].listed();
        assert!(listed.starts_with("web/1, web/2, web/4"), "{listed}");
        assert!(listed.ends_with("and 200 more"), "{listed}");
        let few = FailureGroups::of((0..2).map(|index| failure(index, "refused")));
        assert_eq!(few.shown[0].named().as_deref(), Some("web/0, web/1"));
    }

    #[test]
    fn the_number_of_groups_is_limited() {
        let details: Vec<_> = (0..50).map(|index| format!("line {index}")).collect();
        let groups = FailureGroups::of((0..).zip(&details).map(|(index, it)| failure(index, it)));
        assert_eq!((groups.shown.len(), groups.others), (MAX_GROUPS, 30));
    }
}
