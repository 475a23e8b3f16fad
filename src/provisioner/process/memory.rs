//! How much memory a replica takes, and how often that is looked at.

use std::{fs::File, os::unix::fs::FileExt, time::Duration};

/// A process that grows no faster than this, in bytes a second, is looked at before it has passed
/// its limit. It is about as fast as one thread gets new memory from the kernel.
const FASTEST_GROWTH: u64 = 1 << 30;
/// The shortest pause between two looks, just below the limit.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// The kernel's numbers about the memory of one process.
#[derive(Debug)]
pub(super) struct ProcessMemory(File);

impl ProcessMemory {
    /// None when there is no such process.
    pub(super) fn of(pid: i32) -> Option<Self> {
        File::open(format!("/proc/{pid}/statm")).ok().map(Self)
    }

    /// Resident memory in bytes that is no part of a file: pages of stored samples
    /// are given back whenever somebody needs them, and count as its storage.
    pub(super) fn anonymous(&self) -> Option<u64> {
        let mut text = [0; 128];
        let length = self.0.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(text.get(..length)?).ok()?;
        let mut pages = text.split_ascii_whitespace().skip(1).map(str::parse);
        let resident: u64 = pages.next()?.ok()?;
        let shared = pages.next()?.ok()?;
        Some(resident.saturating_sub(shared).saturating_mul(procfs::page_size()))
    }
}

/// How long nobody has to look at a process that takes so much: the nearer to its limit, the
/// shorter. At rest there is room, so that many instances cost next to nothing.
pub(super) fn pause(memory: u64, limit: u64, longest: Duration) -> Duration {
    let room = limit.saturating_sub(memory);
    let pause = Duration::from_millis(room.saturating_mul(1000) / FASTEST_GROWTH);
    pause.clamp(SHORTEST_PAUSE.min(longest), longest)
}

/// The last common moment within a pause that begins `since` a common start. Looks at many
/// processes then wake us once.
pub(super) fn aligned(since: Duration, pause: Duration) -> Duration {
    let step = SHORTEST_PAUSE.as_millis();
    let (now, end) = (since.as_millis(), (since + pause).as_millis());
    let common = end / step * step;
    match common > now {
        true => Duration::from_millis(u64::try_from(common - now).unwrap_or(u64::MAX)),
        false => pause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_shrinks_with_the_room_below_the_limit() {
        let longest = Duration::from_secs(2);
        for (memory, limit, milliseconds) in [
            (40 << 20, 4 << 30, 2000),
            (64 << 20, 576 << 20, 500),
            (40 << 20, 168 << 20, 125),
            (100 << 20, 104 << 20, 20),
            (200 << 20, 104 << 20, 20),
            (0, u64::MAX, 2000),
        ] {
            let pause = pause(memory, limit, longest).as_millis();
            assert_eq!(pause, milliseconds, "{memory} of {limit}");
        }
        // As tests set it.
        let short = Duration::from_millis(5);
        assert_eq!(pause(1, 1, short), short);
    }

    #[test]
    fn looks_at_many_processes_come_together_and_never_late() {
        let milliseconds = Duration::from_millis;
        for (since, pause, expected) in [
            (0, 20, 20),
            (1, 20, 19),
            (7, 125, 113),
            (20, 20, 20),
            (39, 500, 481),
            // Shorter than the distance of two common moments, as tests set it.
            (1, 5, 5),
        ] {
            let aligned = aligned(milliseconds(since), milliseconds(pause));
            assert_eq!(aligned, milliseconds(expected), "{since} {pause}");
        }
    }

    #[test]
    fn memory_is_read_while_the_process_is_there() {
        let own = ProcessMemory::of(std::process::id().try_into().unwrap()).unwrap();
        let before = own.anonymous().unwrap();
        let large = vec![1_u8; 64 << 20];
        assert!(own.anonymous().unwrap() > before + (32 << 20), "{}", large.len());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let of_child = ProcessMemory::of(child.id().try_into().unwrap()).unwrap();
        assert!(of_child.anonymous().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(of_child.anonymous(), None);
    }
}
