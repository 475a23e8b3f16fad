//! A body on its way through.

use super::file_names::{FileNames, FilesIn};
use crate::net::Permit;
use awc::{ClientResponse, http::header};
use bytes::Bytes;
use futures_util::Stream;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// A Prometheus that has begun to answer and sends nothing for so long hangs.
const STALLED: Duration = Duration::from_secs(60);

/// The rest of an answer, piece by piece. Ends with an error where it is cut.
pub struct Body {
    response: Pin<Box<ClientResponse>>,
    /// Bytes that are still to come, when that was announced.
    left: Option<u64>,
    /// Only the connection's end tells where it ends, and nothing came yet.
    is_empty_until_close: bool,
    /// Takes paths of our disk out of it.
    file_names: Option<FileNames>,
    /// Runs while we wait for the server, and not while the user is slow.
    waiting: Option<Pin<Box<Sleep>>>,
    _permit: Permit,
}

impl Body {
    pub(super) fn new(response: ClientResponse, length: Option<u64>, permit: Permit) -> Self {
        let headers = response.headers();
        let is_empty_until_close = !headers.contains_key(header::CONTENT_LENGTH)
            && !headers.contains_key(header::TRANSFER_ENCODING);
        Self {
            response: Box::pin(response),
            left: length,
            is_empty_until_close,
            file_names: None,
            waiting: None,
            _permit: permit,
        }
    }

    /// The same without the folders of rule files.
    pub(super) fn without_folders(self, files: FilesIn) -> Self {
        Self { file_names: Some(FileNames::new(files)), ..self }
    }

    /// Pieces without bytes are left out: in chunks they would be the end.
    fn next_that_passes(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let piece = ready!(self.next(cx));
            let (Some(Ok(bytes)), Some(names)) = (&piece, &mut self.file_names) else {
                return Poll::Ready(piece);
            };
            let passed = names.pass(bytes);
            if !passed.is_empty() {
                return Poll::Ready(Some(Ok(passed.into())));
            }
        }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let piece = match self.response.as_mut().poll_next(cx) {
            Poll::Ready(piece) => piece,
            Poll::Pending => {
                let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(STALLED)));
                return waiting.as_mut().poll(cx).map(|()| Some(Err(cut("it hangs"))));
            }
        };
        self.waiting = None;
        match piece {
            Some(Ok(bytes)) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.is_empty_until_close = false;
                self.left = self.left.map(|left| left.saturating_sub(length));
                Poll::Ready(Some(Ok(bytes)))
            }
            Some(Err(_)) => Poll::Ready(Some(Err(cut("its connection broke")))),
            None if self.left.is_some_and(|left| left > 0) => {
                Poll::Ready(Some(Err(cut("it ended early"))))
            }
            None if self.is_empty_until_close => {
                Poll::Ready(Some(Err(cut("it ended before the body began"))))
            }
            None => Poll::Ready(None),
        }
    }
}

fn cut(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("the answer of a Prometheus is cut: {why}"),
    )
}

impl Stream for Body {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().next_that_passes(cx)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("left", &self.left).finish_non_exhaustive()
    }
}
