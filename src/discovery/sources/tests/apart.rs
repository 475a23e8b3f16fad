//! Sources of apps that no other source knows.

use super::*;

/// What a source says that tells changes.
pub(super) fn told(route: &str, address: &str) -> Report {
    report(route, address, Standing::Current)
}

pub(super) fn report(route: &str, address: &str, standing: Standing) -> Report {
    let table = json!({ route: [{"address": address, "tags": {"app_id": route}}] });
    let document = parse_into(table.to_string().as_bytes(), &mut Interner::default()).unwrap();
    let changes = document.entries.into_iter().map(Change::Said).collect();
    Report::Changes(Changes { changes, standing, failed: 0, skipped: 0, without_app: 0 })
}

#[test]
fn a_source_of_other_apps_neither_covers_for_the_rest_nor_they_for_it() {
    let mut told_by = Told::new(&[Kind::Router, Kind::Apart]);
    told_by.says(A, &json!({"a": [{"address": "10.0.0.1:80", "tags": {"app_id": "a"}}]}));
    told_by.hear(B, told("tsuru:b", "10.0.0.2:80"));
    // The router is the only one of its kind: all of its are away.
    told_by.fails(A).at(KEEP.as_secs() - 1).hear(B, told("tsuru:b", "10.0.0.2:80"));
    let found = |told_by: &Told, key: &str| told_by.table.snapshot().contains_app(key);
    assert!(found(&told_by, "a") && found(&told_by, "tsuru:b"));
    told_by.at(KEEP.as_secs());
    assert!(!found(&told_by, "a") && found(&told_by, "tsuru:b"));
    // And what it said is its own to judge.
    told_by.fails(B).says(A, &json!({})).at(3 * KEEP.as_secs());
    assert!(found(&told_by, "tsuru:b"));
}

#[test]
fn a_source_made_of_bindings_is_none_while_nothing_is_bound() {
    let mut told_by = Told::new(&[Kind::Router, Kind::ApartIfAny]);
    told_by.says(A, &json!({}));
    let count = |told_by: &Told| snapshot(told_by).sources().len();
    assert_eq!(count(&told_by), 1);
    told_by.fails(B);
    assert_eq!(count(&told_by), 2, "a failure is shown");
    told_by.hear(B, told("b", "10.0.0.2:80"));
    assert_eq!(count(&told_by), 2);
}
