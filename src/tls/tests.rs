use super::*;
use rcgen::{CertificateParams, KeyPair};
use std::{fs, path::Path, time::Duration};
use tokio_util::sync::CancellationToken;

struct TestIdentity {
    cert: String,
    key: String,
}

fn self_signed(name: &str) -> TestIdentity {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    TestIdentity { cert: cert.pem(), key: key.serialize_pem() }
}

fn write(identity: &TestIdentity, folder: &Path) {
    fs::write(folder.join("cert"), &identity.cert).unwrap();
    fs::write(folder.join("key"), &identity.key).unwrap();
}

fn file(key: &'static str, folder: &Path, name: &str) -> Pem {
    Pem { key: key.to_owned(), source: PemSource::File(folder.join(name)) }
}

fn settings(folder: &Path) -> ClientSettings {
    ClientSettings {
        ca: None,
        identity: Some((
            file("backends.cert", folder, "cert"),
            file("backends.key", folder, "key"),
        )),
        skip_verify: false,
    }
}

#[test]
fn each_invalid_certificate_is_reported_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let (valid, other) = (self_signed("a"), self_signed("b"));
    let cases: [(&str, &str, &str, &str); 7] = [
        ("", &valid.key, "backends.cert_file", "no certificate in it"),
        (&valid.key, &valid.key, "backends.cert_file", "no certificate in it"),
        ("-----BEGIN CERTIFICATE-----\n%%%", &valid.key, "backends.cert_file", "is not PEM"),
        (
            "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----",
            &valid.key,
            "backends.cert_file",
            "cannot be used",
        ),
        (&valid.cert, &valid.cert, "backends.key_file", "no private key in it"),
        (&valid.cert, "nonsense", "backends.key_file", "no private key in it"),
        (&valid.cert, &other.key, "backends.key_file", "does not match the certificate"),
    ];
    for (cert, key, path, problem) in cases {
        write(&TestIdentity { cert: cert.to_owned(), key: key.to_owned() }, dir.path());
        let error = ClientTls::open(settings(dir.path())).unwrap_err();
        assert_eq!(error.key, path, "{error}");
        assert!(error.problem.contains(problem), "{error}");
        assert!(error.problem.contains(&dir.path().display().to_string()), "{error}");
    }
    let mut missing = settings(dir.path());
    missing.ca = Some(file("backends.ca", dir.path(), "missing"));
    let error = ClientTls::open(missing).unwrap_err().to_string();
    assert!(error.starts_with("backends.ca_file: ") && error.contains("cannot read it"), "{error}");
    let mut folder = settings(dir.path());
    folder.ca = Some(file("backends.ca", dir.path(), ""));
    assert!(ClientTls::open(folder).unwrap_err().to_string().contains("it is not a file"));
    let inline =
        Pem { key: "backends.ca".to_owned(), source: PemSource::Inline("nonsense".into()) };
    let inline = ClientSettings { ca: Some(inline), ..Default::default() };
    let error = ClientTls::open(inline).unwrap_err().to_string();
    assert_eq!(error, "backends.ca: there is no certificate in it");
}

/// Advances the paused clock so that the reloader checks the files this many times.
async fn wait_for_checks(times: u32) {
    for _ in 0..times * 4 {
        tokio::time::advance(Duration::from_millis(250)).await;
        // Files are read on other threads, in real time.
        for _ in 0..20 {
            tokio::task::yield_now().await;
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn changed_files_are_reloaded_and_invalid_ones_are_ignored() {
    let dir = tempfile::tempdir().unwrap();
    write(&self_signed("a"), dir.path());
    let (backends, reloader) = ClientTls::open(settings(dir.path())).unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(reloader.clone().run(shutdown.clone()));
    let generation = || backends.current().generation;

    let reaches = async |expected: u64| {
        for _ in 0..200 {
            if generation() == expected {
                return;
            }
            wait_for_checks(1).await;
        }
        panic!("generation {} instead of {expected}", generation());
    };

    wait_for_checks(5).await;
    assert_eq!(generation(), 0, "nothing has changed");
    write(&self_signed("b"), dir.path());
    reaches(1).await;
    fs::write(dir.path().join("cert"), "broken").unwrap();
    wait_for_checks(5).await;
    assert_eq!(generation(), 1, "the previous ones are kept");
    fs::remove_file(dir.path().join("cert")).unwrap();
    wait_for_checks(5).await;
    assert_eq!(generation(), 1);
    write(&self_signed("c"), dir.path());
    reaches(2).await;
    reloader.trigger();
    // A trigger reloads the certificates even if they have not changed.
    reaches(3).await;

    shutdown.cancel();
    task.await.unwrap();
}

#[test]
fn every_alert_has_an_explanation() {
    for code in 0..=255 {
        let text = alert_text(AlertDescription::from(code));
        assert!(text.starts_with("the peer "), "{text}");
    }
}
