//! Which ids are Tsuru's, and which of its spaces lie in another one.

use super::tsuru::TSURU_PREFIX;

/// Whether an id is one that was made of a name of Tsuru. Other platforms have none like it.
pub fn is_of_tsuru(id: &str) -> bool {
    id.starts_with(TSURU_PREFIX)
}

/// Whether `space` is one of a team's pools, where `team` is the space of a
/// service instance that was made for no pool: it is at home in all of them.
pub fn is_pool_of(team: &str, space: &str) -> bool {
    is_of_tsuru(team) && team.ends_with('/') && space.starts_with(team)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_without_a_pool_is_at_home_in_all_pools_of_its_team_only() {
        for (team, space, expected) in [
            ("tsuru:checkout/", "tsuru:checkout/pool-a", true),
            ("tsuru:checkout/", "tsuru:checkout/", true),
            ("tsuru:checkout/", "tsuru:checkout2/pool-a", false),
            ("tsuru:checkout/pool", "tsuru:checkout/pool-a", false),
            ("tsuru:", "tsuru:checkout/pool-a", false),
            ("space/", "space/a", false),
        ] {
            assert_eq!(is_pool_of(team, space), expected, "{team} {space}");
        }
    }
}
