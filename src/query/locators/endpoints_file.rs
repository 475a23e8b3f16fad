//! A file with the URL of a replica on each line.
//!
//! ```text
//! # replicas in zone 1
//! http://10.0.0.1:9090
//! http://10.0.0.2:9090/prometheus
//! ```
//!
//! A file without URLs is an error, because it is probably being written: the pool then keeps the
//! replicas that it knows. An invalid line is an error for the same reason.

use crate::{
    domain::BaseUrl,
    query::{LocatedReplica, Locator, LocatorError},
};
use futures_util::future::LocalBoxFuture;
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};
use tokio::task::spawn_blocking;

/// Maximum size of a file, bytes.
const MAX_SIZE: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub struct EndpointsFile(pub PathBuf);

impl Locator for EndpointsFile {
    fn name(&self) -> String {
        format!("endpoints_file {}", self.0.display())
    }

    fn locate(&mut self) -> LocalBoxFuture<'_, Result<Vec<LocatedReplica>, LocatorError>> {
        Box::pin(async {
            let path = self.0.clone();
            let read = spawn_blocking(move || read(&path)).await;
            let text = read.unwrap_or_else(|_| Err(io::Error::other("reading was interrupted")));
            let text = text.map_err(|error| LocatorError(format!("cannot be read: {error}")))?;
            parse(&text).map(LocatedReplica::of_urls)
        })
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_SIZE + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MAX_SIZE {
        true => Err(io::Error::other("it is larger than 1 MiB")),
        false => Ok(text),
    }
}

fn parse(text: &str) -> Result<Vec<BaseUrl>, LocatorError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().map(without_comment).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let urls = lines.map(|(index, line)| {
        line.parse().map_err(|problem| LocatorError(format!("line {}: {problem}", index + 1)))
    });
    let urls = urls.collect::<Result<Vec<_>, _>>()?;
    match urls.is_empty() {
        true => Err(LocatorError("contains no URLs".to_owned())),
        false => Ok(urls),
    }
}

/// A comment begins at the start of a line, or after a blank.
fn without_comment(line: &str) -> &str {
    let is_comment = |(start, _): &(usize, &str)| {
        line.get(..*start).is_some_and(|before| before.trim_end().len() < *start || *start == 0)
    };
    let comment = line.match_indices('#').find(is_comment);
    comment.and_then(|(start, _)| line.get(..start)).unwrap_or(line).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_url() {
        let text = "\u{feff}# all\r\nhttp://a:9090/\r\n\r\n\thttps://b/prom  # zone 2\nhttp://a:9090\n  #x\nhttp://[::1]:9090";
        let urls = parse(text).unwrap();
        let urls: Vec<_> = urls.iter().map(BaseUrl::as_str).collect();
        assert_eq!(urls, ["http://a:9090", "https://b/prom", "http://a:9090", "http://[::1]:9090"]);
    }

    #[test]
    fn an_invalid_line_is_reported_with_its_number() {
        for (text, problem) in [
            ("http://a\n\nnonsense\n", "line 3: "),
            ("ftp://a", "line 1: "),
            ("http://user:secret@a", "line 1: "),
            ("http://a http://b", "line 1: "),
            ("", "contains no URLs"),
            ("# nothing\n", "contains no URLs"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(problem) && !error.contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoints.txt");
        let mut locator = EndpointsFile(path.clone());
        let error = locator.locate().await.unwrap_err().to_string();
        assert!(error.starts_with("cannot be read: "), "{error}");
        std::fs::write(&path, vec![b'\n'; (MAX_SIZE + 1) as usize]).unwrap();
        let error = locator.locate().await.unwrap_err().to_string();
        assert_eq!(error, "cannot be read: it is larger than 1 MiB");
        std::fs::write(&path, "http://a").unwrap();
        assert_eq!(locator.locate().await.unwrap().len(), 1);
    }
}
