use super::testing::{Behaviour, TestRouter, http};
use super::*;
use crate::domain::BasicAuth;
use tokio::task::LocalSet;

const LIMIT: u64 = 1000;

async fn fetch_once(
    behaviour: Behaviour,
    credentials: Option<&str>,
) -> Result<Vec<u8>, SourceError> {
    let router = TestRouter::start(behaviour).await;
    let credentials = credentials.map(|password| BasicAuth {
        username: "router-status".to_owned(),
        password: password.into(),
    });
    let gorouter = Gorouter { url: router.url(), credentials };
    let client = net::client(net::connector(None));
    LocalSet::new().run_until(fetch_table(&client, &gorouter, LIMIT)).await
}

#[tokio::test]
async fn a_complete_response_is_returned_unchanged() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n5\r\n\":[]}\r\n0\r\n\r\n";
    let whole = http(200, "", "{\"a\":[]}");
    let interim = format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nA: b\r\n\r\n{whole}");
    let answers = [
        whole,
        interim,
        chunked.to_owned(),
        "HTTP/1.0 200 OK\r\n\r\n{\"a\":[]}".to_owned(),
        "HTTP/1.1 200 OK\r\n\r\n{\"a\":[]}".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n{\"a\":[]}".to_owned(),
    ];
    for answer in answers {
        let body = fetch_once(Behaviour::Answer(answer.clone()), None).await.unwrap();
        assert_eq!(body, b"{\"a\":[]}", "{answer}");
    }
}

#[tokio::test]
async fn credentials_are_sent_and_a_rejection_is_reported() {
    let guarded = Behaviour::Guarded("cm91dGVyLXN0YXR1czpwYTpzcw==".to_owned());
    assert_eq!(fetch_once(guarded.clone(), Some("pa:ss")).await.unwrap(), b"{}");
    let error = fetch_once(guarded, Some("wrong")).await.unwrap_err().to_string();
    let expected = "does not accept the credentials (status 401); check username and password";
    assert_eq!(error, expected);
}

#[tokio::test]
async fn an_incomplete_or_invalid_response_is_a_failure_with_a_reason() {
    let long = "x".repeat(1001);
    let cases = [
        (http(403, "", ""), "does not accept the credentials (status 403)"),
        (http(302, "Location: http://127.0.0.1:1/\r\n", ""), "redirect (status 302)"),
        (http(503, "", "{}"), "responded with status 503"),
        (http(204, "", ""), "responded with status 204"),
        (http(200, "", &long), "more than 1000 bytes"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2000000000\r\n\r\n{".to_owned(),
            "more than 1000 bytes",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned(),
            "before the response was complete",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n".to_owned(),
            "closed the connection before the response was complete: the connection was closed within",
        ),
        ("220 smtp ready\r\n".to_owned(), "cannot be reached"),
        ("220 smtp ready\r\n\r\n".to_owned(), "cannot be reached: the response is not HTTP"),
        ("HTTP/1.1 101 X\r\n\r\n".to_owned(), "switches to another protocol"),
        (String::new(), "cannot be reached"),
    ];
    for (answer, expected) in cases {
        let error = fetch_once(Behaviour::Answer(answer.clone()), None).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{answer:.60}: {text}");
        assert!(text.len() < 300, "{text}");
    }
}

#[tokio::test]
async fn an_endless_body_is_rejected_at_the_limit() {
    let error = fetch_once(Behaviour::Endless, None).await.unwrap_err();
    assert_eq!(error.to_string(), "responded with more than 1000 bytes");
}

#[tokio::test]
async fn an_unusable_url_is_a_failure_and_no_panic() {
    let client = Client::default();
    for url in ["", "http://", "http:///routes", "https://h/routes", "h:80/x", "/routes", "ftp://h"]
    {
        let gorouter = Gorouter { url: url.to_owned(), credentials: None };
        let result = LocalSet::new().run_until(fetch_table(&client, &gorouter, LIMIT)).await;
        assert!(matches!(result, Err(SourceError::Url)), "{url}");
    }
}

#[test]
fn a_name_shows_no_credentials() {
    let cases = [
        ("http://127.0.0.1:8082/routes", "gorouter 127.0.0.1:8082"),
        ("http://user:secret@router.test/routes?token=secret", "gorouter router.test"),
        ("http://[::1]:8082/routes", "gorouter [::1]:8082"),
        ("secret", "gorouter with an unusable URL"),
    ];
    for (url, expected) in cases {
        let gorouter = Gorouter { url: url.to_owned(), credentials: None };
        assert_eq!(gorouter.name(), expected);
    }
}
