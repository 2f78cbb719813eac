//! The operations beside chat: in which dialects they are served, where after a provider's base URL, and which of them are free.

use super::provider::{Dialect, Operation};

/// Where each is served; `{model}` stands for the model. Google's files and batches have no one place: verbs of models make batches.
///
/// Sources: OpenAI's API reference; Anthropic's "Count tokens", "Files" and "Message batches"; Gemini's `models.countTokens`, `files`,
/// `models.batchGenerateContent` and `batches`.
pub const BESIDE_CHAT: &[(Operation, Dialect, &str)] = &[
    (Operation::Images, Dialect::OpenaiChat, "/images/generations"),
    (Operation::ImageEdits, Dialect::OpenaiChat, "/images/edits"),
    (Operation::ImageVariations, Dialect::OpenaiChat, "/images/variations"),
    (Operation::Speech, Dialect::OpenaiChat, "/audio/speech"),
    (Operation::Transcriptions, Dialect::OpenaiChat, "/audio/transcriptions"),
    (Operation::Translations, Dialect::OpenaiChat, "/audio/translations"),
    (Operation::Moderations, Dialect::OpenaiChat, "/moderations"),
    (Operation::Files, Dialect::OpenaiChat, "/files"),
    (Operation::Batches, Dialect::OpenaiChat, "/batches"),
    (Operation::Realtime, Dialect::OpenaiChat, "/realtime"),
    (Operation::StoredResponses, Dialect::OpenaiResponses, "/responses"),
    (Operation::Conversations, Dialect::OpenaiResponses, "/conversations"),
    (Operation::CountTokens, Dialect::OpenaiResponses, "/responses/input_tokens"),
    (Operation::CountTokens, Dialect::AnthropicMessages, "/messages/count_tokens"),
    (Operation::Files, Dialect::AnthropicMessages, "/files"),
    (Operation::Batches, Dialect::AnthropicMessages, "/messages/batches"),
    (Operation::CountTokens, Dialect::Gemini, "/models/{model}:countTokens"),
    (Operation::Files, Dialect::Gemini, ""),
    (Operation::Batches, Dialect::Gemini, ""),
];

// === impl Operation ===

impl Operation {
    /// Nothing is generated: it reserves nothing and costs nothing, whatever usage its answer repeats.
    pub fn is_free(self) -> bool {
        use Operation::{Batches, Conversations, CountTokens, Files, StoredResponses, Tool};
        matches!(self, Files | Batches | StoredResponses | Conversations | CountTokens | Tool)
    }

    /// What it takes and gives is not text alone: how many bytes there are says nothing of its tokens.
    pub fn is_media(self) -> bool {
        use Operation::{ImageEdits, ImageVariations, Images, Moderations, Speech, Transcriptions, Translations};
        matches!(self, Images | ImageEdits | ImageVariations | Speech | Transcriptions | Translations | Moderations)
    }
}
