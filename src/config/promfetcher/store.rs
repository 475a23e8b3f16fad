//! Converts promfetcher's database URL. Only a PostgreSQL is used by Scrapebroker.

use super::{document::Document, fields::raw};
use crate::config::{
    section::Section,
    values::{self, number},
};

const NONE: &str = "is not set: promfetcher rejected bindings; Scrapebroker stores them in SQLite";
const MYSQL: &str = "MySQL is not supported, bindings are stored in SQLite; set database_url to a \
                     PostgreSQL for several replicas. Import its bindings with \
                     scrapebroker import-promfetcher --from";
const SQLITE: &str = "bindings are stored in a separate file. Import the bindings in this file \
                      with scrapebroker import-promfetcher --from; promfetcher resolves the path \
                      relative to its working directory";
const POSTGRES: &str = "Scrapebroker's tables are added to promfetcher's database. Import \
                        promfetcher's bindings with scrapebroker import-promfetcher --from";
const TOKEN_KEY: &str = "was generated; use the same for all replicas and keep it: the database \
                         cannot be read with another key";
const UNLIMITED: &str = "no limit; Scrapebroker uses database.max_connections, 10 by default";

pub(super) fn convert(s: &mut Section<'_>, to: &mut Document) {
    let url = raw(s, "db_conn");
    let scheme = |url: &str| url.split_once(':').map(|(scheme, _)| scheme.to_owned());
    let kind = url.as_ref().map(|url| url.as_deref().and_then(scheme));
    let postgres =
        matches!(kind.as_ref().map(Option::as_deref), Some(Some("postgres" | "postgresql")));
    match (kind.as_ref().map(Option::as_deref), url.flatten()) {
        (Some(_), None) => to.remark("db_conn", NONE),
        (Some(Some("mysql" | "mariadb")), _) => to.unsupported("db_conn", MYSQL),
        (Some(Some("sqlite")), _) => to.unsupported("db_conn", SQLITE),
        (Some(_), Some(url)) if postgres => in_postgres(s, to, &url),
        (None, _) => {}
        _ => s.mistake("db_conn", "must begin with mysql:, mariadb:, sqlite: or postgres:"),
    }
    match s.optional("sql_cnx_max_open", number(i64::MIN..=i64::MAX)).flatten() {
        Some(most) if postgres => match u32::try_from(most) {
            Ok(most @ 1..=10_000) => to.set(&["database", "max_connections"], most),
            _ => to.unsupported("sql_cnx_max_open", UNLIMITED),
        },
        Some(_) => to.unsupported("sql_cnx_max_open", "SQLite needs none"),
        None => {}
    }
}

fn in_postgres(s: &mut Section<'_>, to: &mut Document, url: &str) {
    if let Err(problem) = values::database_url(url) {
        return s.mistake("db_conn", problem);
    }
    to.set(&["database_url"], url);
    // PostgreSQL requires a token key. Two random UUIDs have 244 random bits.
    let random = || uuid::Uuid::new_v4().simple().to_string();
    to.set(&["broker", "token_key"], format!("{}{}", random(), random()));
    to.remark("db_conn", POSTGRES);
    to.remark("broker.token_key", TOKEN_KEY);
}
