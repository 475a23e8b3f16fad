//! Commands and configurations for one app, ready to be copied.
//!
//! Users choose the names of apps. So each name is quoted for the language of its snippet.
//! Snippets contain no secret: a token is a variable or a file.

use crate::{
    broker::ActiveBinding,
    domain::{App, BaseUrl, MetricsPath},
    http::{osb::USERNAME, ui::format::shell_word, urls},
    scrape::Platform,
};
use serde::Serialize;
use serde_json::json;

/// A text to copy.
#[derive(Debug, Serialize)]
pub(super) struct Snippet {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) text: String,
    #[serde(skip)]
    pub(super) note: &'static str,
}

/// A dedicated Prometheus that scrapes the app.
pub(super) struct QuerySource {
    pub(super) name: String,
    /// The base of its query API.
    pub(super) url: String,
}

/// What the snippets of an app contain.
pub(super) struct SnippetContext<'a> {
    pub(super) app: &'a App,
    pub(super) binding: Option<&'a ActiveBinding>,
    pub(super) base_url: &'a BaseUrl,
    /// Whether a scrape requires a token.
    pub(super) token_required: bool,
    pub(super) prometheus: &'a [QuerySource],
}

const TOKEN: &str = "The token is that of a binding of the app or of a service key of its space.";

const AUTHORIZATION: &str =
    "authorization: { type: Bearer, credentials_file: /etc/prometheus/scrapebroker.token }";

impl SnippetContext<'_> {
    pub(super) fn snippets(&self) -> Vec<Snippet> {
        vec![self.curl(), self.scrape_config(), self.http_sd(), self.grafana(), self.bind()]
    }

    fn curl(&self) -> Snippet {
        let url = shell_word(&urls::metrics(self.base_url, &self.app.id));
        let (text, note) = match self.token_required {
            true => (format!("curl -H \"Authorization: Bearer $TOKEN\" {url}"), TOKEN),
            false => (format!("curl {url}"), ""),
        };
        Snippet { id: "curl", title: "In a shell", text, note }
    }

    fn scrape_config(&self) -> Snippet {
        let authorization = match self.token_required {
            true => format!("  {AUTHORIZATION}\n"),
            false => String::new(),
        };
        let text = format!(
            "scrape_configs:
- job_name: {}
  scheme: {}
  metrics_path: {}
  params: {{ app: [{}] }}
  honor_labels: true
{authorization}  static_configs:
  - targets: [{}]
",
            yaml_string(&self.full_name()),
            self.base_url.scheme(),
            yaml_string(&format!("{}/v1/apps/metrics", self.base_url.decoded_path())),
            yaml_string(self.app.id.as_str()),
            yaml_string(&self.base_url.target()),
        );
        Snippet {
            id: "scrape-config",
            title: "Prometheus: one target for all instances",
            text,
            note: if self.token_required { TOKEN } else { "" },
        }
    }

    fn http_sd(&self) -> Snippet {
        let text = format!(
            "scrape_configs:
- job_name: {}
  honor_labels: true
  {AUTHORIZATION}
  http_sd_configs:
  - url: {}
    refresh_interval: 30s
    {AUTHORIZATION}
  relabel_configs:
  - {{ source_labels: [__meta_cf_app_id], target_label: app_id }}
  - {{ source_labels: [__meta_cf_instance_index], target_label: index }}
",
            yaml_string(&self.full_name()),
            yaml_string(&urls::targets(self.base_url, &self.app.id)),
        );
        let title = "Prometheus: one target for each instance";
        Snippet { id: "http-sd", title, text, note: TOKEN }
    }

    /// A data source for each dedicated Prometheus, or how to create one.
    fn grafana(&self) -> Snippet {
        if self.prometheus.is_empty() {
            return Snippet {
                id: "grafana",
                title: "A dedicated Prometheus for Grafana",
                text: self.create_prometheus(),
                note: "The key has the URL, user name and password of a data source of type Prometheus.",
            };
        }
        let mut text = "apiVersion: 1\ndatasources:\n".to_owned();
        for QuerySource { name, url } in self.prometheus {
            text.push_str(&format!(
                "- name: {}
  type: prometheus
  access: proxy
  url: {}
  basicAuth: true
  basicAuthUser: {USERNAME}
  jsonData: {{ httpMethod: POST }}
  secureJsonData: {{ basicAuthPassword: $TOKEN }}
",
                grafana_string(name),
                grafana_string(url),
            ));
        }
        Snippet {
            id: "grafana",
            title: "Grafana: data source",
            text,
            note: "The token is that of a binding or service key of this Prometheus.",
        }
    }

    fn create_prometheus(&self) -> String {
        let app = shell_word(&self.app.name);
        match Platform::of(&self.app.id) {
            Platform::CloudFoundry => format!(
                "cf create-service prometheus standard my-prometheus
cf bind-service {app} my-prometheus
cf create-service-key my-prometheus grafana
cf service-key my-prometheus grafana
"
            ),
            Platform::Tsuru => format!(
                "tsuru service-instance-add prometheus my-prometheus standard -t {}
tsuru service-instance-bind prometheus my-prometheus -a {app}
",
                shell_word(&self.app.organization_name),
            ),
        }
    }

    fn bind(&self) -> Snippet {
        let app = shell_word(&self.app.name);
        match Platform::of(&self.app.id) {
            Platform::CloudFoundry => {
                let endpoint = self.binding.and_then(|it| it.options.endpoint.as_ref());
                let endpoint = endpoint.map_or(MetricsPath::DEFAULT, MetricsPath::without_query);
                let parameters = shell_word(&json!({ "endpoint": endpoint }).to_string());
                Snippet {
                    id: "bind",
                    title: "Another path, credentials or labels",
                    text: format!(
                        "cf create-service metrics fetch-app my-metrics
cf bind-service {app} my-metrics -c {parameters}
"
                    ),
                    note: "The binding is active immediately, without a restart of the app.",
                }
            }
            Platform::Tsuru => Snippet {
                id: "bind",
                title: "A token for the app",
                text: format!(
                    "tsuru service-instance-add metrics my-metrics -t {}
tsuru service-instance-bind metrics my-metrics -a {app}
",
                    shell_word(&self.app.organization_name),
                ),
                note: "The command has no option for parameters such as endpoint: they need a call of Tsuru's API.",
            },
        }
    }

    /// Organization, space and name.
    fn full_name(&self) -> String {
        let App { organization_name, space_name, name, .. } = self.app;
        format!("{organization_name}/{space_name}/{name}")
    }
}

/// A double-quoted YAML string.
fn yaml_string(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            // YAML allows few other characters unescaped, and some of them are line breaks.
            _ => quoted.push_str(&format!("\\U{:08x}", u32::from(character))),
        }
    }
    quoted.push('"');
    quoted
}

/// A YAML string in a provisioning file of Grafana, which expands variables.
fn grafana_string(text: &str) -> String {
    yaml_string(&text.replace('$', "$$"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use yaml_rust2::YamlLoader;

    const HOSTILE: &str = "a'b\"$(touch x)`id`\\n\n\u{85}\u{2028}\u{1f600}: [#&*!|>%@";

    fn app(id: &str, name: &str) -> App {
        App {
            id: id.parse().unwrap(),
            name: name.into(),
            space_id: None,
            space_name: "demo".into(),
            organization_id: None,
            organization_name: "acme".into(),
        }
    }

    fn snippet(app: &App, prometheus: &[QuerySource], id: &str) -> String {
        let base_url = "https://metrics.example.com/base".parse().unwrap();
        let context = SnippetContext {
            app,
            binding: None,
            base_url: &base_url,
            token_required: true,
            prometheus,
        };
        let found = context.snippets().into_iter().find(|snippet| snippet.id == id);
        found.unwrap().text
    }

    #[test]
    fn names_are_quoted_in_yaml() {
        let app = app("guid", HOSTILE);
        let yaml = |id: &str, prometheus: &[QuerySource]| {
            YamlLoader::load_from_str(&snippet(&app, prometheus, id)).unwrap().remove(0)
        };
        for id in ["scrape-config", "http-sd"] {
            let job = &yaml(id, &[])["scrape_configs"][0]["job_name"];
            assert_eq!(job.as_str(), Some(&*format!("acme/demo/{HOSTILE}")), "{id}");
        }
        let source = QuerySource { name: HOSTILE.to_owned(), url: "https://x/p/1".to_owned() };
        let name = &yaml("grafana", &[source])["datasources"][0]["name"];
        assert_eq!(name.as_str(), Some(&*HOSTILE.replace('$', "$$")));
    }

    #[test]
    fn the_commands_are_those_of_the_platform() {
        let tsuru = app("tsuru:shop", "shop");
        assert_eq!(
            snippet(&tsuru, &[], "bind"),
            "tsuru service-instance-add metrics my-metrics -t 'acme'\n\
             tsuru service-instance-bind metrics my-metrics -a 'shop'\n"
        );
        assert!(snippet(&tsuru, &[], "grafana").contains("tsuru service-instance-bind prometheus"));
        let bind = snippet(&app("guid", "it's"), &[], "bind");
        let expected = r#"cf bind-service 'it'\''s' my-metrics -c '{"endpoint":"/metrics"}'"#;
        assert_eq!(bind.lines().last(), Some(expected));
        assert!(!snippet(&app("guid", "a\u{3}b"), &[], "bind").contains('\u{3}'));
    }
}
