//! Exposition formats and their media types.

use std::{borrow::Cow, fmt, str::FromStr};

use super::{families::FamilyNaming, media_type::MediaType, names::Escaping};

/// The media type of both text formats.
pub(super) const TEXT: &str = "text/plain";
/// The media type of both OpenMetrics formats.
pub(super) const OPENMETRICS: &str = "application/openmetrics-text";
/// The media type of protobuf. Its parameters `proto` and `encoding` are required.
const PROTOBUF: &str = "application/vnd.google.protobuf";

/// Endings of media types that are never expositions. All other types are parsed, because apps use
/// many wrong types for expositions.
const UNSUPPORTED: [&str; 5] = ["html", "json", "xml", "javascript", "protobuf"];

/// An exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text format 0.0.4.
    Text004,
    /// Prometheus text format 1.0.0: version 0.0.4 with quoted UTF-8 names.
    Text100,
    /// OpenMetrics 0.0.1.
    OpenMetrics001,
    /// OpenMetrics 1.0.0. Names can be quoted UTF-8 if the reader accepts `escaping=allow-utf-8`.
    OpenMetrics100,
    /// Delimited protobuf: messages of type `io.prometheus.client.MetricFamily`, each after its
    /// length.
    Protobuf,
}

impl Format {
    /// All formats.
    pub fn all() -> [Self; 5] {
        [Self::Text004, Self::Text100, Self::OpenMetrics001, Self::OpenMetrics100, Self::Protobuf]
    }

    /// The format of a response with this `Content-Type`. Pass an empty string for a response
    /// without one.
    ///
    /// `text/plain` with an unknown version is text format 0.0.4. `application/openmetrics-text`
    /// with an unknown version is OpenMetrics 1.0.0. Any other type is text format 0.0.4.
    ///
    /// # Errors
    ///
    /// The media type is that of HTML, JSON, XML, JavaScript or another kind of protobuf.
    pub fn from_content_type(content_type: &str) -> Result<Self, UnsupportedMediaType> {
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
        if UNSUPPORTED.iter().any(|unsupported| name.ends_with(unsupported)) {
            return Err(UnsupportedMediaType(name));
        }
        Ok(Self::Text004)
    }

    /// The format of an entry of `Accept`. `None` for wildcards and unknown formats.
    ///
    /// An unknown version is not replaced by another one, unlike in
    /// [`from_content_type`](Self::from_content_type), because the reader could not parse it. An
    /// entry without a version means the oldest version, as in Prometheus' client libraries.
    pub(super) fn from_accept(media_type: &MediaType<'_>) -> Option<Self> {
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

    /// The name of the format for command lines, such as `openmetrics`. [`FromStr`] accepts these
    /// names, and `text-0.0.4` and `openmetrics-1.0.0`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text004 => "text",
            Self::Text100 => "text-1.0.0",
            Self::OpenMetrics001 => "openmetrics-0.0.1",
            Self::OpenMetrics100 => "openmetrics",
            Self::Protobuf => "protobuf",
        }
    }

    /// Whether the format allows UTF-8 names. The media type has a parameter `escaping` then.
    pub fn has_utf8_names(self) -> bool {
        match self {
            Self::Text004 | Self::OpenMetrics001 => false,
            Self::Text100 | Self::OpenMetrics100 | Self::Protobuf => true,
        }
    }

    /// How the format names samples. Protobuf bodies are converted from and to OpenMetrics.
    pub(super) fn naming(self) -> FamilyNaming {
        match self {
            Self::Text004 | Self::Text100 => FamilyNaming::Classic,
            Self::OpenMetrics001 | Self::OpenMetrics100 | Self::Protobuf => {
                FamilyNaming::OpenMetrics
            }
        }
    }

    /// The `Content-Type` without the parameter `escaping`.
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

/// The error for an unknown format name. `Display` lists the known names.
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

/// The error for a `Content-Type` that cannot be an exposition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedMediaType(String);

impl fmt::Display for UnsupportedMediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not the media type of an exposition", self.0)
    }
}

impl std::error::Error for UnsupportedMediaType {}

/// The format of an output and the escaping of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutputFormat {
    format: Format,
    escaping: Escaping,
    /// Whether the reader asked for an escaping. The `Content-Type` names it then.
    is_named: bool,
}

impl OutputFormat {
    /// An output for a reader that asked for no escaping. Names are escaped with
    /// [`Escaping::Underscores`].
    pub fn new(format: Format) -> Self {
        Self { format, escaping: Escaping::Underscores, is_named: false }
    }

    /// The same output for a reader that asked for this escaping.
    ///
    /// [`Escaping::AllowUtf8`] becomes [`Escaping::Underscores`] in a format without UTF-8 names.
    #[must_use]
    pub fn with_escaping(self, escaping: Escaping) -> Self {
        let is_kept = self.format.has_utf8_names() || escaping != Escaping::AllowUtf8;
        let escaping = if is_kept { escaping } else { Escaping::Underscores };
        Self { escaping, is_named: true, ..self }
    }

    /// The format of the output.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The escaping of names that are not legacy names.
    pub fn escaping(&self) -> Escaping {
        self.escaping
    }

    /// The `Content-Type` of the output.
    pub fn content_type(&self) -> Cow<'static, str> {
        let content_type = self.format.content_type();
        if self.is_named && self.format.has_utf8_names() {
            Cow::Owned(format!("{content_type}; escaping={}", self.escaping.as_str()))
        } else {
            Cow::Borrowed(content_type)
        }
    }
}

impl Default for OutputFormat {
    /// Text format 0.0.4, which all scrapers can read.
    fn default() -> Self {
        Self::new(Format::Text004)
    }
}

#[cfg(test)]
mod tests;
