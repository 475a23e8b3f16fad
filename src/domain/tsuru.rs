//! Tsuru apps in the terms of Cloud Foundry.
//!
//! Tsuru has no GUIDs; names are unique in an installation. So ids are derived from names. They
//! have a prefix that other platforms do not use.

use super::{
    app::App,
    ids::{AppGuid, IdError, OrganizationGuid, SpaceGuid},
};
use std::sync::Arc;

/// Prefix of ids that are derived from Tsuru names.
pub const TSURU_PREFIX: &str = "tsuru:";

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
    /// The id of the app `name`: `tsuru:NAME`.
    ///
    /// # Errors
    /// Returns an error if the name is not a valid id.
    pub fn guid(name: &str) -> Result<AppGuid, IdError> {
        if name.is_empty() {
            return Err(IdError::Empty);
        }
        format!("{TSURU_PREFIX}{name}").parse()
    }

    /// Converts the app: its team becomes the organization, and its pool becomes the space. Teams
    /// share pools, but a space belongs to one organization. So the id of a space contains both
    /// names.
    ///
    /// # Errors
    /// Returns an error if the app's name is not a valid id.
    pub fn describe(&self) -> Result<App, IdError> {
        let Self { name, team, pool, .. } = self;
        let is_placed = !team.is_empty() && !pool.is_empty();
        let space_id = is_placed.then(|| format!("{TSURU_PREFIX}{team}/{pool}"));
        let organization_id = (!team.is_empty()).then(|| format!("{TSURU_PREFIX}{team}"));
        Ok(App {
            id: Self::guid(name)?,
            name: Arc::from(name.as_str()),
            space_id: space_id.and_then(|id| id.parse::<SpaceGuid>().ok()),
            space_name: Arc::from(pool.as_str()),
            organization_id: organization_id.and_then(|id| id.parse::<OrganizationGuid>().ok()),
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
        assert_eq!(TsuruApp::guid(""), Err(IdError::Empty));
        assert_eq!(TsuruApp::guid("a\nb"), Err(IdError::Control));
        assert_eq!(TsuruApp::guid(&"x".repeat(250)), Err(IdError::TooLong));
    }
}
