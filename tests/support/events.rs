//! Posts events with distinct values, and compares them with the samples that a scraper stored.

use crate::{Response, read_response};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Mutex, MutexGuard},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// How often an accepted event must be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    Once,
    AtLeastOnce,
    AtMostOnce,
}

/// Posts requests on a connection that it keeps. After a failure it connects again.
pub struct Poster {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Poster {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// Posts without a body. `None` if there was no complete response.
    pub async fn post(&mut self, path: &str) -> Option<Response> {
        self.post_with(path, "").await
    }

    /// Posts an event that is stored once, however often it is posted with this key.
    pub async fn post_once(&mut self, path: &str, key: &str) -> Option<Response> {
        self.post_with(path, &format!("Idempotency-Key: {key}\r\n")).await
    }

    async fn post_with(&mut self, path: &str, header: &str) -> Option<Response> {
        // The connection is dropped unless the response was complete.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.address).await.ok()?,
        };
        let host = self.address;
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{header}Content-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let response = read_response(&mut stream, &mut Vec::new()).await?;
        if response.headers.get("connection").is_none_or(|value| value != "close") {
            self.stream = Some(stream);
        }
        Some(response)
    }
}

/// Knows which values were posted, and which posts were accepted. A post without a response may or
/// may not have been stored.
#[derive(Default)]
pub struct Oracle(Mutex<Posts>);

#[derive(Default)]
struct Posts {
    posted: u32,
    accepted: BTreeSet<u32>,
}

/// The differences between accepted events and stored samples.
#[derive(Debug, Default, PartialEq)]
pub struct Differences {
    /// Values of accepted events that were not stored.
    pub missing: Vec<u32>,
    /// Values that were stored several times, and how often.
    pub repeated: BTreeMap<u32, usize>,
    /// Stored values that were never posted.
    pub unknown: Vec<f64>,
}

impl Oracle {
    /// Posts an event with a new value. Returns whether it was accepted.
    pub async fn post(&self, poster: &mut Poster, path: impl FnOnce(u32) -> String) -> bool {
        let value = self.value();
        let response = poster.post(&path(value)).await;
        let is_accepted = response.is_some_and(|response| (200..300).contains(&response.status));
        if is_accepted {
            self.accept(value);
        }
        is_accepted
    }

    /// A new value, for an event that the test posts itself.
    pub fn value(&self) -> u32 {
        let mut posts = self.posts();
        posts.posted += 1;
        posts.posted
    }

    /// Notes that the post of this value was accepted.
    pub fn accept(&self, value: u32) {
        self.posts().accepted.insert(value);
    }

    /// The number of accepted posts.
    pub fn accepted(&self) -> usize {
        self.posts().accepted.len()
    }

    /// Compares accepted events with the values of all stored samples.
    pub fn compare(&self, stored: impl IntoIterator<Item = f64>) -> Differences {
        let posts = self.posts();
        let mut counts = BTreeMap::<u32, usize>::new();
        let mut unknown = Vec::new();
        for value in stored {
            // Conversions from floats saturate, so other values do not become equal.
            let whole = value as u32;
            if f64::from(whole) == value && (1..=posts.posted).contains(&whole) {
                *counts.entry(whole).or_default() += 1;
            } else {
                unknown.push(value);
            }
        }
        let missing = posts.accepted.iter().filter(|value| !counts.contains_key(value));
        let missing = missing.copied().collect();
        counts.retain(|_, count| *count > 1);
        Differences { missing, repeated: counts, unknown }
    }

    /// Panics with the differences if `guarantee` was not kept.
    pub fn assert_delivered(&self, stored: impl IntoIterator<Item = f64>, guarantee: Guarantee) {
        let differences = self.compare(stored);
        let Differences { missing, repeated, unknown } = &differences;
        let may_miss = guarantee == Guarantee::AtMostOnce;
        let may_repeat = guarantee == Guarantee::AtLeastOnce;
        let is_kept = unknown.is_empty()
            && (may_miss || missing.is_empty())
            && (may_repeat || repeated.is_empty());
        assert!(is_kept, "{guarantee:?} of {}: {differences:?}", self.accepted());
    }

    fn posts(&self) -> MutexGuard<'_, Posts> {
        self.0.lock().unwrap()
    }
}
