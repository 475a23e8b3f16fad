//! Updates keep stored samples.

use super::*;

#[test]
fn changed_rules_are_reloaded_and_changed_flags_restart_the_process() {
    run(async {
        let fixture = Fixture::new();
        let processes = fixture.open();
        let first = desired("a");
        let replicas = processes.apply(&first).await.unwrap();
        wait_for_samples(&replicas[0], &first, 2).await;
        let (pid, count) = (fixture.only_pid(), samples(&replicas[0], &first).await);

        let mut other = first.clone();
        other.spec.rules = None;
        other.spec.scrape_interval = Period::seconds(2);
        assert_eq!(processes.apply(&other).await.unwrap(), replicas);
        assert_eq!(fixture.only_pid(), pid);
        assert!(!fixture.replica(&first, 0).file("rules.yml").exists());

        // promtool normally refuses broken rules before.
        let mut broken = first.clone();
        broken.spec.rules = Some("groups: [{name: g, rules: [{record: a, expr: '('}]}]".to_owned());
        let failure = processes.apply(&broken).await.unwrap_err();
        assert!(!failure.retry, "{failure}");
        assert!(failure.reason.starts_with("Prometheus refuses its configuration"), "{failure}");
        processes.apply(&first).await.unwrap();
        let url = format!("{}/api/v1/rules", replicas[0].url);
        assert!(get(&url, first.web_password.expose_secret()).await.1.contains("probe"));

        let (mut longer, pid) = (first.clone(), fixture.only_pid());
        longer.spec.retention = Period::seconds(86_400);
        longer.spec.memory_limit = 600 << 20;
        let after = processes.apply(&longer).await.unwrap();
        assert_eq!(after, replicas, "the same port");
        assert_ne!(fixture.only_pid(), pid);
        assert!(samples(&after[0], &longer).await >= count);
        processes.stop().await;
    });
}

#[test]
fn samples_move_with_the_storage_and_replicas_are_added_and_removed() {
    run(async {
        let fixture = Fixture::new();
        let processes = fixture.open();
        let mut small = desired("a");
        small.spec.storage = Storage::Tmpfs;
        let replicas = processes.apply(&small).await.unwrap();
        wait_for_samples(&replicas[0], &small, 3).await;
        let count = samples(&replicas[0], &small).await;

        let mut ha = small.clone();
        (ha.spec.storage, ha.spec.replicas) = (Storage::Disk, 2);
        // An incomplete copy of an earlier attempt.
        let draft = fixture.replica(&ha, 0).file("data.draft");
        fs::create_dir_all(&draft).unwrap();
        fs::write(draft.join("rest"), "x").unwrap();
        let two = processes.apply(&ha).await.unwrap();
        assert_eq!(two.iter().map(|it| it.number).collect::<Vec<_>>(), [0, 1]);
        assert_ne!(two[0].url, two[1].url);
        assert!(samples(&two[0], &ha).await >= count);
        assert_eq!(fixture.pids().len(), 2);
        assert!(!draft.exists() && !fixture.replica(&small, 0).path().exists());
        let config = |number| fixture.replica(&ha, number).read(folder::CONFIG).unwrap();
        assert_ne!(config(0), config(1), "each has its own replica label");

        // The previous spec is applied, as after a failed update.
        let one = processes.apply(&small).await.unwrap();
        assert!(samples(&one[0], &small).await >= count);
        fixture.only_pid();
        assert!(!fixture.paths.data_dir.join(small.slug()).exists());
        assert_eq!(processes.observe()[&small.instance_id], one);
        processes.stop().await;
    });
}
