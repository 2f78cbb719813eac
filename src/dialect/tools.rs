//! Tools that a provider runs by itself: after each call the model reads all of it again, as often as the provider likes.

use std::ops::Range;

use serde_json::Value;

use super::members::Members;

/// Members of the top level that hand tools to a model.
const HANDED: [&str; 3] = ["tools", "toolConfig", "tool_config"];
/// The same that let a provider search, read or sum up by itself, in the dialects or of single providers (Azure, Venice).
const RUN_THERE: [&str; 5] = ["mcp_servers", "data_sources", "compaction", "venice_parameters", "enable_enhancement"];
/// Words in the names of such members, whoever's they are: `web_search_options`, `enable_search`, `plugins`, `connectors`, ….
const RUN_THERE_WORDS: [&[u8]; 5] = [b"search", b"plugin", b"connector", b"linkup", b"crawl"];
/// Types of tools that the caller runs, and those whose description the provider has, which begin so.
const OWN: [&str; 3] = ["function", "custom", "namespace"];
const DESCRIBED_THERE: [&str; 6] = ["bash_", "text_editor_", "memory_", "computer", "local_shell", "apply_patch"];
/// Members of tools without a type that the caller runs (Anthropic, Gemini, Bedrock, Cohere).
const OWN_MEMBERS: [&str; 7] =
    ["name", "input_schema", "functionDeclarations", "function_declarations", "toolSpec", "cachePoint", "function"];

/// Where a request hands tools to a model.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    handed: Vec<Range<usize>>,
    are_run_there: bool,
}

/// What a provider puts to a request because of its tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// It runs some of them itself.
    pub runs_there: bool,
    /// Tools that it describes to the model itself.
    pub described_there: u64,
    /// There are tools at all.
    pub any: bool,
}

// === impl Tools ===

impl Tools {
    /// Finds them; nothing of them is read yet.
    pub(super) fn find(members: &Members<'_>) -> Tools {
        let mut tools = Tools::default();
        for member in members.iter().filter(|member| member.raw != "null") {
            let name = &*member.name;
            if HANDED.contains(&name) {
                tools.handed.push(member.range.clone());
            }
            // To sum up what was said so far is a call of the model by itself; a prompt that the provider keeps may have any tools.
            tools.are_run_there |= is_run_there(name, member.raw)
                || (name == "context_management" && member.raw.contains("compact"))
                || (name == "prompt" && member.raw.starts_with('{'));
        }
        tools
    }

    /// Reads them where they stand in a body.
    pub fn added(&self, body: &[u8]) -> Added {
        let mut added = Added { runs_there: self.are_run_there, described_there: 0, any: !self.handed.is_empty() };
        for at in &self.handed {
            let handed: Value = body.get(at.clone()).and_then(|raw| serde_json::from_slice(raw).ok()).unwrap_or_default();
            added.look_at(handed.get("tools").unwrap_or(&handed));
        }
        added
    }
}

// === impl Added ===

impl Added {
    fn look_at(&mut self, tools: &Value) {
        for tool in tools.as_array().into_iter().flatten() {
            match tool.get("type").and_then(Value::as_str) {
                Some(kind) if DESCRIBED_THERE.iter().any(|start| kind.starts_with(start)) => self.described_there += 1,
                Some(kind) => self.runs_there |= !OWN.contains(&kind),
                None => self.runs_there |= !is_own(tool),
            }
            if let Some(inner) = tool.get("tools") {
                self.look_at(inner);
            }
        }
    }
}

fn is_run_there(name: &str, raw: &str) -> bool {
    let has = |word: &&[u8]| name.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    raw != "false" && (RUN_THERE.contains(&name) || RUN_THERE_WORDS.iter().any(has))
}

/// Whether a tool without a type has nothing in it that a provider runs.
fn is_own(tool: &Value) -> bool {
    let is_named = tool.get("name").is_some();
    tool.as_object().is_some_and(|members| members.keys().all(|name| is_named || OWN_MEMBERS.contains(&name.as_str())))
}
