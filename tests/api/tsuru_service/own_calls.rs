//! Only requests that Tsuru itself sends can change something. Tsuru users can send requests to
//! every URL below an instance through the service proxy of Tsuru. Such requests have the
//! credentials of the service, an event ID in the header, and any body.

use super::client::*;
use scrapebroker::{domain::CallsWithoutEventId, http::auth::BasicCredentials};

const M: &str = "/metrics/resources/m";

/// All requests that change something, with the form of Tsuru but without the event ID.
const CALLS: [(&str, &str, &str); 8] = [
    ("POST", "/metrics/resources", "name=n&team=payments"),
    ("PUT", "/metrics/resources/m", "plan=large&team=payments"),
    ("DELETE", "/metrics/resources/m", "user=u"),
    ("POST", "/metrics/resources/m/bind-app", "app-name=payroll&app-hosts=h"),
    ("DELETE", "/metrics/resources/m/bind-app", "app-name=shop"),
    ("POST", "/metrics/resources/m/bind", "app-name=payroll&app-hosts=h"),
    ("PUT", "/metrics/resources/m/binds/jobs/nightly", "job-name=nightly"),
    ("DELETE", "/metrics/resources/m/binds/jobs/weekly", "user=u"),
];

async fn prepare(api: &Api) {
    api.created("m").await;
    assert_eq!(api.post(&format!("{M}/bind-app"), "app-name=shop&app-hosts=h").await.status, 201);
    assert_eq!(api.put(&format!("{M}/binds/jobs/weekly"), "").await.status, 201);
}

/// Asserts that nothing has changed since [`prepare`].
async fn check_is_unchanged(api: &Api, tried: &str) {
    let all = api.broker.list().await.unwrap();
    let listed: Vec<_> = all
        .iter()
        .map(|(id, bindings)| {
            let mut bindings: Vec<_> = bindings.iter().map(|id| id.as_str()).collect();
            bindings.sort_unstable();
            (id.as_str(), bindings)
        })
        .collect();
    let bound = vec!["tsuru:metrics:m:app:shop", "tsuru:metrics:m:job:weekly"];
    assert_eq!(listed, [("tsuru:metrics:m", bound)], "{tried}");
    let kept = api.broker.fetch(&"tsuru:metrics:m".parse().unwrap()).await.unwrap();
    assert_eq!(kept.organization_guid.as_str(), "tsuru:checkout", "{tried}");
}

#[actix_web::test]
async fn a_request_without_the_event_id_in_its_body_is_refused() {
    on_both(async |api| {
        prepare(&api).await;
        for (method, path, form) in CALLS {
            for (header, body) in [
                (Some(EVENT), form.to_owned()),
                (Some(EVENT), String::new()),
                (Some(EVENT), format!("{form}&eventid=")),
                (Some(EVENT), format!("{form}&eventid=665f1c2ab8d5e9a1c0ffee02")),
                (Some(EVENT), format!("{form}&eventid={EVENT}&eventid={EVENT}")),
                (Some(EVENT), format!("{form}&eventid={}", EVENT.to_uppercase())),
                (Some(EVENT), format!("{form}&parameters.eventid={EVENT}")),
                (Some(""), format!("{form}&eventid=")),
                (Some(""), format!("{form}&eventid={EVENT}")),
                (None, format!("{form}&eventid={EVENT}")),
                (None, form.to_owned()),
            ] {
                let mut request = api.request(method, path).content_type(FORM);
                if let Some(header) = header {
                    request = request.insert_header((EVENT_ID, header));
                }
                let answer = send_request(request, body.as_str()).await;
                let tried = format!("{method} {path} {header:?} {body}");
                assert_eq!(answer.status, 403, "{tried} {}", answer.text);
                let setting = "broker.tsuru_calls_without_event_id";
                assert!(answer.text.contains(setting), "{tried} {}", answer.text);
                check_is_unchanged(&api, &tried).await;
            }
            let twice = api.own(method, path).append_header((EVENT_ID, EVENT)).content_type(FORM);
            let answer = send_request(twice, format!("{form}&eventid={EVENT}")).await;
            assert_eq!(answer.status, 403, "{method} {path} {}", answer.text);
            check_is_unchanged(&api, "two headers").await;
        }
    })
    .await;
}

#[actix_web::test]
async fn a_url_in_a_spelling_that_tsuru_does_not_use_is_refused() {
    on_sqlite(async |api| {
        prepare(&api).await;
        let spellings = [
            "m/bind-app?x",
            "m/bind-app?",
            "m/bind-app%3Fx",
            "m/bind-app%23x",
            "m/%62ind-app",
            "m/%2562ind-app",
            "m/%252562ind-app",
            "m/bind%2Dapp",
            "m/bind-app/",
            "m//bind-app",
            "m/./bind-app",
            "m/x/../bind-app",
            "m/%2e%2e/m/bind-app",
            "m/..%2Fm/bind-app",
            "m/bind-app;x=1",
            "m/bind-app.",
            "m/bind-app%00",
            "m/bind-app%20",
            "m/bind?x",
            "m/%62ind",
            "m%2Fbind-app",
            "%6D/bind-app",
            "m/binds%2Fjobs/j",
            "m/binds%2Fjobs%2Fj",
            "m/binds/%6Aobs/j",
            "m/binds/jobs/j?x",
            "m/binds/jobs/%6A",
            "m/status%2F..%2Fbind-app",
            "m/?x",
            "m?x",
            "%6D",
            "m%3F",
            "m/",
            "plans/../m/bind-app",
            "?x",
            "",
        ];
        for spelling in spellings {
            let path = format!("/metrics/resources/{spelling}");
            for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
                let form = "app-name=payroll&name=n&team=t&plan=large";
                let answer = api.form(method, &path, form).await;
                assert_eq!(answer.status, 403, "{method} {path} {}", answer.text);
                check_is_unchanged(&api, &format!("{method} {path}")).await;
            }
        }
        // Other spellings of these URLs do not exist.
        for path in ["m/Bind-App", "m/BIND", "m/bind_app", "m/bind-apps", "m/binds/Jobs/j"] {
            let path = format!("/metrics/resources/{path}");
            let answer = api.form("POST", &path, "app-name=payroll").await;
            assert_eq!(answer.status, 404, "{path} {}", answer.text);
            check_is_unchanged(&api, &path).await;
        }
        for path in ["x", "../resources/m/bind-app", "%2e%2e/resources/m/bind-app"] {
            let path = format!("/metrics/authenticated-resources/{path}");
            let answer = api.form("POST", &path, "app-name=payroll").await;
            assert!([403, 404].contains(&answer.status), "{path} {}", answer.text);
            check_is_unchanged(&api, &path).await;
        }
    })
    .await;
}

#[actix_web::test]
async fn a_service_with_special_characters_is_reachable_by_its_encoded_name() {
    on_sqlite(async |api| {
        let mut document = catalog().document().clone();
        document["services"][0]["name"] = "my metrics, 100%".into();
        let catalog = scrapebroker::domain::Catalog::parse(&document, BASE_URL).unwrap();
        api.broker.replace_catalog(catalog);
        let made = api.post("/my%20metrics%2C%20100%25/resources", "name=m&team=t").await;
        assert_eq!(made.status, 201, "{}", made.text);
    })
    .await;
}

#[actix_web::test]
async fn unbinds_of_jobs_without_a_body_are_accepted_if_configured() {
    on_sqlite(async |api| {
        prepare(&api).await;
        let credentials = || Some(BasicCredentials::new("broker", &"secret".into()));
        let accepted = CallsWithoutEventId::JobUnbinds;
        let api = Api::serve_accepting(api.broker, credentials(), accepted);
        for (method, path, form) in CALLS {
            let request = api.own(method, path).content_type(FORM);
            let answer = send_request(request, form).await;
            let is_job_unbind = method == "DELETE" && path.contains("/jobs/");
            assert_eq!(answer.status, if is_job_unbind { 200 } else { 403 }, "{method} {path}");
        }
        let job = format!("{M}/binds/jobs/weekly");
        assert_eq!(api.put(&job, "").await.status, 201, "the job was unbound");
        // The proxy always sets the header, so a request without it is refused.
        let without = send_request(api.request("DELETE", &job), "").await;
        assert_eq!(without.status, 403, "{}", without.text);
        assert_eq!(send_request(api.own("DELETE", &job), "").await.status, 200);
        let other = api.own("DELETE", &job).content_type(FORM);
        assert_eq!(
            send_request(other, "eventid=1").await.status,
            403,
            "another event ID is always refused"
        );
    })
    .await;
}

#[actix_web::test]
async fn all_requests_without_an_event_id_are_accepted_if_configured() {
    on_sqlite(async |api| {
        let credentials = Some(BasicCredentials::new("broker", &"secret".into()));
        let accepted = CallsWithoutEventId::Accept;
        let api = Api::serve_accepting(api.broker, credentials, accepted);
        for (method, path, form) in [
            ("POST", "/metrics/resources", "name=m&team=t"),
            ("POST", "/metrics/resources/m/bind-app", "app-name=shop"),
            ("PUT", "/metrics/resources/m", "plan=large&eventid=1"),
            ("DELETE", "/metrics/resources/m/bind-app", "app-name=shop"),
        ] {
            let request = api.request(method, path).content_type(FORM);
            let answer = send_request(request, form).await;
            assert!(answer.status < 300, "{method} {path} {}", answer.text);
        }
        let other = api.own("DELETE", M).content_type(FORM);
        assert_eq!(
            send_request(other, "eventid=1").await.status,
            403,
            "another event ID is always refused"
        );
        assert_eq!(send_request(api.request("DELETE", M), "").await.status, 200);
    })
    .await;
}

#[actix_web::test]
async fn a_bind_of_a_unit_never_binds_an_app() {
    on_sqlite(async |api| {
        prepare(&api).await;
        let request = api.own("POST", &format!("{M}/bind")).content_type(FORM);
        let unit = send_request(request, "app-name=payroll&unit-host=").await;
        assert_eq!((unit.status, &*unit.text), (200, "{}"));
        let request = api.own("POST", &format!("{M}/bind-app")).content_type(FORM);
        let app = send_request(request, "app-name=payroll&unit-host=").await;
        assert_eq!(app.status, 403, "{}", app.text);
        check_is_unchanged(&api, "unit-host").await;
    })
    .await;
}
