mod access;
mod pods;
mod service;
mod stand_in;

use super::*;
use crate::query::locators::kubernetes_settings::KubernetesPort;
use std::future::Future;

/// A service `prom` in the namespace `ns`, on the port `web`.
fn settings(kubeconfig: PathBuf) -> KubernetesSettings {
    KubernetesSettings {
        namespace: "ns".parse().unwrap(),
        source: KubernetesSource::Service("prom".parse().unwrap()),
        port: KubernetesPort::Name("web".to_owned()),
        kubeconfig: Some(kubeconfig),
        is_https: false,
        path_prefix: String::new(),
    }
}

async fn urls(locator: &mut KubernetesLocator) -> Vec<String> {
    let urls = locator.locate().await.unwrap();
    urls.iter().map(|it| it.url.to_string()).collect()
}

async fn error(locator: &mut KubernetesLocator) -> String {
    locator.locate().await.unwrap_err().0
}

fn block_on(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(test);
}
