//! State sets, which prometheus-client does not have.

use std::{
    fmt::{self, Write},
    sync::atomic::{AtomicUsize, Ordering},
};

/// One of several states. Each state has a series, which is 1 for the current state.
pub(super) struct StateSet<const N: usize> {
    states: [&'static str; N],
    current: AtomicUsize,
}

impl<const N: usize> StateSet<N> {
    /// The current state is the first one.
    pub(super) fn new(states: [&'static str; N]) -> Self {
        Self { states, current: AtomicUsize::new(0) }
    }

    /// Sets the current state. An unknown state has no effect.
    pub(super) fn set(&self, state: &str) {
        if let Some(index) = self.states.iter().position(|known| *known == state) {
            self.current.store(index, Ordering::Relaxed);
        }
    }

    /// Writes a family in OpenMetrics: name and help, and a state set per label. The label of the
    /// states has the name of the family, as OpenMetrics requires. The values of the labels must not
    /// need escapes.
    pub(super) fn write_family<'a>(
        (name, help): (&str, &str),
        sets: impl IntoIterator<Item = ((&'a str, &'a str), &'a Self)>,
        out: &mut String,
    ) -> fmt::Result {
        writeln!(out, "# HELP {name} {help}.\n# TYPE {name} stateset")?;
        for ((label, value), set) in sets {
            let current = set.current.load(Ordering::Relaxed);
            for (index, state) in set.states.iter().enumerate() {
                let is_current = u8::from(index == current);
                writeln!(out, "{name}{{{label}=\"{value}\",{name}=\"{state}\"}} {is_current}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_state_is_1() {
        let set = StateSet::new(["idle", "busy"]);
        let written = || {
            let mut out = String::new();
            StateSet::write_family(("s", "Text"), [(("q", "a"), &set)], &mut out).unwrap();
            out.lines().skip(2).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(written(), [r#"s{q="a",s="idle"} 1"#, r#"s{q="a",s="busy"} 0"#]);
        set.set("busy");
        set.set("unknown");
        assert_eq!(written(), [r#"s{q="a",s="idle"} 0"#, r#"s{q="a",s="busy"} 1"#]);
    }
}
