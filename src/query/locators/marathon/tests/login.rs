use super::*;
use base64::{Engine, engine::general_purpose::STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use std::cell::Cell;

const PKCS1: &str = include_str!("../../../../../tests/fixtures/dcos_key_pkcs1.pem");
const PKCS8: &str = include_str!("../../../../../tests/fixtures/dcos_key_pkcs8.pem");
const PUBLIC: &str = include_str!("../../../../../tests/fixtures/dcos_public_key.pem");

/// A stand-in for DC/OS: a Marathon that requires the current token, and the login that gives it.
struct DcosStandIn {
    marathon: MarathonStandIn,
    /// Number of logins so far; the current token is `token-NUMBER`.
    logins: Rc<Cell<usize>>,
}

impl DcosStandIn {
    /// `is_valid` checks the body of a login.
    async fn start(is_valid: impl Fn(&Value) -> bool + 'static) -> Self {
        let logins = Rc::<Cell<usize>>::default();
        let count = Rc::clone(&logins);
        let refusal = move |request: &ReceivedRequest| {
            if request.line == "POST /acs/api/v1/auth/login HTTP/1.1" {
                assert_eq!(request.headers["content-type"], "application/json");
                assert!(!request.headers.contains_key("authorization"));
                if !is_valid(&serde_json::from_str(&request.body).unwrap()) {
                    return Some(Reply::Http(401, vec![], vec![]));
                }
                count.set(count.get() + 1);
                return Some(json_reply(
                    200,
                    &json!({ "token": format!("token-{}", count.get()) }),
                ));
            }
            let current = format!("token=token-{}", count.get());
            let is_current = request.headers.get("authorization") == Some(&current);
            (!is_current).then(|| Reply::Http(401, vec![], vec![]))
        };
        Self { marathon: MarathonStandIn::start_if(refusal).await, logins }
    }

    fn endpoint(&self) -> String {
        format!("{}/acs/api/v1/auth/login", self.marathon.url())
    }

    /// From now on the apps `a` and `b` exist.
    fn with_apps(self) -> Self {
        for (path, host) in [("a", "h1"), ("b", "h2")] {
            self.marathon
                .replies
                .borrow_mut()
                .insert(format!("/marathon/v2/apps/{path}"), app(&[host]));
        }
        self
    }

    fn locator(&self, secret: &Value) -> MarathonLocator {
        let mut settings = settings(&[&self.marathon.url()], &["a", "b"]);
        let endpoint = self.endpoint().parse().unwrap();
        settings.login = DcosLogin::new(secret.to_string().parse().unwrap(), Some(endpoint));
        locator(settings)
    }

    /// The present token is not valid any more.
    fn revoke(&self) {
        self.logins.set(self.logins.get() + 1);
    }
}

/// Whether the token of a login is signed with the private key.
fn is_signed(login: &Value) -> bool {
    let token = login["token"].as_str().unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
    let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)).unwrap();
    assert_eq!(json(header), json!({ "alg": "RS256", "typ": "JWT" }));
    assert_eq!(json(claims), json!({ "uid": login["uid"] }));
    let key: String = PUBLIC.lines().filter(|line| !line.starts_with('-')).collect();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, STANDARD.decode(key).unwrap());
    key.verify(signed.as_bytes(), &decode(signature)).is_ok()
}

fn password() -> Value {
    json!({ "uid": "mpp", "password": "hunter2" })
}

#[tokio::test]
async fn a_key_signs_the_login_and_the_token_is_kept() {
    LocalSet::new()
        .run_until(async {
            for key in [PKCS1, PKCS8] {
                let dcos = DcosStandIn::start(is_signed).await.with_apps();
                let secret = json!({ "uid": "mpp", "scheme": "RS256", "private_key": key });
                let mut locator = dcos.locator(&secret);
                for _ in 0..3 {
                    assert_eq!(found(&mut locator).await, ["http://h1:31000", "http://h2:31000"]);
                }
                assert_eq!(dcos.logins.get(), 1);
            }
        })
        .await;
}

#[tokio::test]
async fn a_rejected_token_is_replaced_once_for_all_apps() {
    LocalSet::new()
        .run_until(async {
            let is_valid = |login: &Value| *login == password();
            let dcos = DcosStandIn::start(is_valid).await.with_apps();
            let mut locator = dcos.locator(&password());
            found(&mut locator).await;
            dcos.revoke();
            let calls = dcos.marathon.lines().len();
            assert_eq!(found(&mut locator).await, ["http://h1:31000", "http://h2:31000"]);
            assert_eq!(dcos.logins.get(), 3, "one login at start, one revocation, one login");
            assert_eq!(dcos.marathon.lines().len() - calls, 5);
        })
        .await;
}

#[tokio::test]
async fn a_token_that_is_rejected_for_one_app_is_replaced_for_that_app() {
    LocalSet::new()
        .run_until(async {
            let dcos = DcosStandIn::start(|_| true).await.with_apps();
            let mut locator = dcos.locator(&password());
            found(&mut locator).await;
            let unauthorized = Reply::Http(401, vec![], vec![]);
            dcos.marathon
                .replies
                .borrow_mut()
                .insert("/marathon/v2/apps/b".to_owned(), unauthorized);
            let calls = dcos.marathon.lines().len();
            assert_eq!(found(&mut locator).await, ["http://h1:31000", "http://h2:31000"]);
            let lines = &dcos.marathon.lines()[calls..];
            let of = |path: &str| lines.iter().filter(|line| line.contains(path)).count();
            assert_eq!((of("/apps/a"), of("/login"), of("/apps/b")), (1, 1, 2));
            let problem = locator.apps[1].problem.as_deref().unwrap();
            assert_eq!(problem, "Marathon does not accept the token of a new login (status 401)");
        })
        .await;
}

#[tokio::test]
async fn a_failed_login_is_an_error_and_is_repeated_the_next_time() {
    LocalSet::new()
        .run_until(async {
            let is_allowed = Rc::<Cell<bool>>::default();
            let allowed = Rc::clone(&is_allowed);
            let dcos = DcosStandIn::start(move |_| allowed.get()).await.with_apps();
            let mut locator = dcos.locator(&password());
            let expected = format!(
                "no app can be read: the login endpoint {} does not accept the principal secret (status 401); check principal_secret",
                dcos.endpoint()
            );
            assert_eq!(failed(&mut locator).await, expected);
            is_allowed.set(true);
            assert_eq!(found(&mut locator).await.len(), 2);
        })
        .await;
}

#[tokio::test]
async fn an_answer_of_the_login_without_a_token_is_an_error() {
    LocalSet::new()
        .run_until(async {
            let json = |body: &str| Reply::Http(200, vec![], body.as_bytes().to_vec());
            let redirect = vec![("Location", "http://127.0.0.1:1/".to_owned())];
            for (reply, expected) in [
                (json("{}"), "responded without a token"),
                (json("<html>"), "responded without a token"),
                (json("{\"token\":\"a\\nb\"}"), "responded without a token"),
                (Reply::Http(302, redirect, vec![]), "responded with a redirect (status 302)"),
                (Reply::Http(500, vec![], vec![]), "responded with status 500"),
                (Reply::Hang, "did not respond within 0.3 s"),
                (Reply::Close, "cannot be reached"),
            ] {
                let marathon = MarathonStandIn::start_if(move |_| Some(reply.clone())).await;
                let mut settings = settings(&[&marathon.url()], &["a"]);
                let endpoint = format!("{}/login", marathon.url());
                let secret = json!({ "uid": "u", "password": "p", "login_endpoint": endpoint });
                settings.login = DcosLogin::new(secret.to_string().parse().unwrap(), None);
                let mut locator = locator(settings);
                locator.api.http.timeout = Duration::from_millis(300);
                let error = failed(&mut locator).await;
                assert!(
                    error.starts_with(&format!("app /a: the login endpoint {endpoint} {expected}")),
                    "{error}"
                );
                assert_eq!(marathon.lines().len(), 1, "Marathon is not called without a token");
            }
        })
        .await;
}

#[test]
fn a_wrong_secret_is_described_and_never_quoted() {
    let key = |pem: &str| json!({ "uid": "u", "private_key": pem }).to_string();
    let elliptic = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (secret, expected) in [
        ("hunter2".to_owned(), "is not the JSON of a DC/OS service account secret"),
        ("{\"uid\":\"hunter2\"}".to_owned(), "and private_key or password"),
        ("{\"uid\":\"u\",\"password\":[\"hunter2\"]}".to_owned(), "is not the JSON"),
        ("{\"password\":\"hunter2\"}".to_owned(), "it has uid"),
        (key("hunter2"), "is not an RSA key of 2048"),
        (
            key("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----"),
            "is not an RSA key of 2048",
        ),
        (key(&elliptic), "is not an RSA key of 2048"),
        (
            "{\"uid\":\"u\",\"password\":\"p\",\"login_endpoint\":\"ftp://hunter2\"}".to_owned(),
            "login_endpoint must begin with http",
        ),
    ] {
        let error = secret.parse::<DcosSecret>().unwrap_err();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
    }
    let secret: DcosSecret =
        json!({ "uid": "u", "password": "hunter2" }).to_string().parse().unwrap();
    assert!(DcosLogin::new(secret.clone(), None).is_none());
    let login = DcosLogin::new(secret, Some("http://x/login".parse().unwrap())).unwrap();
    assert!(!format!("{login:?}").contains("hunter2"), "{login:?}");
    let secret: DcosSecret = key(PKCS8).parse().unwrap();
    assert!(format!("{secret:?}").contains("Key(..)"));
}
