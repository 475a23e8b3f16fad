use super::*;
use std::process::{Child, Command};
use tempfile::TempDir;

/// A directory with files like those of cgroupfs.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Root and mount point.
type Mount = (&'static str, &'static str);

#[test]
fn a_cgroup_is_found_below_the_mount_that_shows_it() {
    let host = ("/", "/sys/fs/cgroup");
    let hybrid = ("/", "/sys/fs/cgroup/unified");
    let container = ("/docker/abc", "/sys/fs/cgroup");
    let cases: [(&str, &[Mount], Option<&str>); 8] = [
        ("/", &[host], Some("/sys/fs/cgroup")),
        ("/system.slice/a.service", &[host], Some("/sys/fs/cgroup/system.slice/a.service")),
        ("/a", &[hybrid], Some("/sys/fs/cgroup/unified/a")),
        ("/docker/abc/x", &[container], Some("/sys/fs/cgroup/x")),
        ("/docker/abcd", &[container], None),
        ("/docker/abcd", &[container, hybrid], Some("/sys/fs/cgroup/unified/docker/abcd")),
        ("/../other", &[host], None),
        ("/a", &[], None),
    ];
    for (path, mounts, expected) in cases {
        let own = |(root, mount_point): &Mount| ((*root).to_owned(), PathBuf::from(*mount_point));
        let found = directory_of(path, mounts.iter().map(own));
        assert_eq!(found.as_deref(), expected.map(Path::new), "{path} {mounts:?}");
    }
}

#[test]
fn the_reason_names_what_prevents_cgroups() {
    let memory = ("cgroup.controllers", "cpu memory\n");
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[], "cgroup.controllers of "),
        (&[("cgroup.controllers", "cpu hugetlb\n")], "has no memory controller"),
        (&[memory], "cgroup.subtree_control of "),
        // No kernel creates the files of the new cgroup here.
        (&[memory, ("cgroup.subtree_control", "memory\n")], "a new cgroup below "),
    ];
    for (files, expected) in cases {
        let directory = directory(files);
        let before = names(directory.path());
        let problem = Cgroups::at(directory.path().to_owned()).unwrap_err().to_string();
        assert!(problem.contains(expected), "{problem}");
        assert_eq!(names(directory.path()), before, "nothing is left");
    }
    // The controller is enabled for children if it is not yet.
    let directory = directory(&[memory, ("cgroup.subtree_control", "")]);
    Cgroups::at(directory.path().to_owned()).unwrap_err();
    let control = fs::read_to_string(directory.path().join("cgroup.subtree_control")).unwrap();
    assert_eq!(control, "+memory");
}

#[test]
fn a_cgroup_has_the_limit_and_reports_oom_kills_of_its_process() {
    let parent = directory(&[]);
    let cgroups = Cgroups { directory: parent.path().to_owned() };
    let path = cgroups.path("a-0");
    assert_eq!(path, parent.path().join("scrapebroker-a-0"));
    fs::create_dir(&path).unwrap();
    let file = |name: &str| path.join(name);
    fs::write(file("memory.max"), "").unwrap();
    fs::write(file("memory.oom.group"), "").unwrap();
    fs::write(file("cgroup.procs"), "").unwrap();
    fs::write(file("memory.events"), "low 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 1\n")
        .unwrap();
    // A kernel without swap has no memory.swap.max.
    let cgroup = cgroups.create("a-0", 64 << 20).unwrap();
    assert_eq!(fs::read_to_string(file("memory.max")).unwrap(), "67108864");
    assert_eq!(fs::read_to_string(file("memory.oom.group")).unwrap(), "1");
    assert!(!file("memory.swap.max").exists(), "no file is made");
    cgroup.add(42).unwrap();
    assert_eq!(fs::read_to_string(file("cgroup.procs")).unwrap(), "42");
    assert!(!cgroup.has_killed(), "one that was killed before is another server");
    fs::write(file("memory.events"), "oom 2\noom_kill 2\n").unwrap();
    assert!(cgroup.has_killed());
    fs::remove_file(file("memory.events")).unwrap();
    assert!(!cgroup.has_killed());
    assert!(cgroups.of("a-0", 42).is_some());
    assert!(cgroups.of("a-0", 4).is_none() && cgroups.of("a-1", 42).is_none());
}

#[test]
fn only_empty_cgroups_with_the_prefix_are_removed() {
    let parent = directory(&[("scrapebroker-file", "")]);
    for name in ["scrapebroker-a-0", "scrapebroker-b-0", "other"] {
        fs::create_dir(parent.path().join(name)).unwrap();
    }
    // Stands for a process in the cgroup.
    fs::create_dir(parent.path().join("scrapebroker-b-0/x")).unwrap();
    let cgroups = Cgroups { directory: parent.path().to_owned() };
    cgroups.remove_stale();
    assert_eq!(names(parent.path()), ["other", "scrapebroker-b-0", "scrapebroker-file"]);
    drop(cgroups.make("b-0").unwrap());
    drop(cgroups.make("c-0").unwrap());
    assert_eq!(names(parent.path()), ["other", "scrapebroker-b-0", "scrapebroker-file"]);
}

/// A cgroup of a test in the real hierarchy, with or without the memory controller.
struct RealCgroup(PathBuf);

impl RealCgroup {
    fn make() -> Result<Self, String> {
        let own = own_directory().map_err(|error| error.to_string())?;
        // Other tests must not remove it as stale.
        let directory = own.join(format!("test-of-scrapebroker-{}", std::process::id()));
        let made = fs::create_dir(&directory);
        made.map_err(|error| format!("{}: {error}", directory.display()))?;
        Ok(Self(directory))
    }
}

impl Drop for RealCgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn ended(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_process_is_placed_found_again_and_its_cgroup_removed_after_its_end() {
    let real = match RealCgroup::make() {
        Ok(real) => real,
        Err(reason) => return println!("skipped: no cgroup can be made here: {reason}"),
    };
    let cgroups = Cgroups { directory: real.0.clone() };
    let name = format!("test-{}", std::process::id());
    let child = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let cgroup = cgroups.make(&name).unwrap();
    assert!(cgroups.of(&name, pid).is_none(), "it is elsewhere");
    if let Err(error) = cgroup.add(child.id()) {
        ended(child);
        return println!("skipped: no process can be moved here: {error}");
    }
    drop(cgroup);
    cgroups.remove_stale();
    let found = cgroups.of(&name, pid).expect("one with a process stays");
    let groups = Process::new(pid).unwrap().cgroups().unwrap();
    let own = groups.into_iter().find(|it| it.hierarchy == 0).unwrap();
    assert!(own.pathname.ends_with(&format!("{PREFIX}{name}")), "{}", own.pathname);
    ended(child);
    drop(found);
    assert!(!cgroups.path(&name).exists());
}
