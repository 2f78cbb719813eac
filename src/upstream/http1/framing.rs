//! Where an answer's body ends (RFC 9112, sections 6.3 and 7.1).

use bytes::{Buf, Bytes, BytesMut};
use httparse::Status;

use super::Fault;

/// A line with a chunk's size, or all trailers, in bytes.
const LONGEST_LINES: usize = 16 << 10;
const MOST_TRAILERS: usize = 64;
const NO_SIZE: Fault = Fault::Bad("a chunk's size is no number");

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
                // The parser takes no digits for none.
                Framing::ChunkSize if read.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) => return Err(NO_SIZE),
                Framing::ChunkSize => match httparse::parse_chunk_size(read) {
                    Ok(Status::Complete((line, 0))) => (line, Framing::Trailers),
                    Ok(Status::Complete((line, size))) => (line, Framing::Chunk(size)),
                    Ok(Status::Partial) => return within_bounds(read),
                    Err(_) => return Err(NO_SIZE),
                },
                Framing::Trailers => match httparse::parse_headers(read, &mut [httparse::EMPTY_HEADER; MOST_TRAILERS]) {
                    Ok(Status::Complete((lines, _))) if has_whole_line_ends(&read[..lines]) => (lines, Framing::Ended),
                    Ok(Status::Partial) => return within_bounds(read),
                    Ok(Status::Complete(_)) | Err(_) => return Err(Fault::Bad("what follows the last chunk is no header")),
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

/// Where an end is doubtful, a line that ends with LF alone is none.
fn has_whole_line_ends(lines: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', lines).all(|at| at > 0 && lines[at - 1] == b'\r')
}
