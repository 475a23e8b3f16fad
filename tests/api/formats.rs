//! Exposition formats: content negotiation with scrapers and with instances.

use crate::{promtool, test_app::*};
use support::{protobuf, *};

const PATH: &str = "/v1/apps/app-guid/metrics";
const ONLY_APP: &str = "/v1/apps/app-guid/only-app-metrics";

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const UTF8: &str = "escaping=allow-utf-8";

const ASK_OPENMETRICS: (&str, &str) = ("Accept", "application/openmetrics-text;version=1.0.0");
const ASK_PROTOBUF: (&str, &str) = (
    "Accept",
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
);

/// Metrics in the text format 0.0.4. [`AS_OPENMETRICS`] has the same metrics.
const AS_TEXT: &str = "# HELP jobs_total Jobs done.
# TYPE jobs_total counter
jobs_total{queue=\"a\"} 5
# TYPE load gauge
load 1.5 1520879607789
# TYPE seconds histogram
seconds_bucket{le=\"1\"} 2
seconds_bucket{le=\"+Inf\"} 3
seconds_sum 4.5
seconds_count 3
";
const AS_OPENMETRICS: &str = "# TYPE jobs counter
# HELP jobs Jobs done.
jobs_total{queue=\"a\"} 7 # {trace_id=\"abc\"} 1 1520879607.789
jobs_created{queue=\"a\"} 1520872607.123
# TYPE load gauge
load 2.5 1520879607.789
# TYPE seconds histogram
seconds_bucket{le=\"1.0\"} 1
seconds_bucket{le=\"+Inf\"} 1
seconds_sum 0.5
seconds_count 1
# TYPE version info
version_info{version=\"1\"} 1
# EOF
";

/// The metrics `jobs` and `load` of [`AS_OPENMETRICS`] in protobuf.
fn as_protobuf() -> Vec<u8> {
    use protobuf::{delimited, double, message, number, text};
    let queue = message(1, &[text(1, "queue"), text(2, "a")]);
    let exemplar = message(
        2,
        &[
            message(1, &[text(1, "trace_id"), text(2, "abc")]),
            double(2, 1.0),
            message(3, &[number(1, 1_520_879_607), number(2, 789_000_000)]),
        ],
    );
    let jobs = [
        text(1, "jobs_total"),
        text(2, "Jobs done."),
        number(3, 0),
        message(4, &[queue, message(3, &[double(1, 9.0), exemplar])]),
    ];
    let load = [
        text(1, "load"),
        number(3, 1),
        message(4, &[message(2, &[double(1, 3.5)]), number(6, 1_520_879_607_789)]),
    ];
    [delimited(&jobs), delimited(&load)].concat()
}

fn typed(content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
    Reply::Http(200, vec![("Content-Type", content_type.to_owned())], body.into())
}

async fn instance_with_body(content_type: &str, body: impl Into<Vec<u8>>) -> Instance {
    let reply = typed(content_type, body);
    Instance::start(move |_| reply.clone()).await
}

/// One instance per format, in the order text, OpenMetrics, protobuf.
async fn instances_of_each_format() -> [Instance; 3] {
    [
        instance_with_body(TEXT, AS_TEXT).await,
        instance_with_body(OPENMETRICS, AS_OPENMETRICS).await,
        instance_with_body(protobuf::CONTENT_TYPE, as_protobuf()).await,
    ]
}

const PROMETHEUS_2: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
const PROMETHEUS_2_NATIVE: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
const PROMETHEUS_2_49: &str = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=2";
const PROMETHEUS_3_0: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2";
const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
const PROMETHEUS_3_NATIVE: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

#[actix_web::test]
async fn the_response_for_a_text_app_is_text_if_the_scraper_accepts_it() {
    let instance = instance_with_body(TEXT, AS_TEXT).await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let newer = "text/plain; version=1.0.0; charset=utf-8";
    let newer_utf8 = format!("{newer}; {UTF8}");
    // The first response has the text version that the scraper prefers. Then the program knows the
    // format of the app.
    for expected in [&*newer_utf8, TEXT, TEXT] {
        let answer = app.get_with(PATH, &[("Accept", PROMETHEUS_3)]).await;
        assert_eq!(answer.headers["content-type"], expected);
        assert!(answer.text().contains("seconds_bucket{le=\"1\","), "{}", answer.text());
    }
    let cases = [
        (PROMETHEUS_2, TEXT),
        (PROMETHEUS_2_NATIVE, TEXT),
        (PROMETHEUS_2_49, TEXT),
        (PROMETHEUS_3_0, TEXT),
        (PROMETHEUS_3_NATIVE, TEXT),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),
        ("*/*", TEXT),
        ("application/openmetrics-text;version=1.0.0,*/*;q=0.1", TEXT),
        ("text/plain;version=1.0.0", newer),
        (ASK_OPENMETRICS.1, OPENMETRICS),
        (ASK_PROTOBUF.1, protobuf::CONTENT_TYPE),
    ];
    for (accept, content_type) in cases {
        for path in [PATH, "/v2/apps/app-guid/metrics"] {
            let answer = app.get_with(path, &[("Accept", accept)]).await;
            assert_eq!(answer.status, 200, "{accept}");
            assert_eq!(answer.headers["content-type"], content_type, "{accept}");
            assert_eq!(answer.headers["vary"], "Accept, Accept-Encoding", "{accept}");
            let length = answer.body.len().to_string();
            assert_eq!(answer.headers["content-length"], length, "{accept}");
            if content_type == TEXT {
                assert!(answer.text().contains("seconds_bucket{le=\"1\","), "{}", answer.text());
            }
        }
    }
    assert_eq!(app.get(PATH).await.headers["content-type"], TEXT);
    // The list can be split into several `Accept` headers.
    let split = [("Accept", "text/plain;q=0.1"), ASK_OPENMETRICS];
    assert_eq!(app.get_with(PATH, &split).await.headers["content-type"], TEXT);
}

#[actix_web::test]
async fn the_response_has_the_format_of_the_last_scrape_of_the_app() {
    let protobuf_body = as_protobuf();
    // The instance supports all formats and selects the first one of `Accept`.
    let instance = Instance::start(move |seen| {
        let accept = seen.headers.get("accept").cloned().unwrap_or_default();
        match accept.split(';').next() {
            Some("application/openmetrics-text") => typed(OPENMETRICS, AS_OPENMETRICS),
            Some("application/vnd.google.protobuf") => {
                typed(protobuf::CONTENT_TYPE, protobuf_body.clone())
            }
            _ => typed(TEXT, AS_TEXT),
        }
    })
    .await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let get = async |accept: &str| {
        let answer = app.get_with(PATH, &[("Accept", accept)]).await;
        answer.headers["content-type"].clone()
    };
    // The response is text until the format of the app is known. Scrapers with other preferences do
    // not change this.
    assert_eq!(get(PROMETHEUS_2).await, TEXT);
    for _ in 0..3 {
        assert_eq!(get(PROMETHEUS_2).await, OPENMETRICS);
        assert_eq!(get("*/*").await, TEXT);
    }
    assert_eq!(get(PROMETHEUS_2_NATIVE).await, TEXT);
    for _ in 0..2 {
        assert_eq!(get(PROMETHEUS_2_NATIVE).await, protobuf::CONTENT_TYPE);
        assert_eq!(get(PROMETHEUS_2).await, OPENMETRICS);
    }
}

#[actix_web::test]
async fn the_response_for_instances_with_different_formats_is_text() {
    let instances = instances_of_each_format().await;
    let routes = RouteFile::of_app(&instances);
    let app = spawn_app(&[routes.setting()]).await;
    for accept in [PROMETHEUS_2, PROMETHEUS_2_NATIVE] {
        for _ in 0..3 {
            let answer = app.get_with(PATH, &[("Accept", accept)]).await;
            assert_eq!(answer.headers["content-type"], TEXT, "{accept}");
            let text = answer.text();
            assert_eq!(answer.lines("jobs_total{").len(), 3, "{text}");
            assert_eq!(answer.lines("seconds_bucket{le=\"1\",").len(), 1, "{text}");
            assert_eq!(answer.lines("seconds_bucket{le=\"1.0\",").len(), 1, "{text}");
        }
    }
}

#[actix_web::test]
async fn instances_receive_the_preferences_of_the_scraper_and_below_v2_text() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let text = "text/plain;version=0.0.4;q=1,*/*;q=0.1";
    let openmetrics = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=1,";
    let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;q=1,application/openmetrics-text;";
    let v2 = "/v2/apps/app-guid/metrics";
    let cases = [
        (PATH, None, text),
        (PATH, Some(ASK_OPENMETRICS), openmetrics),
        (PATH, Some(ASK_PROTOBUF), protobuf),
        (v2, Some(ASK_OPENMETRICS), text),
        (v2, Some(ASK_PROTOBUF), text),
    ];
    for (path, accept, expected_accept) in cases {
        let headers: Vec<_> = accept.into_iter().collect();
        app.get_with(path, &headers).await;
        let seen = instance.requests().last().unwrap().headers["accept"].clone();
        assert!(seen.starts_with(expected_accept), "{path} {accept:?}: {seen}");
        assert!(seen.ends_with("*/*;q=0.1"), "{seen}");
    }
}

#[actix_web::test]
async fn a_text_scraper_gets_text_from_instances_of_every_format() {
    let instances = instances_of_each_format().await;
    let routes = RouteFile::of_app(&instances);
    let app = spawn_app(&[routes.setting()]).await;
    let answer = app.get(PATH).await;
    let text = answer.text();
    assert_eq!(answer.headers["content-type"], TEXT);
    assert_eq!(answer.headers["x-scrapebroker-instances"], "3/3", "{text}");
    let [zero, one, two] = [0, 1, 2].map(|n: usize| labels(n, instances[n].address));
    let expected = [
        format!("jobs_total{{queue=\"a\",{zero}}} 5"),
        format!("jobs_total{{queue=\"a\",{one}}} 7"),
        format!("jobs_total{{queue=\"a\",{two}}} 9"),
    ];
    assert_eq!(answer.lines("jobs_total{"), expected, "{text}");
    let expected = [
        format!("load{{{zero}}} 1.5 1520879607789"),
        format!("load{{{one}}} 2.5 1520879607789"),
        format!("load{{{two}}} 3.5 1520879607789"),
    ];
    assert_eq!(answer.lines("load{"), expected, "{text}");
    assert_eq!(answer.lines("seconds_bucket{").len(), 4, "{text}");
    assert_eq!(
        answer.lines("# TYPE jobs"),
        ["# TYPE jobs_total counter", "# TYPE jobs_created gauge"]
    );
    assert_eq!(answer.lines("# HELP jobs_total"), ["# HELP jobs_total Jobs done."]);
    assert_eq!(answer.lines("jobs_created{").len(), 1, "{text}");
    assert_eq!(answer.lines("version_info{").len(), 1, "{text}");
    assert!(!text.contains("# {") && !text.contains("# EOF"), "{text}");
    let (code, findings) = promtool::check(&answer.body);
    assert!(matches!(code, Some(0 | 3)), "{findings}");
}

#[actix_web::test]
async fn an_openmetrics_scraper_gets_openmetrics_from_instances_of_every_format() {
    let instances = instances_of_each_format().await;
    let routes = RouteFile::of_app(&instances);
    let app = spawn_app(&[routes.setting()]).await;
    let answer = app.get_with(PATH, &[ASK_OPENMETRICS]).await;
    let text = answer.text();
    assert_eq!(answer.headers["content-type"], OPENMETRICS);
    assert_eq!(answer.headers["x-scrapebroker-instances"], "3/3", "{text}");
    let [zero, one, two] = [0, 1, 2].map(|n: usize| labels(n, instances[n].address));
    let expected = [
        format!("jobs_total{{queue=\"a\",{zero}}} 5"),
        format!("jobs_total{{queue=\"a\",{one}}} 7 # {{trace_id=\"abc\"}} 1 1520879607.789"),
    ];
    let lines = answer.lines("jobs_total{");
    assert_eq!(lines[..2], expected, "{text}");
    assert!(lines[2].starts_with(&format!("jobs_total{{queue=\"a\",{two}}} 9")), "{text}");
    assert!(lines[2].contains(" # {trace_id=\"abc\"} 1"), "{text}");
    let loads = answer.lines("load{");
    assert_eq!(loads.len(), 3, "{text}");
    assert!(loads.iter().all(|line| line.ends_with(" 1520879607.789")), "{text}");
    assert_eq!(answer.lines("# TYPE jobs"), ["# TYPE jobs counter"]);
    assert_eq!(answer.lines("# TYPE version"), ["# TYPE version info"]);
    let canonical: Vec<_> =
        answer.lines("seconds_bucket{").into_iter().filter(|l| l.contains("le=\"1.0\"")).collect();
    assert_eq!(canonical.len(), 2, "{text}");
    assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    assert!(!text.contains("\n\n"), "{text}");
}

#[actix_web::test]
async fn a_protobuf_scraper_gets_protobuf_from_instances_of_every_format() {
    let instances = instances_of_each_format().await;
    let routes = RouteFile::of_app(&instances);
    let app = spawn_app(&[routes.setting()]).await;
    let answer = app.get_with(PATH, &[ASK_PROTOBUF]).await;
    assert_eq!(answer.headers["content-type"], protobuf::CONTENT_TYPE);
    assert_eq!(answer.headers["x-scrapebroker-instances"], "3/3");
    let families = protobuf::messages(&answer.body);
    let named = |wanted: &str| {
        let found: Vec<_> = families
            .iter()
            .filter(|family| protobuf::fields(family, 1) == [wanted.as_bytes()])
            .collect();
        assert_eq!(found.len(), 1, "{wanted}");
        protobuf::fields(found[0], 4)
    };
    let jobs = named("jobs_total");
    assert_eq!((jobs.len(), named("load").len(), named("seconds").len()), (3, 3, 2));
    for (metric, instance) in jobs.iter().zip(&instances) {
        let labels = protobuf::fields(metric, 1);
        assert_eq!(labels.len(), 1 + 9);
        let address = instance.address.to_string();
        assert!(labels.iter().any(|label| {
            protobuf::fields(label, 1) == [b"instance"]
                && protobuf::fields(label, 2) == [address.as_bytes()]
        }));
    }
    let exemplars: Vec<_> = jobs
        .iter()
        .flat_map(|metric| protobuf::fields(metric, 3))
        .map(|counter| protobuf::fields(&counter, 2).len())
        .collect();
    assert_eq!(exemplars, [0, 1, 1]);
}

#[actix_web::test]
async fn responses_in_every_format_are_gzip_if_requested() {
    let instances = instances_of_each_format().await;
    let routes = RouteFile::of_app(&instances);
    let app = spawn_app(&[routes.setting()]).await;
    for accept in [("Accept", "*/*"), ASK_OPENMETRICS, ASK_PROTOBUF] {
        let plain = app.get_with(ONLY_APP, &[accept]).await;
        let packed = app.get_with(ONLY_APP, &[accept, ("Accept-Encoding", "gzip")]).await;
        assert_eq!(packed.headers["content-encoding"], "gzip");
        assert_eq!(packed.headers["content-type"], plain.headers["content-type"]);
        let mut content = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&packed.body[..]);
        std::io::Read::read_to_end(&mut decoder, &mut content).unwrap();
        assert_eq!(content, plain.body, "{accept:?}");
    }
}

#[actix_web::test]
async fn utf8_names_are_escaped_if_the_scraper_does_not_support_them() {
    let body = "# TYPE \"http.requests\" gauge\n{\"http.requests\",\"zone.id\"=\"b\"} 3\n";
    let content_type = format!("text/plain; version=1.0.0; charset=utf-8; {UTF8}");
    let instance = instance_with_body(&content_type, body).await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let labels = labels(0, instance.address);
    let openmetrics = "application/openmetrics-text;version=1.0.0";
    let raw = format!("{{\"http.requests\",\"zone.id\"=\"b\",{labels}}} 3");
    let underscores = format!("http_requests{{zone_id=\"b\",{labels}}} 3");
    let cases = [
        ("*/*".to_owned(), &underscores),
        (openmetrics.to_owned(), &underscores),
        (format!("{openmetrics};escaping=underscores"), &underscores),
        (format!("text/plain;version=0.0.4;{UTF8}"), &underscores),
        (format!("text/plain;version=1.0.0;{UTF8}"), &raw),
        (format!("{openmetrics};{UTF8}"), &raw),
        (
            format!("{openmetrics};escaping=values"),
            &format!("U__http_2e_requests{{U__zone_2e_id=\"b\",{labels}}} 3"),
        ),
        (
            "text/plain;version=1.0.0;escaping=dots".to_owned(),
            &format!("http_dot_requests{{zone_dot_id=\"b\",{labels}}} 3"),
        ),
    ];
    for (accept, expected) in cases {
        let answer = app.get_with(ONLY_APP, &[("Accept", &accept)]).await;
        let samples: Vec<_> =
            answer.text().lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect();
        assert_eq!(samples, [expected.as_str()], "{accept}");
    }
}

#[actix_web::test]
async fn the_content_type_selects_the_parser() {
    let cases = [
        // Exemplars are errors in the text format and valid in OpenMetrics.
        ("text/plain", "a 1 # {t=\"x\"} 1\n", "0/1"),
        (
            "Application/OpenMetrics-Text; charset=utf-8",
            "# TYPE a counter\na_total 1 # {t=\"x\"} 1\n# EOF\n",
            "1/1",
        ),
        // Timestamps are milliseconds in the text format and seconds in OpenMetrics.
        ("text/plain; version=0.0.4", "a 1 1.5\n", "0/1"),
        ("application/openmetrics-text; version=0.0.1", "a 1 1.5\n# EOF\n", "1/1"),
        ("application/octet-stream", "a 1\n", "1/1"),
        // If the content type is not that of an exposition format, the body is parsed as text.
        ("text/html", "a 1\n", "1/1"),
        ("text/html", "<html></html>\n", "0/1"),
    ];
    for (content_type, body, expected) in cases {
        let instance = instance_with_body(content_type, body).await;
        let routes = RouteFile::of_app([&instance]);
        let settings = [routes.setting(), ("SCRAPE__ALL_FAILED", "series".to_owned())];
        let answer = spawn_app(&settings).await.get(PATH).await;
        let instances = &answer.headers["x-scrapebroker-instances"];
        assert_eq!(instances, expected, "{content_type}: {}", answer.text());
    }
}
