//! Reads a provider's stream: server-sent events of chunks, `[DONE]` last.

use super::reading::{Reading, trouble};
use super::shapes::Chunk;
use crate::dialect::StreamReader;
use crate::dialect::frame::{Sse, SseEvent};
use crate::dialect::ir::Event;
use crate::dialect::trouble::of_broken_event;

/// A stream as it comes.
#[derive(Default)]
pub struct Reader {
    sse: Sse,
    reading: Reading,
}

// === impl Reader ===

impl StreamReader for Reader {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) {
        let Reader { sse, reading } = self;
        sse.push(bytes, |event| take(reading, event, out));
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        let Reader { sse, reading } = self;
        sse.finish(|event| take(reading, event, out));
        // Some leave `[DONE]` out: an answer that said why it ended has ended.
        if reading.has_finished() {
            reading.end(out);
        }
    }
}

fn take(reading: &mut Reading, event: &SseEvent, out: &mut Vec<Event>) {
    let data = event.data.trim_ascii();
    if data == b"[DONE]" {
        return reading.end(out);
    }
    // Checked once as a whole and not text by text.
    let chunk = simdutf8::basic::from_utf8(data).ok().and_then(|text| serde_json::from_str::<Chunk<'_>>(text).ok());
    match chunk {
        Some(chunk) if event.event != "error" || chunk.error.is_some() => reading.take(chunk, data, out),
        _ if event.event == "error" => reading.fail(trouble(data), out),
        // JSON that is no chunk says nothing of the answer.
        _ => {
            if let Some(trouble) = of_broken_event(data) {
                reading.fail(trouble, out);
            }
        }
    }
}
