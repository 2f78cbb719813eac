//! One HTTP/1.1 connection to a provider, read and written by the very task that waits for its answer.
//!
//! Why not hyper's here: half of what it does for a request serves tasks, channels and cases that a gateway's POST never meets, and it
//! keeps 35 KB for each connection. What comes is read strictly (RFC 9112): wherever two sides could see different ends of an answer, it
//! is an error or the last of its connection, since whoever is next on it would be given what is not theirs.

mod fault;
mod framing;
mod head;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::response::Parts;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

pub use fault::Fault;
use framing::Framing;
use head::Head;
pub use head::write_post;

/// What is read at once at first, in bytes: most of a chat's answer, and some events of a stream.
const READ_AT_FIRST: usize = 4 << 10;
/// The same where answers fill what they are given.
const READ_AT_MOST: usize = 128 << 10;
/// So many pieces of a request are written by one call.
const WRITTEN_AT_ONCE: usize = 16;

/// A connection, and how far it is in its exchange.
pub struct Http1<T> {
    io: T,
    to_write: VecDeque<Bytes>,
    is_flushed: bool,
    read: BytesMut,
    read_next: usize,
    framing: Framing,
    /// Whether the connection may be used again when the answer has ended.
    keeps: bool,
}

// === impl Http1 ===

impl<T: AsyncRead + AsyncWrite + Unpin> Http1<T> {
    /// A connection on which nothing was sent yet.
    pub fn new(io: T) -> Http1<T> {
        Http1 {
            io,
            to_write: VecDeque::new(),
            is_flushed: true,
            read: BytesMut::new(),
            read_next: READ_AT_FIRST,
            framing: Framing::Ended,
            keeps: true,
        }
    }

    /// Sends a request, whose head [`write_post`] wrote, and reads the head of its answer.
    pub async fn exchange(&mut self, head: Bytes, body: &[Bytes]) -> Result<Parts, Fault> {
        if !self.is_reusable() {
            return Err(Fault::Unsent);
        }
        self.to_write.push_back(head);
        self.to_write.extend(body.iter().filter(|piece| !piece.is_empty()).cloned());
        self.is_flushed = false;
        let mut is_heard = false;
        poll_fn(|context| self.poll_head(context, &mut is_heard)).await
    }

    /// The next piece of the answer's body; `None` at its end.
    pub fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            match self.framing.take(&mut self.read) {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(None) if self.has_ended() => return Poll::Ready(None),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Some(Err(fault))),
            }
            // A provider may answer before it has read the whole request.
            self.poll_write(context);
            match ready!(self.poll_read(context)) {
                Ok(0) if self.framing == Framing::ToClose => self.framing = Framing::Ended,
                Ok(0) => return Poll::Ready(Some(Err(Fault::Incomplete))),
                Ok(_) => {}
                Err(e) => return Poll::Ready(Some(Err(Fault::Io(e)))),
            }
        }
    }

    /// Whether the answer has been read to its end.
    pub fn has_ended(&self) -> bool {
        self.framing == Framing::Ended
    }

    /// Whether another request can be sent: the exchange has ended, its provider has not closed the connection, nor said what nobody asked.
    pub fn is_reusable(&mut self) -> bool {
        let is_done = self.keeps && self.has_ended() && self.is_flushed && self.read.is_empty();
        let mut unasked = [0];
        let mut unasked = ReadBuf::new(&mut unasked);
        is_done && Pin::new(&mut self.io).poll_read(&mut Context::from_waker(Waker::noop()), &mut unasked).is_pending()
    }

    /// Gives back the memory that only an exchange needs.
    pub fn rest(&mut self) {
        self.read = BytesMut::new();
        self.read_next = READ_AT_FIRST;
    }

    fn poll_head(&mut self, context: &mut Context<'_>, is_heard: &mut bool) -> Poll<Result<Parts, Fault>> {
        loop {
            self.poll_write(context);
            if let Some(Head { parts, framing, keeps }) = head::read(&mut self.read)? {
                self.framing = framing;
                self.keeps &= keeps;
                return Poll::Ready(Ok(parts));
            }
            match ready!(self.poll_read(context)) {
                Ok(0) if *is_heard => return Poll::Ready(Err(Fault::Incomplete)),
                Ok(0) => return Poll::Ready(Err(Fault::Silent)),
                Ok(_) => *is_heard = true,
                Err(e) if !*is_heard && fault::is_closed(&e) => return Poll::Ready(Err(Fault::Silent)),
                Err(e) => return Poll::Ready(Err(Fault::Io(e))),
            }
        }
    }

    /// Writes what can be; what became of the request where it cannot, reading tells.
    fn poll_write(&mut self, context: &mut Context<'_>) {
        while !self.to_write.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITTEN_AT_ONCE];
            let pieces = self.to_write.iter().zip(&mut slices).map(|(piece, slice)| *slice = IoSlice::new(piece)).count();
            match Pin::new(&mut self.io).poll_write_vectored(context, &slices[..pieces]) {
                Poll::Pending => return,
                Poll::Ready(Ok(written @ 1..)) => self.written(written),
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.keeps = false;
                    self.to_write.clear();
                }
            }
        }
        if !self.is_flushed {
            self.is_flushed = Pin::new(&mut self.io).poll_flush(context).is_ready();
        }
    }

    fn written(&mut self, mut bytes: usize) {
        while let Some(piece) = self.to_write.front_mut().filter(|_| bytes > 0) {
            let of_piece = bytes.min(piece.len());
            piece.advance(of_piece);
            bytes -= of_piece;
            if piece.is_empty() {
                self.to_write.pop_front();
            }
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < READ_AT_FIRST / 4 {
            self.read.reserve(self.read_next);
        }
        let room = self.read.capacity() - self.read.len();
        let read = ready!(pin!(self.io.read_buf(&mut self.read)).poll(context))?;
        if read == room {
            self.read_next = (self.read_next * 2).min(READ_AT_MOST);
        }
        Poll::Ready(Ok(read))
    }
}
