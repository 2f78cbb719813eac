//! Where an answer's body ends (RFC 9112, sections 6.3 and 7.1).

use bytes::{Buf, Bytes, BytesMut};
use httparse::Status;

use super::Fault;

/// A line with a chunk's size, or all trailers, in bytes.
const LONGEST_LINES: usize = 16 << 10;
const MOST_TRAILERS: usize = 64;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing more.
    Ended,
    /// So many bytes, all there are.
    Length(u64),
    /// Bytes until the connection is closed.
    ToClose,
    /// A line with the size of a chunk.
    ChunkSize,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line's end behind a chunk.
    ChunkEnd,
    /// Headers behind the last chunk, which are of no use here, and an empty line.
    Trailers,
}

// === impl Framing ===

impl Framing {
    /// A body of that length.
    pub(super) fn of_length(length: u64) -> Framing {
        if length == 0 { Framing::Ended } else { Framing::Length(length) }
    }

    /// The next bytes of the body out of what was read; `None` where more has to be read, or nothing more comes.
    pub(super) fn take(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, Fault> {
        self.pass_lines(read)?;
        let data = match self {
            Framing::ToClose => read.split(),
            Framing::Length(left) | Framing::Chunk(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                *left -= here as u64;
                read.split_to(here)
            }
            _ => return Ok(None),
        };
        match self {
            Framing::Length(0) => *self = Framing::Ended,
            Framing::Chunk(0) => {
                *self = Framing::ChunkEnd;
                // With the last of the data, its reader learns that it is the last.
                self.pass_lines(read)?;
            }
            _ => {}
        }
        Ok(Some(data.freeze()).filter(|data| !data.is_empty()))
    }

    /// Passes over what stands between chunks, as far as it is there.
    fn pass_lines(&mut self, read: &mut BytesMut) -> Result<(), Fault> {
        loop {
            let (passed, next) = match self {
                Framing::ChunkEnd if read.len() < 2 => return Ok(()),
                Framing::ChunkEnd if read.starts_with(b"\r\n") => (2, Framing::ChunkSize),
                Framing::ChunkEnd => return Err(Fault::Bad("a chunk is longer than it says")),
                Framing::ChunkSize => match httparse::parse_chunk_size(read) {
                    Ok(Status::Complete((line, 0))) => (line, Framing::Trailers),
                    Ok(Status::Complete((line, size))) => (line, Framing::Chunk(size)),
                    Ok(Status::Partial) => return within_bounds(read),
                    Err(_) => return Err(Fault::Bad("a chunk's size is no number")),
                },
                Framing::Trailers => match httparse::parse_headers(read, &mut [httparse::EMPTY_HEADER; MOST_TRAILERS]) {
                    Ok(Status::Complete((lines, _))) => (lines, Framing::Ended),
                    Ok(Status::Partial) => return within_bounds(read),
                    Err(_) => return Err(Fault::Bad("what follows the last chunk is no header")),
                },
                Framing::Ended | Framing::Length(_) | Framing::ToClose | Framing::Chunk(_) => return Ok(()),
            };
            read.advance(passed);
            *self = next;
        }
    }
}

fn within_bounds(read: &BytesMut) -> Result<(), Fault> {
    if read.len() <= LONGEST_LINES { Ok(()) } else { Err(Fault::Bad("what stands between chunks is too long")) }
}
