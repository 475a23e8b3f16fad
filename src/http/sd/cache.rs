//! Cache of rendered lists. A list is valid until routes or bindings change.

use super::{Visibility, answer::Answer, query::SdQuery};
use crate::{broker::BindingsVersion, discovery::TableVersion};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Maximum number of lists.
const MAX_LISTS: usize = 256;
/// Maximum size of all lists in bytes. A list of 20,000 targets has 13 MB.
const MAX_BYTES: usize = 128 << 20;
/// Maximum number of lists per caller. Parameters such as `port` allow any number of lists, which
/// must not displace lists of other callers.
const MAX_LISTS_PER_CALLER: usize = 16;
/// Maximum size of the lists of a caller, in bytes.
const MAX_BYTES_PER_CALLER: usize = MAX_BYTES / 2;
/// Memory overhead per list, in bytes.
const OVERHEAD: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) visibility: Visibility,
    pub(super) query: SdQuery,
}

/// The versions of routes and bindings that a list was rendered from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Versions {
    pub(super) routes: TableVersion,
    pub(super) bindings: BindingsVersion,
}

/// The lock is held for lookups only, not while a list is rendered.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    lists: HashMap<Key, List>,
    bytes: usize,
    /// Number of requests, to determine the least recently used list.
    clock: u64,
}

#[derive(Debug)]
struct List {
    versions: Versions,
    answer: Arc<Answer>,
    last_used: u64,
}

impl Cache {
    /// Returns the list if it is valid.
    pub(super) fn get(&self, key: &Key, versions: &Versions) -> Option<Arc<Answer>> {
        let mut kept = self.kept();
        kept.clock += 1;
        let clock = kept.clock;
        let list = kept.lists.get_mut(key)?;
        list.last_used = clock;
        (list.versions == *versions).then(|| Arc::clone(&list.answer))
    }

    /// Stores a list. Removes least recently used lists that exceed the limits.
    pub(super) fn put(&self, key: Key, versions: Versions, answer: Arc<Answer>) {
        let mut kept = self.kept();
        kept.remove(&key);
        let bytes = weight(&key, &answer);
        if bytes > MAX_BYTES {
            return;
        }
        loop {
            let (lists, held) = kept.of(&key.visibility);
            if lists < MAX_LISTS_PER_CALLER && held + bytes <= MAX_BYTES_PER_CALLER {
                break;
            }
            if !kept.remove_oldest(|other| other.visibility == key.visibility) {
                break;
            }
        }
        while kept.lists.len() >= MAX_LISTS || kept.bytes + bytes > MAX_BYTES {
            if !kept.remove_oldest(|_| true) {
                break;
            }
        }
        let last_used = kept.clock;
        kept.bytes += bytes;
        kept.lists.insert(key, List { versions, answer, last_used });
    }

    fn kept(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    fn remove(&mut self, key: &Key) {
        if let Some(list) = self.lists.remove(key) {
            self.bytes -= weight(key, &list.answer);
        }
    }

    fn remove_oldest(&mut self, among: impl Fn(&Key) -> bool) -> bool {
        let lists = self.lists.iter().filter(|(key, _)| among(key));
        let oldest = lists.min_by_key(|(_, list)| list.last_used).map(|(key, _)| key.clone());
        oldest.inspect(|key| self.remove(key)).is_some()
    }

    /// Number and total size of the lists of a caller.
    fn of(&self, visibility: &Visibility) -> (usize, usize) {
        let lists = self.lists.iter().filter(|(key, _)| key.visibility == *visibility);
        lists.fold((0, 0), |(count, bytes), (key, list)| {
            (count + 1, bytes + weight(key, &list.answer))
        })
    }
}

fn weight(key: &Key, answer: &Answer) -> usize {
    OVERHEAD + key.query.text_len() + answer.body.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{broker::BindingTable, discovery::Snapshot};
    use actix_web::http::header::EntityTag;

    fn key(app: &str) -> Key {
        Key { visibility: Visibility::App(app.parse().unwrap()), query: SdQuery::default() }
    }

    fn answer(bytes: usize) -> Arc<Answer> {
        let tag = EntityTag::new_strong("tag".to_owned());
        Arc::new(Answer { body: vec![b'x'; bytes].into(), tag })
    }

    #[test]
    fn a_list_is_valid_until_routes_or_bindings_change() {
        let (table, other_table) = (Snapshot::default(), Snapshot::default());
        let (bound, other_bound) = (BindingTable::default(), BindingTable::default());
        let versions = |table: &Snapshot, bound: &BindingTable| Versions {
            routes: table.version(),
            bindings: bound.snapshot().version(),
        };
        let cache = Cache::default();
        cache.put(key("a"), versions(&table, &bound), answer(1));
        assert!(cache.get(&key("a"), &versions(&table, &bound)).is_some());
        let status_only = table.clone();
        assert!(cache.get(&key("a"), &versions(&status_only, &bound)).is_some());
        assert!(cache.get(&key("b"), &versions(&table, &bound)).is_none());
        assert!(cache.get(&key("a"), &versions(&other_table, &bound)).is_none());
        assert!(cache.get(&key("a"), &versions(&table, &other_bound)).is_none());
    }

    #[test]
    fn the_least_recently_used_lists_are_removed() {
        let (table, bound) = (Snapshot::default(), BindingTable::default());
        let versions = Versions { routes: table.version(), bindings: bound.snapshot().version() };
        let cache = Cache::default();
        let put = |app: &str, bytes| cache.put(key(app), versions.clone(), answer(bytes));
        let is_kept = |app: &str| cache.get(&key(app), &versions).is_some();
        for app in 0..2 * MAX_LISTS {
            put(&app.to_string(), 10);
            assert!(app == 0 || is_kept("0"));
        }
        assert_eq!(cache.kept().lists.len(), MAX_LISTS);
        assert!(!is_kept("1") && is_kept("0"));
        put("half", MAX_BYTES / 2);
        put("more", MAX_BYTES / 2 + 1);
        assert!(!is_kept("half") && is_kept("more"));
        let kept = cache.kept();
        let bytes: usize = kept.lists.iter().map(|(key, list)| weight(key, &list.answer)).sum();
        assert!(bytes == kept.bytes && bytes <= MAX_BYTES);
        drop(kept);
        put("more", MAX_BYTES + 1);
        assert!(!is_kept("more"), "too large to be kept, and the one before is not true any more");
    }

    #[test]
    fn parameters_of_one_caller_do_not_displace_the_lists_of_others() {
        let (table, bound) = (Snapshot::default(), BindingTable::default());
        let versions = Versions { routes: table.version(), bindings: bound.snapshot().version() };
        let cache = Cache::default();
        let with_port =
            |port| Key { query: SdQuery { port: Some(port), ..SdQuery::default() }, ..key("busy") };
        for app in 0..100 {
            cache.put(key(&app.to_string()), versions.clone(), answer(10));
        }
        for port in 1..2000 {
            cache.put(with_port(port), versions.clone(), answer(1 << 20));
        }
        assert!((0..100).all(|app| cache.get(&key(&app.to_string()), &versions).is_some()));
        let visibility = Visibility::App("busy".parse().unwrap());
        let (lists, bytes) = cache.kept().of(&visibility);
        assert!(lists == MAX_LISTS_PER_CALLER && bytes <= MAX_BYTES_PER_CALLER);
        assert!(cache.get(&with_port(1999), &versions).is_some());
        for port in 1..20 {
            cache.put(with_port(port), versions.clone(), answer(MAX_BYTES_PER_CALLER / 2 - 1000));
        }
        assert!(cache.kept().of(&visibility).1 <= MAX_BYTES_PER_CALLER);
        let long = SdQuery {
            selector: crate::http::sd::query::Selector::Parts(vec!["x".repeat(1000)]),
            ..SdQuery::default()
        };
        assert!(weight(&Key { query: long, ..key("a") }, &answer(1)) > 1000);
    }
}
