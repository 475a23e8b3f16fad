//! Converts promfetcher's database URL. Only a PostgreSQL is used by Scrapebroker.

use super::fields::raw;
use crate::{
    config::{document::Document, section::Section, values::number},
    domain::DatabaseUrl,
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
    let scheme = match &url {
        Ok(Some(url)) => url.split_once(':').map_or("", |(scheme, _)| scheme),
        _ => "",
    };
    let postgres = ["postgres", "postgresql"].contains(&scheme);
    match (&url, scheme) {
        (Err(_), _) => {}
        (Ok(None), _) => to.remark("db_conn", NONE),
        (Ok(Some(_)), "mysql" | "mariadb") => to.unsupported("db_conn", MYSQL),
        (Ok(Some(_)), "sqlite") => to.unsupported("db_conn", SQLITE),
        (Ok(Some(url)), _) if postgres => in_postgres(s, to, url),
        _ => {
            s.mistake("db_conn", "must begin with mysql:, mariadb:, sqlite: or postgres:");
        }
    }
    match s.optional("sql_cnx_max_open", number(i64::MIN..=i64::MAX)).ok().flatten() {
        Some(most) if postgres => match u32::try_from(most) {
            Ok(most @ 1..=10_000) => to.set(&["database", "max_connections"], most),
            _ => to.unsupported("sql_cnx_max_open", UNLIMITED),
        },
        Some(_) => to.unsupported("sql_cnx_max_open", "SQLite needs none"),
        None => {}
    }
}

fn in_postgres(s: &mut Section<'_>, to: &mut Document, url: &str) {
    if let Err(problem) = url.parse::<DatabaseUrl>() {
        s.mistake("db_conn", problem);
        return;
    }
    to.set(&["database_url"], url);
    // PostgreSQL requires a token key. Two random UUIDs have 244 random bits.
    let random = || uuid::Uuid::new_v4().simple().to_string();
    to.set(&["broker", "token_key"], format!("{}{}", random(), random()));
    to.remark("db_conn", POSTGRES);
    to.remark("broker.token_key", TOKEN_KEY);
}
