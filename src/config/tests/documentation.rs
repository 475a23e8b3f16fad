use super::*;

const TEXT: &str = include_str!("../../../docs/CONFIGURATION.md");

/// Key and default of each row of the tables of keys.
fn rows() -> Vec<(String, String)> {
    let rows = TEXT.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| {
        let (key, rest) = row.split_once("` | ")?;
        let (default, _) = rest.split_once(" |")?;
        Some((key.to_owned(), default.trim_matches('`').to_owned()))
    });
    // Other tables list variables and flags.
    let is_key = |key: &str| !key.chars().any(char::is_uppercase) && !key.starts_with("--");
    cells.filter(|(key, _)| is_key(key)).collect()
}

#[test]
fn each_key_is_documented_with_its_default() {
    let mut expected = flat(&load_file(None, &[]).unwrap().1);
    let router = load("routes: { gorouters: [{ url: 'http://r/' }] }", &[]).unwrap().1;
    let router = flat(&router).into_iter().filter(|(key, _)| key.contains("[]"));
    let router = router.map(|(key, value)| (key, value.replace("http://r/", "")));
    expected.extend(router);
    let lists = format!(
        "external_exporters: [{{ host: e }}]\noperators: [{{ username: u, password_bcrypt: {HASH} }}]\n\
         query: {{ pools: [{{ name: p, locators: [{{ endpoints_file: f }}, {{ marathon: {{ url: 'http://m', apps: /a }} }}, {{ kubernetes: {{ service: s }} }}] }}] }}"
    );
    let lists = flat(&load(&lists, &[]).unwrap().1).into_iter();
    let lists = lists.filter(|(key, _)| key.contains("[]"));
    let given = ["e", "u", "p", "f", "http://m", "/a", "s", "************"];
    expected.extend(
        lists.map(|(key, value)| {
            (key, if given.contains(&&*value) { String::new() } else { value })
        }),
    );
    // Only their keys are in the tables.
    let sections = ["query.pools[].locators[].marathon", "query.pools[].locators[].kubernetes"];
    expected.retain(|(key, _)| !sections.contains(&&**key));
    // Lists of texts that are not empty.
    for (key, value) in &mut expected {
        if let Some(list) = key.strip_suffix("[]") {
            *key = list.to_owned();
            *value = if value.is_empty() { String::new() } else { format!("[{value}]") };
        }
    }
    let documented: BTreeSet<_> = rows().into_iter().collect();
    let expected: BTreeSet<_> = expected
        .into_iter()
        .map(|(key, default)| (key, if default.is_empty() { "–".to_owned() } else { default }))
        .collect();
    let missing: Vec<_> = expected.difference(&documented).collect();
    let made_up: Vec<_> = documented.difference(&expected).collect();
    assert!(missing.is_empty() && made_up.is_empty(), "missing {missing:?}, made up {made_up:?}");
}

#[test]
fn the_complete_example_is_complete_and_loads() {
    let (_, rest) = TEXT.split_once("```yaml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let web_file = folder.path().join("web.yml");
    std::fs::write(&web_file, "").unwrap();
    let example = example.replace(" web.yml", &format!(" {}", web_file.display()));
    let (_, effective) = load(&example, &[]).unwrap();
    let keys = |effective| flat(effective).into_iter().map(|(key, _)| key).collect::<BTreeSet<_>>();
    let shown: BTreeSet<_> = keys(&effective);
    let known: BTreeSet<_> = rows().into_iter().map(|(key, _)| key).collect();
    // Effective settings show the items of a list, and the content of a file.
    let is_shown = |key: &&String| {
        shown.contains(&format!("{key}_file"))
            || shown.iter().any(|shown| shown.starts_with(key.as_str()))
    };
    let missing: Vec<_> = known.iter().filter(|key| !is_shown(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn each_secret_is_documented_with_its_file_key() {
    let operators = format!("{WHOLE}\noperators: [{{ username: u, password_bcrypt: {HASH} }}]");
    let secrets = flat(&load(&operators, &[]).unwrap().1).into_iter();
    let secrets = secrets.filter(|(_, value)| value.contains("************"));
    for (key, _) in secrets.chain([("broker.username".to_owned(), String::new())]) {
        assert!(TEXT.contains(&format!("`{key}_file`")), "{key}");
    }
}
