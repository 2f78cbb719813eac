//! Tools that a provider runs by itself: after each call the model reads all of it again, as often as the provider likes.

use std::ops::Range;
use std::slice;

use memchr::memmem;
use serde_json::Value;

use super::members::Members;
use super::pointers::{DESCRIBING, hands_tools};
use super::vocabulary;

/// The member of the top level that hands tools to a model, and those that have it within them.
const HANDED: &str = "tools";
const HANDED_WITHIN: [&str; 2] = ["toolConfig", "tool_config"];
/// The same that let a provider search, read or sum up by itself, in the dialects or of single providers (Azure, Venice).
const RUN_THERE: [&str; 6] = ["mcp_servers", "data_sources", "compaction", "multi_agent", "venice_parameters", "enable_enhancement"];
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
    handed_within: Vec<Range<usize>>,
    are_run_there: bool,
    may_be_hidden: bool,
    /// A member that none of the dialects has, nor a provider that is known, by its name.
    pub unknown: Option<String>,
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
        // What was said before may hand tools too.
        let [are_run_there, may_be_hidden] = members.tools_within();
        let mut tools = Tools { are_run_there, may_be_hidden, ..Tools::default() };
        for member in members.iter().filter(|member| member.raw != "null") {
            let name = &*member.name;
            match name {
                HANDED => tools.handed.push(member.range.clone()),
                _ if HANDED_WITHIN.contains(&name) => tools.handed_within.push(member.range.clone()),
                // Claude's own, on Bedrock.
                vocabulary::ADDITIONAL if member.raw.contains("\"tools\"") => tools.handed_within.push(member.range.clone()),
                _ => {}
            }
            // To sum up what was said so far is a call of the model by itself; a prompt that the provider keeps may have any tools.
            let is_run_there = is_run_there(name, member.raw);
            tools.are_run_there |= is_run_there
                || (name == "context_management" && member.raw.contains("compact"))
                || (name == "prompt" && member.raw.starts_with('{'));
            if !is_run_there && tools.unknown.is_none() {
                tools.unknown = vocabulary::more(name, member.raw);
            }
        }
        tools
    }

    /// Whether one of them names a model that its provider is to call.
    pub fn name_models(&self, body: &[u8]) -> bool {
        // Mostly the word is not there, and nothing is read.
        let may_name = |raw: &&[u8]| [&b"\"model\""[..], b"\\u"].iter().any(|mark| memmem::find(raw, mark).is_some());
        let names = |tool: &Value| {
            [Some(tool), tool.get("parameters")].into_iter().flatten().any(|of| of.get("model").is_some_and(Value::is_string))
        };
        let raw = self.handed.iter().filter_map(|at| body.get(at.clone())).filter(may_name);
        raw.into_iter().any(|raw| each(&read(raw)).iter().any(names))
    }

    /// Reads them where they stand in a body.
    pub fn added(&self, body: &[u8]) -> Added {
        let any = !(self.handed.is_empty() && self.handed_within.is_empty());
        let runs_there = self.are_run_there || (self.may_be_hidden && are_said(body));
        let mut added = Added { runs_there, described_there: 0, any };
        for raw in self.handed.iter().filter_map(|at| body.get(at.clone())) {
            added.look_at(&read(raw));
        }
        for raw in self.handed_within.iter().filter_map(|at| body.get(at.clone())) {
            read(raw).get(HANDED).into_iter().for_each(|tools| added.look_at(tools));
        }
        added
    }
}

// === impl Added ===

impl Added {
    fn look_at(&mut self, tools: &Value) {
        for tool in each(tools) {
            match tool.get("type").and_then(Value::as_str) {
                Some(kind) if DESCRIBED_THERE.iter().any(|start| kind.starts_with(start)) => self.described_there += 1,
                Some(kind) => self.runs_there |= !OWN.contains(&kind) || runs_beside(tool),
                None => self.runs_there |= !is_own(tool),
            }
            if let Some(inner) = tool.get("tools") {
                self.look_at(inner);
            }
        }
    }
}

/// What a member of a body says; one that is none says nothing.
fn read(raw: &[u8]) -> Value {
    serde_json::from_slice(raw).unwrap_or_default()
}

/// Each of some tools: of one that stands where there should be several, its provider may take note all the same.
fn each(tools: &Value) -> &[Value] {
    tools.as_array().map_or(slice::from_ref(tools), Vec::as_slice)
}

/// Whether what was said hands tools, read without its escapes.
fn are_said(body: &[u8]) -> bool {
    fn hand(value: &Value) -> bool {
        match value {
            Value::String(text) => hands_tools(text.as_bytes()),
            Value::Array(list) => list.iter().any(hand),
            Value::Object(members) => members.values().any(hand),
            _ => false,
        }
    }
    // What cannot be read so may say anything.
    let Ok(Value::Object(members)) = serde_json::from_slice::<Value>(body) else { return true };
    members.iter().any(|(name, value)| !DESCRIBING.contains(&name.as_str()) && hand(value))
}

fn is_run_there(name: &str, raw: &str) -> bool {
    let has = |word: &&[u8]| name.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    !is_off(name, raw) && name != "disable_search" && (RUN_THERE.contains(&name) || RUN_THERE_WORDS.iter().any(has))
}

/// Whether such a member switches nothing on; an object with nothing in it does so at some (OpenAI's `web_search_options`).
fn is_off(name: &str, raw: &str) -> bool {
    // xAI's.
    let is_mode_off = || {
        let Ok(members) = Members::read(raw.as_bytes()) else { return false };
        let mut modes = members.iter().filter(|member| member.name == "mode").map(|member| member.raw).peekable();
        modes.peek().is_some() && modes.all(|mode| mode == "\"off\"")
    };
    raw == "false" || vocabulary::is_empty_list(raw) || (name == "search_parameters" && is_mode_off())
}

/// Whether a tool without a type has nothing in it that a provider runs.
fn is_own(tool: &Value) -> bool {
    let is_named = tool.get("name").is_some();
    let is_known = |name: &String| is_named || OWN_MEMBERS.contains(&name.as_str());
    !runs_beside(tool) && tool.as_object().is_some_and(|members| members.keys().all(is_known))
}

/// Whether a tool that the caller runs has one of Gemini's beside it, which the provider does.
fn runs_beside(tool: &Value) -> bool {
    const WORDS: [&str; 7] = ["search", "execution", "context", "retrieval", "maps", "computer", "mcp"];
    let runs = |(name, value): (&String, &Value)| {
        let name = name.to_ascii_lowercase();
        value.is_object() && WORDS.iter().any(|word| name.contains(word))
    };
    tool.as_object().is_some_and(|members| members.iter().any(runs))
}
