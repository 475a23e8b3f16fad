//! Life cycle of an instance.

use super::*;
use procfs::process::Process;

#[test]
fn an_instance_is_created_and_removed_without_disclosing_secrets() {
    run(async {
        let fixture = Fixture::new();
        let processes = fixture.open();
        let desired = desired("4d0c1f4a-8f0e-4a56-8a53-0d6a7b1c2001");
        let replicas = processes.apply(&desired).await.unwrap();
        let [replica] = replicas.as_slice() else { panic!("{replicas:?}") };
        assert_eq!((replica.number, replica.state), (0, ReplicaState::Ready));
        let password = desired.web_password.expose_secret();
        assert_eq!(get(&format!("{}/-/ready", replica.url), password).await.0, 200);
        assert_eq!(get(&format!("{}/-/ready", replica.url), "wrong").await.0, 401);
        for (path, status) in [("/api/v1/status/runtimeinfo", 200), ("/-/ready", 200)] {
            assert_eq!(get(&format!("{}{path}", replica.url), password).await.0, status, "{path}");
        }
        let flags = get(&format!("{}/api/v1/status/flags", replica.url), password).await.1;
        for flag in [
            r#""web.enable-lifecycle":"false""#,
            r#""web.enable-admin-api":"false""#,
            r#""web.enable-remote-write-receiver":"false""#,
            r#""storage.tsdb.retention.time":"2h""#,
            r#""storage.tsdb.retention.size":"64MiB""#,
            r#""log.format":"logfmt""#,
        ] {
            assert!(flags.contains(flag), "{flag} in {flags}");
        }
        wait_for_samples(replica, &desired, 2).await;

        let folder = fixture.replica(&desired, 0);
        let process = Process::new(fixture.only_pid()).unwrap();
        assert_eq!(process.cwd().unwrap(), folder.path());
        let environment = process.environ().unwrap();
        assert_eq!(environment.len(), 1, "{environment:?}");
        assert_eq!(environment["GOMEMLIMIT".as_ref() as &std::ffi::OsStr], "483183810");
        let line = process.cmdline().unwrap().join(" ");
        assert!(!line.contains(password) && !line.contains("sbt_"), "{line}");
        let stat = process.stat().unwrap();
        assert_eq!(stat.pgrp, stat.pid, "its own process group");
        for path in [folder.path(), folder.path().parent().unwrap(), &fixture.paths.data_dir] {
            assert_eq!(mode(path), 0o700, "{path:?}");
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            files.push(entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_file() {
                assert_eq!(mode(&entry.path()), 0o600, "{entry:?}");
                let is_config = entry.file_name() == folder::CONFIG;
                let text = fs::read_to_string(entry.path()).unwrap();
                assert!(is_config || !text.contains("sbt_scraper"), "{entry:?}");
                assert!(!text.contains(password), "{entry:?}");
            }
        }
        files.sort();
        let expected =
            ["data", "pid", "port", "prometheus.log", "prometheus.yml", "rules.yml", "web.yml"];
        assert_eq!(files, expected);
        assert_eq!(fs::read_dir(&fixture.paths.data_dir).unwrap().count(), 1);

        processes.remove(&desired.instance_id).await.unwrap();
        fixture.assert_nothing_left();
        assert!(processes.observe().is_empty());
        processes.remove(&desired.instance_id).await.unwrap();
    });
}

#[test]
fn instances_with_unusual_ids_are_created() {
    run(async {
        let fixture = Fixture::new();
        let processes = fixture.open();
        for id in ["tsuru:prometheus:Shop_1", "../../etc", "a b*:c%2F$HOME'\"", "-ü🦀-"] {
            let desired = desired(id);
            let replicas = processes.apply(&desired).await.unwrap();
            wait_for_samples(&replicas[0], &desired, 1).await;
            let pid = fixture.only_pid();
            processes.apply(&desired).await.unwrap();
            assert_eq!(fixture.only_pid(), pid, "{id}");
            processes.remove(&desired.instance_id).await.unwrap();
            fixture.assert_nothing_left();
        }
    });
}

#[test]
fn servers_stop_with_scrapebroker_and_start_again_on_the_same_port() {
    run(async {
        let fixture = Fixture::new();
        let processes = fixture.open();
        let (a, b) = (desired("a"), desired("b"));
        let before = processes.apply(&a).await.unwrap();
        processes.apply(&b).await.unwrap();
        wait_for_samples(&before[0], &a, 2).await;
        let count = samples(&before[0], &a).await;
        processes.stop().await;
        assert_eq!(fixture.pids(), NONE);
        assert!(fixture.replica(&a, 0).file("data").is_dir());

        let processes = fixture.open();
        processes.apply(&b).await.unwrap();
        let after = processes.apply(&a).await.unwrap();
        assert_eq!(after, before, "the same port");
        assert!(samples(&after[0], &a).await >= count);
        processes.stop().await;
        assert_eq!(fixture.pids(), NONE);
    });
}

#[test]
fn processes_of_an_earlier_scrapebroker_are_adopted_or_stopped() {
    run(async {
        let fixture = Fixture::new();
        let desired = desired("a");
        let replicas = fixture.open().apply(&desired).await.unwrap();
        let pid = fixture.only_pid();

        let processes = fixture.open();
        assert_eq!(processes.apply(&desired).await.unwrap(), replicas);
        assert_eq!(fixture.only_pid(), pid, "nothing has changed");
        drop(processes);

        // The rules have changed while Scrapebroker was down.
        let mut other = desired.clone();
        other.spec.rules = Some(RULES.replace("probe", "other"));
        let processes = fixture.open();
        processes.apply(&other).await.unwrap();
        assert_eq!(fixture.only_pid(), pid);
        let url = format!("{}/api/v1/rules", replicas[0].url);
        assert!(get(&url, desired.web_password.expose_secret()).await.1.contains("other"));
        drop(processes);

        // The loaded configuration is unknown without the file.
        fixture.replica(&desired, 0).remove(folder::PID).unwrap();
        let processes = fixture.open();
        processes.apply(&other).await.unwrap();
        let second = fixture.only_pid();
        assert_ne!(second, pid);
        drop(processes);

        // The file contains the start time of another process.
        let file = fixture.replica(&desired, 0).file(folder::PID);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("\"start_time\":", "\"start_time\":1")).unwrap();
        let processes = fixture.open();
        processes.apply(&other).await.unwrap();
        assert_ne!(fixture.only_pid(), second);
        drop(processes);

        // A standby stops no process; a provisioner in use stops all.
        fixture.open().stop().await;
        fixture.only_pid();
        let processes = fixture.open();
        processes.remove(&"unknown".parse().unwrap()).await.unwrap();
        fixture.only_pid();
        processes.stop().await;
        assert_eq!(fixture.pids(), NONE);
        fixture.open().remove(&desired.instance_id).await.unwrap();
        fixture.assert_nothing_left();
    });
}

#[test]
fn a_removal_ends_processes_of_an_earlier_scrapebroker() {
    run(async {
        let fixture = Fixture::new();
        let mut desired = desired("a");
        desired.spec.replicas = 2;
        fixture.open().apply(&desired).await.unwrap();
        assert_eq!(fixture.pids().len(), 2);
        fixture.open().remove(&desired.instance_id).await.unwrap();
        fixture.assert_nothing_left();
    });
}

#[test]
fn a_log_is_rotated_while_it_is_written() {
    run(async {
        let fixture = Fixture::new();
        let processes = fixture.open_with(Timeouts { max_log_size: 2_000, ..timeouts() });
        let desired = desired("a");
        processes.apply(&desired).await.unwrap();
        let folder = fixture.replica(&desired, 0);
        let pid = fixture.only_pid();
        for _ in 0..3 {
            eventually(async || folder.file(folder::OLD_LOG).exists().then_some(())).await;
            fs::remove_file(folder.file(folder::OLD_LOG)).unwrap();
            for _ in 0..20 {
                signal(pid, Signal::HUP);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        assert!(log_file::length(&folder) < 4_000);
        assert_eq!(fixture.only_pid(), pid);
        processes.stop().await;
    });
}
