//! A stream of binary messages on its way (AWS event stream).

use bytes::{Bytes, BytesMut};

use super::{Ending, Reading};
use crate::dialect::frame::{AwsKind, frame_len, read_frame};
use crate::dialect::wire::Tells;

/// Messages that tell what is said (Bedrock's Converse).
const SAYING: [&[u8]; 2] = [b"contentBlockDelta", b"contentBlockStart"];

/// A stream of binary messages between two of them.
#[derive(Debug)]
pub struct Frames {
    tells: Tells,
    /// A message whose end is still to come.
    torn: BytesMut,
    /// The bytes are no such messages: they are passed on as they come.
    is_broken: bool,
    /// A message has told something of what was said.
    says: bool,
    reading: Reading,
}

// === impl Frames ===

impl Frames {
    pub(super) fn new(tells: Tells) -> Frames {
        Frames { tells, torn: BytesMut::new(), is_broken: false, says: false, reading: Reading::default() }
    }

    pub(super) fn tells_its_end(&self) -> bool {
        self.tells.of_its_end()
    }

    pub(super) fn ending(&self) -> Ending {
        self.reading.ending
    }

    /// What is still held back, and what was read.
    pub(super) fn finish(&mut self) -> (Bytes, Reading) {
        (self.torn.split().freeze(), self.reading)
    }

    /// Whole messages go on: half of one would spoil an error told after it.
    pub(super) fn pass(&mut self, piece: Bytes) -> Bytes {
        let joined = match self.torn.is_empty() {
            true => piece,
            false => {
                self.torn.extend_from_slice(&piece);
                // A message that goes on is only added to.
                if frame_len(&self.torn).is_ok_and(|len| len.is_none_or(|len| len > self.torn.len())) {
                    return Bytes::new();
                }
                self.torn.split().freeze()
            }
        };
        let mut complete = 0;
        while !self.is_broken {
            match frame_len(&joined[complete..]) {
                Ok(Some(len)) if joined.len() - complete >= len => {
                    self.look_at(&joined[complete..complete + len]);
                    complete += len;
                }
                Ok(_) => break,
                Err(_) => self.is_broken = true,
            }
        }
        if self.is_broken {
            return joined;
        }
        self.torn.extend_from_slice(&joined[complete..]);
        joined.slice(..complete)
    }

    fn look_at(&mut self, message: &[u8]) {
        self.reading.estimated_output += 1;
        self.says |= SAYING.iter().any(|name| memchr::memmem::find(message, name).is_some());
        // The usage is in the message that is the last one.
        if self.tells.last.iter().any(|last| memchr::memmem::find(message, last.as_bytes()).is_some()) {
            match read_frame(message) {
                Ok(frame) if frame.kind == AwsKind::Event && self.tells.last.contains(&frame.name) => {
                    self.reading.ending = Ending::Complete;
                    self.reading.usage = (self.tells.read)(frame.payload, None).or(self.reading.usage);
                    self.reading.said = Some(self.says);
                    return;
                }
                _ => {}
            }
        }
        if self.reading.ending == Ending::Open {
            self.reading.ending = match read_frame(message) {
                Ok(frame) if frame.kind != AwsKind::Event => Ending::Failed,
                Ok(frame) if self.tells.finishes.contains(&frame.name) => Ending::Finished,
                _ => Ending::Open,
            };
        }
    }
}
