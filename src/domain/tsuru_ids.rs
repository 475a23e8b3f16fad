//! Ids that are derived from Tsuru names.

use super::tsuru::TSURU_PREFIX;

/// Whether an id is derived from a Tsuru name. Other platforms do not use this prefix.
pub fn is_of_tsuru(id: &str) -> bool {
    id.starts_with(TSURU_PREFIX)
}

/// Whether `space` is a pool of `team`. `team` is the space of a service instance that was created
/// without a pool; such an instance belongs to all pools of its team.
pub fn is_pool_of(team: &str, space: &str) -> bool {
    is_of_tsuru(team) && team.ends_with('/') && space.starts_with(team)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_without_a_pool_belongs_to_all_pools_of_its_team() {
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
