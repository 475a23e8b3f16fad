//! The grammar of a sample line, as lenient as it is read.

use memchr::memchr2;

use super::{error::ErrorKind, number};

/// The label under which Prometheus itself keeps a metric's name.
pub(super) const RESERVED_LABEL: &[u8] = b"__name__";

/// A sample line; its labels were handed out while it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sample<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) timestamp_ms: Option<i64>,
    /// Where in the line further labels go: its `}`, or the end of its name.
    pub(super) insert: usize,
    /// Written as we write lines: labels or no braces, no blank but the single
    /// spaces before value and timestamp, no trailing comma, known escapes.
    pub(super) is_canonical: bool,
}

/// A label of a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label<'a> {
    pub(super) name: &'a [u8],
    /// What stands between the quotes, still escaped.
    pub(super) value: &'a [u8],
    /// From the name's first byte up to and with the closing quote.
    pub(super) text: &'a [u8],
}

impl<'a> Label<'a> {
    /// How long the name is with what stands before the value: `name="`.
    fn head(&self) -> &'a [u8] {
        self.text.get(..self.name.len() + 2).unwrap_or_default()
    }
}

/// Takes the labels of a sample while its line is read.
///
/// Lines that follow each other have mostly the same label names, and some equal
/// labels. Who says which label is likely next saves a close look at it.
pub(super) trait TakeLabels<'a> {
    /// A canonical label that the next one may equal, in its name at least.
    fn likely(&self) -> Option<Label<'a>>;

    /// Takes the next label.
    fn take(&mut self, label: Label<'a>, likeness: Likeness) -> Result<(), ErrorKind>;
}

/// How much a label is like the [likely](TakeLabels::likely) one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// It is the same.
    Equal,
    /// It has the same name.
    Name,
    /// Nothing is known of it.
    Unknown,
}

impl<'a, F: FnMut(Label<'a>) -> Result<(), ErrorKind>> TakeLabels<'a> for F {
    fn likely(&self) -> Option<Label<'a>> {
        None
    }

    fn take(&mut self, label: Label<'a>, _: Likeness) -> Result<(), ErrorKind> {
        self(label)
    }
}

/// Reads a line without its line break.
///
/// `likely_name` is tried as the metric's name first: mostly it is that of the line before.
#[inline]
pub(super) fn parse<'a>(
    line: &'a [u8],
    likely_name: &[u8],
    labels: &mut impl TakeLabels<'a>,
) -> Result<Sample<'a>, ErrorKind> {
    let mut cursor = Cursor { line, at: 0, is_canonical: true };
    cursor.expect_no_blank();
    let name = cursor.metric_name(likely_name)?;
    let name_end = cursor.at;
    let mut gap = cursor.gap();
    let insert = if cursor.eat(b'{') {
        cursor.is_canonical &= gap == Gap::None;
        let insert = cursor.labels(labels)?;
        gap = cursor.gap();
        insert
    } else if gap == Gap::None {
        // Nothing between name and value, or a byte that is in no name.
        return Err(if cursor.peek().is_none() { ErrorKind::Value } else { ErrorKind::MetricName });
    } else {
        name_end
    };
    cursor.is_canonical &= gap == Gap::Space;
    let value = cursor.word();
    if !number::is_float(value) {
        return Err(ErrorKind::Value);
    }
    let timestamp_ms = cursor.timestamp_ms()?;
    Ok(Sample { name, value, timestamp_ms, insert, is_canonical: cursor.is_canonical })
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

    /// Reads on from behind the `{` to behind the `}`, and says where that was.
    #[inline(always)]
    fn labels(&mut self, labels: &mut impl TakeLabels<'a>) -> Result<usize, ErrorKind> {
        // Canonical braces end right after a label.
        let mut after_label = false;
        loop {
            self.expect_no_blank();
            if self.eat(b'}') {
                self.is_canonical &= after_label;
                return Ok(self.at - 1);
            }
            // Prometheus takes labels without a comma between them.
            self.is_canonical &= !after_label;
            let (label, likeness) = self.label(labels.likely())?;
            labels.take(label, likeness)?;
            self.expect_no_blank();
            after_label = !self.eat(b',');
        }
    }

    #[inline(always)]
    fn label(&mut self, likely: Option<Label<'a>>) -> Result<(Label<'a>, Likeness), ErrorKind> {
        let (start, rest) = (self.at, self.rest());
        if let Some(likely) = likely {
            if rest.starts_with(likely.text) {
                self.at += likely.text.len();
                return Ok((likely, Likeness::Equal));
            }
            if rest.starts_with(likely.head()) {
                self.at += likely.head().len();
                let value = self.label_value()?;
                return Ok((Label { value, text: self.since(start), ..likely }, Likeness::Name));
            }
        }
        let name = self.take(label_name(rest));
        if name.is_empty() {
            return Err(ErrorKind::LabelName);
        }
        self.expect_no_blank();
        if !self.eat(b'=') {
            return Err(ErrorKind::LabelName);
        }
        self.expect_no_blank();
        if !self.eat(b'"') {
            return Err(ErrorKind::LabelValue);
        }
        let value = self.label_value()?;
        Ok((Label { name, value, text: self.since(start) }, Likeness::Unknown))
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

    #[inline(always)]
    fn word(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let end = rest.iter().position(|&byte| is_blank(byte)).unwrap_or(rest.len());
        self.take(rest.get(..end).unwrap_or_default())
    }

    fn timestamp_ms(&mut self) -> Result<Option<i64>, ErrorKind> {
        let gap = self.gap();
        if self.peek().is_none() {
            self.is_canonical &= gap == Gap::None;
            return Ok(None);
        }
        self.is_canonical &= gap == Gap::Space;
        if self.peek() == Some(b'#') {
            return Err(ErrorKind::Exemplar);
        }
        let timestamp_ms = number::timestamp_ms(self.word()).ok_or(ErrorKind::Timestamp)?;
        self.expect_no_blank();
        match self.peek() {
            None => Ok(Some(timestamp_ms)),
            Some(b'#') => Err(ErrorKind::Exemplar),
            Some(_) => Err(ErrorKind::Trailing),
        }
    }
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

/// Whether the name of a sample line is the parts of `name`, one after the other.
pub(super) fn is_named(line: &[u8], name: [&[u8]; 2]) -> bool {
    let rest = name.iter().try_fold(skip_blanks(line), |rest, part| rest.strip_prefix(*part));
    rest.is_some_and(|rest| !goes_on(rest))
}

#[cfg(test)]
mod tests;
