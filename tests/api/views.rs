//! Pages for people, in a real browser and as JSON.

mod access;
mod browser;
mod fake_prometheus;
mod hostile;
mod json;
mod metrics;
mod prometheus;
mod screenshot;
mod site;
mod snippets;

use support::browser::Browser;

/// Asserts that the page in the browser is accessible, fits into the window, has no error on its
/// console and has loaded nothing from another host than `host`.
async fn assert_sound(browser: &Browser, host: &str, view: &str) {
    let violations = browser.accessibility_violations().await;
    assert!(violations.is_empty(), "{view}: {}", violations.join("\n"));
    assert_eq!(browser.overflow().await, None, "{view}");
    assert_eq!(browser.console_errors().await, Vec::<String>::new(), "{view}");
    let hosts = browser.requested_hosts().await;
    assert!(hosts.iter().all(|requested| requested == host), "{view}: {hosts:?}");
}
