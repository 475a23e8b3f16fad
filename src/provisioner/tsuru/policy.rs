//! Validation of instances that run as apps of Tsuru.

use crate::{
    domain::{
        BindingError,
        prometheus::{ProvisionPolicy, Refusal, Spec, Storage},
    },
    provisioner::tsuru::TsuruSettings,
};
use futures_util::future::{LocalBoxFuture, ready};

/// Reason for the refusal of storage `tmpfs`.
pub(super) const NO_TMPFS: &str = "the plan keeps samples in memory, and Tsuru gives memory for files only where its operator has made a plan for that, which prometheus.tsuru.tmpfs_plan names; there is none";

/// Maximum length of a variable: the limit of Linux for one string of the environment, minus the
/// name.
pub(super) const MAX_VALUE_LEN: usize = (128 << 10) - 64;

/// Policy of the provisioner `tsuru`.
#[derive(Clone, Copy, Debug)]
pub struct TsuruPolicy {
    /// Whether there is a Tsuru plan for storage `tmpfs`.
    has_tmpfs: bool,
    /// Whether stored samples survive a restart of an app.
    storage_is_kept: bool,
}

impl TsuruPolicy {
    pub fn new(settings: &TsuruSettings) -> Self {
        let has_tmpfs = settings.tmpfs_plan.is_some();
        Self { has_tmpfs, storage_is_kept: settings.storage_is_kept }
    }

    fn check(self, spec: &Spec, before: Option<&Spec>) -> Result<(), Refusal> {
        if spec.storage == Storage::Tmpfs && !self.has_tmpfs {
            return Err(Refusal::Capacity(NO_TMPFS.to_owned()));
        }
        if spec.rules.as_ref().is_some_and(|rules| rules.len() > MAX_VALUE_LEN) {
            let problem = format!(
                "are longer than {MAX_VALUE_LEN} bytes, the maximum length of a variable of Tsuru"
            );
            return Err(Refusal::Parameter(BindingError { field: "rules".to_owned(), problem }));
        }
        let Some(before) = before else { return Ok(()) };
        if spec.storage != before.storage {
            return Err(Refusal::Capacity(format!(
                "the plan keeps samples on {} instead of {}, and what is stored cannot be moved on Tsuru; create another instance",
                spec.storage, before.storage
            )));
        }
        // A change of the number of replicas does not restart existing ones.
        let is_restarted = Spec { replicas: before.replicas, ..spec.clone() } != *before;
        if is_restarted && !self.storage_is_kept {
            return Err(Refusal::Capacity(
                "the change needs a restart, and this platform does not keep what an app has stored: all samples would be lost; create another instance".to_owned(),
            ));
        }
        Ok(())
    }
}

impl ProvisionPolicy for TsuruPolicy {
    fn validate<'a>(
        &'a self,
        spec: &'a Spec,
        before: Option<&'a Spec>,
    ) -> LocalBoxFuture<'a, Result<(), Refusal>> {
        Box::pin(ready(self.check(spec, before)))
    }

    fn capacity(&self) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provisioner::tsuru::testing::spec;

    const BARE: TsuruPolicy = TsuruPolicy { has_tmpfs: false, storage_is_kept: false };

    fn no_room(checked: Result<(), Refusal>) -> String {
        match checked {
            Err(Refusal::Capacity(problem)) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn storage_tmpfs_needs_a_tsuru_plan() {
        assert_eq!(BARE.check(&spec(), None), Ok(()));
        let in_memory = Spec { storage: Storage::Tmpfs, ..spec() };
        assert!(no_room(BARE.check(&in_memory, None)).contains("prometheus.tsuru.tmpfs_plan"));
        let with_plan = TsuruPolicy { has_tmpfs: true, ..BARE };
        assert_eq!(with_plan.check(&in_memory, None), Ok(()));
        let problem = no_room(with_plan.check(&spec(), Some(&in_memory)));
        assert!(problem.contains("on disk instead of tmpfs"), "{problem}");
    }

    #[test]
    fn rules_must_fit_into_a_variable() {
        let rules = |length| Some("#".repeat(length));
        let longest = Spec { rules: rules(MAX_VALUE_LEN), ..spec() };
        assert_eq!(BARE.check(&longest, None), Ok(()));
        let longer = Spec { rules: rules(MAX_VALUE_LEN + 1), ..spec() };
        let refused = BARE.check(&longer, None);
        assert!(matches!(refused, Err(Refusal::Parameter(error)) if error.field == "rules"));
    }

    #[test]
    fn a_change_that_would_lose_samples_is_refused() {
        let more_replicas = Spec { replicas: 2, ..spec() };
        assert_eq!(BARE.check(&more_replicas, Some(&spec())), Ok(()));
        assert_eq!(BARE.check(&spec(), Some(&spec())), Ok(()));
        let changed = Spec { scrape_interval: "5s".parse().unwrap(), ..spec() };
        let problem = no_room(BARE.check(&changed, Some(&spec())));
        assert!(problem.contains("all samples would be lost"), "{problem}");
        let kept = TsuruPolicy { storage_is_kept: true, ..BARE };
        assert_eq!(kept.check(&changed, Some(&spec())), Ok(()));
    }
}
