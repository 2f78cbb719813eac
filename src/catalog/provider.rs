//! A provider's file: who it is, which dialects it speaks where, how it is authenticated, and its few quirks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::model::Model;

/// `providers/<id>.toml`, as written.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The file's name without its ending.
    #[serde(skip)]
    pub id: String,
    /// What people call it.
    pub name: String,
    /// A page on its API.
    #[serde(default)]
    pub docs: String,
    /// What its base URL serves, preferred first.
    pub dialects: Vec<Dialect>,
    /// With `${VARIABLE}` parts; operations' paths are appended.
    pub base_url: String,
    /// How it is authenticated.
    pub auth: Auth,
    /// Variables that may hold the credential; the first one set wins.
    pub credential: Vec<String>,
    /// Those of these variables that are sent in another way than `auth` says.
    #[serde(default)]
    pub ways: BTreeMap<String, Auth>,
    /// Works without a credential, as local servers do.
    #[serde(default)]
    pub credential_optional: bool,
    /// Where it differs from its dialect.
    #[serde(default)]
    pub quirks: Quirks,
    /// Other ways in, for models or dialects that the base URL does not serve.
    #[serde(default)]
    pub doors: BTreeMap<String, Door>,
    /// Its models; where there are none, any name is passed on.
    #[serde(default)]
    pub models: BTreeMap<String, Model>,
}

/// Another way in: what it leaves out is the provider's own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Door {
    /// What it serves.
    pub dialects: Vec<Dialect>,
    /// Its base URL.
    pub base_url: Option<String>,
    /// Its way of authentication.
    pub auth: Option<Auth>,
    /// Where it differs from its dialect.
    pub quirks: Option<Quirks>,
}

/// A wire protocol of chat and embedding APIs, whichever side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Dialect {
    OpenaiChat,
    OpenaiResponses,
    AnthropicMessages,
    Gemini,
    BedrockConverse,
    CohereV2,
    Ollama,
}

/// What a caller wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Operation {
    Chat,
    Completions,
    Embeddings,
    Images,
    ImageEdits,
    ImageVariations,
    Speech,
    Transcriptions,
    Translations,
    Moderations,
    CountTokens,
    Files,
    Batches,
    StoredResponses,
    Conversations,
    EmbedOne,
    Rerank,
    Realtime,
    Tool,
    Service,
}

/// How a credential is shown to the provider.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Auth {
    /// `Authorization: Bearer …`.
    Bearer,
    /// A header of that name.
    Header(String),
    /// A query parameter of that name.
    Query(String),
    /// AWS Signature Version 4.
    Sigv4,
    /// A Google service account.
    Gcp,
    /// A Microsoft Entra application.
    AzureEntra,
    /// None.
    None,
}

/// The closed vocabulary in which a provider may differ from its dialect.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quirks {
    /// Top-level fields that it calls otherwise.
    pub rename: BTreeMap<String, String>,
    /// Top-level fields that it refuses.
    pub drop: Vec<String>,
    /// Top-level fields that it needs, and what they are where the caller is silent.
    pub default: BTreeMap<String, toml::Value>,
    /// Paths that differ from the dialect's; `{model}` stands for the model.
    pub path: BTreeMap<Operation, String>,
    /// Paths of streams, where they differ from those of whole answers.
    pub stream_path: BTreeMap<Operation, String>,
    /// Headers that it wants.
    pub headers: BTreeMap<String, String>,
    /// Operations beside chat that it has not, though others of its dialect have.
    pub lacks: Vec<Operation>,
    /// What a caller sets as the most tokens of an answer is no bound of what is thought before it.
    pub thinks_beside_max_output: bool,
    /// The usage that it reports tells what it charges, in dollars.
    pub tells_cost: bool,
    /// It charges for each request besides what its tokens cost, as for a search that it makes by itself.
    pub charges_besides: bool,
    /// It adds what may be thought to what a caller sets as the most tokens of an answer: as much as is stated, or as that is.
    pub adds_thinking: bool,
    /// A file that a request points to has it run a tool of its own.
    pub files_run_tools: bool,
    /// Where a request says the most that it may be charged for a million tokens, as an object of a member of the top level.
    pub max_price: Option<String>,
}

// === impl Dialect ===

impl Dialect {
    /// All of them.
    pub const ALL: [Dialect; 7] = [
        Dialect::OpenaiChat,
        Dialect::OpenaiResponses,
        Dialect::AnthropicMessages,
        Dialect::Gemini,
        Dialect::BedrockConverse,
        Dialect::CohereV2,
        Dialect::Ollama,
    ];

    /// Its name in files and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::OpenaiChat => "openai_chat",
            Dialect::OpenaiResponses => "openai_responses",
            Dialect::AnthropicMessages => "anthropic_messages",
            Dialect::Gemini => "gemini",
            Dialect::BedrockConverse => "bedrock_converse",
            Dialect::CohereV2 => "cohere_v2",
            Dialect::Ollama => "ollama",
        }
    }

    /// The dialect of that name.
    pub fn from_name(name: &str) -> Option<Dialect> {
        Dialect::ALL.into_iter().find(|dialect| dialect.as_str() == name)
    }
}

// === impl Operation ===

impl Operation {
    /// Whether it is answered with numbers alone, which have no tokens.
    pub fn has_no_output(self) -> bool {
        matches!(self, Operation::Embeddings | Operation::EmbedOne | Operation::Rerank)
    }

    /// As what a provider serves it in another dialect than the caller's, where that can be.
    pub fn in_other_dialects(self) -> Option<Operation> {
        match self {
            Operation::Chat | Operation::Embeddings | Operation::Rerank => Some(self),
            Operation::EmbedOne => Some(Operation::Embeddings),
            _ => None,
        }
    }

    /// The dialect to prefer where a provider serves several doors of which only that one is known to have it.
    pub fn preferred_dialect(self) -> Option<Dialect> {
        match self {
            Operation::Embeddings | Operation::EmbedOne => Some(Dialect::BedrockConverse),
            Operation::Rerank => Some(Dialect::CohereV2),
            _ => None,
        }
    }

    /// Its name in files, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Chat => "chat",
            Operation::Completions => "completions",
            Operation::Embeddings => "embeddings",
            Operation::Images => "images",
            Operation::ImageEdits => "image_edits",
            Operation::ImageVariations => "image_variations",
            Operation::Speech => "speech",
            Operation::Transcriptions => "transcriptions",
            Operation::Translations => "translations",
            Operation::Moderations => "moderations",
            Operation::CountTokens => "count_tokens",
            Operation::Files => "files",
            Operation::Batches => "batches",
            Operation::StoredResponses => "stored_responses",
            Operation::Conversations => "conversations",
            Operation::EmbedOne => "embed_one",
            Operation::Rerank => "rerank",
            Operation::Realtime => "realtime",
            Operation::Tool => "tool",
            Operation::Service => "service",
        }
    }
}

// === impl Auth ===

impl TryFrom<String> for Auth {
    type Error = String;

    fn try_from(text: String) -> Result<Auth, String> {
        Ok(match text.split_once(':') {
            Some(("header", name)) if http::HeaderName::try_from(name).is_ok() => Auth::Header(name.to_owned()),
            Some(("query", name)) if !name.is_empty() => Auth::Query(name.to_owned()),
            None => match text.as_str() {
                "bearer" => Auth::Bearer,
                "sigv4" => Auth::Sigv4,
                "gcp" => Auth::Gcp,
                "azure-entra" => Auth::AzureEntra,
                "none" => Auth::None,
                _ => return Err(unknown_auth(&text)),
            },
            _ => return Err(unknown_auth(&text)),
        })
    }
}

fn unknown_auth(text: &str) -> String {
    format!("unknown auth '{text}': it is one of bearer, header:NAME, query:NAME, sigv4, gcp, azure-entra, none")
}
