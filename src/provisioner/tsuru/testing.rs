//! Fixtures of the tests of provisioners.

use super::{Team, TsuruSettings};
use crate::{
    domain::{
        InstanceNames,
        prometheus::{Spec, Storage},
    },
    provisioner::{DesiredInstance, OwnAddress},
};
use std::time::Duration;

/// Settings without optional values.
pub(super) fn settings() -> TsuruSettings {
    TsuruSettings {
        image: "registry.example.com/prometheus".to_owned(),
        app_prefix: "prometheus-".to_owned(),
        pool: String::new(),
        plan: String::new(),
        tmpfs_plan: None,
        router: String::new(),
        platform: String::new(),
        team: Team::FromRequest,
        scheme: "http".to_owned(),
        storage_path: "/prometheus".to_owned(),
        storage_is_kept: false,
        timeout: Duration::from_secs(30),
        deploy_timeout: Duration::from_secs(30),
        ready_timeout: Duration::from_secs(30),
        observe_interval: Duration::from_secs(30),
    }
}

/// An instance of the team `checkout`.
pub(in crate::provisioner) fn desired(id: &str) -> DesiredInstance {
    DesiredInstance {
        instance_id: id.parse().unwrap(),
        organization_guid: "tsuru:checkout".parse().unwrap(),
        space_guid: "tsuru:checkout/pool-a".parse().unwrap(),
        names: InstanceNames::default(),
        spec: spec(),
        remote_write: None,
        scraper_token: "scraper-token".into(),
        web_password: "web-password".into(),
        own: OwnAddress {
            base_url: "https://broker.example.com".parse().unwrap(),
            scrape_url: "https://broker.example.com".parse().unwrap(),
        },
    }
}

/// On disk, with rules.
pub(super) fn spec() -> Spec {
    Spec {
        retention: "15d".parse().unwrap(),
        retention_size: Some(1 << 20),
        storage: Storage::Disk,
        replicas: 1,
        memory_limit: 256 << 20,
        scrape_interval: "15s".parse().unwrap(),
        sample_limit: 0,
        remote_write: None,
        rules: Some("groups: []\n".to_owned()),
        alertmanager_url: None,
    }
}
