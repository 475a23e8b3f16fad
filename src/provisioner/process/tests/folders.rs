//! Samples are removed only if a copy of them is proven.

use super::*;
use std::os::unix::fs::symlink;

/// Samples that are invalid for Prometheus, so that no server starts with them.
fn store(folder: &ReplicaFolder, text: &str) {
    folder.make().unwrap();
    fs::create_dir(folder.file(folder::DATA)).unwrap();
    fs::write(folder.file(folder::DATA).join("samples"), text).unwrap();
}

fn stored_in(folder: &ReplicaFolder) -> String {
    fs::read_to_string(folder.file(folder::DATA).join("samples")).unwrap_or_default()
}

fn of(root: &Path, desired: &DesiredInstance) -> ReplicaFolder {
    ReplicaFolder::new(root, &desired.slug(), 0)
}

#[test]
fn samples_are_kept_when_both_storage_folders_are_the_same() {
    run(async {
        for with_slug in [false, true] {
            let fixture = Fixture::new();
            let desired = desired("a");
            let disk = of(&fixture.paths.data_dir, &desired);
            store(&disk, "kept");
            if with_slug {
                fs::create_dir(&fixture.paths.tmpfs_dir).unwrap();
                let link = fixture.paths.tmpfs_dir.join(desired.slug());
                symlink(fixture.paths.data_dir.join(desired.slug()), link).unwrap();
            } else {
                symlink(&fixture.paths.data_dir, &fixture.paths.tmpfs_dir).unwrap();
            }
            for storage in [Storage::Disk, Storage::Tmpfs] {
                let mut desired = desired.clone();
                desired.spec.storage = storage;
                let failure = fixture.open().apply(&desired).await.unwrap_err();
                let message = "prometheus.data_dir and prometheus.tmpfs_dir are one folder";
                assert!(failure.reason.contains(message), "{failure}");
                assert_eq!(stored_in(&disk), "kept", "{storage:?}");
            }
        }
    });
}

#[test]
fn of_two_folders_with_samples_none_is_removed_without_a_common_copy_id() {
    run(async {
        let fixture = Fixture::new();
        let desired = desired("a");
        let disk = of(&fixture.paths.data_dir, &desired);
        let memory = of(&fixture.paths.tmpfs_dir, &desired);
        store(&disk, "of last year");
        store(&memory, "of today");
        for (on_disk, in_memory) in [("", ""), ("1", ""), ("1", "2")] {
            disk.write("copy-id", on_disk).unwrap();
            memory.write("copy-id", in_memory).unwrap();
            let failure = fixture.open().apply(&desired).await.unwrap_err();
            let message = "there are samples of it on disk and in memory";
            assert!(failure.retry && failure.reason.contains(message), "{failure}");
            assert_eq!(stored_in(&disk), "of last year");
            assert_eq!(stored_in(&memory), "of today");
        }
        fixture.open().remove(&desired.instance_id).await.unwrap();
        fixture.assert_nothing_left();
    });
}

#[test]
fn targets_of_symlinks_are_neither_moved_nor_removed() {
    run(async {
        let fixture = Fixture::new();
        let desired = desired("a");
        let elsewhere = fixture.folder.path().join("elsewhere");
        let foreign = ReplicaFolder::new(&elsewhere, "s", 0);
        store(&foreign, "foreign");
        let memory = of(&fixture.paths.tmpfs_dir, &desired);
        let instance = memory.path().parent().unwrap();
        // The folder of the instance, then the folder of its replica.
        for (link, target) in
            [(instance, elsewhere.join("s")), (memory.path(), elsewhere.join("s/0"))]
        {
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(target, link).unwrap();
            let failure = fixture.open().apply(&desired).await.unwrap_err();
            assert!(failure.reason.contains("something else where its folder"), "{failure}");
            assert_eq!(stored_in(&foreign), "foreign");
            fixture.open().remove(&desired.instance_id).await.unwrap();
            assert_eq!(stored_in(&foreign), "foreign");
            fixture.assert_nothing_left();
        }
        // Samples that the operator has moved to another disk, which is not mounted.
        memory.make().unwrap();
        symlink(fixture.folder.path().join("not-mounted"), memory.file(folder::DATA)).unwrap();
        fixture.open().apply(&desired).await.unwrap_err();
        assert!(fs::symlink_metadata(memory.file(folder::DATA)).is_ok());
        fixture.open().remove(&desired.instance_id).await.unwrap();
        fixture.assert_nothing_left();
    });
}

#[test]
fn an_id_that_looks_like_a_path_stays_within_its_root() {
    let fixture = Fixture::new();
    for id in ["../../etc", "..", "/", "a/../../b", ".", "%2e%2e%2f"] {
        let slug = desired(id).slug();
        let path = fixture.paths.data_dir.join(&slug);
        assert_eq!(path.parent(), Some(fixture.paths.data_dir.as_path()), "{slug}");
        assert!(!slug.starts_with('.') && !slug.is_empty(), "{slug}");
    }
}
