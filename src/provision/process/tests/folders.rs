//! Nothing is removed that is not proven to be a copy.

use super::*;
use std::os::unix::fs::symlink;

/// Samples as they lie in a folder; a Prometheus would refuse them, so none is started.
fn store(folder: &Folder, text: &str) {
    folder.make().unwrap();
    fs::create_dir(folder.file(folder::DATA)).unwrap();
    fs::write(folder.file(folder::DATA).join("samples"), text).unwrap();
}

fn stored_in(folder: &Folder) -> String {
    fs::read_to_string(folder.file(folder::DATA).join("samples")).unwrap_or_default()
}

fn of(root: &Path, wanted: &Wanted) -> Folder {
    Folder::new(root, &wanted.slug(), 0)
}

#[test]
fn storage_folders_that_are_one_keep_their_samples() {
    run(async {
        for with_slug in [false, true] {
            let house = House::new();
            let wanted = wanted("a");
            let disk = of(&house.places.data_dir, &wanted);
            store(&disk, "kept");
            if with_slug {
                fs::create_dir(&house.places.tmpfs_dir).unwrap();
                let link = house.places.tmpfs_dir.join(wanted.slug());
                symlink(house.places.data_dir.join(wanted.slug()), link).unwrap();
            } else {
                symlink(&house.places.data_dir, &house.places.tmpfs_dir).unwrap();
            }
            for storage in [Storage::Disk, Storage::Tmpfs] {
                let mut wanted = wanted.clone();
                wanted.spec.storage = storage;
                let failure = house.open().apply(&wanted).await.unwrap_err();
                let words = "prometheus.data_dir and prometheus.tmpfs_dir are one folder";
                assert!(failure.reason.contains(words), "{failure}");
                assert_eq!(stored_in(&disk), "kept", "{storage:?}");
            }
        }
    });
}

#[test]
fn of_two_folders_with_samples_none_is_removed_unless_it_was_copied() {
    run(async {
        let house = House::new();
        let wanted = wanted("a");
        let disk = of(&house.places.data_dir, &wanted);
        let memory = of(&house.places.tmpfs_dir, &wanted);
        store(&disk, "of last year");
        store(&memory, "of today");
        for (on_disk, in_memory) in [("", ""), ("1", ""), ("1", "2")] {
            disk.write("copy-id", on_disk).unwrap();
            memory.write("copy-id", in_memory).unwrap();
            let failure = house.open().apply(&wanted).await.unwrap_err();
            let words = "there are samples of it on disk and in memory";
            assert!(failure.retry && failure.reason.contains(words), "{failure}");
            assert_eq!(stored_in(&disk), "of last year");
            assert_eq!(stored_in(&memory), "of today");
        }
        house.open().remove(&wanted.instance_id).await.unwrap();
        house.assert_nothing_is_left();
    });
}

#[test]
fn what_lies_behind_a_symlink_is_neither_moved_nor_removed() {
    run(async {
        let house = House::new();
        let wanted = wanted("a");
        let elsewhere = house.folder.path().join("elsewhere");
        let foreign = Folder::new(&elsewhere, "s", 0);
        store(&foreign, "foreign");
        let memory = of(&house.places.tmpfs_dir, &wanted);
        let instance = memory.path().parent().unwrap();
        // The folder of the instance, and that of its replica.
        for (link, target) in
            [(instance, elsewhere.join("s")), (memory.path(), elsewhere.join("s/0"))]
        {
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(target, link).unwrap();
            let failure = house.open().apply(&wanted).await.unwrap_err();
            assert!(failure.reason.contains("something else where its folder"), "{failure}");
            assert_eq!(stored_in(&foreign), "foreign");
            house.open().remove(&wanted.instance_id).await.unwrap();
            assert_eq!(stored_in(&foreign), "foreign");
            house.assert_nothing_is_left();
        }
        // Samples that an operator has put on another disk, which is not mounted.
        memory.make().unwrap();
        symlink(house.folder.path().join("not-mounted"), memory.file(folder::DATA)).unwrap();
        house.open().apply(&wanted).await.unwrap_err();
        assert!(fs::symlink_metadata(memory.file(folder::DATA)).is_ok());
        house.open().remove(&wanted.instance_id).await.unwrap();
        house.assert_nothing_is_left();
    });
}

#[test]
fn an_id_that_looks_like_a_path_stays_within_its_root() {
    let house = House::new();
    for id in ["../../etc", "..", "/", "a/../../b", ".", "%2e%2e%2f"] {
        let slug = wanted(id).slug();
        let path = house.places.data_dir.join(&slug);
        assert_eq!(path.parent(), Some(house.places.data_dir.as_path()), "{slug}");
        assert!(!slug.starts_with('.') && !slug.is_empty(), "{slug}");
    }
}
