//! AWS event streams (Smithy 2.0, "Amazon Event Stream Specification"), read and written: binary messages with headers and two checksums.

/// Cuts bytes into messages. What is held is the piece of a message whose end is to come.
#[derive(Debug, Default)]
pub struct AwsFrames {
    torn: Vec<u8>,
    is_broken: bool,
}

/// One message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AwsFrame<'a> {
    /// What sort it is.
    pub kind: AwsKind,
    /// The event's, the exception's or the error's name.
    pub name: &'a str,
    /// What an error says; events and exceptions say it in their payload.
    pub error: &'a str,
    /// JSON, with these names.
    pub payload: &'a [u8],
}

/// The header `:message-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AwsKind {
    /// Something that the operation's model knows.
    #[default]
    Event,
    /// An error that the operation's model knows.
    Exception,
    /// Any other.
    Error,
}

/// Bytes that are no event stream: a length that cannot be, or a checksum that does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// The total length, the headers' length, and the checksum of these two.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;
/// The specification's own limits are 128 KiB of headers and 24 MiB of payload.
const LONGEST: usize = (24 << 20) + (128 << 10) + PRELUDE + CHECKSUM;

// === impl AwsFrames ===

impl AwsFrames {
    /// Takes bytes, torn anywhere, and hands each whole message on; after broken bytes nothing more.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Result<AwsFrame<'_>, Broken>)) {
        if self.is_broken {
            return;
        }
        // A message that goes on is only added to: copied anew with every piece, a long one would cost its length squared.
        let mut held = std::mem::take(&mut self.torn);
        if !held.is_empty() {
            held.extend_from_slice(bytes);
        }
        let mut rest = if held.is_empty() { bytes } else { &held[..] };
        loop {
            match frame_len(rest) {
                Ok(Some(len)) if rest.len() >= len => {
                    let (message, after) = rest.split_at(len);
                    rest = after;
                    let frame = read_frame(message);
                    self.is_broken = frame.is_err();
                    each(frame);
                    if self.is_broken {
                        return;
                    }
                }
                Ok(_) => break,
                Err(broken) => {
                    self.is_broken = true;
                    return each(Err(broken));
                }
            }
        }
        let left = rest.len();
        if held.is_empty() {
            self.torn = rest.to_vec();
        } else {
            held.drain(..held.len() - left);
            self.torn = held;
        }
    }
}

/// The length of the message that `bytes` begin with; `None` where too little of it is there to tell.
pub fn frame_len(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    let Some(prelude) = bytes.get(..PRELUDE) else { return Ok(None) };
    let (total, headers) = (number(prelude, 0)?, number(prelude, 4)?);
    let fits = (PRELUDE + CHECKSUM..=LONGEST).contains(&total) && headers <= total - PRELUDE - CHECKSUM;
    let is_right = fits && number(prelude, 8)? == crc32fast::hash(&prelude[..8]) as usize;
    if is_right { Ok(Some(total)) } else { Err(Broken) }
}

/// Reads one whole message; its prelude has been checked by [`frame_len`].
pub fn read_frame(message: &[u8]) -> Result<AwsFrame<'_>, Broken> {
    let end = message.len().checked_sub(CHECKSUM).ok_or(Broken)?;
    if number(message, end)? != crc32fast::hash(&message[..end]) as usize {
        return Err(Broken);
    }
    let payload_at = PRELUDE + number(message, 4)?;
    let headers = message.get(PRELUDE..payload_at).ok_or(Broken)?;
    let mut frame = AwsFrame { payload: message.get(payload_at..end).ok_or(Broken)?, ..AwsFrame::default() };
    read_headers(headers, &mut frame)?;
    Ok(frame)
}

fn read_headers<'a>(mut headers: &'a [u8], frame: &mut AwsFrame<'a>) -> Result<(), Broken> {
    while let Some((&name_len, rest)) = headers.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(name_len)).ok_or(Broken)?;
        let (&of, rest) = rest.split_first().ok_or(Broken)?;
        let (skip, len) = match of {
            0 | 1 => (0, 0),
            2 => (0, 1),
            3 => (0, 2),
            4 => (0, 4),
            5 | 8 => (0, 8),
            9 => (0, 16),
            6 | 7 => (2, usize::from(u16::from_be_bytes(*rest.first_chunk().ok_or(Broken)?))),
            _ => return Err(Broken),
        };
        let value = rest.get(skip..skip + len).ok_or(Broken)?;
        headers = &rest[skip + len..];
        let text = if of == 7 { std::str::from_utf8(value).map_err(|_| Broken)? } else { continue };
        match name {
            b":message-type" => {
                frame.kind = match text {
                    "event" => AwsKind::Event,
                    "exception" => AwsKind::Exception,
                    _ => AwsKind::Error,
                }
            }
            b":event-type" | b":exception-type" | b":error-code" => frame.name = text,
            b":error-message" => frame.error = text,
            _ => {}
        }
    }
    Ok(())
}

/// Makes the checksums anew of whole messages whose payloads or headers were changed; what is no message stays as it is.
pub fn seal_frames(mut messages: &mut [u8]) {
    while let Ok(Some(len)) = frame_len(messages)
        && let Some((message, rest)) = messages.split_at_mut_checked(len)
        && let Some((covered, checksum)) = message.split_last_chunk_mut::<CHECKSUM>()
    {
        *checksum = crc32fast::hash(covered).to_be_bytes();
        messages = rest;
    }
}

fn number(bytes: &[u8], at: usize) -> Result<usize, Broken> {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or(Broken)?;
    Ok(u32::from_be_bytes(*four) as usize)
}

/// Writes an event or an exception whose payload is what `payload` adds: JSON.
pub fn write_frame(kind: AwsKind, name: &str, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; PRELUDE]);
    let (name_header, message_type): (&[u8], &str) = match kind {
        AwsKind::Event => (b":event-type", "event"),
        AwsKind::Exception => (b":exception-type", "exception"),
        AwsKind::Error => (b":error-code", "error"),
    };
    write_header(name_header, name, out);
    write_header(b":content-type", "application/json", out);
    write_header(b":message-type", message_type, out);
    let headers_len = out.len() - start - PRELUDE;
    payload(out);
    let total = out.len() - start + CHECKSUM;
    out[start..start + 4].copy_from_slice(&(total as u32).to_be_bytes());
    out[start + 4..start + 8].copy_from_slice(&(headers_len as u32).to_be_bytes());
    let prelude = crc32fast::hash(&out[start..start + 8]).to_be_bytes();
    out[start + 8..start + PRELUDE].copy_from_slice(&prelude);
    let whole = crc32fast::hash(&out[start..]).to_be_bytes();
    out.extend_from_slice(&whole);
}

/// A header of type 7, text; all names and values here are short.
fn write_header(name: &[u8], value: &str, out: &mut Vec<u8>) {
    out.push(name.len() as u8);
    out.extend_from_slice(name);
    out.push(7);
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value.as_bytes());
}
