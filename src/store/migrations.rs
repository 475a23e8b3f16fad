//! The migrations of the database.
//!
//! They are listed here because the macro of sqlx that reads the folder builds sqlx and all its
//! drivers a second time, for the compiler.

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};
use std::sync::LazyLock;

/// Version, name and statements, as in the name of the file and in its content.
const FILES: [(i64, &str, &str); 7] = [
    (1, "bindings", include_str!("../../migrations/0001_bindings.sql")),
    (2, "promfetcher", include_str!("../../migrations/0002_promfetcher.sql")),
    (3, "prometheus", include_str!("../../migrations/0003_prometheus.sql")),
    (4, "tsuru apps", include_str!("../../migrations/0004_tsuru_apps.sql")),
    (6, "token salts", include_str!("../../migrations/0006_token_salts.sql")),
    (7, "tsuru refused updates", include_str!("../../migrations/0007_tsuru_refused_updates.sql")),
    (8, "events", include_str!("../../migrations/0008_events.sql")),
];

/// Migrations are only appended, so that databases of any version can be migrated.
pub(super) static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let migrations = FILES.map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.into())
});

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// What sqlx reads from the folder is what databases of released versions were migrated with.
    #[tokio::test]
    async fn each_file_is_listed() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"));
        let files = Migrator::new(folder).await.unwrap();
        let contents = |migrator: &Migrator| {
            let migrations = migrator.iter();
            let contents = migrations.map(|m| {
                (m.version, m.description.clone(), m.migration_type, m.checksum.clone(), m.no_tx)
            });
            contents.collect::<Vec<_>>()
        };
        assert_eq!(contents(&MIGRATIONS), contents(&files));
    }
}
