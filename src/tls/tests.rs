use super::*;
use rcgen::{CertificateParams, KeyPair};
use std::{fs, path::Path, time::Duration};
use tokio_util::sync::CancellationToken;

struct Made {
    cert: String,
    key: String,
}

fn self_signed(name: &str) -> Made {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    Made { cert: cert.pem(), key: key.serialize_pem() }
}

fn write(made: &Made, folder: &Path) {
    fs::write(folder.join("cert"), &made.cert).unwrap();
    fs::write(folder.join("key"), &made.key).unwrap();
}

fn file(key: &'static str, folder: &Path, name: &str) -> Pem {
    Pem { key, source: Source::File(folder.join(name)) }
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
fn each_way_to_have_no_certificate_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (good, other) = (self_signed("a"), self_signed("b"));
    let cases: [(&str, &str, &str, &str); 7] = [
        ("", &good.key, "backends.cert_file", "no certificate in it"),
        (&good.key, &good.key, "backends.cert_file", "no certificate in it"),
        ("-----BEGIN CERTIFICATE-----\n%%%", &good.key, "backends.cert_file", "is not PEM"),
        (
            "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----",
            &good.key,
            "backends.cert_file",
            "cannot be used",
        ),
        (&good.cert, &good.cert, "backends.key_file", "no private key in it"),
        (&good.cert, "nonsense", "backends.key_file", "no private key in it"),
        (&good.cert, &other.key, "backends.key_file", "is not the key of"),
    ];
    for (cert, key, path, problem) in cases {
        write(&Made { cert: cert.to_owned(), key: key.to_owned() }, dir.path());
        let error = Backends::open(settings(dir.path())).unwrap_err();
        assert_eq!(error.key, path, "{error}");
        assert!(error.problem.contains(problem), "{error}");
        assert!(error.problem.contains(&dir.path().display().to_string()), "{error}");
    }
    let mut missing = settings(dir.path());
    missing.ca = Some(file("backends.ca", dir.path(), "missing"));
    let error = Backends::open(missing).unwrap_err().to_string();
    assert!(error.starts_with("backends.ca_file: ") && error.contains("cannot read it"), "{error}");
    let mut folder = settings(dir.path());
    folder.ca = Some(file("backends.ca", dir.path(), ""));
    assert!(Backends::open(folder).unwrap_err().to_string().contains("it is no file"));
    let inline = Pem { key: "backends.ca", source: Source::Inline("nonsense".into()) };
    let inline = ClientSettings { ca: Some(inline), ..Default::default() };
    let error = Backends::open(inline).unwrap_err().to_string();
    assert_eq!(error, "backends.ca: there is no certificate in it");
}

/// Lets the keeper look as often as it needs, with the clock held otherwise.
async fn looks(times: u32) {
    for _ in 0..times * 4 {
        tokio::time::advance(Duration::from_millis(250)).await;
        // The reading itself happens on other threads, in real time.
        for _ in 0..20 {
            tokio::task::yield_now().await;
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn files_are_read_again_when_they_change_and_broken_ones_keep_those_before() {
    let dir = tempfile::tempdir().unwrap();
    write(&self_signed("a"), dir.path());
    let (backends, keeper) = Backends::open(settings(dir.path())).unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(keeper.clone().keep_current(shutdown.clone()));
    let generation = || backends.current().generation;

    let comes_to = async |wanted: u64| {
        for _ in 0..200 {
            if generation() == wanted {
                return;
            }
            looks(1).await;
        }
        panic!("{} and not {wanted}", generation());
    };

    looks(5).await;
    assert_eq!(generation(), 0, "nothing has changed");
    write(&self_signed("b"), dir.path());
    comes_to(1).await;
    fs::write(dir.path().join("cert"), "broken").unwrap();
    looks(5).await;
    assert_eq!(generation(), 1, "the ones before stay");
    fs::remove_file(dir.path().join("cert")).unwrap();
    looks(5).await;
    assert_eq!(generation(), 1);
    write(&self_signed("c"), dir.path());
    comes_to(2).await;
    keeper.trigger();
    // Read again when asked, changed or not.
    comes_to(3).await;

    shutdown.cancel();
    task.await.unwrap();
}

#[test]
fn no_alert_is_without_words() {
    for code in 0..=255 {
        let text = refused(AlertDescription::from(code));
        assert!(text.starts_with("the peer "), "{text}");
    }
}
