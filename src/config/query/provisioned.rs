//! The key `provisioned` of a locator: `all`, or a list of instances.

use crate::{
    config::section::{Read, Section},
    domain::{IdError, InstanceId},
    query::{LocatorSettings, ProvisionedInstances},
};

const ALL: &str = "all";

/// Names of instances are not accepted, because users choose them and they are not unique.
pub(super) fn provisioned(s: &mut Section<'_>) -> Read<Option<LocatorSettings>> {
    let id = |text: &str| text.parse().map_err(|error: IdError| error.to_string());
    let listed: Vec<InstanceId> = s.separated("provisioned", id)?;
    let is_all = |it: &InstanceId| it.as_str() == ALL;
    let instances = match &*listed {
        [] => return Ok(None),
        [only] if is_all(only) => ProvisionedInstances::All,
        _ if listed.iter().any(is_all) => {
            return Err(s.mistake("provisioned", "must be either `all` or a list of instances"));
        }
        _ => ProvisionedInstances::Listed(listed),
    };
    Ok(Some(LocatorSettings::Provisioned(instances)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mistakes, sources};

    /// The instances, or the mistake.
    fn read(value: &str) -> Result<Option<ProvisionedInstances>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("locator.yml");
        std::fs::write(&file, format!("provisioned: {value}")).unwrap();
        let mut mistakes = Mistakes::default();
        let mut section = Section::root(sources::file(&file).unwrap(), &mut mistakes);
        let locator = provisioned(&mut section);
        section.finish();
        match (locator, mistakes.0.pop()) {
            (Ok(None), None) => Ok(None),
            (Ok(Some(LocatorSettings::Provisioned(instances))), None) => Ok(Some(instances)),
            (_, mistake) => Err(mistake.map_or_else(String::new, |it| it.problem)),
        }
    }

    #[test]
    fn all_instances_or_some_are_located() {
        let listed = |ids: &[&str]| {
            let ids = ids.iter().map(|it| it.parse().unwrap()).collect();
            Ok(Some(ProvisionedInstances::Listed(ids)))
        };
        for (value, expected) in [
            ("", Ok(None)),
            ("[]", Ok(None)),
            ("all", Ok(Some(ProvisionedInstances::All))),
            ("[all]", Ok(Some(ProvisionedInstances::All))),
            ("[a, 'tsuru:x']", listed(&["a", "tsuru:x"])),
            ("a, b", listed(&["a", "b"])),
            ("ALL", listed(&["ALL"])),
        ] {
            assert_eq!(read(value), expected, "{value}");
        }
    }

    #[test]
    fn other_values_are_mistakes() {
        for (value, problem) in [
            ("[all, a]", "must be either `all` or a list of instances"),
            ("[a, '']", "must not be empty"),
            ("{ instances: a }", "must be a list; write a variable as JSON"),
            ("[{ id: a }]", "must be a text"),
        ] {
            assert_eq!(read(value), Err(problem.to_owned()), "{value}");
        }
    }
}
