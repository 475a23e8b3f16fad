use std::ffi::OsStr;

use super::{
    content,
    error::MergeError,
    input::{self, Input},
};
use exposition::{Escaping, Format, OutputFormat};

/// The files to merge with their labels, and the input and output formats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) inputs: Vec<Input>,
    pub(super) target: OutputFormat,
    /// Format of all files. If unset, the format of each file is detected from its content.
    from: Option<Format>,
}

impl Arguments {
    /// Parses arguments. Each element of `labels` is `K=V`. Each element of `files` is a path or
    /// `-` for standard input, optionally followed by labels as `FILE:K=V,K=V`.
    ///
    /// Labels of a file follow the common labels, and replace common labels of the same name. The
    /// path ends before the first `:` that is followed by valid labels only. So paths and label
    /// values may contain colons.
    ///
    /// # Errors
    ///
    /// Returns errors for which [`MergeError::is_usage`] is true.
    pub(super) fn parse<S: AsRef<str>, F: AsRef<OsStr>>(
        labels: impl IntoIterator<Item = S>,
        files: impl IntoIterator<Item = F>,
    ) -> Result<Self, MergeError> {
        let parse_label = |text: S| {
            let text = text.as_ref();
            input::label(text).ok_or_else(|| MergeError::Label(text.to_owned()))
        };
        let common: Vec<_> = labels.into_iter().map(parse_label).collect::<Result<_, _>>()?;
        let inputs: Vec<_> =
            files.into_iter().map(|file| Input::parse(file.as_ref(), &common)).collect();
        if inputs.is_empty() {
            return Err(MergeError::NoFiles);
        }
        if inputs.iter().filter(|input| input.is_stdin()).count() > 1 {
            return Err(MergeError::SecondStdin);
        }
        Ok(Self { inputs, target: OutputFormat::default(), from: None })
    }

    /// Sets the input format. If `None`, the format of each file is detected.
    #[must_use]
    pub(super) fn with_input_format(self, from: Option<Format>) -> Self {
        Self { from, ..self }
    }

    /// Sets the output format and the escaping of names. Without an escaping, UTF-8 names are
    /// unchanged if the format allows them. Otherwise each invalid character becomes `_`.
    ///
    /// # Errors
    ///
    /// Returns [`MergeError::Escaping`] if the format does not support the escaping.
    pub(super) fn with_output_format(
        self,
        to: Format,
        escaping: Option<Escaping>,
    ) -> Result<Self, MergeError> {
        if escaping == Some(Escaping::AllowUtf8) && !to.has_utf8_names() {
            return Err(MergeError::Escaping(to));
        }
        let target = OutputFormat::new(to).with_escaping(escaping.unwrap_or(Escaping::AllowUtf8));
        Ok(Self { target, ..self })
    }

    /// The input format of a file with this content.
    pub(super) fn format_of(&self, body: &[u8]) -> Format {
        self.from.unwrap_or_else(|| content::format_of(body))
    }

    /// Whether formats are detected from the content.
    pub(super) fn detects_formats(&self) -> bool {
        self.from.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_arguments_are_errors() {
        let error = |labels: &[&str], files: &[&str]| Arguments::parse(labels, files).unwrap_err();
        assert!(matches!(error(&[], &[]), MergeError::NoFiles));
        assert!(matches!(error(&[], &["-", "-:a=b"]), MergeError::SecondStdin));
        for label in ["", "a", "=b", "1a=b", "le=1", "__name__=x", "a b=c"] {
            assert!(matches!(error(&[label], &["a"]), MergeError::Label(text) if text == label));
            assert!(error(&[label], &["a"]).is_usage());
        }
    }

    #[test]
    fn utf8_names_are_unchanged_if_the_format_allows_them() {
        use Escaping::{AllowUtf8, Dots, Underscores};
        let cases = [
            (Format::Text004, None, Some(Underscores)),
            (Format::Text004, Some(Dots), Some(Dots)),
            (Format::Text004, Some(AllowUtf8), None),
            (Format::Text100, None, Some(AllowUtf8)),
            (Format::Text100, Some(Dots), Some(Dots)),
            (Format::Text100, Some(AllowUtf8), Some(AllowUtf8)),
            (Format::OpenMetrics001, None, Some(Underscores)),
            (Format::OpenMetrics001, Some(AllowUtf8), None),
            (Format::OpenMetrics100, None, Some(AllowUtf8)),
            (Format::Protobuf, None, Some(AllowUtf8)),
        ];
        for (to, escaping, expected) in cases {
            let arguments = Arguments::parse::<&str, _>([], ["a"]).unwrap();
            match arguments.with_output_format(to, escaping) {
                Ok(arguments) => {
                    assert_eq!(arguments.target.format(), to);
                    assert_eq!(Some(arguments.target.escaping()), expected, "{to} {escaping:?}");
                }
                Err(error) => assert!(error.is_usage() && expected.is_none(), "{to} {escaping:?}"),
            }
        }
    }

    #[test]
    fn the_format_argument_overrides_detection() {
        let arguments = Arguments::parse::<&str, _>([], ["a"]).unwrap();
        assert_eq!(arguments.format_of(b"x 1\n# EOF\n"), Format::OpenMetrics100);
        let arguments = arguments.with_input_format(Some(Format::Text004));
        assert_eq!(arguments.format_of(b"x 1\n# EOF\n"), Format::Text004);
    }
}
