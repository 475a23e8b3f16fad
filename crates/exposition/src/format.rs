//! The formats that an exposition can have, and what an answer is written in.

use std::{borrow::Cow, fmt, str::FromStr};

use super::{families::Naming, media_type::MediaType};

/// The media type of both text formats.
pub(super) const TEXT: &str = "text/plain";
/// The media type of both OpenMetrics formats.
pub(super) const OPENMETRICS: &str = "application/openmetrics-text";
/// The media type of protobuf; two parameters tell what is in it.
const PROTOBUF: &str = "application/vnd.google.protobuf";

/// What an instance can send that is certainly no exposition. Everything else
/// is tried, because apps send expositions under the oddest types.
const FOREIGN: [&str; 5] = ["html", "json", "xml", "javascript", "protobuf"];

/// An exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text format 0.0.4.
    Text004,
    /// Prometheus text format 1.0.0: 0.0.4 with quoted UTF-8 names.
    Text100,
    /// OpenMetrics 0.0.1.
    OpenMetrics001,
    /// OpenMetrics 1.0.0, with quoted UTF-8 names if its reader wants them.
    OpenMetrics100,
    /// Messages of `io.prometheus.client.MetricFamily`, each after its length.
    Protobuf,
}

impl Format {
    /// All of them.
    pub fn all() -> [Self; 5] {
        [Self::Text004, Self::Text100, Self::OpenMetrics001, Self::OpenMetrics100, Self::Protobuf]
    }

    /// What an answer with this `Content-Type` (empty if it has none) is read as.
    ///
    /// Text of no or an unknown version is 0.0.4, OpenMetrics likewise 1.0.0, and
    /// what is not known at all is tried as text 0.0.4.
    ///
    /// # Errors
    ///
    /// A type that cannot be an exposition.
    pub fn of_content_type(content_type: &str) -> Result<Self, ForeignType> {
        let media_type = MediaType::new(content_type);
        if media_type.is(TEXT) {
            let is_newer = media_type.has("version", "1.0.0");
            return Ok(if is_newer { Self::Text100 } else { Self::Text004 });
        }
        if media_type.is(OPENMETRICS) {
            let is_older = media_type.has("version", "0.0.1");
            return Ok(if is_older { Self::OpenMetrics001 } else { Self::OpenMetrics100 });
        }
        if is_delimited_protobuf(&media_type) {
            return Ok(Self::Protobuf);
        }
        let name = media_type.name.to_ascii_lowercase();
        if FOREIGN.iter().any(|foreign| name.ends_with(foreign)) {
            return Err(ForeignType(name));
        }
        Ok(Self::Text004)
    }

    /// The format that an entry of `Accept` names, wildcards aside.
    ///
    /// Stricter than [`of_content_type`](Self::of_content_type): who asks for a
    /// version that we do not know could not read another one. Without a version
    /// it is the oldest, as exporters have it.
    pub(super) fn of_accepted(media_type: &MediaType<'_>) -> Option<Self> {
        let version = media_type.parameter("version");
        if media_type.is(TEXT) {
            match version {
                None | Some("0.0.4") => Some(Self::Text004),
                Some("1.0.0") => Some(Self::Text100),
                Some(_) => None,
            }
        } else if media_type.is(OPENMETRICS) {
            match version {
                None | Some("0.0.1") => Some(Self::OpenMetrics001),
                Some("1.0.0") => Some(Self::OpenMetrics100),
                Some(_) => None,
            }
        } else {
            is_delimited_protobuf(media_type).then_some(Self::Protobuf)
        }
    }

    /// The name on the command line; [`FromStr`] also takes `text-0.0.4` and
    /// `openmetrics-1.0.0`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text004 => "text",
            Self::Text100 => "text-1.0.0",
            Self::OpenMetrics001 => "openmetrics-0.0.1",
            Self::OpenMetrics100 => "openmetrics",
            Self::Protobuf => "protobuf",
        }
    }

    /// Whether a name can be more than letters, digits and `_`, and whether
    /// `escaping` is a parameter of its media type.
    pub fn has_utf8_names(self) -> bool {
        match self {
            Self::Text004 | Self::OpenMetrics001 => false,
            Self::Text100 | Self::OpenMetrics100 | Self::Protobuf => true,
        }
    }

    /// How the format names families; for protobuf, how the text does that becomes it.
    pub(super) fn naming(self) -> Naming {
        match self {
            Self::Text004 | Self::Text100 => Naming::Classic,
            Self::OpenMetrics001 | Self::OpenMetrics100 | Self::Protobuf => Naming::OpenMetrics,
        }
    }

    /// The media type, without `escaping`.
    fn content_type(self) -> &'static str {
        match self {
            Self::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Self::Text100 => "text/plain; version=1.0.0; charset=utf-8",
            Self::OpenMetrics001 => "application/openmetrics-text; version=0.0.1; charset=utf-8",
            Self::OpenMetrics100 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

fn is_delimited_protobuf(media_type: &MediaType<'_>) -> bool {
    media_type.is(PROTOBUF)
        && media_type.has("proto", "io.prometheus.client.MetricFamily")
        && media_type.has("encoding", "delimited")
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "text-0.0.4" => Ok(Self::Text004),
            "openmetrics-1.0.0" => Ok(Self::OpenMetrics100),
            _ => {
                Self::all().into_iter().find(|format| format.as_str() == text).ok_or(UnknownFormat)
            }
        }
    }
}

/// No format has this name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFormat;

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not one of")?;
        for (i, format) in Format::all().into_iter().enumerate() {
            write!(f, "{} {format}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownFormat {}

/// A `Content-Type` that no exposition has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignType(String);

impl fmt::Display for ForeignType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not the media type of an exposition", self.0)
    }
}

impl std::error::Error for ForeignType {}

/// How names are written that old readers would not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Escaping {
    /// As they are, in quotes.
    AllowUtf8,
    /// `_` for each character that is not allowed.
    Underscores,
    /// `_dot_` for a dot, `__` for `_` and for everything else.
    Dots,
    /// `U__`, then `_2e_` for a dot and so on for every other character.
    Values,
}

impl Escaping {
    /// The value of the parameter `escaping`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    /// The escaping of this name, in capitals or not.
    pub fn of_parameter(value: &str) -> Option<Self> {
        [Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values]
            .into_iter()
            .find(|escaping| escaping.as_str().eq_ignore_ascii_case(value))
    }
}

/// What an answer is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    format: Format,
    escaping: Escaping,
    /// The reader named the escaping, so the answer tells what became of it.
    is_named: bool,
}

impl Target {
    /// This format for a reader that did not say which names it knows, so that
    /// it gets old ones.
    pub fn new(format: Format) -> Self {
        Self { format, escaping: Escaping::Underscores, is_named: false }
    }

    /// The same for a reader that asked for this escaping.
    ///
    /// A format that has no other names than the old ones cannot have
    /// [`Escaping::AllowUtf8`] and gets underscores.
    #[must_use]
    pub fn with_escaping(self, escaping: Escaping) -> Self {
        let is_kept = self.format.has_utf8_names() || escaping != Escaping::AllowUtf8;
        let escaping = if is_kept { escaping } else { Escaping::Underscores };
        Self { escaping, is_named: true, ..self }
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What happens to names that old readers do not know.
    pub fn escaping(&self) -> Escaping {
        self.escaping
    }

    /// The `Content-Type` of the answer.
    pub fn content_type(&self) -> Cow<'static, str> {
        let content_type = self.format.content_type();
        if self.is_named && self.format.has_utf8_names() {
            Cow::Owned(format!("{content_type}; escaping={}", self.escaping.as_str()))
        } else {
            Cow::Borrowed(content_type)
        }
    }
}

impl Default for Target {
    /// What everybody can read.
    fn default() -> Self {
        Self::new(Format::Text004)
    }
}

#[cfg(test)]
mod tests;
