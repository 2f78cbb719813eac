//! Rooms 5 and 7: what a request says, what a provider is sent, what its answer says and what it cost.
//!
//! The same dialect on both sides is byte for byte but for the model and the credential, and only what is needed is read ([`ask`], [`meter`]).
//! Between two dialects a request, an answer and each event of a stream go through the intermediate form ([`ir`]): one [`Codec`] a dialect.

pub mod anthropic_messages;
pub mod ask;
pub mod bedrock_converse;
pub mod codec;
pub mod cohere_v2;
mod count;
mod custom;
mod elsewhere;
pub mod embed;
pub mod fields;
pub mod frame;
pub mod gemini;
mod holders;
pub mod ir;
pub mod meant;
pub mod members;
pub mod meter;
pub mod ollama;
pub mod openai_chat;
pub mod openai_responses;
pub mod parts;
mod pointers;
pub mod rerank;
mod scan;
#[cfg(test)]
mod tests;
pub mod tools;
pub mod translate;
mod trouble;
pub mod vocabulary;
pub mod wire;

pub use ask::Ask;
pub use codec::{Asked, Called, Codec, StreamReader, StreamWriter, To};
pub use meant::Meant;
pub use meter::{Ending, Meter, Reading};
pub use wire::{Form, Peek, Tells, Wire, in_path};

use crate::catalog::Dialect;

/// A dialect's facts.
pub fn wire(dialect: Dialect) -> &'static Wire {
    match dialect {
        Dialect::OpenaiChat => &openai_chat::WIRE,
        Dialect::OpenaiResponses => &openai_responses::WIRE,
        Dialect::AnthropicMessages => &anthropic_messages::WIRE,
        Dialect::Gemini => &gemini::WIRE,
        Dialect::BedrockConverse => &bedrock_converse::WIRE,
        Dialect::CohereV2 => &cohere_v2::WIRE,
        Dialect::Ollama => &ollama::WIRE,
    }
}

/// What reads and writes a dialect.
pub fn codec(dialect: Dialect) -> &'static dyn Codec {
    match dialect {
        Dialect::OpenaiChat => &openai_chat::OpenaiChat,
        Dialect::OpenaiResponses => &openai_responses::Responses,
        Dialect::AnthropicMessages => &anthropic_messages::Messages,
        Dialect::Gemini => &gemini::Gemini,
        Dialect::BedrockConverse => &bedrock_converse::Bedrock,
        Dialect::CohereV2 => &cohere_v2::Cohere,
        Dialect::Ollama => &ollama::Ollama,
    }
}

/// Letters and digits for an id that a provider did not give.
pub fn fresh_id() -> String {
    let random = crate::key::format::random_base62::<20>().unwrap_or([b'0'; 20]);
    String::from_utf8_lossy(&random).into_owned()
}
