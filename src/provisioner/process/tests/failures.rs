//! Failures of programs, processes, ports and disks.

use super::*;
use std::net::TcpListener;

async fn failure(fixture: &Fixture, desired: &DesiredInstance) -> Failure {
    let processes = fixture.open();
    let failure = processes.apply(desired).await.unwrap_err();
    assert_eq!(fixture.pids(), NONE);
    let message = &failure.reason;
    let path = fixture.folder.path().join("disk").display().to_string();
    assert!(!message.contains(&path) && !message.contains("sbt_"), "{message}");
    processes.remove(&desired.instance_id).await.unwrap();
    fixture.assert_nothing_left();
    failure
}

#[test]
fn a_missing_or_crashing_program_is_reported() {
    run(async {
        let desired = desired("a");
        let mut fixture = Fixture::new();
        fixture.paths.binary = "/nowhere/prometheus".into();
        let missing = "prometheus.binary names no program that can be started; ask the operator";
        assert_eq!(failure(&fixture, &desired).await, Failure::permanent(missing));
        fixture.paths.binary = "no-such-prometheus".into();
        assert_eq!(failure(&fixture, &desired).await, Failure::permanent(missing));
        fixture.paths.binary = "/etc/passwd".into();
        assert_eq!(failure(&fixture, &desired).await, Failure::permanent(missing));
        let find = |binary: &str| {
            policy::find_program(Path::new(binary), &fixture.paths.search).unwrap_err()
        };
        let cases = [
            ("/nowhere/prometheus", "does not exist, or is no file"),
            ("no-such-prometheus", "is not in PATH"),
            ("/etc/passwd", "is not executable"),
        ];
        for (binary, problem) in cases {
            assert_eq!(find(binary), format!("prometheus.binary: {binary} {problem}"));
        }

        let fixture = Fixture::with_script("echo 'level=error err=\"no luck\"'; exit 3");
        let crash = "Prometheus ended (exit status: 3): no luck";
        assert_eq!(failure(&fixture, &desired).await, Failure::permanent(crash));
        // The program prints its files, as Prometheus quotes an invalid configuration.
        let fixture = Fixture::with_script("cat web.yml prometheus.yml | tr '\\n' ' '; exit 3");
        let mut desired = desired.clone();
        desired.spec.alertmanager_url =
            Some("https://canary-user:canary%22pass@alerts.example.com".parse().unwrap());
        let quoted = failure(&fixture, &desired).await;
        assert!(!quoted.reason.contains("canary"), "{quoted}");
        let fixture = Fixture::with_script("kill -SEGV $$");
        let crash = failure(&fixture, &desired).await;
        assert!(crash.reason.starts_with("Prometheus ended (signal: 11"), "{crash}");
        // Limits the file size to one block, as on a full disk.
        let fixture = Fixture::with_script("ulimit -f 1; exec prometheus \"$@\"");
        let full = failure(&fixture, &desired).await;
        assert!(full.reason.contains("Prometheus ended"), "{full}");
    });
}

#[test]
fn a_server_that_exceeds_the_memory_of_its_plan_is_stopped() {
    run(async {
        let mut desired = desired("a");
        desired.spec.memory_limit = 4 << 20;
        let message = "Prometheus was stopped: it took more memory than its plan allows (4.0 MiB)";
        assert_eq!(failure(&Fixture::new(), &desired).await, Failure::permanent(message));
    });
}

/// Needs no stored samples, and a quarter of a gigabyte of memory.
const BAD_QUERY: &str = "count_over_time(vector(1)%5B180d:1s%5D)";

/// Peak memory of a process, known after its end.
fn highest_memory(pid: i32) -> std::thread::JoinHandle<u64> {
    let memory = memory::ProcessMemory::of(pid).unwrap();
    std::thread::spawn(move || {
        let mut highest = 0;
        while let Some(now) = memory.anonymous().filter(|now| *now > 0) {
            highest = now.max(highest);
            std::thread::sleep(Duration::from_millis(1));
        }
        highest
    })
}

/// Sends a request that ends when the server is killed.
fn send_bad_query(replica: &Replica, desired: &DesiredInstance) -> tokio::task::JoinHandle<()> {
    let url = format!("{}/api/v1/query?query={BAD_QUERY}", replica.url);
    let client = awc::Client::builder().timeout(Duration::from_secs(60)).finish();
    let password = desired.web_password.expose_secret().to_owned();
    tokio::task::spawn_local(async move {
        let _ = client.get(url).basic_auth(DesiredInstance::WEB_USER, password).send().await;
    })
}

#[test]
fn a_query_that_needs_too_much_memory_fails_and_the_server_continues() {
    run(async {
        let fixture = Fixture::new();
        let processes = fixture.open();
        let mut desired = desired("a");
        desired.spec.memory_limit = 256 << 20;
        let replicas = processes.apply(&desired).await.unwrap();
        let pid = fixture.only_pid();
        let url = format!("{}/api/v1/query?query={BAD_QUERY}", replicas[0].url);
        let (status, body) = get(&url, desired.web_password.expose_secret()).await;
        assert_eq!(status, 422, "{body}");
        assert!(body.contains("too many samples"), "{body}");
        assert_eq!((fixture.only_pid(), processes.context.metrics.restarts()), (pid, 0));
        processes.stop().await;
    });
}

#[test]
fn a_fast_growing_server_is_killed_soon_after_it_exceeds_its_limit() {
    run(async {
        // Query limits are removed, because they would refuse this query.
        let script = r#"exec prometheus $(printf '%s\n' "$@" | grep -v -e --query.max)"#;
        let fixture = Fixture::with_script(script);
        let default_interval = Timeouts::default().check_interval;
        let processes = fixture.open_with(Timeouts {
            max_restart_failures: 1,
            check_interval: default_interval,
            ..timeouts()
        });
        let mut desired = desired("a");
        desired.spec.memory_limit = 128 << 20;
        let replicas = processes.apply(&desired).await.unwrap();
        let highest = highest_memory(fixture.only_pid());
        let request = send_bad_query(&replicas[0], &desired);
        let problem = eventually(async || {
            let (state, problem) = state(&processes, &desired).remove(0);
            (state == ReplicaState::Failed).then_some(problem)
        })
        .await;
        assert!(
            problem.ends_with("took more memory than its plan allows (128.0 MiB)"),
            "{problem}"
        );
        assert_eq!(fixture.pids(), NONE);
        let highest = highest.join().unwrap() >> 20;
        println!("{highest} MiB at most");
        assert!(highest < 3 * 128, "{highest} MiB");
        request.await.unwrap();
        processes.stop().await;
    });
}

/// Whether cgroups can be used; prints why not.
fn has_cgroups(processes: &ProcessProvisioner) -> bool {
    let reason = match processes.context.cgroups() {
        Some(_) => return true,
        None => cgroup::Cgroups::open().map(drop).unwrap_err(),
    };
    println!("skipped: servers get no cgroups here: {reason}");
    false
}

#[test]
fn the_kernel_kills_a_server_at_the_limit_of_its_cgroup() {
    run(async {
        // Query limits are removed, because they would refuse this query.
        let script = r#"exec prometheus $(printf '%s\n' "$@" | grep -v -e --query.max)"#;
        let fixture = Fixture::with_script(script);
        // Near its limit the server may not answer for a while.
        let silence = Duration::from_secs(60);
        let processes = fixture.open_with(Timeouts {
            max_restart_failures: 1,
            unresponsive_limit: silence,
            ..timeouts()
        });
        if !has_cgroups(&processes) {
            return;
        }
        let mut desired = desired("a");
        desired.spec.memory_limit = 128 << 20;
        let replicas = processes.apply(&desired).await.unwrap();
        let (cgroups, pid) = (processes.context.cgroups().unwrap(), fixture.only_pid());
        let name = fixture.replica(&desired, 0).unique_name().unwrap();
        assert!(cgroups.of(&name, pid).is_some());
        let highest = highest_memory(pid);
        let request = send_bad_query(&replicas[0], &desired);
        let problem = eventually(async || {
            let (state, problem) = state(&processes, &desired).remove(0);
            (state == ReplicaState::Failed).then_some(problem)
        })
        .await;
        assert!(
            problem.ends_with("took more memory than its plan allows (128.0 MiB)"),
            "{problem}"
        );
        let highest = highest.join().unwrap();
        println!("{highest} bytes at most");
        // Memory that was allocated before the move to the cgroup counts elsewhere.
        assert!(highest <= (128 << 20) + (16 << 20), "{highest}");
        assert!(!cgroups.path(&name).exists(), "the cgroup is removed");
        request.await.unwrap();
        processes.stop().await;
    });
}

#[test]
fn an_adopted_server_keeps_its_cgroup_until_it_ends() {
    run(async {
        let fixture = Fixture::new();
        let processes = fixture.open();
        if !has_cgroups(&processes) {
            return;
        }
        let desired = desired("a");
        processes.apply(&desired).await.unwrap();
        let pid = fixture.only_pid();
        let name = fixture.replica(&desired, 0).unique_name().unwrap();
        // As after a crash of Scrapebroker.
        drop(processes);
        let processes = fixture.open();
        processes.apply(&desired).await.unwrap();
        assert_eq!(fixture.only_pid(), pid);
        let cgroups = processes.context.cgroups().unwrap();
        assert!(cgroups.of(&name, pid).is_some());
        processes.stop().await;
        eventually(async || {
            cgroups.remove_stale();
            (!cgroups.path(&name).exists()).then_some(())
        })
        .await;
        // Samples in tmpfs would count in the cgroup.
        let mut in_memory = desired.clone();
        in_memory.spec.storage = Storage::Tmpfs;
        processes.apply(&in_memory).await.unwrap();
        let name = fixture.replica(&in_memory, 0).unique_name().unwrap();
        assert!(!cgroups.path(&name).exists());
        processes.stop().await;
    });
}

#[test]
fn a_killed_process_comes_back_with_its_data() {
    run(async {
        let fixture = Fixture::new();
        let processes = fixture.open();
        let desired = desired("a");
        let replicas = processes.apply(&desired).await.unwrap();
        wait_for_samples(&replicas[0], &desired, 3).await;
        let (pid, before) = (fixture.only_pid(), samples(&replicas[0], &desired).await);
        signal(pid, Signal::KILL);
        eventually(async || {
            let is_new = fixture.pids().first().is_some_and(|it| *it != pid);
            let is_ready = state(&processes, &desired)[0].0 == ReplicaState::Ready;
            (is_new && is_ready).then_some(())
        })
        .await;
        assert!(samples(&replicas[0], &desired).await >= before);
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "a zombie is left");
        assert_eq!(processes.context.metrics.restarts(), 1);
        assert_eq!(processes.observe()[&desired.instance_id], replicas, "the same port");
        processes.stop().await;
    });
}

#[test]
fn a_crashing_server_is_given_up_and_started_again_by_the_next_operation() {
    run(async {
        let fixture = Fixture::with_script("exec prometheus \"$@\"");
        let processes = fixture.open_with(Timeouts { max_restart_failures: 3, ..timeouts() });
        let desired = desired("a");
        processes.apply(&desired).await.unwrap();
        fixture.write_script("exit 7");
        signal(fixture.only_pid(), Signal::KILL);
        let problem = eventually(async || {
            let (state, problem) = state(&processes, &desired).remove(0);
            (state == ReplicaState::Failed).then_some(problem)
        })
        .await;
        assert!(problem.starts_with("Prometheus ended (exit status: 7)"), "{problem}");
        assert_eq!(fixture.pids(), NONE);
        processes.apply(&desired).await.unwrap_err();
        fixture.write_script("exec prometheus \"$@\"");
        processes.apply(&desired).await.unwrap();
        fixture.only_pid();
        processes.stop().await;
    });
}

#[test]
fn an_unresponsive_server_is_replaced() {
    run(async {
        let fixture = Fixture::new();
        let short = Duration::from_millis(300);
        let processes = fixture.open_with(Timeouts {
            unresponsive_limit: short,
            end_timeout: short,
            ..timeouts()
        });
        let desired = desired("a");
        processes.apply(&desired).await.unwrap();
        let pid = fixture.only_pid();
        signal(pid, Signal::STOP);
        eventually(async || {
            let is_new = fixture.pids().first().is_some_and(|it| *it != pid);
            (is_new && state(&processes, &desired)[0].0 == ReplicaState::Ready).then_some(())
        })
        .await;
        processes.stop().await;
    });
}

#[test]
fn a_port_of_another_process_is_not_used() {
    run(async {
        let fixture = Fixture::new();
        let first = *fixture.paths.ports.start();
        let foreign = TcpListener::bind(("127.0.0.1", first)).unwrap();
        let processes = fixture.open();
        let desired = desired("a");
        let replicas = processes.apply(&desired).await.unwrap();
        assert!(replicas[0].url.starts_with(&format!("http://127.0.0.1:{}/", first + 1)));
        // Another process takes the port while the server is stopped.
        processes.stop().await;
        let other = TcpListener::bind(("127.0.0.1", first + 1)).unwrap();
        let replicas = processes.apply(&desired).await.unwrap();
        assert!(replicas[0].url.starts_with(&format!("http://127.0.0.1:{}/", first + 2)));
        assert_eq!(
            fixture.replica(&desired, 0).read(folder::PORT).unwrap(),
            format!("{}\n", first + 2)
        );
        drop((foreign, other));
        let again = fixture.open().apply(&desired).await.unwrap();
        assert_eq!(again, replicas);

        let mut fixture = Fixture::new();
        let only = *fixture.paths.ports.start();
        fixture.paths.ports = only..=only;
        let _foreign = TcpListener::bind(("127.0.0.1", only)).unwrap();
        assert!(failure(&fixture, &desired).await.reason.contains("no port is free"));
    });
}

#[test]
fn errors_about_folders_contain_no_path() {
    run(async {
        let fixture = Fixture::new();
        let desired = desired("a");
        fs::write(&fixture.paths.data_dir, "").unwrap();
        let failure = fixture.open().apply(&desired).await.unwrap_err();
        assert!(failure.retry && failure.reason.contains("the broker cannot write"), "{failure}");
        assert!(!failure.reason.contains("disk"), "{failure}");
        fs::remove_file(&fixture.paths.data_dir).unwrap();
        fs::create_dir_all(&fixture.paths.data_dir).unwrap();
        fs::write(fixture.paths.data_dir.join(desired.slug()), "").unwrap();
        let failure = fixture.open().apply(&desired).await.unwrap_err();
        assert!(failure.retry, "{failure}");
        fixture.open().remove(&desired.instance_id).await.unwrap();
        fixture.assert_nothing_left();
    });
}

#[test]
fn the_policy_names_the_setting_that_prevents_an_instance() {
    run(async {
        let mut fixture = Fixture::new();
        let spec = desired("a").spec;
        let validate =
            async |fixture: &Fixture, spec: &Spec, before: Option<&Spec>| match ProcessPolicy::new(
                fixture.paths.clone(),
            )
            .validate(spec, before)
            .await
            {
                Err(crate::domain::prometheus::Refusal::Capacity(message)) => message,
                other => format!("{other:?}"),
            };
        assert_eq!(validate(&fixture, &spec, None).await, "Ok(())");
        assert_eq!(ProcessPolicy::new(fixture.paths.clone()).capacity(), Some(10));
        let huge = Spec { retention_size: Some(1 << 60), ..spec.clone() };
        let message = validate(&fixture, &huge, None).await;
        assert!(message.starts_with("prometheus.data_dir: 1.0 EiB are needed, and "), "{message}");
        assert_eq!(
            validate(&fixture, &huge, Some(&huge)).await,
            "Ok(())",
            "its disk space is reserved already"
        );
        let memory = Spec { storage: Storage::Tmpfs, ..huge.clone() };
        let message = validate(&fixture, &memory, Some(&huge)).await;
        assert!(message.starts_with("prometheus.tmpfs_dir: "), "{message}");
        fs::remove_dir_all(&fixture.paths.data_dir).unwrap();
        fs::write(&fixture.paths.data_dir, "").unwrap();
        let message = validate(&fixture, &spec, None).await;
        assert!(
            message.starts_with("prometheus.data_dir: no folder can be made there: "),
            "{message}"
        );
        fixture.paths.binary = "/nowhere/prometheus".into();
        let message = validate(&fixture, &spec, None).await;
        assert!(message.starts_with("prometheus.binary names no program "), "{message}");
        assert!(!message.contains("nowhere"), "{message}");
    });
}
