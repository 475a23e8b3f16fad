//! Differences of a family between the instances of an app, in words.

use crate::scrape::InspectedInstance;
use exposition::FamilyReport;

/// Maximum number of instances that a text names.
const MAX_NAMED: usize = 5;

/// The differences of a family between instances, and changes that a merge makes.
pub(super) fn differences(family: &FamilyReport, instances: &[InspectedInstance]) -> Vec<String> {
    let mut differences = Vec::new();
    let missing = family.missing(instances.len());
    if !missing.is_empty() {
        differences.push(format!("missing at {}", names(&missing, instances)));
    }
    let types = family.types();
    if types.len() > 1 {
        let types = types.iter().map(|(name, at)| format!("{name} at {}", names(at, instances)));
        let types: Vec<_> = types.collect();
        differences.push(format!("TYPE is {}; it is stored without a type", types.join(", and ")));
    } else if family.has_conflict {
        differences.push("samples contradict its TYPE; it is stored without a type".to_owned());
    }
    for label in &family.renamed {
        differences.push(format!(
            "the label {label} is renamed to exported_{label}, because Scrapebroker adds {label}"
        ));
    }
    differences
}

/// The names of instances without their addresses.
pub(super) fn names(positions: &[usize], instances: &[InspectedInstance]) -> String {
    let named = positions.iter().filter_map(|position| instances.get(*position));
    let mut names: Vec<_> = named.take(MAX_NAMED).map(|it| short_name(&it.name)).collect();
    let more = positions.len().saturating_sub(MAX_NAMED).to_string() + " more";
    let last = if positions.len() > MAX_NAMED { Some(&*more) } else { names.pop() };
    match (names.is_empty(), last) {
        (false, Some(last)) => format!("{} and {last}", names.join(", ")),
        (true, last) => last.unwrap_or_default().to_owned(),
        (false, None) => names.join(", "),
    }
}

/// `web/0` for `web/0 at 10.0.0.1:61001`. An instance without an index keeps its address.
fn short_name(name: &str) -> &str {
    let short = name.split_once(" at ").map_or(name, |(short, _)| short);
    if short.contains('/') { short } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use exposition::{FamilyInBody, Format};

    fn instances(count: usize) -> Vec<InspectedInstance> {
        let instance = |index| InspectedInstance {
            name: format!("web/{index} at 10.0.0.1:80"),
            samples: 1,
            bytes: 1,
            format: Format::Text004,
        };
        (0..count).map(instance).collect()
    }

    fn family(types: &[Option<&'static str>]) -> FamilyReport {
        let bodies = types.iter().enumerate();
        let bodies =
            bodies.map(|(body, &metric_type)| FamilyInBody { body, metric_type, series: 1 });
        FamilyReport { bodies: bodies.collect(), ..FamilyReport::default() }
    }

    #[test]
    fn each_difference_is_named() {
        let instances = instances(9);
        let all = [Some("counter"); 9];
        let mut mixed = all;
        mixed[1] = Some("gauge");
        let cases: [(FamilyReport, &[&str]); 6] = [
            (family(&all), &[]),
            (family(&all[..8]), &["missing at web/8"]),
            (family(&all[..6]), &["missing at web/6, web/7 and web/8"]),
            (family(&all[..1]), &["missing at web/1, web/2, web/3, web/4, web/5 and 3 more"]),
            (
                FamilyReport { has_conflict: true, ..family(&mixed) },
                &[
                    "TYPE is counter at web/0, web/2, web/3, web/4, web/5 and 3 more, and gauge at web/1; it is stored without a type",
                ],
            ),
            (
                FamilyReport {
                    has_conflict: true,
                    renamed: vec!["instance".to_owned()],
                    ..family(&all)
                },
                &[
                    "samples contradict its TYPE; it is stored without a type",
                    "the label instance is renamed to exported_instance, because Scrapebroker adds instance",
                ],
            ),
        ];
        for (family, expected) in cases {
            assert_eq!(differences(&family, &instances), expected);
        }
        assert_eq!(short_name("web at 10.0.0.1:80"), "web at 10.0.0.1:80");
    }
}
