//! What a chat request asks for.

use serde_json::{Map, Value};

use super::{Block, Builtin, Cache, Content, Dropped};
use crate::catalog::Dialect;

/// A chat request in any dialect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model, as the caller names it.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The conversation, with system and developer messages wherever they stand; no two neighbours are both of [`Role::Tool`].
    pub messages: Vec<Message>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether and what it must call.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// What shape the text has to have.
    pub format: Option<Format>,
    /// How tokens are chosen and when to stop.
    pub sampling: Sampling,
    /// How much to reason.
    pub thinking: Option<Thinking>,
    /// `auto`, `default`, `flex`, `priority`, `standard_only`, …
    pub service_tier: Option<String>,
    /// Who the end user is.
    pub user: Option<String>,
    /// Notes for the provider's own logs.
    pub metadata: Map<String, Value>,
    /// Top-level fields without a meaning in this form, kept for the dialect that they are of.
    pub extra: Extra,
    /// Members below the top level that its dialect has and this form has not, by their paths.
    pub unread: Vec<String>,
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Whose it is.
    pub role: Role,
    /// What it says.
    pub content: Vec<Block>,
    /// The participant's name.
    pub name: Option<String>,
}

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions.
    System,
    /// Instructions, in OpenAI's newer word; what has no such role takes it as [`Role::System`].
    Developer,
    /// The caller's.
    User,
    /// The model's.
    Assistant,
    /// Results of tools: [`Content::ToolResult`] blocks and nothing else.
    Tool,
}

/// Something that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub enum Tool {
    /// A function of the caller's.
    Function(Function),
    /// A tool of the caller's that takes free text (OpenAI's custom tools).
    Custom {
        /// Its name.
        name: String,
        /// What it does.
        description: Option<String>,
        /// OpenAI's `format`: text or a grammar.
        format: Option<Value>,
    },
    /// A tool that the provider runs.
    Builtin(Builtin),
}

/// A function of the caller's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON Schema of its arguments; `None` where it takes none.
    pub parameters: Option<Value>,
    /// The arguments have to fit the schema.
    pub strict: Option<bool>,
    /// The prompt's cache is to reach up to it.
    pub cache: Option<Cache>,
}

/// Whether and what the model must call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// Nothing.
    None,
    /// Something.
    Required,
    /// This tool.
    Tool(String),
    /// Only these; one of them must be called if `required`.
    Allowed {
        /// Their names.
        names: Vec<String>,
        /// Whether one of them must be called.
        required: bool,
    },
}

/// What shape the text has to have.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// Any.
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON that fits a schema.
    JsonSchema {
        /// The schema's name; empty where the dialect has none.
        name: String,
        /// What it is for.
        description: Option<String>,
        /// The JSON Schema.
        schema: Value,
        /// It has to fit, not only to try.
        strict: Option<bool>,
    },
}

/// How tokens are chosen and when to stop.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub struct Sampling {
    pub max_output: Option<u64>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u64>,
    pub seed: Option<i64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub stop: Vec<String>,
    /// How many answers.
    pub n: Option<u32>,
    /// The chosen tokens' logarithmic probabilities are wanted.
    pub logprobs: Option<bool>,
    /// And those of so many others at each place.
    pub top_logprobs: Option<u32>,
}

/// How much to reason, as an effort or as a budget of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thinking {
    /// Switched on or off by word; `None` where effort or budget say it.
    pub enabled: Option<bool>,
    /// In words.
    pub effort: Option<Effort>,
    /// In tokens.
    pub budget: Option<u64>,
    /// How a summary is wanted: `auto`, `concise`, `detailed` (Responses), `summarized`, `omitted` (Anthropic's `display`).
    pub summary: Option<String>,
    /// Whether the readable part is wanted (Gemini's `includeThoughts`).
    pub include: Option<bool>,
}

/// Effort in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

/// Fields without a meaning in this form, and whose they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extra {
    /// Whose they are; `None` where there are none.
    pub of: Option<Dialect>,
    /// As they came.
    pub fields: Map<String, Value>,
}

// === impl Request ===

impl Request {
    /// The name of the tool that the call of this id is to.
    pub fn tool_name(&self, call_id: &str) -> Option<&str> {
        self.messages.iter().flat_map(|message| &message.content).find_map(|block| match &block.content {
            Content::ToolCall(call) if call.id == call_id => Some(call.name.as_str()),
            _ => None,
        })
    }

    /// Adds a message; tool results go into a tool message before it, or into the one that is last already.
    pub fn push(&mut self, message: Message) {
        match self.messages.last_mut() {
            Some(last) if last.role == Role::Tool && message.role == Role::Tool => last.content.extend(message.content),
            _ => self.messages.push(message),
        }
    }
}

// === impl Message ===

impl Message {
    /// A message without a participant's name.
    pub fn new(role: Role, content: Vec<Block>) -> Message {
        Message { role, content, name: None }
    }
}

// === impl Effort ===

impl Effort {
    const NAMES: [(Effort, &'static str, u64); 7] = [
        (Effort::None, "none", 0),
        (Effort::Minimal, "minimal", 512),
        (Effort::Low, "low", 1024),
        (Effort::Medium, "medium", 8192),
        (Effort::High, "high", 24_576),
        (Effort::XHigh, "xhigh", 32_768),
        (Effort::Max, "max", 65_536),
    ];

    /// By its name in OpenAI's and Anthropic's dialects.
    pub fn from_name(name: &str) -> Option<Effort> {
        Effort::NAMES.iter().find(|(_, known, _)| *known == name).map(|(effort, ..)| *effort)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Effort::NAMES.iter().find(|(effort, ..)| *effort == self).map_or("medium", |(_, name, _)| name)
    }

    /// The budget of tokens that stands for it, as Google's OpenAI-compatible door has it.
    pub fn budget(self) -> u64 {
        Effort::NAMES.iter().find(|(effort, ..)| *effort == self).map_or(8192, |(.., budget)| *budget)
    }

    /// The least effort whose budget is enough.
    pub fn for_budget(budget: u64) -> Effort {
        Effort::NAMES.iter().find(|(.., enough)| budget <= *enough).map_or(Effort::Max, |(effort, ..)| *effort)
    }
}

// === impl Thinking ===

impl Thinking {
    /// Whether reasoning is switched off.
    pub fn is_off(&self) -> bool {
        self.enabled == Some(false) || self.effort == Some(Effort::None) || (self.budget == Some(0) && self.effort.is_none())
    }

    /// The budget, or what stands for the effort.
    pub fn as_budget(&self) -> Option<u64> {
        self.budget.or(self.effort.map(Effort::budget))
    }

    /// The effort, or what stands for the budget.
    pub fn as_effort(&self) -> Option<Effort> {
        self.effort.or(self.budget.map(Effort::for_budget))
    }

    /// Whether the readable part is asked for.
    pub fn wants_text(&self) -> bool {
        self.include == Some(true) || self.summary.as_deref().is_some_and(|summary| summary != "omitted")
    }

    /// Whether nothing but the readable part is asked for.
    pub fn wants_text_alone(&self) -> bool {
        self.wants_text() && self.enabled.is_none() && self.as_effort().is_none()
    }
}

// === impl Extra ===

impl Extra {
    /// The fields that are left of a request in `dialect`.
    pub fn new(dialect: Dialect, fields: Map<String, Value>) -> Extra {
        Extra { of: (!fields.is_empty()).then_some(dialect), fields }
    }

    /// Writes the fields into a request or answer of `dialect`, or names them as dropped where they are another's.
    pub fn write(&self, dialect: Dialect, to: &mut Map<String, Value>, dropped: &mut Dropped) {
        for (name, value) in &self.fields {
            match self.of == Some(dialect) {
                true => drop(to.entry(name.clone()).or_insert_with(|| value.clone())),
                false => self.name(name, value).into_iter().for_each(|name| dropped.note(name)),
            }
        }
    }

    /// What is not sent of a member: of one that was read in part, what is left of it.
    fn name(&self, name: &str, value: &Value) -> Vec<String> {
        match value {
            Value::Object(left) if READ_IN_PART.contains(&name) => left.keys().map(|key| format!("{name}.{key}")).collect(),
            _ => vec![name.to_owned()],
        }
    }
}

/// Members whose own members have a meaning in this form, most of them.
const READ_IN_PART: [&str; 5] = ["reasoning", "thinking", "text", "generationConfig", "output_config"];
