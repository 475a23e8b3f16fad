use super::*;
use rcgen::{CertificateParams, KeyPair};
use std::{fs, path::Path};

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

#[test]
fn files_are_applied_again_and_invalid_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    write(&self_signed("a"), dir.path());
    let (backends, files) = ClientTls::open(settings(dir.path())).unwrap();
    let generation = || backends.current().generation;
    assert_eq!(files.paths(), [dir.path().join("cert"), dir.path().join("key")]);
    assert_eq!(files.fingerprints(), files.first());
    write(&self_signed("b"), dir.path());
    assert_ne!(files.fingerprints(), files.first());
    files.apply().unwrap();
    assert_eq!(generation(), 1);
    fs::write(dir.path().join("cert"), "broken").unwrap();
    assert_eq!(files.apply().unwrap_err().key, "backends.cert_file");
    fs::remove_file(dir.path().join("cert")).unwrap();
    assert!(files.fingerprints()[0].is_err() && files.apply().is_err());
    assert_eq!(generation(), 1, "the previous ones are kept");
}

#[test]
fn every_alert_has_an_explanation() {
    for code in 0..=255 {
        let text = alert_text(AlertDescription::from(code));
        assert!(text.starts_with("the peer "), "{text}");
    }
}
