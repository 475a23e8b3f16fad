//! Ports of replicas.

use super::{
    data,
    folder::{PORT, ReplicaFolder},
};
use std::{
    cell::RefCell,
    collections::HashMap,
    fs,
    net::{Ipv4Addr, TcpListener},
    ops::RangeInclusive,
    path::PathBuf,
};

/// Assigns ports of the configured range. A replica keeps its port unless another process has taken
/// it.
#[derive(Debug)]
pub(super) struct PortAllocator {
    range: RangeInclusive<u16>,
    taken: RefCell<HashMap<u16, ReplicaFolder>>,
}

impl PortAllocator {
    /// Reads the ports of all existing replicas, whether they run or not.
    pub(super) fn read(range: RangeInclusive<u16>, roots: [&PathBuf; 2]) -> Self {
        let mut taken = HashMap::new();
        for root in roots {
            let slugs = fs::read_dir(root).into_iter().flatten().filter_map(Result::ok);
            for slug in slugs.filter_map(|entry| entry.file_name().into_string().ok()) {
                for folder in data::replicas(root, &slug).unwrap_or_default() {
                    let port = folder.read(PORT).and_then(|text| text.trim().parse().ok());
                    taken.extend(port.map(|port| (port, folder)));
                }
            }
        }
        Self { range, taken: RefCell::new(taken) }
    }

    /// A free port that no other replica has.
    pub(super) fn choose(&self, folder: &ReplicaFolder) -> Option<u16> {
        let mut taken = self.taken.borrow_mut();
        let before = folder.read(PORT).and_then(|text| text.trim().parse().ok());
        let before = before.filter(|port| self.range.contains(port));
        let is_free = |port: &u16| {
            let owner = taken.get(port);
            let is_others = owner.is_some_and(|it| it != folder && it.path().exists());
            !is_others && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
        };
        let port = before.into_iter().chain(self.range.clone()).find(is_free)?;
        taken.retain(|_, owner| owner != folder);
        taken.insert(port, folder.clone());
        Some(port)
    }
}
