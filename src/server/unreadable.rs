//! A caller's connection on which a head that is no HTTP gets a whole answer: hyper refuses one by a bare status, before anybody knows what
//! was asked for.
//!
//! Such an answer is known by its empty body without a request's id, and is said in OpenAI's words, which most SDKs can read. What its caller
//! still sends is then taken for a moment: a connection that is closed over bytes nobody read can take its answer along.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tokio::time::{Sleep, sleep};

use super::worker::HEAD_BYTES;
use crate::error::{Kind, Refusal};
use crate::surface::{REQUEST_ID, openai};

/// The connection.
pub(super) struct Unreadable<T> {
    io: T,
    /// What is written in the place of hyper's answer.
    answer: Option<Bytes>,
    /// Until when what the caller still sends is taken.
    listening: Option<Pin<Box<Sleep>>>,
}

/// How long that is.
const LISTENS: Duration = Duration::from_secs(2);

/// What hyper says of the body that its answer does not have.
const EMPTY: &str = "content-length: 0";

// === impl Unreadable ===

impl<T> Unreadable<T> {
    pub(super) fn new(io: T) -> Unreadable<T> {
        Unreadable { io, answer: None, listening: None }
    }
}

impl<T: Write + Unpin> Unreadable<T> {
    /// Writes what takes the place of hyper's answer.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(answer) = self.answer.as_mut().filter(|answer| answer.has_remaining()) {
            let written = ready!(Pin::new(&mut self.io).poll_write(context, answer))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            answer.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Read + Unpin> Unreadable<T> {
    /// Takes what the caller still sends, until that ends or it has been long enough.
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut room = [MaybeUninit::uninit(); 4096];
        let listening = self.listening.get_or_insert_with(|| Box::pin(sleep(LISTENS)));
        while listening.as_mut().poll(context).is_pending() {
            let mut read = ReadBuf::uninit(&mut room);
            match ready!(Pin::new(&mut self.io).poll_read(context, read.unfilled())) {
                Ok(()) if !read.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<T: Read + Unpin> Read for Unreadable<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: Read + Write + Unpin> Write for Unreadable<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.answer.is_none() {
            match answer_for(bytes) {
                Some(answer) => self.answer = Some(answer),
                None => return Pin::new(&mut self.io).poll_write(context, bytes),
            }
        }
        ready!(self.poll_answer(context))?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.listening.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(context))?;
        }
        if self.answer.is_some() {
            ready!(self.poll_rest(context));
        }
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, pieces)
    }
}

/// What is said of a head over HTTP/2 that is larger than is taken over HTTP/1.1, where hyper takes it.
pub(super) fn too_large<T>(request: &Request<T>) -> Option<Response<Body>> {
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    let is_too_large = request.version() == Version::HTTP_2 && request.headers().iter().map(size).sum::<usize>() > HEAD_BYTES;
    is_too_large.then(|| openai::refuse(&head_too_large()))
}

fn head_too_large() -> Refusal {
    Refusal::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Kind::Invalid,
        "head_too_large",
        "The request's head is larger than 64 KiB, or has more than 100 headers: send fewer or shorter ones.",
    )
}

/// What is said instead, where this is hyper's answer to a head that it cannot take.
fn answer_for(written: &[u8]) -> Option<Bytes> {
    let refusal = match written.get(..12)? {
        b"HTTP/1.1 400" => Refusal::invalid(
            "head_malformed",
            "This is no HTTP/1.1 that can be read: its first line or one of its headers is malformed. A line break or another control character \
             within a header, as at the end of a key that was copied, is the usual reason.",
        ),
        b"HTTP/1.1 414" => Refusal::new(
            StatusCode::URI_TOO_LONG,
            Kind::Invalid,
            "path_too_long",
            "The path and query are too long: send what they hold in the body.",
        ),
        b"HTTP/1.1 431" => head_too_large(),
        _ => return None,
    };
    let head = written.strip_suffix(b"\r\n\r\n").and_then(|head| std::str::from_utf8(head).ok())?;
    let is_hyper_s = head.contains(EMPTY) && !head.contains(REQUEST_ID.as_str());
    let body = openai::object(&refusal).to_string();
    let said = || format!("content-type: application/json\r\ncontent-length: {}", body.len());
    is_hyper_s.then(|| Bytes::from(format!("{}\r\n\r\n{body}", head.replacen(EMPTY, &said(), 1))))
}
