//! A persistent hash map that is split into shards.
//!
//! A copy shares all shards with the original and clones a shard only when it changes. The cost of
//! a change is therefore independent of the size of the map, and readers keep their version.

use foldhash::quality::RandomState;
use hashbrown::{HashTable, hash_table::Entry};
use std::{hash::BuildHasher, sync::Arc};

/// Number of shards, a power of two. At 200,000 entries a shard has about fifty: cloning a shard or
/// the list of shards takes microseconds. Tests use few shards, so that a shard has several
/// entries.
const SHARDS: usize = if cfg!(test) { 16 } else { 4096 };

/// An entry with a key.
pub(super) trait Keyed {
    /// Must never change.
    fn key(&self) -> &str;
}

#[derive(Debug)]
pub(super) struct Shards<T> {
    shards: Box<[Arc<HashTable<Arc<T>>>]>,
    len: usize,
    hasher: RandomState,
}

impl<T> Default for Shards<T> {
    fn default() -> Self {
        let empty = Arc::new(HashTable::new());
        Self { shards: vec![empty; SHARDS].into(), len: 0, hasher: RandomState::default() }
    }
}

// A derived `Clone` would require `T: Clone`.
impl<T> Clone for Shards<T> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone(), len: self.len, hasher: self.hasher.clone() }
    }
}

impl<T: Keyed> Shards<T> {
    pub(super) fn get(&self, key: &str) -> Option<&Arc<T>> {
        let hash = self.hasher.hash_one(key);
        self.shards.get(shard_of(hash))?.find(hash, |entry| entry.key() == key)
    }

    /// Inserts `entry` and returns the previous entry with the same key.
    pub(super) fn insert(&mut self, entry: Arc<T>) -> Option<Arc<T>> {
        let Self { shards, len, hasher } = self;
        let hash = hasher.hash_one(entry.key());
        let shard = Arc::make_mut(shards.get_mut(shard_of(hash))?);
        let place = shard.entry(
            hash,
            |known| known.key() == entry.key(),
            |known| hasher.hash_one(known.key()),
        );
        match place {
            Entry::Occupied(mut place) => Some(std::mem::replace(place.get_mut(), entry)),
            Entry::Vacant(place) => {
                place.insert(entry);
                *len += 1;
                None
            }
        }
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Arc<T>> {
        // Looked up first, so that no shard is cloned if the key is missing.
        self.get(key)?;
        let hash = self.hasher.hash_one(key);
        let shard = Arc::make_mut(self.shards.get_mut(shard_of(hash))?);
        let (removed, _) = shard.find_entry(hash, |known| known.key() == key).ok()?.remove();
        self.len -= 1;
        Some(removed)
    }

    /// Unordered.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

/// Uses bits of the hash that the tables do not use.
fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug)]
    struct Word(String, u8);

    impl Keyed for Word {
        fn key(&self) -> &str {
            &self.0
        }
    }

    fn all(shards: &Shards<Word>) -> BTreeMap<String, u8> {
        shards.iter().map(|word| (word.0.clone(), word.1)).collect()
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_map_and_older_versions_do_not_change(
            steps in prop::collection::vec((0u8..3, 0u8..20, any::<u8>()), 0..80)
        ) {
            let mut shards: Shards<Word> = Shards::default();
            let mut model = BTreeMap::new();
            let mut generations = Vec::new();
            for (what, key, value) in steps {
                let key = format!("k{key}");
                match what {
                    0 => {
                        let before = shards.remove(&key).map(|word| word.1);
                        prop_assert_eq!(before, model.remove(&key));
                    }
                    _ => {
                        let before = shards.insert(Arc::new(Word(key.clone(), value)));
                        prop_assert_eq!(before.map(|word| word.1), model.insert(key.clone(), value));
                    }
                }
                prop_assert_eq!(shards.get(&key).map(|word| word.1), model.get(&key).copied());
                prop_assert_eq!(shards.len(), model.len());
                generations.push((shards.clone(), model.clone()));
            }
            for (shards, model) in generations {
                prop_assert_eq!(all(&shards), model);
            }
        }
    }

    #[test]
    fn a_new_version_copies_only_changed_shards() {
        let mut one = Shards::default();
        for n in 0..1000 {
            one.insert(Arc::new(Word(format!("k{n}"), 0)));
        }
        let mut two = one.clone();
        two.insert(Arc::new(Word("k7".to_owned(), 1)));
        assert!(two.remove("unknown").is_none());
        let differ = one.shards.iter().zip(&two.shards).filter(|(a, b)| !Arc::ptr_eq(a, b));
        assert_eq!(differ.count(), 1);
    }
}
