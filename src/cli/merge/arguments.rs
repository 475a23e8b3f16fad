use std::ffi::OsStr;

use super::{
    content,
    error::MergeError,
    input::{self, Input},
};
use exposition::{Escaping, Format, OutputFormat};

/// What to merge: files in their order, each with the labels that its samples get;
/// and the formats in which they are read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) inputs: Vec<Input>,
    pub(super) target: OutputFormat,
    /// The format of all files; without it each file's format is recognised from its content.
    from: Option<Format>,
}

impl Arguments {
    /// Reads what was given: each of `labels` as `K=V`, each of `files` as a path, `-` for
    /// standard input, or either of them with labels of its own as `FILE:K=V,K=V`.
    ///
    /// A file's own labels come after the common ones, and instead of those of the same name.
    /// The path ends before the first `:` that is followed by labels only, so paths and label values
    /// may contain colons.
    ///
    /// # Errors
    ///
    /// Those for which [`MergeError::is_usage`] holds.
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

    /// All files are read in this format, or in the one that their content shows.
    #[must_use]
    pub(super) fn read_as(self, from: Option<Format>) -> Self {
        Self { from, ..self }
    }

    /// The output has this format. Names that old readers do not know stay as they are
    /// where the format can have them, unless an escaping is named; elsewhere each
    /// strange character becomes `_`.
    ///
    /// # Errors
    ///
    /// [`MergeError::Escaping`] if the format cannot have the names that were requested.
    pub(super) fn written_as(
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

    /// What a file with this content is read as.
    pub(super) fn format_of(&self, body: &[u8]) -> Format {
        self.from.unwrap_or_else(|| content::format_of(body))
    }

    /// Whether formats are recognised from content.
    pub(super) fn tells_formats(&self) -> bool {
        self.from.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_command_line_is_told() {
        let error = |labels: &[&str], files: &[&str]| Arguments::parse(labels, files).unwrap_err();
        assert!(matches!(error(&[], &[]), MergeError::NoFiles));
        assert!(matches!(error(&[], &["-", "-:a=b"]), MergeError::SecondStdin));
        for label in ["", "a", "=b", "1a=b", "le=1", "__name__=x", "a b=c"] {
            assert!(matches!(error(&[label], &["a"]), MergeError::Label(text) if text == label));
            assert!(error(&[label], &["a"]).is_usage());
        }
    }

    #[test]
    fn names_stay_as_they_are_where_the_format_can_have_them() {
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
            match arguments.written_as(to, escaping) {
                Ok(arguments) => {
                    assert_eq!(arguments.target.format(), to);
                    assert_eq!(Some(arguments.target.escaping()), expected, "{to} {escaping:?}");
                }
                Err(error) => assert!(error.is_usage() && expected.is_none(), "{to} {escaping:?}"),
            }
        }
    }

    #[test]
    fn a_named_format_wins_against_the_content() {
        let arguments = Arguments::parse::<&str, _>([], ["a"]).unwrap();
        assert_eq!(arguments.format_of(b"x 1\n# EOF\n"), Format::OpenMetrics100);
        let arguments = arguments.read_as(Some(Format::Text004));
        assert_eq!(arguments.format_of(b"x 1\n# EOF\n"), Format::Text004);
    }
}
