//! Each known gap of promfetcher has a test of ours that names it, in a line
//! above its attribute: `promfetcher, gap 11: what is better`.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the source has failed")]

use std::{collections::BTreeMap, fs, path::Path};

const NAME: &str = "/// promfetcher, gap ";

/// Gaps of its route table, look-up, scraping and merging.
const GAPS: std::ops::RangeInclusive<u32> = 1..=30;

#[test]
fn every_gap_of_promfetcher_is_named_by_a_test() {
    let mut named = BTreeMap::<u32, Vec<String>>::new();
    for folder in ["src", "tests"] {
        collect(Path::new(folder), &mut named);
    }
    let missing: Vec<_> = GAPS.filter(|gap| !named.contains_key(gap)).collect();
    assert!(missing.is_empty(), "no test names the gaps {missing:?}");
    let unknown: Vec<_> = named.iter().filter(|(gap, _)| !GAPS.contains(*gap)).collect();
    assert!(unknown.is_empty(), "there are no such gaps: {unknown:?}");
}

#[test]
fn only_what_stands_above_a_test_counts() {
    let source = "/// promfetcher, gap 1: a.\n/// promfetcher, gap 2: b.\n#[test]\nfn one() {}\n\
                  /// promfetcher, gap 3: c.\n#[tokio::test(start_paused = true)]\nasync fn two() {}\n\
                  /// promfetcher, gap 4: d.\nfn helper() {}\n\
                  /// promfetcher, gap 5: e.\n#[derive(Debug)]\nstruct Three;\n\
                  // promfetcher, gap 6: f.\n#[test]\nfn three() {}\n#[test]\nfn four() {}\n";
    assert_eq!(gaps_named(source).unwrap(), [1, 2, 3]);
    assert!(gaps_named("/// promfetcher, gap eleven: a.\n#[test]\n").is_err());
    assert!(gaps_named("/// promfetcher, gap 11:\n#[test]\n").is_err());
}

/// The gaps named below a folder, and where.
fn collect(folder: &Path, named: &mut BTreeMap<u32, Vec<String>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, named);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let gaps = gaps_named(&fs::read_to_string(&path).unwrap());
            let gaps = gaps.unwrap_or_else(|line| panic!("{}: {line}", path.display()));
            for gap in gaps {
                named.entry(gap).or_default().push(path.display().to_string());
            }
        }
    }
}

/// The gaps that tests in a source name, or the line that names none.
fn gaps_named(source: &str) -> Result<Vec<u32>, String> {
    let (mut named, mut above) = (Vec::new(), Vec::new());
    for line in source.lines().map(str::trim_start) {
        if let Some(rest) = line.strip_prefix(NAME) {
            let (number, words) = rest.split_once(": ").ok_or(line)?;
            let number = number.parse().map_err(|_| line)?;
            if words.is_empty() {
                return Err(line.to_owned());
            }
            above.push(number);
        } else if ["#[test]", "#[actix_web::test]", "#[tokio::test"]
            .iter()
            .any(|attribute| line.starts_with(attribute))
        {
            named.append(&mut above);
        } else if !line.starts_with("///") {
            above.clear();
        }
    }
    Ok(named)
}
