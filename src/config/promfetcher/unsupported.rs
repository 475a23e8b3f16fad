//! Keys of promfetcher without a counterpart, and the reasons.

use super::fields::flag;
use crate::config::{document::Document, go_values, section::Section, values::number};

/// The expected type of a value. A mistyped value is a mistake even if the key has no counterpart.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Flag,
    Number,
    Duration,
}

const DATABASE_POOL: &str = "idle connections to the database are closed after five minutes";
const DATABASE_LIFETIME: &str = "the age of database connections is not limited";
const DATABASE_UNAVAILABLE: &str = "Scrapebroker never exits if the database is unavailable: scraping \
                                    continues, and requests for bindings get 503";
const START: &str = "Scrapebroker is ready after the first route table, and with NATS 20 seconds after it has connected";
const PING: &str = "the NATS client sends pings by itself";
const INDEX: &str = "replicas need no index";
const HTTP2: &str = "instances registered with protocol http2 are scraped over HTTP/2, others over \
                     HTTP/1.1";
const KEEP_ALIVE: &str = "connections to instances are reused; a request that fails on a reused \
                          connection is retried on a new one";
const IDLE: &str = "idle connections are closed after backends.idle_timeout; backends.max_connections limits \
                    their number";

/// Keys of the first level. Nested keys are handled where their level is read.
const KEYS: [(&str, Form, &str); 10] = [
    ("sql_cnx_max_idle", Form::Number, DATABASE_POOL),
    ("sql_cnx_max_life", Form::Duration, DATABASE_LIFETIME),
    ("not_exit_when_conn_failed", Form::Flag, DATABASE_UNAVAILABLE),
    ("start_response_delay_interval", Form::Duration, START),
    ("nats_client_ping_interval", Form::Duration, PING),
    ("index", Form::Number, INDEX),
    ("enable_http2", Form::Flag, HTTP2),
    ("disable_keep_alives", Form::Flag, KEEP_ALIVE),
    ("max_idle_conns", Form::Number, IDLE),
    ("max_idle_conns_per_host", Form::Number, IDLE),
];

pub(super) fn convert(s: &mut Section<'_>, to: &mut Document) {
    for (key, form, why) in KEYS {
        if is_set(s, key, form) {
            to.unsupported(key, why);
        }
    }
}

/// Whether a key is set to a value of this type.
pub(super) fn is_set(s: &mut Section<'_>, key: &str, form: Form) -> bool {
    match form {
        Form::Flag => flag(s, key).is_some(),
        Form::Number => s.optional(key, number(i64::MIN..=i64::MAX)).ok().flatten().is_some(),
        Form::Duration => s.optional(key, go_values::duration).ok().flatten().is_some(),
    }
}
