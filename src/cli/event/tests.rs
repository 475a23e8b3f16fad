use super::*;
use clap::Parser;

#[derive(Parser)]
struct Parsed {
    #[command(flatten)]
    event: Event,
}

fn parse(arguments: &[&str]) -> Result<Event, String> {
    let arguments = [&["event"], arguments].concat();
    let parsed = Parsed::try_parse_from(arguments).map_err(|error| error.to_string())?;
    Ok(parsed.event)
}

#[test]
fn arguments_have_defaults() {
    let event = parse(&["--url", "http://h", "type=deploy", "note=a=b"]).unwrap();
    assert_eq!(event.value, EventValue::default());
    assert_eq!(event.timeout, Duration::from_secs(60));
    assert!(event.key.is_none() && !event.wait);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(event.labels, [pair("type", "deploy"), pair("note", "a=b")]);
    let value = |text| parse(&["--url", "http://h", "--value", text]).unwrap().value;
    assert_eq!(value("-1e-9").to_string(), "-1e-9");
    assert_eq!(value("-Inf").to_string(), "-Inf");
}

#[test]
fn wrong_arguments_are_named() {
    let long = "x".repeat(256);
    for (arguments, expected) in [
        (&["--value", "many"][..], "is not a number"),
        (&["--timeout", "0s"], "must be longer than 0"),
        (&["--timeout", "25h"], "must be at most 24h"),
        (&["--timeout", "soon"], "--timeout"),
        (&["--key", "a b"], "visible ASCII"),
        (&["--key", long.as_str()], "visible ASCII"),
        (&["deploy"], "is not a label, as in type=deploy"),
        (&["value=2"], "use --value"),
    ] {
        let arguments = [&["--url", "http://h"], arguments].concat();
        let error = parse(&arguments).err().unwrap();
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    assert!(parse(&["type=deploy"]).err().unwrap().contains("--url"));
}

#[test]
fn the_url_decides_the_format() {
    for (url, is_form) in [
        ("http://h:8090/event", true),
        ("http://h:8090/event/?team=a", true),
        ("http://h/base/event", true),
        ("https://h/v1/events", false),
        ("https://h/", false),
        ("https://h/preevent", false),
    ] {
        let url = installation_url(url, "/v1/events").unwrap();
        assert_eq!(is_event_listener(&url), is_form, "{url}");
    }
    let labels = EventLabels::new([("type", "deploy"), ("text", "a b&c\n\"")]).unwrap();
    let value: EventValue = "NaN".parse().unwrap();
    assert_eq!(form(&labels, value), "text=a+b%26c%0A%22&type=deploy&value=NaN");
    assert_eq!(
        json_text(&labels, value),
        r#"{"labels":{"text":"a b&c\n\"","type":"deploy"},"value":"NaN"}"#
    );
}

#[test]
fn the_state_of_an_event_has_a_url_of_its_own() {
    for (url, expected) in [
        ("https://h", "https://h/v1/events/7"),
        ("https://h/base/v1/events/?queue=b1", "https://h/base/v1/events/7?queue=b1"),
    ] {
        let url = installation_url(url, "/v1/events").unwrap();
        assert_eq!(state_url(&url, 7).as_str(), expected);
    }
}

fn status(code: u16, retry_after: Option<u64>) -> RequestError {
    RequestError::Status {
        status: StatusCode::from_u16(code).unwrap(),
        text: String::new(),
        retry_after: retry_after.map(Duration::from_secs),
    }
}

#[test]
fn only_temporary_failures_are_repeated() {
    let unreachable = || RequestError::Unreachable("refused".to_owned());
    for code in [408, 429, 500, 502, 503, 504] {
        assert_eq!(pause_after(&status(code, None), 0), Some(FIRST_PAUSE), "{code}");
        assert_eq!(pause_after(&status(code, Some(3)), 9), Some(Duration::from_secs(3)), "{code}");
    }
    for code in [301, 400, 401, 403, 404, 410, 413, 422, 505] {
        assert_eq!(pause_after(&status(code, Some(3)), 0), None, "{code}");
    }
    assert_eq!(pause_after(&RequestError::Url, 0), None);
    let pauses = (0..6).map(|tries| pause_after(&unreachable(), tries).unwrap().as_millis());
    assert_eq!(pauses.collect::<Vec<_>>(), [500, 1_000, 2_000, 4_000, 8_000, 8_000]);
}

#[test]
fn exit_codes_say_whether_a_repeat_can_help() {
    let unreachable = || RequestError::Unreachable("refused".to_owned());
    let label = EventLabels::new([("bad-name", "x")]).unwrap_err();
    for (error, code) in [
        (EventError::Label(label), 64),
        (EventError::WaitAtEventListener, 64),
        (EventError::Request(RequestError::Url), 64),
        (EventError::Request(status(422, None)), 1),
        (EventError::Request(status(505, None)), 1),
        (EventError::NotConfirmed(status(503, None)), 69),
        (EventError::NotConfirmed(unreachable()), 69),
        (EventError::NotDelivered(String::new()), 69),
        (EventError::Expired, 69),
    ] {
        let text = error.to_string();
        assert_eq!(Failure::from(error).code, code, "{text}");
    }
}

#[test]
fn scrapers_without_the_event_are_named() {
    let scrapers = |pairs: &[(&str, &str)]| {
        let owned = pairs.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned()));
        waiting_scrapers(&owned.collect())
    };
    assert_eq!(scrapers(&[]), "no scraper has scraped this queue");
    let waiting = scrapers(&[("a", "acknowledged"), ("b", "pending"), ("c", "in_flight")]);
    assert_eq!(waiting, "waiting for b, c");
}
