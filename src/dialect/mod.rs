//! Rooms 5 and 7: what a request says, what a provider is sent, what its answer says and what it cost.
//!
//! The same dialect on both sides is byte for byte but for the model and the credential, and only what is needed is read ([`ask`], [`meter`]).
//! Between two dialects a request, an answer and each event of a stream go through the intermediate form ([`ir`]): one [`Codec`] a dialect.

pub mod anthropic_messages;
pub mod ask;
pub mod bedrock_converse;
pub mod codec;
pub mod cohere_v2;
pub mod frame;
pub mod gemini;
pub mod ir;
pub mod members;
pub mod meter;
mod missing;
pub mod ollama;
pub mod openai_chat;
pub mod openai_responses;
#[cfg(test)]
mod tests;
pub mod translate;
mod trouble;
pub mod wire;

pub use ask::Ask;
pub use codec::{Asked, Called, Codec, StreamReader, StreamWriter, To};
pub use meter::{Meter, Reading};
pub use wire::{Form, Peek, Tells, Wire};

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
        Dialect::OpenaiChat => &missing::Missing,
        Dialect::OpenaiResponses => &openai_responses::Responses,
        Dialect::AnthropicMessages => &missing::Missing,
        Dialect::Gemini => &missing::Missing,
        Dialect::BedrockConverse => &missing::Missing,
        Dialect::CohereV2 => &missing::Missing,
        Dialect::Ollama => &missing::Missing,
    }
}
