//! Pages in Chromium: accessibility, width, errors and requests.

use super::assert_sound;
use crate::test_app::*;
use support::browser::{Browser, Scheme};

#[actix_web::test]
async fn the_overview_is_sound_on_phones_and_screens_in_both_color_schemes() {
    let app = spawn_app(&[]).await;
    let host = app.address.to_string();
    let browser = Browser::start().await;
    for width in [390, 1280] {
        for scheme in [Scheme::Light, Scheme::Dark] {
            browser.emulate(width, scheme).await;
            browser.open(&app.url("/")).await;
            assert_sound(&browser, &host, &format!("/ at {width} px, {scheme:?}")).await;
        }
    }
}
