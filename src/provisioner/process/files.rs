//! Configuration files of a replica.

use super::{
    file_lock::CancelFlag,
    folder::{CONFIG, ReplicaFolder, WEB},
};
use crate::provisioner::{
    DesiredInstance, Failure,
    config_file::{self, RULES_FILE},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest;
use std::io;

/// All configuration files. They contain secrets, and only their owner can read them.
#[derive(Clone)]
pub(super) struct ConfigFiles {
    config: String,
    web: String,
    rules: Option<String>,
}

impl ConfigFiles {
    pub(super) fn render(desired: &DesiredInstance, replica: u8) -> Result<Self, Failure> {
        let config = config_file::render(desired, replica);
        let web = config_file::web_config(&desired.web_password)
            .map_err(|error| Failure::transient(format!("cannot hash the password: {error}")))?;
        Ok(Self { config, web, rules: desired.spec.rules.clone() })
    }

    /// Digest of the files that a process loads at its start and on SIGHUP. `web.yml` is not part
    /// of it, because Prometheus reads it at each request.
    pub(super) fn digest(&self) -> String {
        let rules = self.rules.as_deref().unwrap_or_default();
        let text = format!("{}\0{rules}", self.config);
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
    }

    /// Rules are written first, so that a process that starts in between finds the file that its
    /// configuration names.
    pub(super) fn write(&self, folder: &ReplicaFolder, cancel: &CancelFlag) -> io::Result<()> {
        cancel.check()?;
        folder.make()?;
        if let Some(rules) = &self.rules {
            folder.write(RULES_FILE, rules)?;
        }
        folder.write(WEB, &self.web)?;
        folder.write(CONFIG, &self.config)?;
        if self.rules.is_none() {
            folder.remove(RULES_FILE)?;
        }
        Ok(())
    }
}
