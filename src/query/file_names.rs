//! Leaves folders out of answers that name the file of each group of rules with its
//! path on our disk.
//!
//! Answers pass piece by piece, so this goes byte by byte and holds no more than one
//! file name.

/// Answers that name files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesIn {
    /// `/api/v1/rules`
    Rules,
    /// The page of alerts that a server of version 2 makes itself.
    AlertsPage,
}

/// Takes the folders out of an answer.
#[derive(Debug)]
pub(super) enum FileNames {
    Rules(Rules),
    AlertsPage(AlertsPage),
}

impl FileNames {
    pub(super) fn new(files: FilesIn) -> Self {
        match files {
            FilesIn::Rules => Self::Rules(Rules::default()),
            FilesIn::AlertsPage => Self::AlertsPage(AlertsPage::default()),
        }
    }

    /// The piece without folders; empty if it is all within a path.
    pub(super) fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        match self {
            Self::Rules(rules) => rules.pass(piece),
            Self::AlertsPage(page) => page.pass(piece),
        }
    }
}

/// A page with lines like `   /srv/rules.yml > group`.
#[derive(Debug, Default)]
pub(super) struct AlertsPage {
    line: Line,
    /// Of a line with a path, what is not passed yet.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Indent,
    Path,
    Text,
}

impl AlertsPage {
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
                (Line::Path, _) if self.held.len() == LONGEST_LINE => {
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

/// `rules.yml > group` of a path and a group; other lines as they are.
fn without_folders(line: &[u8]) -> &[u8] {
    let path = memchr::memmem::find(line, b" > ").and_then(|end| line.get(..end));
    let slash = path.and_then(|path| memchr::memrchr(b'/', path));
    slash.and_then(|slash| line.get(slash + 1..)).unwrap_or(line)
}

/// Objects of `data.groups` lie in the fourth pair of brackets.
const GROUP: usize = 4;
/// Longest line of a page that is looked into, bytes.
const LONGEST_LINE: usize = 8192;
/// Longest name, bytes; no file system has longer ones.
const LONGEST_NAME: usize = 1024;
const KEY: &[u8] = b"file";

/// Where in the JSON of `/api/v1/rules` the next byte is.
#[derive(Debug, Default)]
pub(super) struct Rules {
    depth: usize,
    /// Within a string, and behind a backslash there.
    in_string: bool,
    escaped: bool,
    /// The beginning of the last string.
    token: Vec<u8>,
    next: Next,
    /// Of the path in which we are, what follows its last slash.
    name: Vec<u8>,
}

/// What a string at this place would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Text,
    /// The last string is `file`, which is a key if a colon follows.
    Colon,
    Path,
}

impl Rules {
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
        } else if self.name.len() < LONGEST_NAME {
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
    fn only_the_files_of_groups_lose_their_folders() {
        let rules = r#"{"status":"success","data":{"groups":[{"name":"file","file":"/srv/a b/\"x\"/rules.yml","rules":[{"name":"A","labels":{"file":"/label/x"},"annotations":{"summary":"\"file\":\"/a/b\" \\","file":"/c/d"},"alerts":[]}]},{ "file" : "rules.yml", "name" : "/n"},{"file":"\/srv\/r.yml","x":"file","y":"/z"},{"file":""}]},"file":"/top"}"#;
        let expected = r#"{"status":"success","data":{"groups":[{"name":"file","file":"rules.yml","rules":[{"name":"A","labels":{"file":"/label/x"},"annotations":{"summary":"\"file\":\"/a/b\" \\","file":"/c/d"},"alerts":[]}]},{ "file" : "rules.yml", "name" : "/n"},{"file":"r.yml","x":"file","y":"/z"},{"file":""}]},"file":"/top"}"#;
        for size in 1..rules.len() {
            let mut names = FileNames::new(FilesIn::Rules);
            let passed: Vec<u8> =
                rules.as_bytes().chunks(size).flat_map(|piece| names.pass(piece)).collect();
            assert_eq!(String::from_utf8(passed).unwrap(), expected, "{size}");
        }
    }

    #[test]
    fn the_page_of_alerts_loses_folders_too() {
        let page =
            "<div>\n          /srv/a b/rules.yml > my /group\n /x\n</div> /a > b\n<b>/c > d\n";
        let expected = "<div>\n          rules.yml > my /group\n /x\n</div> /a > b\n<b>/c > d\n";
        for size in 1..page.len() {
            let mut names = FileNames::new(FilesIn::AlertsPage);
            let passed: Vec<u8> =
                page.as_bytes().chunks(size).flat_map(|piece| names.pass(piece)).collect();
            assert_eq!(String::from_utf8(passed).unwrap(), expected, "{size}");
        }
        let mut names = FileNames::new(FilesIn::AlertsPage);
        let long = vec![b'/'; 3 * LONGEST_LINE];
        assert_eq!(names.pass(&long), long);
    }

    #[test]
    fn nonsense_passes_and_nothing_grows() {
        let mut names = FileNames::new(FilesIn::Rules);
        for nonsense in ["]]}}", "\"", "\\", "{\"a\":1}", "<html>\"'"] {
            assert_eq!(names.pass(nonsense.as_bytes()), nonsense.as_bytes());
        }
        let mut names = FileNames::new(FilesIn::Rules);
        names.pass(b"{{{{\"file\":\"");
        assert_eq!(names.pass(&vec![b'x'; 1 << 20]), b"");
        assert_eq!(names.pass(b"\"").len(), LONGEST_NAME + 1);
    }
}
