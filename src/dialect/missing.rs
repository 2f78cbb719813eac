//! Stands in for the dialects whose reading and writing is not there.

use bytes::Bytes;

use super::ir::{Answer, Dropped, Event, MediaKind, Request};
use super::{Asked, Called, Codec, StreamReader, StreamWriter, To};
use crate::error::Refusal;

/// Refuses everything.
pub struct Missing;

// === impl Missing ===

impl Codec for Missing {
    fn takes_url(&self, _: MediaKind, _: &str) -> bool {
        true
    }

    fn decode_request(&self, called: &Called, _: &[u8]) -> Result<Request, Refusal> {
        Err(refuse(called.dialect.as_str()))
    }

    fn encode_request(&self, _: &Request, to: &To<'_>, _: &mut Dropped) -> Result<Bytes, Refusal> {
        Err(refuse(to.model))
    }

    fn decode_answer(&self, _: &[u8]) -> Result<Answer, String> {
        Err("it cannot be read".to_owned())
    }

    fn encode_answer(&self, _: Answer, _: &Asked, _: &mut Dropped) -> Bytes {
        Bytes::new()
    }

    fn stream_reader(&self) -> Box<dyn StreamReader> {
        Box::new(Missing)
    }

    fn stream_writer(&self, _: &Asked) -> Box<dyn StreamWriter> {
        Box::new(Missing)
    }
}

impl StreamReader for Missing {
    fn push(&mut self, _: &[u8], _: &mut Vec<Event>) {}
    fn finish(&mut self, _: &mut Vec<Event>) {}
}

impl StreamWriter for Missing {
    fn write(&mut self, _: Event, _: &mut Vec<u8>) {}
}

fn refuse(what: &str) -> Refusal {
    Refusal::invalid("untranslatable", format!("'{what}' cannot be translated."))
}
