//! `scrapebroker sd`: export of the target list to a file.

use crate::test_app::*;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use support::*;

/// Runs `scrapebroker sd`. Returns the exit code and the output.
pub(crate) async fn export(arguments: &[&str], environment: &[(&str, String)]) -> (i32, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_scrapebroker"));
    command.env_clear().envs(environment.iter().cloned()).arg("sd").args(arguments);
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
}

#[actix_web::test]
async fn the_target_list_is_written_atomically() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (token, out) = (path("token"), path("targets.json"));
    std::fs::write(&token, format!("{USER}:{PASSWORD}\n")).unwrap();
    let base = app.url("");
    let run =
        async |url: &str| export(&["--url", url, "--token-file", &token, "--out", &out], &[]).await;
    let (code, message) = run(&base).await;
    assert_eq!((code, message), (0, format!("1 targets in {out}\n")));
    let written = std::fs::read_to_string(&out).unwrap();
    assert_eq!(
        written,
        app.get_with("/sd", &[("Authorization", &basic(USER, PASSWORD))]).await.text()
    );
    let mode = std::fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o444, 0o444, "Prometheus runs as another user");

    let bound = app.bind("b1", "app-guid", json!({})).await.json();
    std::fs::write(&token, bound["credentials"]["token"].as_str().unwrap()).unwrap();
    assert_eq!(run(&format!("{base}/v1/sd/apps/acme/prod?mode=direct")).await.0, 0);
    let direct: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(direct[0]["targets"][0], instance.address.to_string());

    let before = std::fs::read(&out).unwrap();
    let gone = Instance::start(|_| Reply::Close).await;
    let until_close = Instance::start(|_| {
        Reply::Raw(b"HTTP/1.1 102 X\r\n\r\nHTTP/1.1 200 OK\r\n\r\n[]".to_vec())
    })
    .await;
    let short = Instance::start(|_| {
        Reply::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n".to_vec())
    })
    .await;
    let unavailable = Instance::start(|_| Reply::Http(503, vec![], b"not yet\n".to_vec())).await;
    let login = Instance::start(|_| Reply::Http(200, vec![], b"<html>".to_vec())).await;
    let cut =
        Instance::start(|_| Reply::Raw(b"HTTP/1.1 200 OK\r\n\r\n[{\"targets\":".to_vec())).await;
    let at = |instance: &Instance| format!("http://{}/sd", instance.address);
    for (url, code, word) in [
        (format!("{base}/sd?mode=x"), 1, "mode must be"),
        (format!("{base}/nothing"), 1, "404"),
        (at(&gone), 69, "no answer"),
        (at(&short), 69, "closed within the response's body"),
        (at(&unavailable), 69, "503 Service Unavailable: not yet"),
        (at(&login), 1, "not a list of targets"),
        (at(&cut), 1, "not a list of targets"),
        ("ftp://x/sd".to_owned(), 64, "--url"),
        ("http://user:secret@x/sd".to_owned(), 64, "--token-file"),
        ("nonsense".to_owned(), 64, "--url"),
    ] {
        let (exit, message) = run(&url).await;
        assert!(exit == code && message.contains(word), "{url}: {exit} {message}");
        assert!(!message.contains("secret"), "{message}");
    }
    assert_eq!(std::fs::read(&out).unwrap(), before);
    assert_eq!(run(&at(&until_close)).await.0, 0);
    assert!(!until_close.requests()[0].headers.contains_key("content-length"));
    let missing = path("missing");
    for (token, out, code) in [(&missing, &out, 64), (&token, &format!("{missing}/x.json"), 1)] {
        let arguments = ["--url", &base, "--token-file", token, "--out", out];
        assert_eq!(export(&arguments, &[]).await.0, code);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file remains");
}
