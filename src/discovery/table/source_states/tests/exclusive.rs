//! Sources of apps that no other source knows.

use super::*;

/// A report of changes.
pub(super) fn harness(route: &str, address: &str) -> Report {
    report(route, address, SyncState::Synced)
}

pub(super) fn report(route: &str, address: &str, sync_state: SyncState) -> Report {
    let table = json!({ route: [{"address": address, "tags": {"app_id": route}}] });
    let document = parse_into(table.to_string().as_bytes(), &mut Interner::default()).unwrap();
    let changes = document.entries.into_iter().map(Change::Set).collect();
    Report::Changes(Changes { changes, sync_state, failed: 0, skipped: 0, without_app: 0 })
}

#[test]
fn exclusive_sources_and_other_sources_expire_independently() {
    let mut told_by = Harness::new(&[gorouter::KIND, tsuru::UNITS]);
    told_by.reports_table(A, &json!({"a": [{"address": "10.0.0.1:80", "tags": {"app_id": "a"}}]}));
    told_by.apply(B, harness("tsuru:b", "10.0.0.2:80"));
    // The only router counts as all sources of its kind.
    told_by.fails(A).at(KEEP.as_secs() - 1).apply(B, harness("tsuru:b", "10.0.0.2:80"));
    let found = |told_by: &Harness, key: &str| told_by.table.snapshot().contains_app(key);
    assert!(found(&told_by, "a") && found(&told_by, "tsuru:b"));
    told_by.at(KEEP.as_secs());
    assert!(!found(&told_by, "a") && found(&told_by, "tsuru:b"));
    // The source expires its own routes.
    told_by.fails(B).reports_table(A, &json!({})).at(3 * KEEP.as_secs());
    assert!(found(&told_by, "tsuru:b"));
}

#[test]
fn a_source_made_of_bindings_is_unlisted_while_no_app_is_bound() {
    let mut told_by = Harness::new(&[gorouter::KIND, tsuru::HOSTS]);
    told_by.reports_table(A, &json!({}));
    let count = |told_by: &Harness| snapshot(told_by).sources().count();
    assert_eq!(count(&told_by), 1);
    told_by.fails(B);
    assert_eq!(count(&told_by), 2, "a failure is shown");
    told_by.apply(B, harness("b", "10.0.0.2:80"));
    assert_eq!(count(&told_by), 2);
}
