//! The screenshot in README.md.

use crate::test_app::*;
use serde_json::{Value, json};
use std::time::Duration;
use support::{
    browser::{Browser, Scheme},
    *,
};

const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/images/app.png");
const MAX_BYTES: usize = 200_000;

/// Three instances of the app `shop`.
fn table(instances: [&Instance; 3]) -> Value {
    let endpoints = instances.iter().enumerate().map(|(index, instance)| {
        let mut endpoint = endpoint("shop", index, instance.address);
        endpoint["tags"]["app_id"] = json!("7c3d2a4e-5b1f-4a86-9d27-0d3e6f1c9a55");
        endpoint
    });
    json!({ "shop.example.com": endpoints.collect::<Vec<_>>() })
}

fn metrics() -> String {
    let samples = |index: usize| format!("jobs{{queue=\"{index}\"}} 1\n");
    (0..48).map(samples).collect()
}

#[actix_web::test]
async fn the_screenshot_of_the_readme_is_the_page_of_an_app_with_a_failing_instance() {
    let (first, second) =
        (Instance::with_metrics(&metrics()).await, Instance::with_metrics(&metrics()).await);
    let failing = Instance::start(|_| Reply::Http(500, vec![], vec![])).await;
    let routes = RouteFile::new(&table([&first, &second, &failing]));
    let app = spawn_app(&[routes.setting()]).await;
    #[expect(clippy::disallowed_methods, reason = "a developer asks for new images")]
    let is_update = std::env::var_os("SCRAPEBROKER_UPDATE_IMAGES").is_some();
    let scrapes = if is_update { 40 } else { 2 };
    for _ in 0..scrapes {
        let headers = [("User-Agent", "Prometheus/3.5.0")];
        let path = "/v1/apps/metrics?route_url=shop.example.com";
        assert_eq!(app.get_with(path, &headers).await.status, 200);
        // The times of points are whole seconds.
        tokio::time::sleep(Duration::from_millis(1001)).await;
    }
    let browser = Browser::start().await;
    browser.emulate(1280, Scheme::Light).await;
    browser.open(&app.url("/apps/acme/prod/shop")).await;
    let status = browser.text("#status").await;
    assert_eq!(status, "2 of 3 instances up, 1 failing.");
    let image = browser.screenshot().await;
    if is_update {
        std::fs::create_dir_all(std::path::Path::new(IMAGE).parent().unwrap()).unwrap();
        std::fs::write(IMAGE, &image).unwrap();
    }
    for image in [image, std::fs::read(IMAGE).unwrap()] {
        assert!(image.starts_with(b"\x89PNG"), "it is no PNG");
        assert!(image.len() < MAX_BYTES, "{} bytes", image.len());
    }
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    assert!(readme.unwrap().contains("](docs/images/app.png)"));
}
