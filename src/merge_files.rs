//! `scrapebroker merge`: what a merge makes of expositions that lie in files.
//!
//! For debugging and benchmarks, so it shares nothing with the server but the
//! engine: no network, no configuration.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, Read, Write},
    path::PathBuf,
};

use crate::exposition::{self, Instance, Labels, Limits, Merge, Stats};

const CHUNK_BYTES: usize = 256 << 10;

/// What to merge: files in their order, each with the labels that its samples get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    inputs: Vec<Input>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Input {
    source: Source,
    labels: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// Given as `-`.
    Stdin,
    File(PathBuf),
}

/// Why nothing, or not all, was merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Nothing to merge was named.
    #[error("no file to merge; `-` stands for standard input")]
    NoFiles,
    /// Standard input can be read once.
    #[error("`-` is given more than once")]
    SecondStdin,
    /// A `--label` that is none.
    #[error(
        "`{0}` is no label to add: K=V, where K is a label name, and not `le`, `quantile` or `__name__`"
    )]
    Label(String),
    /// A file that cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// Its name, or that it is standard input.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// A file that is no exposition in text format 0.0.4.
    #[error("{file}, {source}")]
    Exposition {
        /// Its name, or that it is standard input.
        file: String,
        /// Where and why.
        source: exposition::Error,
    },
    /// The output does not take what is written to it.
    #[error("cannot write the merged exposition")]
    Write(#[source] io::Error),
}

impl MergeError {
    /// Whether the command line itself is wrong, whatever the files hold.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoFiles | Self::SecondStdin | Self::Label(_))
    }
}

impl Arguments {
    /// Reads what was given: each of `labels` as `K=V`, each of `files` as a path, `-` for
    /// standard input, or either of them with labels of its own as `FILE:K=V,K=V`.
    ///
    /// A file's own labels come after the common ones, and instead of those of the same name.
    /// The path ends before the first `:` behind which there is nothing but labels, so
    /// paths and label values may have colons in them.
    ///
    /// # Errors
    ///
    /// Those for which [`MergeError::is_usage`] holds.
    pub fn parse<S: AsRef<str>, F: AsRef<OsStr>>(
        labels: impl IntoIterator<Item = S>,
        files: impl IntoIterator<Item = F>,
    ) -> Result<Self, MergeError> {
        let parse_label = |text: S| {
            let text = text.as_ref();
            label(text).ok_or_else(|| MergeError::Label(text.to_owned()))
        };
        let common: Vec<_> = labels.into_iter().map(parse_label).collect::<Result<_, _>>()?;
        let inputs: Vec<_> =
            files.into_iter().map(|file| Input::parse(file.as_ref(), &common)).collect();
        if inputs.is_empty() {
            return Err(MergeError::NoFiles);
        }
        if inputs.iter().filter(|input| input.source == Source::Stdin).count() > 1 {
            return Err(MergeError::SecondStdin);
        }
        Ok(Self { inputs })
    }
}

impl Input {
    fn parse(text: &OsStr, common: &[(String, String)]) -> Self {
        let (path, own) = text.to_str().and_then(split_labels).unwrap_or((text.into(), Vec::new()));
        let is_own = |name: &String| own.iter().any(|(own, _)| own == name);
        let mut labels: Vec<_> = common.iter().filter(|(name, _)| !is_own(name)).cloned().collect();
        labels.extend(own);
        let source = if path == "-" { Source::Stdin } else { Source::File(path.into()) };
        Self { source, labels }
    }

    fn read(&self, stdin: &mut dyn Read) -> Result<Instance, MergeError> {
        let body = match &self.source {
            Source::File(path) => fs::read(path),
            Source::Stdin => {
                let mut body = Vec::new();
                stdin.read_to_end(&mut body).map(|_| body)
            }
        };
        let body = body.map_err(|source| MergeError::Read { file: self.name(), source })?;
        let pairs = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Instance::parse(body, Labels::new(pairs), &Limits::default())
            .map_err(|source| MergeError::Exposition { file: self.name(), source })
    }

    fn name(&self) -> String {
        match &self.source {
            Source::Stdin => "standard input".to_owned(),
            Source::File(path) => path.display().to_string(),
        }
    }
}

/// A path and the labels after it, if there are any.
fn split_labels(text: &str) -> Option<(OsString, Vec<(String, String)>)> {
    text.match_indices(':').find_map(|(colon, _)| {
        let labels = text.get(colon + 1..)?.split(',').map(label).collect::<Option<_>>()?;
        Some((text.get(..colon)?.into(), labels))
    })
}

fn label(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    Labels::can_add(name).then(|| (name.to_owned(), value.to_owned()))
}

/// Merges files into `out`; nothing is written unless all of them are expositions.
///
/// # Errors
///
/// A file that cannot be read or is no exposition, an output that takes no more.
pub fn merge(arguments: &Arguments, out: &mut dyn Write) -> Result<Stats, MergeError> {
    merge_with(arguments, &mut io::stdin(), out)
}

fn merge_with(
    arguments: &Arguments,
    stdin: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<Stats, MergeError> {
    let instances: Result<Vec<_>, _> =
        arguments.inputs.iter().map(|input| input.read(stdin)).collect();
    let mut merge = Merge::new(instances?);
    let mut chunk = Vec::new();
    while merge.next_chunk(&mut chunk, CHUNK_BYTES) {
        out.write_all(&chunk).map_err(MergeError::Write)?;
        chunk.clear();
    }
    out.flush().map_err(MergeError::Write)?;
    Ok(merge.stats())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(text: &str, common: &[(&str, &str)]) -> (String, String) {
        let common: Vec<_> =
            common.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let Input { source, labels } = Input::parse(OsStr::new(text), &common);
        let labels: Vec<_> =
            labels.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let path = match source {
            Source::Stdin => "stdin".to_owned(),
            Source::File(path) => path.to_str().unwrap().to_owned(),
        };
        (path, labels.join(" "))
    }

    #[test]
    fn a_path_ends_where_labels_begin() {
        let cases = [
            ("a.prom", "a.prom", ""),
            ("a.prom:index=0", "a.prom", "index=0"),
            ("a.prom:index=0,zone=b", "a.prom", "index=0 zone=b"),
            ("a.prom:instance=10.0.0.1:80,index=0", "a.prom", "instance=10.0.0.1:80 index=0"),
            ("dir:2024-01-01T00:00:a=b/c.prom", "dir:2024-01-01T00:00", "a=b/c.prom"),
            ("a:b.prom:x=1", "a:b.prom", "x=1"),
            ("a.prom:x=", "a.prom", "x="),
            ("a.prom:x=a=b", "a.prom", "x=a=b"),
            ("-", "stdin", ""),
            ("-:index=1", "stdin", "index=1"),
            // What follows are no labels, so it is part of the path.
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
    fn labels_of_a_file_go_before_common_ones_of_the_same_name() {
        let common = [("app", "x"), ("index", "9")];
        assert_eq!(input("a", &common), ("a".to_owned(), "app=x index=9".to_owned()));
        assert_eq!(input("a:index=0", &common), ("a".to_owned(), "app=x index=0".to_owned()));
    }

    #[test]
    fn a_wrong_command_line_is_told_from_a_wrong_file() {
        let error = |labels: &[&str], files: &[&str]| Arguments::parse(labels, files).unwrap_err();
        assert!(matches!(error(&[], &[]), MergeError::NoFiles));
        assert!(matches!(error(&[], &["-", "-:a=b"]), MergeError::SecondStdin));
        for label in ["", "a", "=b", "1a=b", "le=1", "__name__=x", "a b=c"] {
            assert!(matches!(error(&[label], &["a"]), MergeError::Label(text) if text == label));
            assert!(error(&[label], &["a"]).is_usage());
        }
        let arguments = Arguments::parse::<&str, _>([], ["/does/not/exist"]).unwrap();
        let error = merge(&arguments, &mut Vec::new()).unwrap_err();
        assert!(!error.is_usage());
        assert_eq!(error.to_string(), "cannot read /does/not/exist");
    }

    #[test]
    fn files_and_standard_input_are_merged_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one.prom");
        fs::write(&path, "# TYPE x gauge\nx 1\n").unwrap();
        let file = format!("{}:index=1", path.display());
        let arguments = Arguments::parse(["app=a\"b"], ["-:index=0", &file]).unwrap();
        let mut out = Vec::new();
        let stats = merge_with(&arguments, &mut &b"x{app=\"own\"} 0"[..], &mut out).unwrap();
        let expected = "# TYPE x gauge\n\
            x{exported_app=\"own\",app=\"a\\\"b\",index=\"0\"} 0\nx{app=\"a\\\"b\",index=\"1\"} 1\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(stats, Stats { renamed_labels: 1, ..Stats::default() });
    }

    #[test]
    fn a_broken_file_is_named_with_its_line_and_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("broken.prom");
        fs::write(&path, "x 1\nx one\n").unwrap();
        let arguments =
            Arguments::parse::<&str, _>([], [OsStr::new("-"), path.as_os_str()]).unwrap();
        let mut out = Vec::new();
        let error = merge_with(&arguments, &mut &b"y 1\n"[..], &mut out).unwrap_err();
        assert!(!error.is_usage());
        let expected = format!("{}, line 2: the value is missing or not a number", path.display());
        assert_eq!(error.to_string(), expected);
        assert_eq!(out, b"");
    }

    #[test]
    fn an_output_that_is_gone_is_an_error() {
        let arguments = Arguments::parse::<&str, _>([], ["-"]).unwrap();
        let mut full: &mut [u8] = &mut [0; 2];
        let error = merge_with(&arguments, &mut &b"x 1\n"[..], &mut full).unwrap_err();
        assert!(matches!(error, MergeError::Write(_)));
    }
}
