//! The kinds of locators.

mod endpoints_file;
mod static_urls;

pub use endpoints_file::EndpointsFile;
pub use static_urls::StaticUrls;
