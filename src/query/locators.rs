//! The kinds of locators.

mod endpoints_file;
mod marathon;
mod static_urls;

pub use endpoints_file::EndpointsFile;
pub use marathon::{DcosLogin, DcosSecret, MarathonAppId, MarathonLocator, MarathonSettings};
pub use static_urls::StaticUrls;
