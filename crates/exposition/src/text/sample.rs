//! The grammar of a sample line, as lenient as it is read.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::{
    error::ErrorKind,
    names::{is_legacy_label_name, is_legacy_metric_name},
};

/// What a sample line says before its value; its labels were handed out while it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Series<'a> {
    pub(super) name: Name<'a>,
    /// Where in the line further labels go: its `}`, or the end of its name.
    pub(super) insert: usize,
    /// Where the value starts.
    pub(super) end: usize,
    /// Written as we write lines: labels or no braces, no blank but the single
    /// space before the value, no trailing comma, known escapes, quoted names only where
    /// they must be.
    pub(super) is_canonical: bool,
    /// Whether a name in it is quoted.
    pub(super) has_quoted: bool,
}

/// A metric's or label's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Name<'a> {
    /// Without its quotes, and then still escaped.
    pub(super) text: &'a [u8],
    pub(super) is_quoted: bool,
}

impl<'a> Name<'a> {
    /// Without escapes.
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
pub(super) struct Label<'a> {
    pub(super) name: Name<'a>,
    /// What stands between the quotes, still escaped.
    pub(super) value: &'a [u8],
    /// From the name's first byte, or its opening quote, up to and with the closing quote.
    pub(super) text: &'a [u8],
}

impl<'a> Label<'a> {
    /// What stands before the value: `name="`.
    fn head(&self) -> &'a [u8] {
        let length = self.text.len().saturating_sub(self.value.len() + 1);
        self.text.get(..length).unwrap_or_default()
    }
}

/// Takes the labels of a sample while its line is read.
///
/// Lines that follow each other have mostly the same label names, and some equal
/// labels. Who says which label is likely next saves a close look at it.
pub(super) trait TakeLabels<'a> {
    /// A canonical label that the next one may equal, in its name at least.
    fn likely(&self) -> Option<&Label<'a>>;

    /// Takes the next label.
    fn take(&mut self, label: Next<'a>) -> Result<(), ErrorKind>;
}

/// A label, as far as it differs from the [likely](TakeLabels::likely) one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next<'a> {
    /// It is the same.
    Equal,
    /// It has the same name.
    Named { value: &'a [u8], text: &'a [u8] },
    /// Nothing is known of it.
    Unknown(Label<'a>),
}

impl<'a, F: FnMut(Label<'a>) -> Result<(), ErrorKind>> TakeLabels<'a> for F {
    fn likely(&self) -> Option<&Label<'a>> {
        None
    }

    fn take(&mut self, label: Next<'a>) -> Result<(), ErrorKind> {
        match label {
            Next::Unknown(label) => self(label),
            // There is no likely one that it could be like.
            Next::Equal | Next::Named { .. } => Ok(()),
        }
    }
}

/// Reads a line without its line break, up to its value.
///
/// `likely_name` is tried as the metric's name first: mostly it is that of the line before.
#[inline]
pub(super) fn parse<'a>(
    line: &'a [u8],
    likely_name: &[u8],
    labels: &mut impl TakeLabels<'a>,
) -> Result<Series<'a>, ErrorKind> {
    let mut cursor = Cursor { line, at: 0, is_canonical: true, has_quoted: false };
    cursor.expect_no_blank();
    let (name, insert, gap) = if cursor.peek() == Some(b'{') {
        cursor.at += 1;
        let (insert, name) = cursor.labels(None, labels)?;
        (name, insert, cursor.gap())
    } else {
        let name = Name { text: cursor.metric_name(likely_name)?, is_quoted: false };
        let name_end = cursor.at;
        let gap = cursor.gap();
        if cursor.eat(b'{') {
            cursor.is_canonical &= gap == Gap::None;
            let (insert, name) = cursor.labels(Some(name), labels)?;
            (name, insert, cursor.gap())
        } else if gap == Gap::None {
            // Nothing between name and value, or a byte that is in no name.
            let is_end = cursor.peek().is_none();
            return Err(if is_end { ErrorKind::Value } else { ErrorKind::MetricName });
        } else {
            (name, name_end, gap)
        }
    };
    cursor.is_canonical &= gap == Gap::Space;
    let Cursor { at: end, is_canonical, has_quoted, .. } = cursor;
    Ok(Series { name, insert, end, is_canonical, has_quoted })
}

/// Reads labels from their `{` on, and says where behind their `}` the rest starts.
pub(super) fn parse_labels<'a>(
    text: &'a [u8],
    labels: &mut impl TakeLabels<'a>,
) -> Result<usize, ErrorKind> {
    let mut cursor = Cursor { line: text, at: 0, is_canonical: true, has_quoted: false };
    if !cursor.eat(b'{') {
        return Err(ErrorKind::LabelName);
    }
    cursor.labels(Some(Name::default()), labels)?;
    Ok(cursor.at)
}

/// What stands between two parts of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gap {
    None,
    Space,
    /// Several blanks, or a tab.
    Other,
}

struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
    is_canonical: bool,
    has_quoted: bool,
}

impl<'a> Cursor<'a> {
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

    /// Reads on from behind the `{` to behind the `}`, and says where that was. The metric's
    /// name is in the braces if it is not before them.
    #[inline(always)]
    fn labels(
        &mut self,
        mut name: Option<Name<'a>>,
        labels: &mut impl TakeLabels<'a>,
    ) -> Result<(usize, Name<'a>), ErrorKind> {
        // Canonical braces end right after a label.
        let mut after_label = false;
        let mut is_first = true;
        loop {
            self.expect_no_blank();
            if self.eat(b'}') {
                self.is_canonical &= after_label;
                return Ok((self.at - 1, name.ok_or(ErrorKind::MetricName)?));
            }
            // Prometheus takes labels without a comma between them.
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
                    labels.take(Next::Unknown(quoted.label))?;
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

    /// A quoted name, and its value if it is a label's.
    fn quoted(&mut self) -> Result<Quoted<'a>, ErrorKind> {
        self.has_quoted = true;
        let start = self.at;
        self.at += 1;
        let text = self.label_value().map_err(|_| ErrorKind::LabelName)?;
        if text.is_empty() {
            return Err(ErrorKind::LabelName);
        }
        let name = Name { text, is_quoted: true };
        let end = self.at;
        let gap = self.gap();
        if self.peek() != Some(b'=') {
            self.at = end;
            let label = Label { name, value: &[], text: self.since(start) };
            return Ok(Quoted { label, is_name: true });
        }
        self.is_canonical &= gap == Gap::None;
        let value = self.value_after_name()?;
        Ok(Quoted { label: Label { name, value, text: self.since(start) }, is_name: false })
    }

    #[inline(always)]
    fn label(&mut self, likely: Option<&Label<'a>>) -> Result<Next<'a>, ErrorKind> {
        let (start, rest) = (self.at, self.rest());
        if let Some(likely) = likely {
            if rest.starts_with(likely.text) {
                self.at += likely.text.len();
                return Ok(Next::Equal);
            }
            if rest.starts_with(likely.head()) {
                self.at += likely.head().len();
                let value = self.label_value()?;
                return Ok(Next::Named { value, text: self.since(start) });
            }
        }
        let text = self.take(label_name(rest));
        if text.is_empty() {
            return Err(ErrorKind::LabelName);
        }
        self.expect_no_blank();
        let name = Name { text, is_quoted: false };
        let value = self.value_after_name()?;
        Ok(Next::Unknown(Label { name, value, text: self.since(start) }))
    }

    /// Reads `="value"`.
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

    /// Reads on from behind the opening to behind the closing quote.
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

/// What a quote in braces started.
struct Quoted<'a> {
    label: Label<'a>,
    /// The metric's name: nothing but the label's name is set.
    is_name: bool,
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

pub(super) fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|&&byte| is_blank(byte)).count();
    text.get(blanks..).unwrap_or_default()
}

/// Where the first `"` or `\` is.
#[inline(always)]
fn quote_or_backslash(text: &[u8]) -> Option<usize> {
    // Most values are short, and a call of memchr costs as much as this.
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

/// A word whose lowest set bit is in the first byte that is `byte`, 0 if there is none.
#[inline(always)]
fn has_byte(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    let zeroed = word ^ (ONES * u64::from(byte));
    zeroed.wrapping_sub(ONES) & !zeroed & (ONES << 7)
}

/// The metric name that `text` starts with; empty if it does not.
#[inline(always)]
pub(super) fn metric_name(text: &[u8]) -> &[u8] {
    name(text, IN_METRIC_NAME)
}

/// The label name that `text` starts with; empty if it does not.
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

/// Which names each byte may be in, after their first one.
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

/// Whether a name that ends where `text` starts would go on.
pub(super) fn goes_on(text: &[u8]) -> bool {
    text.first().is_some_and(|&byte| CLASSES[usize::from(byte)] & IN_METRIC_NAME != 0)
}

/// The metric name of a sample line that was read before.
pub(super) fn name_of(line: &[u8]) -> Name<'_> {
    let line = skip_blanks(line);
    let text = metric_name(line);
    if !text.is_empty() {
        return Name { text, is_quoted: false };
    }
    let is_found = parse(line, &[], &mut |_: Label<'_>| Ok(()));
    is_found.map(|series| series.name).unwrap_or_default()
}

pub(super) fn is_in_metric_name(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & IN_METRIC_NAME != 0
}

/// Appends what escaped text stands for; an unknown escape stands for itself.
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
