//! promfetcher's database, which becomes ours only if it is a PostgreSQL.

use super::{document::Document, fields::raw};
use crate::config::{
    section::Section,
    values::{self, number},
};

const NONE: &str = "is not set: promfetcher refused bindings then; we keep them in SQLite";
const MYSQL: &str = "MySQL is no store of ours, bindings are kept in SQLite; set database_url to a \
                     PostgreSQL for several replicas. What is in it is imported by \
                     scrapebroker import-promfetcher --from";
const SQLITE: &str = "the file is not ours, bindings are kept in one of our own. What is in it is \
                      imported by scrapebroker import-promfetcher --from; promfetcher takes the \
                      path as one from its working directory";
const POSTGRES: &str = "our tables stand beside promfetcher's in the same database. What is in \
                        that one is imported by scrapebroker import-promfetcher --from";
const TOKEN_KEY: &str = "was made just now; keep it, the same for all replicas: another one could \
                         not read the store";
const UNLIMITED: &str = "no limit; ours is database.max_connections, 10 when not set";

pub(super) fn convert(s: &mut Section<'_>, to: &mut Document) {
    let url = raw(s, "db_conn");
    let scheme = |url: &str| url.split_once(':').map(|(scheme, _)| scheme.to_owned());
    let kind = url.as_ref().map(|url| url.as_deref().and_then(scheme));
    let postgres =
        matches!(kind.as_ref().map(Option::as_deref), Some(Some("postgres" | "postgresql")));
    match (kind.as_ref().map(Option::as_deref), url.flatten()) {
        (Some(_), None) => to.remark("db_conn", NONE),
        (Some(Some("mysql" | "mariadb")), _) => to.lost("db_conn", MYSQL),
        (Some(Some("sqlite")), _) => to.lost("db_conn", SQLITE),
        (Some(_), Some(url)) if postgres => in_postgres(s, to, &url),
        (None, _) => {}
        _ => s.mistake("db_conn", "must begin with mysql:, mariadb:, sqlite: or postgres:"),
    }
    match s.optional("sql_cnx_max_open", number(i64::MIN..=i64::MAX)).flatten() {
        Some(most) if postgres => match u32::try_from(most) {
            Ok(most @ 1..=10_000) => to.set(&["database", "max_connections"], most),
            _ => to.lost("sql_cnx_max_open", UNLIMITED),
        },
        Some(_) => to.lost("sql_cnx_max_open", "SQLite needs none"),
        None => {}
    }
}

fn in_postgres(s: &mut Section<'_>, to: &mut Document, url: &str) {
    if let Err(problem) = values::database_url(url) {
        return s.mistake("db_conn", problem);
    }
    to.set(&["database_url"], url);
    // Required with PostgreSQL; two random UUIDs have 244 bits of it.
    let random = || uuid::Uuid::new_v4().simple().to_string();
    to.set(&["broker", "token_key"], format!("{}{}", random(), random()));
    to.remark("db_conn", POSTGRES);
    to.remark("broker.token_key", TOKEN_KEY);
}
