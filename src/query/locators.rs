//! The kinds of locators.

mod endpoints_file;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod kubernetes_settings;
mod marathon;
mod static_urls;
#[cfg(not(feature = "kubernetes"))]
mod without_kubernetes;

pub use endpoints_file::EndpointsFile;
#[cfg(feature = "kubernetes")]
pub use kubernetes::KubernetesLocator;
pub use kubernetes_settings::{
    KubernetesName, KubernetesPort, KubernetesSettings, KubernetesSource, LabelSelector,
};
pub use marathon::{DcosLogin, DcosSecret, MarathonAppId, MarathonLocator, MarathonSettings};
pub use static_urls::StaticUrls;
#[cfg(not(feature = "kubernetes"))]
pub use without_kubernetes::KubernetesLocator;
