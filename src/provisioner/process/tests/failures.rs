//! Bad days.

use super::*;
use std::net::TcpListener;

async fn failure(fixture: &Fixture, desired: &DesiredInstance) -> Failure {
    let processes = fixture.open();
    let failure = processes.apply(desired).await.unwrap_err();
    assert_eq!(fixture.pids(), NONE);
    let words = &failure.reason;
    let path = fixture.folder.path().join("disk").display().to_string();
    assert!(!words.contains(&path) && !words.contains("sbt_"), "{words}");
    processes.remove(&desired.instance_id).await.unwrap();
    fixture.assert_nothing_is_left();
    failure
}

#[test]
fn a_program_that_is_not_there_or_does_not_start_is_named() {
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
        // It quotes what it was told, as a Prometheus does that refuses its configuration.
        let fixture = Fixture::with_script("cat web.yml prometheus.yml | tr '\\n' ' '; exit 3");
        let mut desired = desired.clone();
        desired.spec.alertmanager_url =
            Some("https://canary-user:canary%22pass@alerts.example.com".parse().unwrap());
        let quoted = failure(&fixture, &desired).await;
        assert!(!quoted.reason.contains("canary"), "{quoted}");
        let fixture = Fixture::with_script("kill -SEGV $$");
        let crash = failure(&fixture, &desired).await;
        assert!(crash.reason.starts_with("Prometheus ended (signal: 11"), "{crash}");
        // No file of it may be larger than a block, as on a disk that is full.
        let fixture = Fixture::with_script("ulimit -f 1; exec prometheus \"$@\"");
        let full = failure(&fixture, &desired).await;
        assert!(full.reason.contains("Prometheus ended"), "{full}");
    });
}

#[test]
fn who_takes_more_memory_than_the_plan_allows_is_stopped() {
    run(async {
        let mut desired = desired("a");
        desired.spec.memory_limit = 4 << 20;
        let words = "Prometheus was stopped: it took more memory than its plan allows (4.0 MiB)";
        assert_eq!(failure(&Fixture::new(), &desired).await, Failure::permanent(words));
    });
}

/// Needs no samples that are stored, and a quarter of a gigabyte for its points.
const BAD_QUERY: &str = "count_over_time(vector(1)%5B180d:1s%5D)";

/// The most memory that a process has taken, known after its end.
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

/// A request that ends with its server.
fn send_bad_query(replica: &Replica, desired: &DesiredInstance) -> tokio::task::JoinHandle<()> {
    let url = format!("{}/api/v1/query?query={BAD_QUERY}", replica.url);
    let client = awc::Client::builder().timeout(Duration::from_secs(60)).finish();
    let password = desired.web_password.expose_secret().to_owned();
    tokio::task::spawn_local(async move {
        let _ = client.get(url).basic_auth(DesiredInstance::WEB_USER, password).send().await;
    })
}

#[test]
fn a_query_that_would_take_too_much_of_the_plan_is_refused_by_the_server_which_goes_on() {
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
fn a_server_that_grows_fast_is_killed_soon_after_it_has_passed_its_limit() {
    run(async {
        // Without the limits on queries, which would refuse this one.
        let script = r#"exec prometheus $(printf '%s\n' "$@" | grep -v -e --query.max)"#;
        let fixture = Fixture::with_script(script);
        let at_rest = Timeouts::default().look;
        let processes = fixture.open_with(Timeouts { restarts: 1, look: at_rest, ..timeouts() });
        let mut desired = desired("a");
        desired.spec.memory_limit = 128 << 20;
        let replicas = processes.apply(&desired).await.unwrap();
        let highest = highest_memory(fixture.only_pid());
        let asked = send_bad_query(&replicas[0], &desired);
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
        asked.await.unwrap();
        processes.stop().await;
    });
}

/// Whether the kernel can limit the memory of servers here; prints why not.
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
        // Without the limits on queries, which would refuse this one.
        let script = r#"exec prometheus $(printf '%s\n' "$@" | grep -v -e --query.max)"#;
        let fixture = Fixture::with_script(script);
        // Just below the limit it may answer nothing for a while.
        let silence = Duration::from_secs(60);
        let processes = fixture.open_with(Timeouts { restarts: 1, silence, ..timeouts() });
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
        let asked = send_bad_query(&replicas[0], &desired);
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
        // What it had taken before it was placed counts elsewhere.
        assert!(highest <= (128 << 20) + (16 << 20), "{highest}");
        assert!(!cgroups.path(&name).exists(), "the cgroup is removed");
        asked.await.unwrap();
        processes.stop().await;
    });
}

#[test]
fn a_server_that_is_adopted_keeps_its_cgroup_until_it_ends() {
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
        // As after a kill of ours.
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
        // Samples in memory would count in it.
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
        stored(&replicas[0], &desired, 3).await;
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
fn who_ends_again_and_again_is_given_up_and_begun_anew_by_the_next_order() {
    run(async {
        let fixture = Fixture::with_script("exec prometheus \"$@\"");
        let processes = fixture.open_with(Timeouts { restarts: 3, ..timeouts() });
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
fn who_hangs_is_replaced() {
    run(async {
        let fixture = Fixture::new();
        let short = Duration::from_millis(300);
        let processes = fixture.open_with(Timeouts { silence: short, end: short, ..timeouts() });
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
fn a_port_that_somebody_has_is_left_to_him() {
    run(async {
        let fixture = Fixture::new();
        let first = *fixture.paths.ports.start();
        let foreign = TcpListener::bind(("127.0.0.1", first)).unwrap();
        let processes = fixture.open();
        let desired = desired("a");
        let replicas = processes.apply(&desired).await.unwrap();
        assert!(replicas[0].url.starts_with(&format!("http://127.0.0.1:{}/", first + 1)));
        // It is taken while the process is away.
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
fn a_folder_that_cannot_be_made_is_said_without_its_path() {
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
        fixture.assert_nothing_is_left();
    });
}

#[test]
fn admission_says_which_setting_stands_in_the_way() {
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
                Err(crate::domain::prometheus::Refusal::NoRoom(words)) => words,
                other => format!("{other:?}"),
            };
        assert_eq!(validate(&fixture, &spec, None).await, "Ok(())");
        assert_eq!(ProcessPolicy::new(fixture.paths.clone()).capacity(), Some(10));
        let huge = Spec { retention_size: Some(1 << 60), ..spec.clone() };
        let words = validate(&fixture, &huge, None).await;
        assert!(words.starts_with("prometheus.data_dir: 1.0 EiB are needed, and "), "{words}");
        assert_eq!(validate(&fixture, &huge, Some(&huge)).await, "Ok(())", "it has that already");
        let memory = Spec { storage: Storage::Tmpfs, ..huge.clone() };
        let words = validate(&fixture, &memory, Some(&huge)).await;
        assert!(words.starts_with("prometheus.tmpfs_dir: "), "{words}");
        fs::remove_dir_all(&fixture.paths.data_dir).unwrap();
        fs::write(&fixture.paths.data_dir, "").unwrap();
        let words = validate(&fixture, &spec, None).await;
        assert!(words.starts_with("prometheus.data_dir: no folder can be made there: "), "{words}");
        fixture.paths.binary = "/nowhere/prometheus".into();
        let words = validate(&fixture, &spec, None).await;
        assert!(words.starts_with("prometheus.binary names no program "), "{words}");
        assert!(!words.contains("nowhere"), "{words}");
    });
}
