//! Tsuru apps in the terms of Cloud Foundry.

use super::{app::App, ids::IdError, tsuru_ids};
use std::sync::Arc;

/// Calls of Tsuru's service API that are accepted without an event id. The event id proves that a
/// call is from Tsuru.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallsWithoutEventId {
    /// None.
    #[default]
    Refuse,
    /// Unbinds of jobs, which Tsuru sends without a body before 1.30.
    JobUnbinds,
    /// All: Tsuru before 1.9 sends no event id in a header.
    Accept,
}

/// A bound Tsuru app, with the fields of the bind call.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TsuruApp {
    pub name: String,
    pub team: String,
    pub pool: String,
    /// Addresses of the app at its routers: `host`, `host:port`, `tcp://host:port`, `https://host`.
    pub hosts: Vec<String>,
}

impl TsuruApp {
    /// Converts the app: its team becomes the organization, and its pool becomes the space.
    ///
    /// # Errors
    /// Returns an error if the app's name is not a valid id.
    pub fn describe(&self) -> Result<App, IdError> {
        let Self { name, team, pool, .. } = self;
        let has_space = !team.is_empty() && !pool.is_empty();
        let organization_id = (!team.is_empty()).then(|| tsuru_ids::organization(team).ok());
        Ok(App {
            id: tsuru_ids::app(name)?,
            name: Arc::from(name.as_str()),
            space_id: has_space.then(|| tsuru_ids::space(team, pool).ok()).flatten(),
            space_name: Arc::from(pool.as_str()),
            organization_id: organization_id.flatten(),
            organization_name: Arc::from(team.as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tsuru_become_ids_and_names() {
        let app = |team: &str, pool: &str| TsuruApp {
            name: "shop".to_owned(),
            team: team.to_owned(),
            pool: pool.to_owned(),
            hosts: Vec::new(),
        };
        let labels = |app: TsuruApp| app.describe().unwrap().labels().map(|(_, v)| v.to_owned());
        assert_eq!(
            labels(app("checkout", "pool-a")),
            ["tsuru:checkout", "tsuru:checkout/pool-a", "tsuru:shop", "checkout", "pool-a", "shop"]
        );
        assert_eq!(labels(app("", "pool-a")), ["", "", "tsuru:shop", "", "pool-a", "shop"]);
        assert_eq!(labels(app("t", "")), ["tsuru:t", "", "tsuru:shop", "t", "", "shop"]);
    }
}
