//! Templates with tags of an app, as in `{{app_name}}`.
//!
//! promfetcher accepts any Go template here. Only the names of tags are supported; any other syntax
//! is rejected when the configuration is loaded.

use crate::domain::App;
use std::fmt;

/// A text with placeholders for tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Tag(Tag),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    AppId,
    AppName,
    SpaceId,
    SpaceName,
    OrganizationId,
    OrganizationName,
    SourceId,
    /// A value that is the same for every app.
    Fixed(&'static str),
}

/// Names of the tags in promfetcher: in snake case, and as fields of a Go struct.
const TAGS: [(&str, &str, Tag); 12] = [
    ("organization_id", "OrganizationID", Tag::OrganizationId),
    ("organization_name", "OrganizationName", Tag::OrganizationName),
    ("space_id", "SpaceID", Tag::SpaceId),
    ("space_name", "SpaceName", Tag::SpaceName),
    ("app_id", "AppID", Tag::AppId),
    ("app_name", "AppName", Tag::AppName),
    ("source_id", "SourceID", Tag::SourceId),
    ("component", "Component", Tag::Fixed("promfetcher")),
    ("process_type", "ProcessType", Tag::Fixed("external_exporter")),
    // An exporter is scraped per app, not per instance.
    ("process_id", "ProcessID", Tag::Fixed("")),
    ("process_instance_id", "ProcessInstanceID", Tag::Fixed("")),
    ("instance_id", "InstanceID", Tag::Fixed("")),
];

/// Reasons why a string is not a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("has {{{{ without }}}} after it")]
    Unclosed,
    /// The text between the braces is not the name of a tag.
    #[error("has {{{{{0}}}}}, which is no tag of an app; known are {known}, or as in {{{{.AppName}}}}", known = Known)]
    Unknown(String),
}

struct Known;

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = TAGS.iter().map(|(name, _, _)| format!("{{{{{name}}}}}")).collect();
        f.write_str(&names.join(", "))
    }
}

/// Reasons why a template cannot be filled for an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// The app has no value for a tag. An empty value could select every app.
    #[error("the route table has no value for a tag that a parameter needs")]
    Missing,
    /// A value contains quotes or backslashes. These could end a quoted string of a query and
    /// select other apps.
    #[error("a tag of the app has quotes, backslashes or control characters")]
    Unsafe,
}

impl FillError {
    /// The value of the `error` label of `promfetcher_scrape_external_exporter_error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing_value",
            Self::Unsafe => "unsafe_value",
        }
    }
}

impl Template {
    /// Parses `text`.
    ///
    /// # Errors
    /// Returns an error if the text between double braces is not the name of a tag.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) = after.split_once("}}").ok_or(TemplateError::Unclosed)?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Tag(tag(inside)?));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self(parts))
    }

    /// Fills the template with the tags of an app.
    ///
    /// # Errors
    /// Returns an error if a tag is missing or could end a quoted string.
    pub fn fill(&self, app: &App) -> Result<String, FillError> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Tag(tag) => text.push_str(tag.value(app)?),
            }
        }
        Ok(text)
    }
}

impl Tag {
    fn value(self, app: &App) -> Result<&str, FillError> {
        let value = match self {
            Self::Fixed(text) => return Ok(text),
            // For apps, the source id of a route is the id of the app.
            Self::AppId | Self::SourceId => app.id.as_str(),
            Self::AppName => &app.name,
            Self::SpaceId => app.space_id.as_ref().map_or("", |id| id.as_str()),
            Self::SpaceName => &app.space_name,
            Self::OrganizationId => app.organization_id.as_ref().map_or("", |id| id.as_str()),
            Self::OrganizationName => &app.organization_name,
        };
        if value.is_empty() {
            return Err(FillError::Missing);
        }
        if value.chars().any(|c| c.is_control() || "\"'`\\".contains(c)) {
            return Err(FillError::Unsafe);
        }
        Ok(value)
    }
}

fn tag(inside: &str) -> Result<Tag, TemplateError> {
    let name = inside.trim_matches([' ', '\t', '\r', '\n']);
    let named = TAGS.iter().find(|(snake, go, _)| {
        name == *snake || name.strip_prefix('.').is_some_and(|name| name == *go)
    });
    let shown = || inside.chars().take(60).flat_map(char::escape_debug).collect();
    named.map(|(_, _, tag)| *tag).ok_or_else(|| TemplateError::Unknown(shown()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str, organization_name: &str) -> App {
        App {
            id: "app-guid".parse().unwrap(),
            name: name.into(),
            space_id: Some("space-guid".parse().unwrap()),
            space_name: "prod".into(),
            organization_id: Some("org-guid".parse().unwrap()),
            organization_name: organization_name.into(),
        }
    }

    fn filled(text: &str) -> String {
        Template::parse(text).unwrap().fill(&app("shop", "acme")).unwrap()
    }

    #[test]
    fn each_tag_has_two_names() {
        let values = [
            ("organization_id", "OrganizationID", "org-guid"),
            ("organization_name", "OrganizationName", "acme"),
            ("space_id", "SpaceID", "space-guid"),
            ("space_name", "SpaceName", "prod"),
            ("app_id", "AppID", "app-guid"),
            ("app_name", "AppName", "shop"),
            ("source_id", "SourceID", "app-guid"),
            ("component", "Component", "promfetcher"),
            ("process_type", "ProcessType", "external_exporter"),
            ("process_id", "ProcessID", ""),
            ("process_instance_id", "ProcessInstanceID", ""),
            ("instance_id", "InstanceID", ""),
        ];
        assert_eq!(values.len(), TAGS.len());
        for (snake, go, value) in values {
            for text in [format!("{{{{{snake}}}}}"), format!("{{{{ .{go}\t}}}}")] {
                assert_eq!(filled(&text), value, "{text}");
            }
        }
    }

    #[test]
    fn text_around_tags_is_unchanged() {
        let cases = [
            ("", ""),
            ("plain", "plain"),
            ("a } b }} c { d", "a } b }} c { d"),
            ("{{app_name}}{{ .SpaceName }}", "shopprod"),
            ("{app=\"{{app_name}}\"}", "{app=\"shop\"}"),
        ];
        for (text, expected) in cases {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn other_syntax_is_rejected() {
        for text in [
            "{{}}",
            "{{ . }}",
            "{{.app_name}}",
            "{{AppName}}",
            "{{.AppName | printf \"%s\"}}",
            "{{- .AppName -}}",
            "{{if .AppName}}x{{end}}",
            "{{/* comment */}}",
            "{{.Foo}}",
            "{{ .App Name }}",
            "{{$x := 1}}",
        ] {
            assert!(matches!(Template::parse(text), Err(TemplateError::Unknown(_))), "{text}");
        }
        for text in ["{{", "{{app_name", "{{app_name}", "{{app_name}}{{"] {
            assert_eq!(Template::parse(text), Err(TemplateError::Unclosed), "{text}");
        }
        let error = Template::parse("{{.Foo}}").unwrap_err().to_string();
        assert!(error.contains("{{.Foo}}") && error.contains("{{app_name}}"), "{error}");
    }

    #[test]
    fn missing_and_unsafe_tags_are_errors() {
        let fill = |text: &str, app: &App| Template::parse(text).unwrap().fill(app);
        assert_eq!(fill("{{organization_name}}", &app("shop", "")), Err(FillError::Missing));
        assert_eq!(fill("{{app_name}}", &app("shop", "")), Ok("shop".to_owned()));
        for name in ["a\"} or {x=\"", "a'", "a`", "a\\", "a\nb"] {
            assert_eq!(fill("{{.AppName}}", &app(name, "acme")), Err(FillError::Unsafe), "{name}");
        }
        assert_eq!(fill("{{.AppName}}", &app("Größe & {x}", "a")), Ok("Größe & {x}".to_owned()));
    }
}
