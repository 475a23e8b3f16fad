//! Removes folders from responses that contain the path of each rule file on Scrapebroker's disk.
//!
//! Responses are streamed, so this filter works byte by byte and buffers at most one file name.

/// Formats of responses that contain paths of rule files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulePathFormat {
    /// `/api/v1/rules`
    Rules,
    /// The alerts page that a server of version 2 renders.
    AlertsPage,
}

/// Removes the folders from a streamed response.
#[derive(Debug)]
pub(super) enum RulePathFilter {
    Rules(RulesFilter),
    AlertsPage(AlertsPageFilter),
}

impl RulePathFilter {
    pub(super) fn new(files: RulePathFormat) -> Self {
        match files {
            RulePathFormat::Rules => Self::Rules(RulesFilter::default()),
            RulePathFormat::AlertsPage => Self::AlertsPage(AlertsPageFilter::default()),
        }
    }

    /// Returns the chunk without folders; empty if the whole chunk is part of a path.
    pub(super) fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        match self {
            Self::Rules(rules) => rules.pass(piece),
            Self::AlertsPage(page) => page.pass(piece),
        }
    }
}

/// Filter for a page with lines like `   /srv/rules.yml > group`.
#[derive(Debug, Default)]
pub(super) struct AlertsPageFilter {
    line: Line,
    /// The bytes of a line with a path that are not yet returned.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Indent,
    Path,
    Text,
}

impl AlertsPageFilter {
    fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut passed = Vec::with_capacity(piece.len());
        for byte in piece {
            match (self.line, byte) {
                (_, b'\n') => {
                    passed.extend_from_slice(without_folders(&self.held));
                    passed.push(b'\n');
                    self.held.clear();
                    self.line = Line::Indent;
                }
                (Line::Path, _) if self.held.len() == MAX_LINE => {
                    passed.append(&mut self.held);
                    passed.push(*byte);
                    self.line = Line::Text;
                }
                (Line::Indent, b'/') | (Line::Path, _) => {
                    self.held.push(*byte);
                    self.line = Line::Path;
                }
                _ => {
                    passed.push(*byte);
                    self.line = if byte.is_ascii_whitespace() { self.line } else { Line::Text };
                }
            }
        }
        passed
    }
}

/// `rules.yml > group` for a line with a path and a group; other lines unchanged.
fn without_folders(line: &[u8]) -> &[u8] {
    let path = memchr::memmem::find(line, b" > ").and_then(|end| line.get(..end));
    let slash = path.and_then(|path| memchr::memrchr(b'/', path));
    slash.and_then(|slash| line.get(slash + 1..)).unwrap_or(line)
}

/// Nesting depth of the objects in `data.groups`.
const GROUP: usize = 4;
/// Maximum length of a line that is filtered, bytes.
const MAX_LINE: usize = 8192;
/// Maximum length of a file name, bytes; no file system allows longer ones.
const MAX_NAME: usize = 1024;
const KEY: &[u8] = b"file";

/// Filter for the JSON of `/api/v1/rules`: the position of the next byte.
#[derive(Debug, Default)]
pub(super) struct RulesFilter {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The first bytes of the last string.
    token: Vec<u8>,
    next: Next,
    /// The part of the current path after its last slash.
    name: Vec<u8>,
}

/// Meaning of the next string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Text,
    /// The last string is `file`, which is a key if a colon follows.
    Colon,
    Path,
}

impl RulesFilter {
    fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut passed = Vec::with_capacity(piece.len());
        for byte in piece {
            match (self.in_string, self.next) {
                (true, Next::Path) => self.path(*byte, &mut passed),
                (true, _) => self.text(*byte, &mut passed),
                (false, _) => self.structure(*byte, &mut passed),
            }
        }
        passed
    }

    fn structure(&mut self, byte: u8, passed: &mut Vec<u8>) {
        passed.push(byte);
        match byte {
            b'"' => {
                self.in_string = true;
                self.token.clear();
                self.name.clear();
                if self.next == Next::Colon {
                    self.next = Next::Text;
                }
                return;
            }
            b' ' | b'\t' | b'\r' | b'\n' => return,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' if self.next == Next::Colon => {
                self.next = Next::Path;
                return;
            }
            _ => {}
        }
        self.next = Next::Text;
    }

    fn text(&mut self, byte: u8, passed: &mut Vec<u8>) {
        passed.push(byte);
        if self.ends_string(byte) {
            let is_key = self.depth == GROUP && self.token == KEY;
            self.next = if is_key { Next::Colon } else { Next::Text };
        } else if self.token.len() <= KEY.len() {
            self.token.push(byte);
        }
    }

    fn path(&mut self, byte: u8, passed: &mut Vec<u8>) {
        if self.ends_string(byte) {
            passed.append(&mut self.name);
            passed.push(byte);
            self.next = Next::Text;
        } else if byte == b'/' {
            self.name.clear();
        } else if self.name.len() < MAX_NAME {
            self.name.push(byte);
        }
    }

    fn ends_string(&mut self, byte: u8) -> bool {
        let ends = byte == b'"' && !self.escaped;
        self.in_string = !ends;
        self.escaped = byte == b'\\' && !self.escaped;
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_removed_only_from_the_files_of_groups() {
        let rules = r#"{"status":"success","data":{"groups":[{"name":"file","file":"/srv/a b/\"x\"/rules.yml","rules":[{"name":"A","labels":{"file":"/label/x"},"annotations":{"summary":"\"file\":\"/a/b\" \\","file":"/c/d"},"alerts":[]}]},{ "file" : "rules.yml", "name" : "/n"},{"file":"\/srv\/r.yml","x":"file","y":"/z"},{"file":""}]},"file":"/top"}"#;
        let expected = r#"{"status":"success","data":{"groups":[{"name":"file","file":"rules.yml","rules":[{"name":"A","labels":{"file":"/label/x"},"annotations":{"summary":"\"file\":\"/a/b\" \\","file":"/c/d"},"alerts":[]}]},{ "file" : "rules.yml", "name" : "/n"},{"file":"r.yml","x":"file","y":"/z"},{"file":""}]},"file":"/top"}"#;
        for size in 1..rules.len() {
            let mut names = RulePathFilter::new(RulePathFormat::Rules);
            let passed: Vec<u8> =
                rules.as_bytes().chunks(size).flat_map(|piece| names.pass(piece)).collect();
            assert_eq!(String::from_utf8(passed).unwrap(), expected, "{size}");
        }
    }

    #[test]
    fn folders_are_removed_from_the_alerts_page() {
        let page =
            "<div>\n          /srv/a b/rules.yml > my /group\n /x\n</div> /a > b\n<b>/c > d\n";
        let expected = "<div>\n          rules.yml > my /group\n /x\n</div> /a > b\n<b>/c > d\n";
        for size in 1..page.len() {
            let mut names = RulePathFilter::new(RulePathFormat::AlertsPage);
            let passed: Vec<u8> =
                page.as_bytes().chunks(size).flat_map(|piece| names.pass(piece)).collect();
            assert_eq!(String::from_utf8(passed).unwrap(), expected, "{size}");
        }
        let mut names = RulePathFilter::new(RulePathFormat::AlertsPage);
        let long = vec![b'/'; 3 * MAX_LINE];
        assert_eq!(names.pass(&long), long);
    }

    #[test]
    fn invalid_input_passes_and_memory_is_bounded() {
        let mut names = RulePathFilter::new(RulePathFormat::Rules);
        for nonsense in ["]]}}", "\"", "\\", "{\"a\":1}", "<html>\"'"] {
            assert_eq!(names.pass(nonsense.as_bytes()), nonsense.as_bytes());
        }
        let mut names = RulePathFilter::new(RulePathFormat::Rules);
        names.pass(b"{{{{\"file\":\"");
        assert_eq!(names.pass(&vec![b'x'; 1 << 20]), b"");
        assert_eq!(names.pass(b"\"").len(), MAX_NAME + 1);
    }
}
