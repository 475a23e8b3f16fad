use super::{
    testing::{Schema, binding, instance, on_both},
    *,
};
use crate::domain::{BindingId, InstanceNames, ServiceInstance, TsuruApp};
use std::{fs, time::Duration};

async fn with_instance(store: &Store, id: &str) {
    let mut tx = store.begin_write().await.unwrap();
    assert!(instances::insert(&mut tx, &instance(id)).await.unwrap());
    tx.commit().await.unwrap();
}

async fn has_instance(store: &Store, id: &str) -> bool {
    let mut tx = store.begin_read().await.unwrap();
    instances::find(&mut tx, &id.parse().unwrap()).await.unwrap().is_some()
}

#[tokio::test]
async fn an_instance_is_inserted_updated_and_deleted() {
    on_both(async |store| {
        let mut kept = instance("i");
        let mut tx = store.begin_write().await.unwrap();
        assert!(instances::insert(&mut tx, &kept).await.unwrap());
        assert_eq!(instances::find(&mut tx, &kept.instance_id).await.unwrap().unwrap(), kept);
        tx.commit().await.unwrap();

        kept.plan_id = "other".parse().unwrap();
        kept.names = InstanceNames { space: Some("prod".to_owned()), ..InstanceNames::default() };
        kept.maintenance_version = Some("1.2.0".to_owned());
        kept.parameters = "resealed".to_owned();
        let mut tx = store.begin_write().await.unwrap();
        instances::update(&mut tx, &kept).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = store.begin_read().await.unwrap();
        assert_eq!(instances::find(&mut tx, &kept.instance_id).await.unwrap().unwrap(), kept);
        drop(tx);

        let mut tx = store.begin_write().await.unwrap();
        instances::delete(&mut tx, &kept.instance_id).await.unwrap();
        tx.commit().await.unwrap();
        assert!(!has_instance(&store, "i").await);
    })
    .await;
}

#[tokio::test]
async fn a_taken_id_is_not_inserted_again() {
    on_both(async |store| {
        with_instance(&store, "i").await;
        let mut tx = store.begin_write().await.unwrap();
        let other = ServiceInstance { plan_id: "other".parse().unwrap(), ..instance("i") };
        assert!(!instances::insert(&mut tx, &other).await.unwrap());
        assert_eq!(
            instances::find(&mut tx, &other.instance_id).await.unwrap().unwrap(),
            instance("i")
        );
        assert!(bindings::insert(&mut tx, &binding("i", "b")).await.unwrap());
        assert!(!bindings::insert(&mut tx, &binding("i", "b")).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn bindings_are_listed_newest_first_and_deleted_alone_or_with_their_instance() {
    on_both(async |store| {
        with_instance(&store, "i").await;
        with_instance(&store, "j").await;
        let key = ServiceBinding {
            app_guid: None,
            predecessor_id: Some("b1".parse().unwrap()),
            ..binding("j", "b0")
        };
        let mut tx = store.begin_write().await.unwrap();
        for binding in [&binding("i", "b1"), &binding("i", "b2"), &key] {
            assert!(bindings::insert(&mut tx, binding).await.unwrap());
        }
        tx.commit().await.unwrap();

        let all = async |store: &Store| -> Vec<ServiceBinding> {
            let mut tx = store.begin_read().await.unwrap();
            let all = bindings::all(&mut tx).await.unwrap();
            all.into_iter().collect::<Result<_, _>>().unwrap()
        };
        assert_eq!(all(&store).await, [key.clone(), binding("i", "b2"), binding("i", "b1")]);

        let mut tx = store.begin_write().await.unwrap();
        let id: BindingId = "b2".parse().unwrap();
        assert_eq!(bindings::find(&mut tx, &id).await.unwrap().unwrap(), binding("i", "b2"));
        bindings::delete(&mut tx, &id).await.unwrap();
        assert_eq!(bindings::find(&mut tx, &id).await.unwrap(), None);
        tx.commit().await.unwrap();
        assert_eq!(all(&store).await, [key.clone(), binding("i", "b1")]);

        let mut tx = store.begin_write().await.unwrap();
        instances::delete(&mut tx, &"i".parse().unwrap()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(all(&store).await, [key]);
    })
    .await;
}

#[tokio::test]
async fn a_corrupt_row_does_not_hide_other_rows() {
    on_both(async |store| {
        with_instance(&store, "i").await;
        let mut tx = store.begin_write().await.unwrap();
        assert!(bindings::insert(&mut tx, &binding("i", "good")).await.unwrap());
        assert!(bindings::insert(&mut tx, &binding("i", "bad")).await.unwrap());
        let damage = "UPDATE service_bindings SET app_guid = '' WHERE binding_id = 'bad'";
        sqlx::query(damage).execute(tx.connection()).await.unwrap();
        let all = bindings::all(&mut tx).await.unwrap();
        assert!(matches!(&all[0], Err(StoreError::Corrupt { column: "app_guid", .. })), "{all:?}");
        assert_eq!(all[1].as_ref().unwrap(), &binding("i", "good"));
    })
    .await;
}

#[tokio::test]
async fn a_dropped_transaction_changes_nothing() {
    on_both(async |store| {
        let mut tx = store.begin_write().await.unwrap();
        assert!(instances::insert(&mut tx, &instance("i")).await.unwrap());
        drop(tx);
        assert!(!has_instance(&store, "i").await);
        let mut tx = store.begin_read().await.unwrap();
        assert_eq!(state::read(&mut tx).await.unwrap().revision, 0);
    })
    .await;
}

#[tokio::test]
async fn the_revision_counts_changes_and_the_first_key_is_kept() {
    on_both(async |store| {
        let mut tx = store.begin_write().await.unwrap();
        state::claim(&mut tx, "key", "id").await.unwrap();
        state::claim(&mut tx, "key", "other id").await.unwrap();
        let other = state::claim(&mut tx, "other key", "id").await;
        assert!(matches!(other, Err(StoreError::KeyChanged)), "{other:?}");
        tx.commit().await.unwrap();
        with_instance(&store, "i").await;
        let mut tx = store.begin_read().await.unwrap();
        let state = state::read(&mut tx).await.unwrap();
        let (store_id, key_fingerprint) = ("id".to_owned(), "key".to_owned());
        assert_eq!(state, state::State { store_id, revision: 1, key_fingerprint });
    })
    .await;
}

#[tokio::test]
async fn the_second_lock_of_an_instance_sees_the_changes_of_the_first() {
    on_both(async |store| {
        let id: crate::domain::InstanceId = "i".parse().unwrap();
        let mut first = store.begin_write().await.unwrap();
        first.lock(id.as_str()).await.unwrap();
        let second = async {
            let mut tx = store.begin_write().await.unwrap();
            tx.lock(id.as_str()).await.unwrap();
            instances::find(&mut tx, &id).await.unwrap()
        };
        let first = async {
            // The second transaction may or may not be waiting yet. The result must be the same.
            tokio::task::yield_now().await;
            instances::insert(&mut first, &instance("i")).await.unwrap();
            first.commit().await.unwrap();
        };
        let (seen, ()) = tokio::join!(second, first);
        assert_eq!(seen, Some(instance("i")));
    })
    .await;
}

#[tokio::test]
async fn a_database_is_migrated_once_and_rejected_after_a_newer_migration() {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = format!("sqlite://{}", dir.path().join("test.db").display());
    let schema = Schema::create().await;
    for url in [sqlite, schema.url()] {
        let url = url.parse().unwrap();
        let store = Store::open(&url, 2).await.unwrap();
        with_instance(&store, "i").await;
        store.close().await;

        let store = Store::open(&url, 2).await.unwrap();
        assert!(has_instance(&store, "i").await);
        let mut tx = store.begin_write().await.unwrap();
        let future = "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
                      execution_time) SELECT 9999, 'future', success, checksum, 0 \
                      FROM _sqlx_migrations WHERE version = 1";
        sqlx::query(future).execute(tx.connection()).await.unwrap();
        tx.commit().await.unwrap();
        store.close().await;

        let error = Store::open(&url, 2).await.unwrap_err();
        assert!(matches!(error, StoreError::NewerVersion { found: 9999, .. }), "{error:?}");
        assert!(error.to_string().contains("newer version"), "{error}");
    }
    schema.drop().await;
}

#[tokio::test]
async fn errors_of_open_name_the_database_without_the_password() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("text.db"), "This is no database, it is a text.".repeat(99)).unwrap();
    let path = dir.path().display();
    let cases = [
        (format!("sqlite://{path}/missing/test.db"), "there is no directory"),
        (format!("sqlite://{path}/text.db"), "file is not a database"),
        ("postgres://u:hunter2@127.0.0.1:1/d".to_owned(), "refused"),
        ("postgres://u:hunter2@host.invalid/d".to_owned(), "not available"),
    ];
    for (url, reason) in cases {
        let error = Store::open(&url.parse().unwrap(), 2).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(reason), "{url}: {text}");
        let is_unavailable = reason != "is not a URL like" && !reason.starts_with("must");
        assert_eq!(
            matches!(error, StoreError::Unavailable { .. }),
            is_unavailable,
            "{url}: {error:?}"
        );
        let debug = format!("{error:?}");
        let shown = format!("{debug} {:#}", anyhow::Error::from(error));
        assert!(!shown.contains("hunter2"), "{url}: {shown}");
    }
}

#[tokio::test]
async fn a_postgresql_is_reached_over_ipv6() {
    let schema = Schema::create().await;
    let server = super::testing::postgres().replace("127.0.0.1", "[::1]");
    let store = Store::open(&schema.url_at(&server).parse().unwrap(), 2).await.unwrap();
    with_instance(&store, "over IPv6").await;
    store.close().await;
    let error = Store::open(&"postgres://u:hunter2@[::1]:1/d".parse().unwrap(), 2).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("[::1]:1: Connection refused"), "{error}");
    schema.drop().await;
}

async fn sqlite_in(dir: &tempfile::TempDir) -> (Store, std::path::PathBuf) {
    let path = dir.path().join("test.db");
    let store =
        Store::open(&format!("sqlite://{}", path.display()).parse().unwrap(), 2).await.unwrap();
    with_instance(&store, "before").await;
    (store, path)
}

async fn refusal(store: &Store) -> String {
    match store.begin_write().await {
        Err(error @ StoreError::Unavailable { .. }) => error.to_string(),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("a write was begun"),
    }
}

#[tokio::test]
async fn sqlite_files_are_accessible_only_to_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let modes = || {
        let files = fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
        let mode = |file: fs::DirEntry| {
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            (file.file_name().into_string().unwrap(), mode)
        };
        files.map(mode).collect::<std::collections::BTreeMap<_, _>>()
    };
    let private = |names: &[&str]| names.iter().map(|it| ((*it).to_owned(), 0o600)).collect();
    let (store, path) = sqlite_in(&dir).await;
    assert_eq!(modes(), private(&["test.db", "test.db-shm", "test.db-wal"]));
    let copy = dir.path().join("copy.db");
    let file = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
    backup::copy(&path, file.path()).await.unwrap();
    file.persist(&copy).unwrap();
    assert_eq!(modes()["copy.db"], 0o600);
    fs::remove_file(copy).unwrap();
    store.close().await;

    // The state that an older version leaves behind, even after it was killed.
    let url = format!("sqlite://{}", path.display());
    for file in ["test.db", "test.db-wal", "test.db-shm"] {
        let file = dir.path().join(file);
        let open = fs::OpenOptions::new().create(true).append(true).open(&file).unwrap();
        open.set_permissions(fs::Permissions::from_mode(0o644)).unwrap();
    }
    let store = Store::open(&url.parse().unwrap(), 2).await.unwrap();
    assert!(has_instance(&store, "before").await);
    assert!(modes().values().all(|mode| *mode == 0o600), "{:?}", modes());
    store.close().await;
}

#[tokio::test]
async fn an_sqlite_file_that_is_moved_away_and_back_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, path) = sqlite_in(&dir).await;
    let moved_to = dir.path().join("moved.db");
    fs::rename(&path, &moved_to).unwrap();
    assert!(refusal(&store).await.contains("is missing"));
    assert!(store.begin_read().await.is_err());
    assert!(!path.exists(), "nothing is created in its place");
    fs::rename(&moved_to, &path).unwrap();
    assert!(has_instance(&store, "before").await);
    with_instance(&store, "after").await;
}

#[tokio::test]
async fn a_commit_fails_if_the_file_was_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (store, path) = sqlite_in(&dir).await;
    let mut tx = store.begin_write().await.unwrap();
    instances::insert(&mut tx, &instance("lost")).await.unwrap();
    fs::remove_file(&path).unwrap();
    let outcome = tx.commit().await;
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_deleted_write_ahead_log_is_detected_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (store, path) = sqlite_in(&dir).await;
    fs::remove_file(companion_path_for_tests(&path, "-wal")).unwrap();
    with_instance(&store, "after").await;
    store.close().await;
    let store =
        Store::open(&format!("sqlite://{}", path.display()).parse().unwrap(), 2).await.unwrap();
    assert!(has_instance(&store, "before").await && has_instance(&store, "after").await);
}

fn companion_path_for_tests(path: &Path, suffix: &str) -> std::path::PathBuf {
    format!("{}{suffix}", path.display()).into()
}

#[tokio::test]
async fn a_replaced_sqlite_file_is_opened_without_the_log_of_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let (store, path) = sqlite_in(&dir).await;
    let other = dir.path().join("other.db");
    let another =
        Store::open(&format!("sqlite://{}", other.display()).parse().unwrap(), 2).await.unwrap();
    with_instance(&another, "other").await;
    another.close().await;

    let moved_to = dir.path().join("moved.db");
    fs::rename(&path, &moved_to).unwrap();
    fs::rename(&other, &path).unwrap();
    assert!(has_instance(&store, "other").await);
    assert!(!has_instance(&store, "before").await);
    with_instance(&store, "after").await;
    store.close().await;

    // The moved file contains all committed transactions.
    let moved =
        Store::open(&format!("sqlite://{}", moved_to.display()).parse().unwrap(), 2).await.unwrap();
    assert!(has_instance(&moved, "before").await);
}

#[tokio::test]
async fn an_empty_file_becomes_a_new_database_and_a_text_file_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let (store, path) = sqlite_in(&dir).await;
    fs::remove_file(&path).unwrap();
    fs::write(&path, "This is no database, it is a text.".repeat(99)).unwrap();
    assert!(refusal(&store).await.contains("not a database"));
    fs::remove_file(&path).unwrap();
    assert!(refusal(&store).await.contains("is missing"));
    fs::write(&path, "").unwrap();
    assert!(!has_instance(&store, "before").await);
    with_instance(&store, "after").await;
}

#[tokio::test]
async fn a_full_disk_is_unavailable_until_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = sqlite_in(&dir).await;
    store.limit_pages_for_tests(1).await;
    let mut tx = store.begin_write().await.unwrap();
    let large = ServiceInstance { parameters: "x".repeat(1 << 20), ..instance("large") };
    let error = instances::insert(&mut tx, &large).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("full"), "{error}");
    drop(tx);
    store.limit_pages_for_tests(1_000_000).await;
    with_instance(&store, "large").await;
}

#[tokio::test]
async fn a_tsuru_app_is_stored_replaced_and_deleted_with_its_binding() {
    on_both(async |store| {
        let app = |name: &str, pool: &str, hosts: &[&str]| TsuruApp {
            name: name.to_owned(),
            team: "checkout".to_owned(),
            pool: pool.to_owned(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        };
        let all = async |store: &Store| -> Vec<TsuruApp> {
            let mut tx = store.begin_read().await.unwrap();
            let all = tsuru_apps::all(&mut tx).await.unwrap();
            all.into_iter().collect::<Result<_, _>>().unwrap()
        };
        let revision = async |store: &Store| {
            state::read(&mut store.begin_read().await.unwrap()).await.unwrap().revision
        };
        with_instance(&store, "i").await;
        let (b1, b2) = (binding("i", "b1"), binding("i", "b2"));
        let first = app("shop", "", &[]);
        let second = app("cart", "pool-a", &["tcp://a:1", "\"b\", ü"]);
        let mut tx = store.begin_write().await.unwrap();
        for (binding, app) in [(&b1, &first), (&b2, &second)] {
            assert!(bindings::insert(&mut tx, binding).await.unwrap());
            tsuru_apps::put(&mut tx, &binding.binding_id, app).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(all(&store).await, [second.clone(), first.clone()], "the newest first");

        let before = revision(&store).await;
        let mut tx = store.begin_write().await.unwrap();
        tsuru_apps::put(&mut tx, &b1.binding_id, &first).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(revision(&store).await, before, "nothing new");
        let moved = app("shop", "pool-b", &["c"]);
        let mut tx = store.begin_write().await.unwrap();
        tsuru_apps::put(&mut tx, &b1.binding_id, &moved).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(all(&store).await, [second, moved.clone()]);
        assert!(revision(&store).await > before);

        let mut tx = store.begin_write().await.unwrap();
        bindings::delete(&mut tx, &b2.binding_id).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(all(&store).await, [moved]);
        let mut tx = store.begin_write().await.unwrap();
        instances::delete(&mut tx, &b1.instance_id).await.unwrap();
        tx.commit().await.unwrap();
        assert!(all(&store).await.is_empty());
    })
    .await;
}

fn holder(id: &str, home: Option<&str>) -> leases::Holder {
    leases::Holder { id: id.to_owned(), home: home.map(str::to_owned) }
}

async fn take(store: &Store, holder: &leases::Holder) -> leases::LeaseOutcome {
    let mut tx = store.begin_write().await.unwrap();
    let term = Duration::from_secs(15);
    let taken = leases::acquire(&mut tx, "l", holder, term).await.unwrap();
    tx.commit().await.unwrap();
    taken
}

async fn database_time(store: &Store) -> i64 {
    clock::now(&mut store.begin_read().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_lease_is_acquired_extended_and_released_by_the_clock_of_the_database() {
    on_both(async |store| {
        let own = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = database_time(&store).await;
        // Server and test run on the same machine.
        assert!(now.abs_diff(own.as_millis().try_into().unwrap()) < 60_000, "{now}");

        let (a, b) = (holder("a", Some("process on x")), holder("b", None));
        assert_eq!(take(&store, &a).await, leases::LeaseOutcome::Acquired);
        assert_eq!(take(&store, &a).await, leases::LeaseOutcome::Acquired);
        let leases::LeaseOutcome::HeldByOther { holder, expires_at } = take(&store, &b).await
        else {
            panic!("two have it")
        };
        assert_eq!(holder, a);
        assert!((14_000..=16_000).contains(&(expires_at - now)) || expires_at > now);
        let mut tx = store.begin_write().await.unwrap();
        leases::release(&mut tx, "l", &b).await.unwrap();
        tx.commit().await.unwrap();
        assert!(matches!(take(&store, &b).await, leases::LeaseOutcome::HeldByOther { .. }));
        let mut tx = store.begin_write().await.unwrap();
        leases::expire_for_tests(&mut tx, "l").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(take(&store, &b).await, leases::LeaseOutcome::Acquired);
        let mut tx = store.begin_write().await.unwrap();
        leases::release(&mut tx, "l", &b).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(take(&store, &a).await, leases::LeaseOutcome::Acquired);
    })
    .await;
}

/// Sets the clock of this schema, which may differ by hours from the machine's clock.
async fn set_clock(store: &Store, shift: &str) {
    let mut tx = store.begin_write().await.unwrap();
    let function = format!(
        "CREATE OR REPLACE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
         $$ SELECT pg_catalog.clock_timestamp() + interval '{shift}' $$"
    );
    sqlx::query(sqlx::AssertSqlSafe(function)).execute(tx.connection()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn the_clocks_of_replicas_do_not_matter() {
    let schema = Schema::create().await;
    // PostgreSQL finds functions of the schema before those of the system.
    let url = format!("{},pg_catalog", schema.url());
    let store = Store::open(&url.parse().unwrap(), 4).await.unwrap();
    // Must run before the first query: prepared statements keep the function that they found.
    set_clock(&store, "0").await;
    let (a, b) = (holder("a", Some("process on x")), holder("b", Some("process on x")));
    let before = database_time(&store).await;
    assert_eq!(take(&store, &a).await, leases::LeaseOutcome::Acquired);
    assert!(matches!(take(&store, &b).await, leases::LeaseOutcome::HeldByOther { .. }));

    // From here on the clocks of all replicas are an hour behind. The term has ended.
    set_clock(&store, "1 hour").await;
    assert!(database_time(&store).await > before + 3_590_000);
    assert_eq!(take(&store, &b).await, leases::LeaseOutcome::Acquired);
    assert!(matches!(take(&store, &a).await, leases::LeaseOutcome::HeldByOther { .. }));

    // The database fails over to a server with another clock. A dead holder must not block others
    // for an hour.
    set_clock(&store, "0").await;
    assert_eq!(take(&store, &a).await, leases::LeaseOutcome::Acquired);
    assert!(matches!(take(&store, &b).await, leases::LeaseOutcome::HeldByOther { .. }));
    store.close().await;
    schema.drop().await;
}
