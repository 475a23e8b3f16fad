//! Memory usage of a replica, and the interval at which it is polled.

use std::{fs::File, os::unix::fs::FileExt, time::Duration};

/// Assumed maximum growth, in bytes per second; about the rate at which one thread gets memory from
/// the kernel. A process that grows no faster is checked before it exceeds its limit.
const MAX_GROWTH: u64 = 1 << 30;
/// Minimum polling interval, near the limit.
const MIN_PAUSE: Duration = Duration::from_millis(20);

/// An open `/proc/PID/statm`.
#[derive(Debug)]
pub(super) struct ProcessMemory(File);

impl ProcessMemory {
    /// `None` if there is no such process.
    pub(super) fn of(pid: i32) -> Option<Self> {
        File::open(format!("/proc/{pid}/statm")).ok().map(Self)
    }

    /// Resident anonymous memory in bytes. Mapped files do not count: the kernel can reclaim their
    /// pages at any time.
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

/// Pause until the next check: the nearer to the limit, the shorter. An idle server is far from its
/// limit, so that many instances need little CPU.
pub(super) fn pause(memory: u64, limit: u64, longest: Duration) -> Duration {
    let headroom = limit.saturating_sub(memory);
    let pause = Duration::from_millis(headroom.saturating_mul(1000) / MAX_GROWTH);
    pause.clamp(MIN_PAUSE.min(longest), longest)
}

/// Shortens a pause so that it ends at a multiple of [`MIN_PAUSE`] since a common start. So checks
/// of many processes share one wake-up.
pub(super) fn aligned(since: Duration, pause: Duration) -> Duration {
    let step = MIN_PAUSE.as_millis();
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
    fn the_pause_shrinks_towards_the_limit() {
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
        // Tests set a shorter interval.
        let short = Duration::from_millis(5);
        assert_eq!(pause(1, 1, short), short);
    }

    #[test]
    fn checks_of_many_processes_are_aligned_and_never_late() {
        let milliseconds = Duration::from_millis;
        for (since, pause, expected) in [
            (0, 20, 20),
            (1, 20, 19),
            (7, 125, 113),
            (20, 20, 20),
            (39, 500, 481),
            // Tests set an interval that is shorter than MIN_PAUSE.
            (1, 5, 5),
        ] {
            let aligned = aligned(milliseconds(since), milliseconds(pause));
            assert_eq!(aligned, milliseconds(expected), "{since} {pause}");
        }
    }

    #[test]
    fn memory_is_read_until_the_process_ends() {
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
