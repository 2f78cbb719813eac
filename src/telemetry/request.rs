//! The log line of a request: the one line that every request writes, so its JSON is written by hand rather than field by field.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use jiff::Timestamp;

use super::log;
use crate::json::Object;

/// Where the log's filter finds these lines.
const TARGET: &str = "keyward::request";

/// What the line says; an empty text or `None` is left out.
#[derive(Debug)]
pub struct RequestLine<'a> {
    /// When it ended.
    pub at: Timestamp,
    /// The request's id.
    pub id: &'a str,
    /// What its caller calls it, where that is something else.
    pub request_id: Option<&'a str>,
    /// The key's id.
    pub key: Option<&'a str>,
    /// `chat`, `embeddings`, …
    pub operation: &'a str,
    /// The model, as the caller names it.
    pub model: Option<&'a str>,
    /// The prompt that was called, with its version.
    pub prompt: Option<&'a str>,
    /// Who answered.
    pub provider: Option<&'a str>,
    /// The status that the caller saw.
    pub status: u16,
    /// How it ended.
    pub outcome: &'static str,
    /// The code that it was refused with.
    pub refused: Option<&'a str>,
    /// Where a request came from that was refused.
    pub from: Option<IpAddr>,
    /// Tokens in.
    pub input_tokens: u64,
    /// Tokens out.
    pub output_tokens: u64,
    /// In USD.
    pub cost_usd: Option<f64>,
    /// Milliseconds to the first byte of the answer.
    pub first_byte_ms: Option<u64>,
    /// Milliseconds in all.
    pub total_ms: u64,
}

// === impl RequestLine ===

impl RequestLine<'_> {
    /// Writes it to the log.
    pub fn write(&self) {
        if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            return;
        }
        match log::json_queue() {
            Some(queue) => queue.add(&self.json()),
            None => tracing::info!(
                target: TARGET,
                id = self.id,
                request_id = self.request_id,
                key = self.key,
                operation = self.operation,
                model = self.model,
                prompt = self.prompt,
                provider = self.provider,
                status = self.status,
                outcome = self.outcome,
                refused = self.refused,
                from = self.from.map(tracing::field::display),
                input_tokens = self.input_tokens,
                output_tokens = self.output_tokens,
                cost_usd = self.cost_usd,
                first_byte_ms = self.first_byte_ms,
                total_ms = self.total_ms,
            ),
        }
    }

    /// The same members in the same order as `tracing` writes an event.
    fn json(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(512);
        let mut object = Object::open(&mut line);
        object.time("timestamp", self.at, 6);
        object.text("level", "INFO");
        object.text("id", self.id);
        object.some_text("request_id", self.request_id);
        object.some_text("key", self.key);
        object.text("operation", self.operation);
        object.some_text("model", self.model);
        object.some_text("prompt", self.prompt);
        object.some_text("provider", self.provider);
        object.number("status", self.status);
        object.text("outcome", self.outcome);
        object.some_text("refused", self.refused);
        object.some_text("from", self.from.map(|from| from.to_string()).as_deref());
        object.number("input_tokens", self.input_tokens);
        object.number("output_tokens", self.output_tokens);
        object.some_float("cost_usd", self.cost_usd);
        object.some_number("first_byte_ms", self.first_byte_ms);
        object.number("total_ms", self.total_ms);
        object.text("target", TARGET);
        object.close();
        line.push(b'\n');
        line
    }
}
