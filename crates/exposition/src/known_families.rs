//! Which family names the bodies of a merge have in common. The memory of a merge depends on it.

use std::{
    borrow::Cow,
    collections::HashSet,
    hash::BuildHasher,
    sync::{Mutex, PoisonError},
};

use foldhash::quality::RandomState;

/// The family names of the bodies that a reader has parsed, by their hashes.
#[derive(Debug, Default)]
pub(super) struct KnownFamilies {
    state: RandomState,
    hashes: Mutex<HashSet<u64, RandomState>>,
}

impl KnownFamilies {
    /// The memory of a name.
    pub(super) const NAME_BYTES: usize = 2 * (size_of::<u64>() + 1);

    /// Adds families, each with the memory that a merge needs for it. Returns the memory of those
    /// that were not known.
    pub(super) fn add<'a>(&self, families: impl Iterator<Item = (Cow<'a, [u8]>, usize)>) -> usize {
        let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = families.filter(|(name, _)| hashes.insert(self.state.hash_one(name)));
        new.map(|(_, memory)| memory).sum()
    }
}
