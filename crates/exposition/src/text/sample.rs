//! Parser of sample lines. It accepts more than the specifications allow.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::{
    error::ErrorKind,
    names::{is_legacy_label_name, is_legacy_metric_name},
};

/// The parsed part of a sample line before its value. The labels were passed to a [`LabelVisitor`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ParsedSeries<'a> {
    pub(super) name: SourceName<'a>,
    /// The position in the line where labels can be added: the `}` or the end of the name.
    pub(super) insert: usize,
    /// The position of the value.
    pub(super) end: usize,
    /// Whether the line is as the rewriter would write it: labels or no braces, one space before
    /// the value and no other blanks, no trailing comma, known escapes, and quotes only for names
    /// that need them.
    pub(super) is_canonical: bool,
    /// Whether a name is quoted.
    pub(super) has_quoted: bool,
}

/// The name of a metric or label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SourceName<'a> {
    /// The text without quotes, still escaped.
    pub(super) text: &'a [u8],
    pub(super) is_quoted: bool,
}

impl<'a> SourceName<'a> {
    /// The name without escapes.
    pub(super) fn unescaped(self) -> Cow<'a, [u8]> {
        if !self.is_quoted || memchr(b'\\', self.text).is_none() {
            return Cow::Borrowed(self.text);
        }
        let mut out = Vec::with_capacity(self.text.len());
        unescape(self.text, &mut out);
        Cow::Owned(out)
    }
}

/// A label of a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextLabel<'a> {
    pub(super) name: SourceName<'a>,
    /// The text between the quotes, still escaped.
    pub(super) value: &'a [u8],
    /// The whole label, with the closing quote.
    pub(super) text: &'a [u8],
}

impl<'a> TextLabel<'a> {
    /// The text before the value: `name="`.
    fn prefix(&self) -> &'a [u8] {
        let length = self.text.len().saturating_sub(self.value.len() + 1);
        self.text.get(..length).unwrap_or_default()
    }
}

/// Receives the labels of a sample during parsing.
///
/// Consecutive lines mostly have the same label names and some equal labels. A visitor that
/// predicts the next label makes parsing faster.
pub(super) trait LabelVisitor<'a> {
    /// The predicted next label. It must be canonical.
    fn likely(&self) -> Option<&TextLabel<'a>>;

    /// Receives the next label.
    fn take(&mut self, label: NextLabel<'a>) -> Result<(), ErrorKind>;
}

/// A label, compared with the [predicted](LabelVisitor::likely) one.
#[derive(Clone, Copy, Debug)]
pub(super) enum NextLabel<'a> {
    /// The label is equal.
    Equal,
    /// The label has the same name.
    Named { value: &'a [u8], text: &'a [u8] },
    /// The label is different, or none was predicted.
    Unknown(TextLabel<'a>),
}

impl<'a, F: FnMut(TextLabel<'a>) -> Result<(), ErrorKind>> LabelVisitor<'a> for F {
    fn likely(&self) -> Option<&TextLabel<'a>> {
        None
    }

    fn take(&mut self, label: NextLabel<'a>) -> Result<(), ErrorKind> {
        match label {
            NextLabel::Unknown(label) => self(label),
            // These variants occur only if a label was predicted.
            NextLabel::Equal | NextLabel::Named { .. } => Ok(()),
        }
    }
}

/// Parses a line without its line break, up to the value.
///
/// `likely_name` is the predicted metric name, mostly that of the previous line.
#[inline]
pub(super) fn parse<'a>(
    line: &'a [u8],
    likely_name: &[u8],
    labels: &mut impl LabelVisitor<'a>,
) -> Result<ParsedSeries<'a>, ErrorKind> {
    let mut cursor = LineCursor { line, at: 0, is_canonical: true, has_quoted: false };
    cursor.expect_no_blank();
    let (name, insert, gap) = if cursor.peek() == Some(b'{') {
        cursor.at += 1;
        let (insert, name) = cursor.labels(None, labels)?;
        (name, insert, cursor.gap())
    } else {
        let name = SourceName { text: cursor.metric_name(likely_name)?, is_quoted: false };
        let name_end = cursor.at;
        let gap = cursor.gap();
        if cursor.eat(b'{') {
            cursor.is_canonical &= gap == Gap::None;
            let (insert, name) = cursor.labels(Some(name), labels)?;
            (name, insert, cursor.gap())
        } else if gap == Gap::None {
            // Either the line ends here, or this byte is invalid in a name.
            let is_end = cursor.peek().is_none();
            return Err(if is_end { ErrorKind::Value } else { ErrorKind::MetricName });
        } else {
            (name, name_end, gap)
        }
    };
    cursor.is_canonical &= gap == Gap::Space;
    let LineCursor { at: end, is_canonical, has_quoted, .. } = cursor;
    Ok(ParsedSeries { name, insert, end, is_canonical, has_quoted })
}

/// Parses labels in braces, and returns the position after the `}`.
pub(super) fn parse_labels<'a>(
    text: &'a [u8],
    labels: &mut impl LabelVisitor<'a>,
) -> Result<usize, ErrorKind> {
    let mut cursor = LineCursor { line: text, at: 0, is_canonical: true, has_quoted: false };
    if !cursor.eat(b'{') {
        return Err(ErrorKind::LabelName);
    }
    cursor.labels(Some(SourceName::default()), labels)?;
    Ok(cursor.at)
}

/// The blanks between two parts of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gap {
    None,
    Space,
    /// Several blanks, or a tab.
    Other,
}

struct LineCursor<'a> {
    line: &'a [u8],
    at: usize,
    is_canonical: bool,
    has_quoted: bool,
}

impl<'a> LineCursor<'a> {
    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    #[inline(always)]
    fn rest(&self) -> &'a [u8] {
        self.line.get(self.at..).unwrap_or_default()
    }

    #[inline(always)]
    fn since(&self, start: usize) -> &'a [u8] {
        self.line.get(start..self.at).unwrap_or_default()
    }

    #[inline(always)]
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[inline(always)]
    fn take(&mut self, taken: &'a [u8]) -> &'a [u8] {
        self.at += taken.len();
        taken
    }

    #[inline(always)]
    fn gap(&mut self) -> Gap {
        match self.peek() {
            Some(b' ' | b'\t') => self.blanks(),
            _ => Gap::None,
        }
    }

    #[inline]
    fn blanks(&mut self) -> Gap {
        let start = self.at;
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
        if self.since(start) == b" " { Gap::Space } else { Gap::Other }
    }

    #[inline(always)]
    fn expect_no_blank(&mut self) {
        self.is_canonical &= self.gap() == Gap::None;
    }

    #[inline(always)]
    fn metric_name(&mut self, likely: &[u8]) -> Result<&'a [u8], ErrorKind> {
        let rest = self.rest();
        let name = match rest.split_at_checked(likely.len()) {
            Some((name, after)) if name == likely && !goes_on(after) => name,
            _ => metric_name(rest),
        };
        if name.is_empty() {
            return Err(ErrorKind::MetricName);
        }
        Ok(self.take(name))
    }

    /// Parses from after the `{` to after the `}`. Returns the position of the `}` and the metric
    /// name, which can be in the braces.
    #[inline(always)]
    fn labels(
        &mut self,
        mut name: Option<SourceName<'a>>,
        labels: &mut impl LabelVisitor<'a>,
    ) -> Result<(usize, SourceName<'a>), ErrorKind> {
        // In canonical braces, the `}` follows a label.
        let mut after_label = false;
        let mut is_first = true;
        loop {
            self.expect_no_blank();
            if self.eat(b'}') {
                self.is_canonical &= after_label;
                return Ok((self.at - 1, name.ok_or(ErrorKind::MetricName)?));
            }
            // Prometheus accepts labels without a comma between them.
            self.is_canonical &= !after_label;
            if self.peek() == Some(b'"') {
                let quoted = self.quoted()?;
                if quoted.is_name {
                    if name.is_some() {
                        return Err(ErrorKind::MetricName);
                    }
                    self.is_canonical &= is_first && !is_legacy_metric_name(quoted.label.name.text);
                    name = Some(quoted.label.name);
                } else {
                    self.is_canonical &= !is_legacy_label_name(quoted.label.name.text);
                    labels.take(NextLabel::Unknown(quoted.label))?;
                }
            } else {
                let label = self.label(labels.likely())?;
                labels.take(label)?;
            }
            is_first = false;
            self.expect_no_blank();
            after_label = !self.eat(b',');
        }
    }

    /// Parses a quoted metric name, or a label with a quoted name.
    fn quoted(&mut self) -> Result<QuotedItem<'a>, ErrorKind> {
        self.has_quoted = true;
        let start = self.at;
        self.at += 1;
        let text = self.label_value().map_err(|_| ErrorKind::LabelName)?;
        if text.is_empty() {
            return Err(ErrorKind::LabelName);
        }
        let name = SourceName { text, is_quoted: true };
        let end = self.at;
        let gap = self.gap();
        if self.peek() != Some(b'=') {
            self.at = end;
            let label = TextLabel { name, value: &[], text: self.since(start) };
            return Ok(QuotedItem { label, is_name: true });
        }
        self.is_canonical &= gap == Gap::None;
        let value = self.value_after_name()?;
        Ok(QuotedItem { label: TextLabel { name, value, text: self.since(start) }, is_name: false })
    }

    #[inline(always)]
    fn label(&mut self, likely: Option<&TextLabel<'a>>) -> Result<NextLabel<'a>, ErrorKind> {
        let (start, rest) = (self.at, self.rest());
        if let Some(likely) = likely {
            if rest.starts_with(likely.text) {
                self.at += likely.text.len();
                return Ok(NextLabel::Equal);
            }
            if rest.starts_with(likely.prefix()) {
                self.at += likely.prefix().len();
                let value = self.label_value()?;
                return Ok(NextLabel::Named { value, text: self.since(start) });
            }
        }
        let text = self.take(label_name(rest));
        if text.is_empty() {
            return Err(ErrorKind::LabelName);
        }
        self.expect_no_blank();
        let name = SourceName { text, is_quoted: false };
        let value = self.value_after_name()?;
        Ok(NextLabel::Unknown(TextLabel { name, value, text: self.since(start) }))
    }

    /// Parses `="value"`.
    #[inline(always)]
    fn value_after_name(&mut self) -> Result<&'a [u8], ErrorKind> {
        if !self.eat(b'=') {
            return Err(ErrorKind::LabelName);
        }
        self.expect_no_blank();
        if !self.eat(b'"') {
            return Err(ErrorKind::LabelValue);
        }
        self.label_value()
    }

    /// Parses from after the opening quote to after the closing quote.
    #[inline(always)]
    fn label_value(&mut self) -> Result<&'a [u8], ErrorKind> {
        let start = self.at;
        loop {
            self.at += quote_or_backslash(self.rest()).ok_or(ErrorKind::LabelValue)?;
            if self.peek() == Some(b'"') {
                break;
            }
            let escaped = self.line.get(self.at + 1);
            self.is_canonical &= matches!(escaped, Some(b'n' | b'\\' | b'"'));
            self.at += 2;
        }
        let value = self.since(start);
        self.at += 1;
        Ok(value)
    }
}

/// A quoted metric name, or a label with a quoted name.
struct QuotedItem<'a> {
    label: TextLabel<'a>,
    /// Whether it is the metric name. Only the name of `label` is set then.
    is_name: bool,
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

pub(super) fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|&&byte| is_blank(byte)).count();
    text.get(blanks..).unwrap_or_default()
}

/// The position of the first `"` or `\`.
#[inline(always)]
fn quote_or_backslash(text: &[u8]) -> Option<usize> {
    // For short values this loop is as fast as the call of memchr.
    let mut at = 0;
    while let Some(word) = text.get(at..at + 8).and_then(|word| word.try_into().ok()) {
        let word = u64::from_le_bytes(word);
        let found = has_byte(word, b'"') | has_byte(word, b'\\');
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
        if at == 32 {
            break;
        }
    }
    memchr2(b'"', b'\\', text.get(at..)?).map(|found| at + found)
}

/// Finds a byte in a word. The lowest set bit of the result is in the first equal byte; 0 if there
/// is none.
#[inline(always)]
fn has_byte(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    let zeroed = word ^ (ONES * u64::from(byte));
    zeroed.wrapping_sub(ONES) & !zeroed & (ONES << 7)
}

/// The metric name at the start of `text`, or an empty slice.
#[inline(always)]
pub(super) fn metric_name(text: &[u8]) -> &[u8] {
    name(text, IN_METRIC_NAME)
}

/// The label name at the start of `text`, or an empty slice.
#[inline(always)]
pub(super) fn label_name(text: &[u8]) -> &[u8] {
    name(text, IN_LABEL_NAME)
}

#[inline(always)]
fn name(text: &[u8], allowed: u8) -> &[u8] {
    if text.first().is_none_or(u8::is_ascii_digit) {
        return &[];
    }
    let mut length = 0;
    while text.get(length).is_some_and(|&byte| CLASSES[usize::from(byte)] & allowed != 0) {
        length += 1;
    }
    text.get(..length).unwrap_or_default()
}

const IN_METRIC_NAME: u8 = 1;
const IN_LABEL_NAME: u8 = 2;

/// For each byte, the kinds of names that can contain it after the first byte.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphanumeric() || byte == b'_' as usize {
            classes[byte] = IN_METRIC_NAME | IN_LABEL_NAME;
        }
        byte += 1;
    }
    classes[b':' as usize] = IN_METRIC_NAME;
    classes
};

/// Whether `text` starts with a byte of metric names.
pub(super) fn goes_on(text: &[u8]) -> bool {
    text.first().is_some_and(|&byte| CLASSES[usize::from(byte)] & IN_METRIC_NAME != 0)
}

/// The metric name of a sample line that was parsed before.
pub(super) fn name_of(line: &[u8]) -> SourceName<'_> {
    let line = skip_blanks(line);
    let text = metric_name(line);
    if !text.is_empty() {
        return SourceName { text, is_quoted: false };
    }
    let is_found = parse(line, &[], &mut |_: TextLabel<'_>| Ok(()));
    is_found.map(|series| series.name).unwrap_or_default()
}

pub(super) fn is_in_metric_name(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & IN_METRIC_NAME != 0
}

/// Appends unescaped text. The backslash of an unknown escape is kept.
pub(super) fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        let (plain, after) = match (byte, after) {
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [escaped @ (b'\\' | b'"'), after @ ..]) => (*escaped, after),
            _ => (*byte, after),
        };
        out.push(plain);
        rest = after;
    }
}

#[cfg(test)]
mod tests;
