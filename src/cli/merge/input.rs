//! An input file of the command line.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, Read},
    path::PathBuf,
};

use exposition::AddedLabels;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Input {
    source: Source,
    labels: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// The argument `-`.
    Stdin,
    File(PathBuf),
}

impl Input {
    pub(super) fn parse(text: &OsStr, common: &[(String, String)]) -> Self {
        let (path, own_labels) =
            text.to_str().and_then(split_labels).unwrap_or((text.into(), Vec::new()));
        let is_overridden =
            |name: &String| own_labels.iter().any(|(own_labels, _)| own_labels == name);
        let mut labels: Vec<_> =
            common.iter().filter(|(name, _)| !is_overridden(name)).cloned().collect();
        labels.extend(own_labels);
        let source = if path == "-" { Source::Stdin } else { Source::File(path.into()) };
        Self { source, labels }
    }

    pub(super) fn is_stdin(&self) -> bool {
        self.source == Source::Stdin
    }

    pub(super) fn read(&self, stdin: &mut dyn Read) -> io::Result<Vec<u8>> {
        match &self.source {
            Source::File(path) => fs::read(path),
            Source::Stdin => {
                let mut body = Vec::new();
                stdin.read_to_end(&mut body).map(|_| body)
            }
        }
    }

    pub(super) fn labels(&self) -> AddedLabels {
        AddedLabels::new(self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// The name for messages.
    pub(super) fn name(&self) -> String {
        match &self.source {
            Source::Stdin => "standard input".to_owned(),
            Source::File(path) => path.display().to_string(),
        }
    }

    /// The argument without its labels.
    pub(super) fn path(&self) -> String {
        if self.is_stdin() { "-".to_owned() } else { self.name() }
    }
}

/// Splits an argument into its path and labels, if it has labels.
fn split_labels(text: &str) -> Option<(OsString, Vec<(String, String)>)> {
    text.match_indices(':').find_map(|(colon, _)| {
        let labels = text.get(colon + 1..)?.split(',').map(label).collect::<Option<_>>()?;
        Some((text.get(..colon)?.into(), labels))
    })
}

/// Parses a label that may be added to samples.
pub(super) fn label(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    AddedLabels::can_add(name).then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(text: &str, common: &[(&str, &str)]) -> (String, String) {
        let common: Vec<_> =
            common.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let input = Input::parse(OsStr::new(text), &common);
        let labels: Vec<_> =
            input.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (input.path(), labels.join(" "))
    }

    #[test]
    fn a_path_ends_before_its_labels() {
        let cases = [
            ("a.prom", "a.prom", ""),
            ("a.prom:index=0", "a.prom", "index=0"),
            ("a.prom:index=0,zone=b", "a.prom", "index=0 zone=b"),
            ("a.prom:instance=10.0.0.1:80,index=0", "a.prom", "instance=10.0.0.1:80 index=0"),
            ("dir:2024-01-01T00:00:a=b/c.prom", "dir:2024-01-01T00:00", "a=b/c.prom"),
            ("a:b.prom:x=1", "a:b.prom", "x=1"),
            ("a.prom:x=", "a.prom", "x="),
            ("a.prom:x=a=b", "a.prom", "x=a=b"),
            ("-", "-", ""),
            ("-:index=1", "-", "index=1"),
            // Not valid labels, so they are part of the path.
            ("a.prom:", "a.prom:", ""),
            ("a.prom:b", "a.prom:b", ""),
            ("a.prom:x=1,", "a.prom:x=1,", ""),
            ("a.prom:x=1,y", "a.prom:x=1,y", ""),
            ("a.prom:1x=1", "a.prom:1x=1", ""),
            ("a.prom:le=1", "a.prom:le=1", ""),
        ];
        for (text, path, labels) in cases {
            assert_eq!(input(text, &[]), (path.to_owned(), labels.to_owned()), "{text}");
        }
    }

    #[test]
    fn standard_input_differs_from_a_file_named_dash() {
        let is_stdin = |text: &str| Input::parse(OsStr::new(text), &[]).is_stdin();
        assert!(is_stdin("-") && is_stdin("-:a=b"));
        assert!(!is_stdin("./-") && !is_stdin("-:") && !is_stdin("--"));
    }

    #[test]
    fn labels_of_a_file_override_common_labels() {
        let common = [("app", "x"), ("index", "9")];
        assert_eq!(input("a", &common), ("a".to_owned(), "app=x index=9".to_owned()));
        assert_eq!(input("a:index=0", &common), ("a".to_owned(), "app=x index=0".to_owned()));
    }
}
