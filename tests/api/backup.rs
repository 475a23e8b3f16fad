//! `scrapebroker backup`: a restorable copy of a database in use and of its key.

use crate::server_process::*;
use scrapebroker::{
    broker::{Broker, Scope},
    domain::Catalog,
    store::Store,
};
use serde_json::{Value, json};
use std::{
    cell::RefCell,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
    rc::Rc,
};
use support::*;

/// Runs `scrapebroker backup` with the settings of the server in `folder`.
async fn run_backup(folder: &Path, settings: &[(&str, &str)], to: &Path) -> (i32, String, String) {
    let mut command = program(folder);
    command.args(["backup".as_ref(), to.as_os_str()]).envs(settings.iter().copied());
    let run = actix_web::rt::task::spawn_blocking(move || command.output().unwrap());
    let Output { status, stdout, stderr } = run.await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn key_path(database: &Path) -> PathBuf {
    PathBuf::from(format!("{}.token-key", database.display()))
}

/// Binds apps one after another and records the acknowledged bindings with their responses.
async fn bind_continuously(server: Rc<Server>, bound: Rc<RefCell<Vec<(Value, Value)>>>) {
    let (service, plan) = catalog_ids(server.address).await;
    let provision = json!({
        "service_id": service, "plan_id": plan, "organization_guid": "o", "space_guid": "s",
    });
    server.broker_request("PUT", "/v2/service_instances/i", Some(provision)).await.unwrap();
    for number in 0.. {
        let bind = json!({
            "service_id": service, "plan_id": plan,
            "bind_resource": {"app_guid": format!("app-{number}")},
            "parameters": {"bearer_token": format!("secret of {number}")},
        });
        let path = path_of(number);
        let Some(answer) = server.broker_request("PUT", &path, Some(bind.clone())).await else {
            return;
        };
        assert_eq!(answer.status, 201, "{}", answer.text());
        bound.borrow_mut().push((bind, answer.json()));
    }
}

fn path_of(number: usize) -> String {
    format!("/v2/service_instances/i/service_bindings/b{number}")
}

#[actix_web::test]
async fn a_backup_of_a_running_broker_can_be_restored_and_its_tokens_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let server = Rc::new(Server::start(folder.path()));
    let bound = Rc::<RefCell<Vec<_>>>::default();
    let binding = actix_web::rt::spawn(bind_continuously(Rc::clone(&server), Rc::clone(&bound)));
    eventually(async || (bound.borrow().len() >= 20).then_some(())).await;

    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("monday.db");
    let before = bound.borrow().clone();
    let (code, out, err) = run_backup(folder.path(), &[], &copy).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains(copy.to_str().unwrap()) && out.contains("monday.db.token-key"), "{out}");
    let after = bound.borrow().len();
    eventually(async || (bound.borrow().len() > after).then_some(())).await;
    binding.abort();
    drop(server);
    let mut files: Vec<_> =
        std::fs::read_dir(copies.path()).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert_eq!(files, [copy.clone(), key_path(&copy)], "only the copy and its key exist");
    for file in files {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    let restored = tempfile::tempdir().unwrap();
    let database = restored.path().join("scrapebroker.db");
    std::fs::copy(&copy, &database).unwrap();
    std::fs::copy(key_path(&copy), key_path(&database)).unwrap();
    let server = Server::start(restored.path());
    for (number, (bind, credentials)) in before.iter().enumerate() {
        let again =
            server.broker_request("PUT", &path_of(number), Some(bind.clone())).await.unwrap();
        assert_eq!((again.status, &again.json()), (200, credentials), "{number}");
    }
    drop(server);

    let store =
        Store::open(&format!("sqlite://{}", database.display()).parse().unwrap(), 1).await.unwrap();
    let catalog: Value = serde_json::from_str(&std::fs::read_to_string(CATALOG).unwrap()).unwrap();
    let catalog = Catalog::parse(&catalog, "http://localhost").unwrap();
    let broker = Broker::open(store.clone(), None, catalog).await.unwrap();
    for (number, (_, credentials)) in before.iter().enumerate() {
        let token = credentials["credentials"]["token"].as_str().unwrap();
        let app = format!("app-{number}");
        let scope = broker.binding_table().scope_of_token(token);
        assert_eq!(scope, Some(Scope::App(app.parse().unwrap())));
        let active_binding = broker.binding_table().binding_for(&app).unwrap();
        assert!(
            active_binding.options.bearer_token.is_some(),
            "the secrets of the binding can be decrypted"
        );
    }
    store.close().await;
}

#[actix_web::test]
async fn a_configured_key_is_not_copied_and_must_match_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let key = [("SCRAPEBROKER__BROKER__TOKEN_KEY", "a key of the operator's own")];
    drop(Server::start_with(folder.path(), &key));
    let copy = folder.path().join("copy.db");
    let (code, out, err) = run_backup(folder.path(), &key, &copy).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("broker.token_key") && !out.contains("operator's own"), "{out}");
    assert!(copy.exists() && !key_path(&copy).exists());

    let other = [("SCRAPEBROKER__BROKER__TOKEN_KEY", "another key, which is wrong")];
    let another = folder.path().join("another.db");
    let (code, _, err) = run_backup(folder.path(), &other, &another).await;
    assert_eq!(code, 64, "{err}");
    assert!(err.contains("configuration of the service") && !another.exists(), "{err}");
    // The environment lacks the variable `broker.token_key`, which the service has.
    let (code, _, err) = run_backup(folder.path(), &[], &another).await;
    assert_eq!(code, 64, "{err}");
    assert!(err.contains("set broker.token_key") && !another.exists(), "{err}");
}

#[actix_web::test]
async fn a_failed_backup_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.db");
    let (code, _, err) = run_backup(folder.path(), &[], &copy).await;
    assert_eq!(code, 69, "no database: {err}");
    let postgres = [
        ("SCRAPEBROKER__DATABASE_URL", "postgres://u:hunter2@127.0.0.1:1/x"),
        ("SCRAPEBROKER__BROKER__TOKEN_KEY", "a key of the operator's own"),
    ];
    let (code, _, err) = run_backup(folder.path(), &postgres, &copy).await;
    assert_eq!(code, 64);
    assert!(err.contains("pg_dump") && !err.contains("hunter2"), "{err}");
    assert_eq!(std::fs::read_dir(copies.path()).unwrap().count(), 0);

    drop(Server::start(folder.path()));
    for taken in [copy.clone(), key_path(&copy)] {
        std::fs::write(&taken, "older").unwrap();
        let (code, _, err) = run_backup(folder.path(), &[], &copy).await;
        assert_eq!(code, 1);
        assert!(err.contains("exists already"), "{err}");
        assert_eq!(std::fs::read_to_string(&taken).unwrap(), "older");
        std::fs::remove_file(&taken).unwrap();
    }
    let nowhere = copies.path().join("no/such/folder/copy.db");
    let (code, _, err) = run_backup(folder.path(), &[], &nowhere).await;
    assert_eq!(code, 1);
    assert!(err.contains("no/such/folder"), "{err}");
    assert_eq!(std::fs::read_dir(copies.path()).unwrap().count(), 0);
}
