//! Ids that are derived from Tsuru names.
//!
//! Tsuru has no GUIDs; names are unique in an installation. So ids are derived from names. They
//! have a prefix that other platforms do not use:
//!
//! | id | form |
//! | --- | --- |
//! | app | `tsuru:APP` |
//! | organization | `tsuru:TEAM` |
//! | space | `tsuru:TEAM/POOL` |
//! | service instance | `tsuru:SERVICE:INSTANCE` |
//! | binding | `tsuru:SERVICE:INSTANCE:app:APP` or `tsuru:SERVICE:INSTANCE:job:JOB` |
//!
//! Ids must be unique, so a part before a separator must not contain the separator. Names of
//! instances, apps and jobs contain no colon, and names of teams contain no slash. Names of
//! services may contain any character, and are the first part.

use super::ids::{AppGuid, BindingId, IdError, InstanceId, OrganizationGuid, SpaceGuid};
use std::{fmt, str::FromStr};

const PREFIX: &str = "tsuru:";

/// A path segment below `/resources/` that is not the name of an instance.
const PLANS: &str = "plans";

/// Why a name cannot be part of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("must be made of letters, digits, - and _")]
    Characters,
    #[error("must not be \"plans\": Tsuru could not ask for its info")]
    Plans,
    #[error("must not contain a slash")]
    Slash,
    #[error(transparent)]
    Id(#[from] IdError),
}

/// An app or job that can be bound, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bindable<'a> {
    App(&'a str),
    Job(&'a str),
}

/// The GUID of an app.
///
/// # Errors
/// The name is empty or too long, or contains control characters.
pub fn app(name: &str) -> Result<AppGuid, IdError> {
    if name.is_empty() {
        return Err(IdError::Empty);
    }
    derived(format_args!("{name}"))
}

/// The GUID of the organization that represents a team.
///
/// # Errors
/// The name contains a slash or cannot be an id.
pub fn organization(team: &str) -> Result<OrganizationGuid, NameError> {
    match team.contains('/') {
        true => Err(NameError::Slash),
        false => Ok(derived(format_args!("{team}"))?),
    }
}

/// The GUID of the space that represents a pool of a team. Teams share pools, but a space belongs to
/// one organization. So the id of a space contains both names.
///
/// # Errors
/// The names are too long or contain control characters.
pub fn space(team: &str, pool: &str) -> Result<SpaceGuid, IdError> {
    derived(format_args!("{team}/{pool}"))
}

/// The id of a service instance.
///
/// # Errors
/// The name of the instance contains other characters than letters, digits, - and _, is reserved, or is
/// too long.
pub fn instance(service: &str, name: &str) -> Result<InstanceId, NameError> {
    check_name(name)?;
    match name {
        PLANS => Err(NameError::Plans),
        name => Ok(derived(format_args!("{service}:{name}"))?),
    }
}

/// The id of a binding.
///
/// # Errors
/// The name contains other characters than letters, digits, - and _, or is too long.
pub fn binding(instance: &InstanceId, bound: Bindable<'_>) -> Result<BindingId, NameError> {
    let (kind, name) = match bound {
        Bindable::App(name) => ("app", name),
        Bindable::Job(name) => ("job", name),
    };
    check_name(name)?;
    Ok(format!("{instance}:{kind}:{name}").parse()?)
}

/// Whether an id is derived from a Tsuru name. Other platforms do not use this prefix.
pub fn is_tsuru_id(id: &str) -> bool {
    id.starts_with(PREFIX)
}

/// The team of an organization. Returns an empty string if the organization is not from Tsuru.
pub fn team_of(organization: &OrganizationGuid) -> &str {
    organization.as_str().strip_prefix(PREFIX).unwrap_or_default()
}

/// The pool of a space. Returns an empty string if the space is not from Tsuru.
pub fn pool_of<'a>(organization: &OrganizationGuid, space: &'a SpaceGuid) -> &'a str {
    let pool = space.as_str().strip_prefix(organization.as_str());
    pool.and_then(|pool| pool.strip_prefix('/')).unwrap_or_default()
}

/// Whether `space` is a pool of `team`. `team` is the space of a service instance that was created
/// without a pool; such an instance belongs to all pools of its team.
pub fn is_pool_of(team: &str, space: &str) -> bool {
    is_tsuru_id(team) && team.ends_with('/') && space.starts_with(team)
}

/// The names of the service and the instance in an id. Returns `None` if the id is not derived from
/// Tsuru names.
pub fn names_of(instance: &InstanceId) -> Option<(&str, &str)> {
    instance.as_str().strip_prefix(PREFIX)?.rsplit_once(':')
}

/// The app or job in the id of a binding.
pub fn bindable_of<'a>(instance: &InstanceId, id: &'a BindingId) -> Option<Bindable<'a>> {
    let rest = id.as_str().strip_prefix(instance.as_str())?.strip_prefix(':')?;
    match rest.split_once(':')? {
        ("app", name) => Some(Bindable::App(name)),
        ("job", name) => Some(Bindable::Job(name)),
        _ => None,
    }
}

fn derived<T: FromStr<Err = IdError>>(name: fmt::Arguments<'_>) -> Result<T, IdError> {
    format!("{PREFIX}{name}").parse()
}

/// Tsuru's own rule, without limits of length.
fn check_name(name: &str) -> Result<(), NameError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !name.is_empty() && name.chars().all(is_allowed) {
        true => Ok(()),
        false => Err(NameError::Characters),
    }
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

    #[test]
    fn ids_contain_names_that_can_be_read_back() {
        let id = instance("a:b", "shop_1").unwrap();
        assert_eq!(id.as_str(), "tsuru:a:b:shop_1");
        assert_eq!(names_of(&id), Some(("a:b", "shop_1")));
        for bound in [Bindable::App("web-1"), Bindable::Job("nightly")] {
            assert_eq!(bindable_of(&id, &binding(&id, bound).unwrap()), Some(bound));
        }
        let (team, pool) = (organization("checkout").unwrap(), space("checkout", "a/b").unwrap());
        assert_eq!((team_of(&team), pool_of(&team, &pool)), ("checkout", "a/b"));
        assert_eq!(pool_of(&team, &space("other", "a").unwrap()), "");
        let (foreign, elsewhere) = ("guid".parse().unwrap(), "org".parse().unwrap());
        assert_eq!((names_of(&foreign), team_of(&elsewhere)), (None, ""));
    }

    #[test]
    fn names_that_would_make_an_id_ambiguous_are_refused() {
        for name in ["", "a:b", "a/b", "ü", "a b"] {
            assert_eq!(instance("s", name), Err(NameError::Characters), "{name:?}");
            let id = instance("s", "i").unwrap();
            assert_eq!(binding(&id, Bindable::App(name)), Err(NameError::Characters), "{name:?}");
        }
        assert_eq!(instance("s", "plans"), Err(NameError::Plans));
        assert_eq!(organization("a/b"), Err(NameError::Slash));
        assert_eq!(instance("s", &"x".repeat(250)), Err(NameError::Id(IdError::TooLong)));
        assert_eq!(app(""), Err(IdError::Empty));
        assert_eq!(app("a\nb"), Err(IdError::Control));
        assert_eq!(app(&"x".repeat(250)), Err(IdError::TooLong));
    }
}
