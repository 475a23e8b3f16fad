//! Invalid input: the response is a 4xx with a JSON body, and nothing is changed.

use super::client::*;
use actix_web::web::Bytes;
use awc::ClientRequest;
use serde_json::Value;

async fn send(request: ClientRequest, body: impl Into<Bytes>) -> (u16, Value) {
    let mut response = request.send_body(body.into()).await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.body().await.unwrap()).unwrap())
}

#[actix_web::test]
async fn an_invalid_body_is_400() {
    on_sqlite(async |api| {
        let deep = "[".repeat(100_000);
        let deep_parameters = format!(
            "{{\"parameters\": {}{}}}",
            "{\"a\":".repeat(5_000),
            "1".to_owned() + &"}".repeat(5_000)
        );
        let bodies: [&[u8]; 13] = [
            b"",
            b" ",
            b"{",
            b"null",
            b"[]",
            b"5",
            b"\"text\"",
            b"{}",
            b"{\"service_id\": \"\xff\"}",
            b"{\"service_id\": \"\\ud800\"}",
            b"{\"service_id\": 1e999}",
            deep.as_bytes(),
            deep_parameters.as_bytes(),
        ];
        let targets =
            [("PUT", instance("i")), ("PATCH", instance("i")), ("PUT", binding("i", "b"))];
        for (method, path) in &targets {
            for body in bodies {
                let body = Bytes::copy_from_slice(body);
                let (status, answer) = send(api.request(method, path), body.clone()).await;
                let start = &body[..body.len().min(40)];
                assert_eq!(status, 400, "{method} {path} {start:?} {answer}");
                assert!(answer["description"].is_string(), "{answer}");
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn a_body_of_more_than_a_mebibyte_is_413() {
    on_sqlite(async |api| {
        let large = format!("{{\"x\": \"{}\"}}", "x".repeat(1 << 20));
        let (status, answer) = send(api.request("PUT", &instance("i")), large.clone()).await;
        assert_eq!(
            (status, &answer["description"]),
            (413, &"the body is larger than 1048576 bytes".into())
        );
        // A chunked body has no announced length.
        let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(large))]);
        let mut response = api.request("PUT", &instance("i")).send_stream(chunks).await.unwrap();
        assert_eq!(response.status(), 413);
        response.body().await.unwrap();
        assert_eq!(api.get("/v2/catalog").await.status, 200);
    })
    .await;
}

#[actix_web::test]
async fn json_is_accepted_with_and_without_its_content_type() {
    on_sqlite(async |api| {
        let body = provision().to_string();
        for (content_type, status) in [
            (None, 201),
            (Some("application/json"), 200),
            (Some("application/json; charset=utf-8"), 200),
            (Some("application/vnd.api+json"), 200),
            (Some("text/plain"), 400),
            (Some("application/x-www-form-urlencoded"), 400),
            (Some("nonsense"), 400),
            (Some(""), 400),
        ] {
            let mut request = api.request("PUT", &instance("i"));
            if let Some(content_type) = content_type {
                request = request.insert_header(("Content-Type", content_type));
            }
            let (answered, answer) = send(request, body.clone()).await;
            assert_eq!(answered, status, "{content_type:?} {answer}");
        }
    })
    .await;
}

#[actix_web::test]
async fn errors_do_not_contain_values_of_secrets() {
    on_sqlite(async |api| {
        api.put(&instance("i"), &provision()).await;
        for parameters in [
            serde_json::json!({"bearer_token": "hunter2\n"}),
            serde_json::json!({"headers": {"X": ["hunter2"]}}),
            serde_json::json!({"basic_auth": {"username": "hunter2:", "password": "hunter2"}}),
            serde_json::json!({"basic_auth": "hunter2"}),
        ] {
            let body = with(bind("app"), "parameters", parameters);
            let answer = api.put(&binding("i", "b"), &body).await;
            assert_eq!(answer.status, 400);
            assert!(!answer.description().contains("hunter2"), "{answer:?}");
        }
    })
    .await;
}

#[actix_web::test]
async fn invalid_query_strings_are_4xx() {
    on_sqlite(async |api| {
        for query in ["?", "?%ff=%ff", "?service_id=%ff&plan_id=%ff", "?&&&=", "?a=%zz", "?\u{5b}x"]
        {
            for path in [instance("i"), binding("i", "b")] {
                for method in ["GET", "DELETE"] {
                    let path = format!("{path}{query}");
                    let status = send_request(api.request(method, &path), None).await.status;
                    assert!((400..500).contains(&status), "{method} {path} {status}");
                }
            }
        }
    })
    .await;
}

/// Otherwise a user of this API could access instances of Tsuru users.
#[actix_web::test]
async fn ids_with_the_prefix_of_tsuru_are_refused() {
    on_sqlite(async |api| {
        api.put(&instance("i"), &provision()).await;
        let of_tsuru = "tsuru:metrics:m";
        let app = serde_json::json!({"app_guid": of_tsuru});
        let answers = [
            api.put(&instance(of_tsuru), &provision()).await,
            api.put(&instance("tsuru%3Am"), &provision()).await,
            api.get(&instance(of_tsuru)).await,
            api.delete(&instance(of_tsuru)).await,
            api.put(&instance("j"), &with(provision(), "space_guid", of_tsuru.into())).await,
            api.put(&instance("j"), &with(provision(), "organization_guid", of_tsuru.into())).await,
            api.put(&binding("i", of_tsuru), &bind("app")).await,
            api.put(&binding("i", "b"), &bind(of_tsuru)).await,
            api.put(&binding("i", "b"), &with(bind("app"), "bind_resource", app)).await,
            api.delete(&binding("i", of_tsuru)).await,
        ];
        for answer in answers {
            assert_eq!(answer.status, 400, "{answer:?}");
            assert!(answer.description().contains("must not begin with tsuru:"), "{answer:?}");
        }
    })
    .await;
}
