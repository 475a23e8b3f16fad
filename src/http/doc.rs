//! `/doc`: how to use this installation, with its own URLs.

use crate::{
    domain::BaseUrl,
    http::{
        access::Access,
        read_only,
        ui::{self, Layout, Section, Viewer},
    },
    scrape::{self, Explanation, Platform},
};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use askama::Template;

const CURL_WITH_TOKEN: &str = "curl -H \"Authorization: Bearer $TOKEN\"";

/// State of the handler, shared by all workers.
#[derive(Clone, Debug)]
pub struct Doc {
    /// The public URL without a trailing slash.
    pub base_url: BaseUrl,
    pub access: Access,
    /// Path of Scrapebroker's own metrics.
    pub metrics_path: String,
}

#[derive(Template)]
#[template(path = "doc.html")]
struct DocPage<'a> {
    layout: Layout<'a>,
    base: &'a str,
    /// The `curl` command of the examples.
    curl: &'static str,
    base_url: &'a str,
    metrics_path: &'a str,
    scheme: &'a str,
    authority: &'a str,
    token_required: bool,
    /// What each failure means.
    explanations: Vec<(String, Explanation)>,
}

/// Adds `/doc`. Requires [`Doc`] as app data.
pub fn configure(config: &mut web::ServiceConfig) {
    config.service(read_only("/doc", show));
}

impl Doc {
    /// The page requires no credentials. They only select the links of the navigation.
    async fn viewer(&self, request: &HttpRequest) -> Viewer {
        if !request.headers().contains_key(header::AUTHORIZATION) {
            return Viewer::Anonymous;
        }
        let known = self.access.known(request).await;
        known.map_or(Viewer::Anonymous, |(caller, _)| Viewer::of(&caller))
    }
}

async fn show(request: HttpRequest, doc: web::Data<Doc>) -> HttpResponse {
    let token_required = doc.access.token_required();
    let base = doc.base_url.path();
    ui::page(&DocPage {
        layout: Layout::new(base, Section::Doc, doc.viewer(&request).await),
        base,
        curl: if token_required { CURL_WITH_TOKEN } else { "curl" },
        base_url: doc.base_url.as_str(),
        metrics_path: &doc.metrics_path,
        scheme: doc.base_url.scheme(),
        authority: &doc.base_url.target(),
        token_required,
        explanations: scrape::explanations(Platform::CloudFoundry),
    })
}
