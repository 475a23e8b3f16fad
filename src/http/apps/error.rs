//! Errors of scrapes. Their texts appear on Prometheus' targets page and in terminals.

use super::request::BadRequest;
use crate::{
    http::access::Denied,
    scrape::{FailedInstance, ScrapeError},
};
use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, ContentType},
    },
};
use std::{collections::BTreeSet, fmt::Write};

/// Maximum number of failed instances that a text names.
const MAX_NAMED: usize = 50;

/// Phrase of the status line if instances failed for several reasons.
const SEVERAL_REASONS: &str = "several reasons, see the body";

#[derive(Debug, thiserror::Error)]
pub(super) enum AppsError {
    #[error("{0}.")]
    BadRequest(#[from] BadRequest),
    #[error(
        "No app is known as {0:?}. Give an app's GUID, org/space/app, or a route like my-app.example.com; a route must be mapped and at least one instance running."
    )]
    UnknownApp(String),
    #[error("The app has no instance {0}. Known are: {1}.")]
    UnknownInstance(String, String),
    #[error(
        "The binding in force scrapes only the process types {0}, and the app has no instance of these."
    )]
    NothingBound(String),
    #[error(
        "No route source has given a table yet, so it is not known which apps exist. Waiting for: {0}. Try again in a few seconds."
    )]
    NoTableYet(String),
    #[error(
        "The app {0:?} may exist: the routes of {1} are not known at the moment. Try again in a few seconds."
    )]
    UnknownRoutes(String, String),
    #[error(
        "This scrape has already passed through here: the app, or one of its routes, leads back to this router."
    )]
    Loop,
    #[error(
        "The answer would be {length} bytes, more than the {limit} that scrape.max_response allows."
    )]
    TooLarge { length: u64, limit: u64 },
    #[error(
        "The query contains a credential of this installation, which is not sent to apps: send it as `Authorization: Bearer TOKEN`. Put credentials for the app into the parameters of its binding."
    )]
    OwnCredential,
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("The scraper broke off its request.")]
    ClientDisconnected,
    #[error("{}", refused(.0))]
    NoMemory(#[from] ScrapeError),
    #[error("{}", describe(.failures, .externals))]
    NoneAnswered { status: StatusCode, failures: Vec<FailedInstance>, externals: Vec<String> },
}

fn refused(refused: &ScrapeError) -> String {
    match refused {
        ScrapeError::TooLate { .. }
        | ScrapeError::NoConnection { .. }
        | ScrapeError::NotInspected => {
            format!("{refused} Try again in a few seconds.")
        }
        ScrapeError::TooLarge { .. } => {
            format!("{refused} Scrape fewer instances at once, or raise it.")
        }
    }
}

fn describe(failures: &[FailedInstance], externals: &[String]) -> String {
    let mut text = format!("None of {} instances returned metrics:\n", failures.len());
    for one in failures.iter().take(MAX_NAMED) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}: {}", one.name, one.failure);
    }
    if failures.len() > MAX_NAMED {
        let _ = writeln!(text, "… and {} more", failures.len() - MAX_NAMED);
    }
    for one in externals.iter().take(MAX_NAMED) {
        let _ = writeln!(text, "{one}");
    }
    text
}

/// Prometheus shows the status line of a failed scrape, and not its body.
fn reason_phrase(failures: &[FailedInstance]) -> &'static str {
    let reasons: BTreeSet<_> = failures.iter().map(|one| one.failure.reason).collect();
    match (reasons.first(), reasons.len()) {
        (Some(only), 1) => only.reason_phrase(),
        _ => SEVERAL_REASONS,
    }
}

impl ResponseError for AppsError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::OwnCredential => StatusCode::BAD_REQUEST,
            Self::UnknownApp(_) | Self::UnknownInstance(..) | Self::NothingBound(_) => {
                StatusCode::NOT_FOUND
            }
            Self::NoTableYet(_)
            | Self::UnknownRoutes(..)
            | Self::NoMemory(
                ScrapeError::TooLate { .. }
                | ScrapeError::NoConnection { .. }
                | ScrapeError::NotInspected,
            ) => StatusCode::SERVICE_UNAVAILABLE,
            // The client has disconnected. The status appears in the log only.
            Self::ClientDisconnected => StatusCode::REQUEST_TIMEOUT,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::TooLarge { .. } | Self::NoMemory(ScrapeError::TooLarge { .. }) => {
                StatusCode::BAD_GATEWAY
            }
            Self::Denied(denied) => denied.status_code(),
            Self::NoneAnswered { status, .. } => *status,
        }
    }

    fn error_response(&self) -> HttpResponse {
        if let Self::Denied(denied) = self {
            return denied.error_response();
        }
        let mut response = HttpResponse::build(self.status_code());
        if self.status_code() == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, "5"));
        }
        if let Self::NoneAnswered { failures, .. } = self {
            response
                .insert_header((super::INSTANCES, format!("0/{}", failures.len())))
                .reason(reason_phrase(failures));
        }
        response
            .content_type(ContentType::plaintext())
            .body(format!("{}\n", self.to_string().trim_end()))
    }
}
