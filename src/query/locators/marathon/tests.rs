use super::*;
use serde_json::{Value, json};
use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};
use support::{Instance, ReceivedRequest, Reply, certificates::Authority, closed_address};
use tokio::task::LocalSet;

mod login;

/// A stand-in for Marathon, whose answers are those of contract tests: one reply per path.
struct MarathonStandIn {
    server: Instance,
    replies: Rc<RefCell<HashMap<String, Reply>>>,
}

impl MarathonStandIn {
    async fn start() -> Self {
        Self::start_if(|_| None).await
    }

    /// `refusal` decides which requests are refused.
    async fn start_if(refusal: impl Fn(&ReceivedRequest) -> Option<Reply> + 'static) -> Self {
        let replies = Rc::<RefCell<HashMap<String, Reply>>>::default();
        let known = Rc::clone(&replies);
        let server = Instance::start(move |request| {
            refusal(request).unwrap_or_else(|| {
                let path = request.line.split(' ').nth(1).unwrap();
                known.borrow().get(path).cloned().unwrap_or_else(no_such_app)
            })
        })
        .await;
        Self { server, replies }
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// From now on the app `path` gets this reply.
    fn reply(&self, path: &str, reply: Reply) {
        self.replies.borrow_mut().insert(format!("/v2/apps/{path}"), reply);
    }

    /// From now on the app `path` has running tasks on these hosts, at port 31000.
    fn app(&self, path: &str, hosts: &[&str]) {
        self.reply(path, app(hosts));
    }

    fn lines(&self) -> Vec<String> {
        self.server.requests().into_iter().map(|request| request.line).collect()
    }
}

fn json_reply(status: u16, json: &Value) -> Reply {
    let content_type = ("Content-Type", "application/json".to_owned());
    Reply::Http(status, vec![content_type], json.to_string().into_bytes())
}

fn app(hosts: &[&str]) -> Reply {
    let task = |host: &&str| json!({ "host": host, "ports": [31000], "state": "TASK_RUNNING" });
    let tasks: Vec<_> = hosts.iter().map(task).collect();
    json_reply(200, &json!({ "app": { "id": "/x", "tasks": tasks } }))
}

fn no_such_app() -> Reply {
    json_reply(404, &json!({ "message": "App '/x' does not exist" }))
}

fn settings(urls: &[&str], apps: &[&str]) -> MarathonSettings {
    MarathonSettings {
        urls: urls.iter().map(|url| url.parse().unwrap()).collect(),
        apps: apps.iter().map(|id| id.parse().unwrap()).collect(),
        login: None,
        tls: ClientSettings::default(),
        is_https: false,
        path_prefix: String::new(),
        port_index: 0,
    }
}

fn locator(settings: MarathonSettings) -> MarathonLocator {
    MarathonLocator::new(settings).unwrap()
}

async fn found(locator: &mut MarathonLocator) -> Vec<String> {
    urls(locator.locate().await)
}

fn urls(located: Result<Vec<LocatedReplica>, LocatorError>) -> Vec<String> {
    located.unwrap().iter().map(|it| it.url.to_string()).collect()
}

async fn failed(locator: &mut MarathonLocator) -> String {
    locator.locate().await.unwrap_err().to_string()
}

#[tokio::test]
async fn tasks_of_all_apps_are_found_in_the_order_of_the_apps() {
    LocalSet::new()
        .run_until(async {
            let marathon = MarathonStandIn::start().await;
            marathon.app("b", &["h1", "::1"]);
            marathon.app("group/a%3F", &["h2"]);
            let mut all = settings(&[&marathon.url()], &["b", "/group/a?"]);
            all.is_https = true;
            all.path_prefix = "/prometheus".to_owned();
            let mut locator = locator(all);
            assert_eq!(locator.name(), format!("marathon {}", marathon.url()));
            let expected = [
                "https://h1:31000/prometheus",
                "https://[::1]:31000/prometheus",
                "https://h2:31000/prometheus",
            ];
            assert_eq!(found(&mut locator).await, expected);
            let request = &marathon.server.requests()[0];
            assert_eq!(request.headers["accept"], "application/json");
            assert!(!request.headers.contains_key("authorization"));
        })
        .await;
}

#[tokio::test]
async fn a_url_may_have_a_path_and_tls() {
    LocalSet::new()
        .run_until(async {
            let authority = Authority::new("ca");
            let identity = authority.issue("127.0.0.1");
            let acceptor = Some(identity.acceptor(None));
            let marathon = Instance::start_secured("127.0.0.1:0", acceptor, |request| {
                assert_eq!(request.line, "GET /service/marathon/v2/apps/a HTTP/1.1");
                app(&["h1"])
            })
            .await;
            let url = format!("https://{}/service/marathon/", marathon.address);
            let mut locator = locator(settings(&[&url], &["a"]));
            assert!(failed(&mut locator).await.contains("certificate"), "unknown ca");

            let mut trusting = settings(&[&url], &["a"]);
            trusting.tls.skip_verify = true;
            assert_eq!(found(&mut self::locator(trusting)).await, ["http://h1:31000"]);
        })
        .await;
}

#[tokio::test]
async fn the_next_host_is_asked_and_remembered() {
    LocalSet::new()
        .run_until(async {
            for reply in [
                Reply::Hang,
                Reply::Close,
                Reply::Http(503, vec![], vec![]),
                Reply::Http(500, vec![], b"{\"message\":\"x\"}".to_vec()),
                Reply::Http(200, vec![], b"<html>login</html>".to_vec()),
                Reply::Http(404, vec![], b"<html>not found</html>".to_vec()),
                Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{\"app\":".to_vec()),
            ] {
                let (broken, whole) =
                    (MarathonStandIn::start().await, MarathonStandIn::start().await);
                for path in ["a", "b"] {
                    broken.reply(path, reply.clone());
                }
                whole.app("a", &["h1"]);
                whole.app("b", &["h2"]);
                let refused = format!("http://{}", closed_address());
                let hosts = [&*refused, &broken.url(), &whole.url()];
                let mut locator = locator(settings(&hosts, &["a", "b"]));
                locator.api.http.timeout = Duration::from_millis(500);
                for _ in 0..2 {
                    assert_eq!(found(&mut locator).await, ["http://h1:31000", "http://h2:31000"]);
                }
                assert_eq!(broken.lines().len(), 2, "the host that responded is asked first");
            }
        })
        .await;
}

#[tokio::test]
async fn a_call_that_is_dropped_does_not_begin_with_the_same_host_again() {
    LocalSet::new()
        .run_until(async {
            let (hung, whole) = (MarathonStandIn::start().await, MarathonStandIn::start().await);
            hung.reply("a", Reply::Hang);
            whole.app("a", &["h1"]);
            let mut locator = locator(settings(&[&hung.url(), &whole.url()], &["a"]));
            let deadline = Duration::from_millis(500);
            assert!(tokio::time::timeout(deadline, locator.locate()).await.is_err());
            assert_eq!(found(&mut locator).await, ["http://h1:31000"]);
        })
        .await;
}

#[tokio::test]
async fn an_app_that_fails_keeps_its_replicas() {
    LocalSet::new()
        .run_until(async {
            let marathon = MarathonStandIn::start().await;
            let mut locator = locator(settings(&[&marathon.url()], &["a", "b"]));
            marathon.reply("a", Reply::Http(500, vec![], vec![]));
            marathon.app("b", &["h2"]);
            assert_eq!(found(&mut locator).await, ["http://h2:31000"], "a was never read");

            marathon.app("a", &["h1"]);
            assert_eq!(found(&mut locator).await, ["http://h1:31000", "http://h2:31000"]);
            for reply in
                [Reply::Close, Reply::Http(403, vec![], vec![]), Reply::Http(409, vec![], vec![])]
            {
                marathon.reply("a", reply);
                marathon.app("b", &["h3"]);
                assert_eq!(found(&mut locator).await, ["http://h1:31000", "http://h3:31000"]);
            }
            marathon.reply("a", no_such_app());
            assert_eq!(found(&mut locator).await, ["http://h3:31000"], "a was deleted");
        })
        .await;
}

#[tokio::test]
async fn no_answer_and_no_usable_task_are_errors() {
    LocalSet::new()
        .run_until(async {
            let marathon = MarathonStandIn::start().await;
            let url = marathon.url();
            let mut one = locator(settings(&[&url], &["a"]));
            let mut two = locator(settings(&[&url], &["a", "b"]));
            one.api.http.timeout = Duration::from_millis(300);
            let large = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec();
            let redirect = vec![("Location", "http://127.0.0.1:1/".to_owned())];
            let json = |body: &str| Reply::Http(200, vec![], body.as_bytes().to_vec());
            for (reply, expected) in [
                (no_such_app(), "app /a: Marathon has no such app (status 404)".to_owned()),
                (Reply::Http(401, vec![], vec![]), "Marathon requires a login (status 401); set ".to_owned()),
                (Reply::Http(403, vec![], vec![]), "does not allow to read the app (status 403)".to_owned()),
                (Reply::Http(302, redirect, vec![]), format!("app /a: {url} responded with a redirect (status 302)")),
                (Reply::Http(502, vec![], vec![]), format!("{url} responded with status 502")),
                (Reply::Http(204, vec![], vec![]), format!("{url} responded with status 204")),
                (Reply::Hang, format!("{url} did not respond within 0.3 s")),
                (Reply::Close, format!("{url} cannot be reached")),
                (Reply::Raw(large), format!("{url} responded with more than 16777216 bytes")),
                (json("{\"app\":{\"tasks\":["), format!("{url} responded with something other than the JSON")),
                (json("<html>"), format!("{url} responded with something other than the JSON")),
                (json("{\"app\":{\"tasks\":[]}}"), "no task is usable: app /a has no tasks".to_owned()),
                (
                    json("{\"app\":{\"tasks\":[{\"state\":\"TASK_RUNNING\",\"host\":\"h\",\"ports\":[]},{}]}}"),
                    "app /a: it has tasks: 1 not running, 1 without a usable port".to_owned(),
                ),
                (
                    json("{\"app\":{\"tasks\":[{\"state\":\"TASK_RUNNING\",\"host\":\"a b\",\"ports\":[1]}]}}"),
                    "1 without a usable port".to_owned(),
                ),
            ] {
                marathon.reply("a", reply);
                let error = failed(&mut one).await;
                assert!(error.contains(&expected), "{error}");
            }
            marathon.reply("a", Reply::Http(502, vec![], vec![]));
            let error = failed(&mut two).await;
            assert!(error.contains("app /a: ") && error.contains("; app /b: Marathon has no"), "{error}");
            marathon.reply("b", Reply::Http(502, vec![], vec![]));
            let expected = format!("no app can be read: {url} responded with status 502");
            assert_eq!(failed(&mut two).await, expected);
        })
        .await;
}
