//! Keys of promfetcher that have no counterpart, and why.

use super::{
    document::Document,
    fields::{flag, go_duration},
};
use crate::config::{section::Section, values::number};

/// What a value must look like: a mistyped one is a mistake all the same.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Flag,
    Number,
    Duration,
}

const DATABASE_POOL: &str = "idle connections to the database are kept for five minutes";
const DATABASE_LIFE: &str = "connections to the database may be of any age";
const DATABASE_AWAY: &str = "we never exit because the database is away: scraping goes on, and \
                             bindings get 503 until it is back";
const START: &str =
    "we are ready once a source of routes has given a table, not after a fixed time";
const PING: &str = "the client for NATS keeps its connection alive by itself";
const INDEX: &str = "replicas need no number";
const HTTP2: &str = "an instance that registers with protocol http2 is spoken to so, any other in \
                     HTTP/1.1";
const KEEP_ALIVE: &str = "connections to instances are kept; a request that fails on a kept one is \
                          repeated on a new one";
const IDLE: &str = "idle connections are closed after backends.idle_timeout; backends.max_connections bounds \
                    all of them";

/// Of the first level. Those deeper stand where their level is read.
const KEYS: [(&str, Form, &str); 10] = [
    ("sql_cnx_max_idle", Form::Number, DATABASE_POOL),
    ("sql_cnx_max_life", Form::Duration, DATABASE_LIFE),
    ("not_exit_when_conn_failed", Form::Flag, DATABASE_AWAY),
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
            to.lost(key, why);
        }
    }
}

/// Whether a key is set, and to something of this form.
pub(super) fn is_set(s: &mut Section<'_>, key: &str, form: Form) -> bool {
    match form {
        Form::Flag => flag(s, key).is_some(),
        Form::Number => s.optional(key, number(i64::MIN..=i64::MAX)).flatten().is_some(),
        Form::Duration => s.optional(key, go_duration).flatten().is_some(),
    }
}
