//! Flags, variables and files of settings.

use super::{file, run, scrapebroker};

const FLAGS: [&str; 4] = [
    "--web.listen-address=127.0.0.1:9121",
    "--web.listen-address=[::1]:9122",
    "--log.level=debug",
    "--log.format=json",
];

/// The lines of the output without the origins.
pub(super) fn values(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split(" # ").next().unwrap()).collect()
}

#[test]
fn check_config_shows_the_origin_of_each_value() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        "listen: ':1'\nlog: { level: warn }\nbroker: { username: u, password_file: p }\n";
    let password = file(&folder, "p", "correct horse\n");
    let config = file(&folder, "c.yml", settings.replace(": p ", &format!(": {password} ")));
    let with_file = ["check-config", "--config", &config];
    let check = |flags: &[&str], variables: &[(&str, &str)]| {
        let mut command = scrapebroker(&[&with_file, flags].concat());
        let (code, out, err) = run(command.envs(variables.iter().copied()));
        assert_eq!((code, &*err), (0, ""), "{out}");
        out
    };
    let has = |out: &str, line: &str| assert!(out.lines().any(|it| it == line), "{line} in {out}");

    let out = check(&[], &[("SCRAPEBROKER__LOG__FORMAT", "json"), ("LISTEN_ADDRESS", ":9121")]);
    has(&out, "listen: \"[::]:9121\" # LISTEN_ADDRESS");
    has(&out, "  level: warn # file");
    has(&out, "  format: json # SCRAPEBROKER__LOG__FORMAT");
    has(&out, &format!("  password_file: {password} # file"));
    has(&out, "health_listen: ~ # default");

    let out = check(&FLAGS, &[("PORT", "9"), ("SCRAPEBROKER__LISTEN", ":2")]);
    for line in [
        "listen:",
        "  - \"127.0.0.1:9121\" # --web.listen-address",
        "  - \"[::1]:9122\" # --web.listen-address",
        "base_url: \"http://localhost:9121\" # default",
        "  level: debug # --log.level",
        "  format: json # --log.format",
    ] {
        has(&out, line);
    }
    has(
        &check(&["--web.listen-port", "3"], &[]),
        "listen: \"[::]:3\" # file and --web.listen-port",
    );

    for format in ["logfmt", "LOGFMT", "JSON"] {
        let flag = format!("--log.format={format}");
        has(&check(&[&flag], &[]), &format!("  format: {format} # --log.format"));
    }

    // The output is a file with the same settings.
    let again = file(&folder, "again.yml", &out);
    let (code, read, err) = run(&mut scrapebroker(&["check-config", "--config", &again]));
    assert_eq!((code, &*err), (0, ""));
    assert_eq!(values(&read), values(&out));
}

#[test]
fn mistakes_in_flags_are_listed_with_the_others_and_exit_64() {
    for command in ["check-config", "serve"] {
        let flags = ["--web.listen-port=x", "--log.level=loud", "--log.format=xml"];
        let arguments = [&[command][..], &flags].concat();
        let mut command = scrapebroker(&arguments);
        let (code, out, err) = run(command.env("SCRAPEBROKER__SCRAPE__TIMEOUT", "soon"));
        assert_eq!((code, &*out), (64, ""));
        for part in [
            "4 mistakes in the configuration",
            "--web.listen-port: `x` is not a whole number",
            "log.level: `loud` is not a filter",
            "(set by --log.level)",
            "log.format: `xml` is not one of: text, json, logfmt (set by --log.format)",
            "scrape.timeout: `soon` is not a duration",
        ] {
            assert!(err.contains(part), "{part} in {err}");
        }
    }
    for other in [&["--mpp"][..], &["--promfetcher", "x"]] {
        let arguments = [&["check-config"][..], other, &["--log.level=debug"]].concat();
        let (code, _, err) = run(&mut scrapebroker(&arguments));
        assert_eq!(code, 64);
        assert!(err.contains("cannot be used with"), "{err}");
    }
}

#[test]
fn check_config_checks_the_web_configuration_file_and_its_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "web.yml", "http_server_config: { http2: false }\n");
    let flag = format!("--web.config.file={path}");
    let check = || run(&mut scrapebroker(&["check-config", &flag]));
    let (code, out, err) = check();
    assert_eq!((code, &*err), (0, ""));
    let line = format!("web_config_file: {path} # --web.config.file");
    assert!(out.lines().any(|it| it == line), "{out}");
    file(&folder, "web.yml", "tls_server_config: { cert_file: no-such.pem, key_file: k }\n");
    let (code, _, err) = check();
    assert_eq!(code, 64);
    let certificate = folder.path().join("no-such.pem");
    let part = format!("tls_server_config.cert_file {}: cannot read it", certificate.display());
    assert!(err.contains(&part), "{err}");
    file(
        &folder,
        "web.yml",
        "basic_auth_users: { ann: her-password }\nrate_limit: { burst: -1 }\n",
    );
    let (code, _, err) = check();
    assert_eq!(code, 64);
    for part in
        ["2 mistakes", "basic_auth_users.ann is not a bcrypt hash", "(set by --web.config.file)"]
    {
        assert!(err.contains(part), "{part} in {err}");
    }
    assert!(!err.contains("her-password"), "{err}");
}

#[test]
fn systemd_sockets_are_enabled_by_a_flag_with_or_without_a_value() {
    for (flag, line) in [
        ("--web.systemd-socket", "systemd_socket: true # --web.systemd-socket"),
        ("--web.systemd-socket=true", "systemd_socket: true # --web.systemd-socket"),
        ("--web.systemd-socket=false", "systemd_socket: false # --web.systemd-socket"),
        ("--log.level=info", "systemd_socket: false # default"),
    ] {
        let (code, out, err) = run(&mut scrapebroker(&["check-config", flag]));
        assert_eq!((code, &*err), (0, ""));
        assert!(out.lines().any(|it| it == line), "{line} in {out}");
    }
}
