//! What a request can take at most, before its provider is asked: what is reserved for it.

use memchr::{memchr_iter, memmem};

use crate::catalog::Operation;
use crate::money::Usd;
use crate::quota::{Need, limits};
use crate::route::Target;

/// How much output is reserved where neither the caller nor the catalogue names a limit.
const UNNAMED_OUTPUT: u64 = 4096;
/// A token of text is about four bytes; the true count replaces this when the answer is settled.
const BYTES_A_TOKEN: u64 = 4;

/// A request's tokens and cost, before they are known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Estimate {
    /// Tokens in, as text of its length mostly has.
    pub input: u64,
    /// Tokens out at the most, where the caller says so.
    pub output: u64,
    /// The most that it can cost, whichever target answers; `None` where one of them has no price.
    pub worst: Option<Usd>,
}

/// What a model is given to read.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// All of it is in a body of so many bytes.
    Sent(u64),
    /// A body of so many bytes names more, which its provider reads: files, pages, what it keeps, what its own tools find.
    Named(u64),
}

/// Words by which a body may name what is not in it: members, their values, and types of tools, in all dialects.
const NAMING: [&str; 21] = [
    "file_id",
    "file_url",
    "fileData",
    "file_data",
    "fileUri",
    "file_uri",
    "image_url",
    "document_url",
    "video_url",
    "audio_url",
    "s3Location",
    "url",
    "previous_response_id",
    "conversation",
    "prompt",
    "cachedContent",
    "cached_content",
    "container",
    "item_reference",
    "mcp_servers",
    "web_search_options",
];
/// How types of tools that a provider runs by itself begin.
const RUN_THERE: [&str; 10] =
    ["web_search", "web_fetch", "file_search", "code_", "mcp", "googleSearch", "google_search", "urlContext", "url_context", "computer"];

/// The letters that these words begin with: of the other strings of a body no more than that is looked at.
const FIRST_LETTERS: [bool; 256] = first_letters();

// === impl Input ===

impl Input {
    /// Of a body: a word too many costs no more than a larger reservation, one too few a budget.
    pub fn of(body: &[u8]) -> Input {
        let names = |after_quote: &[u8]| {
            if !after_quote.first().is_some_and(|first| FIRST_LETTERS[usize::from(*first)]) {
                return false;
            }
            NAMING.iter().any(|word| after_quote.strip_prefix(word.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'"')))
                || RUN_THERE.iter().any(|start| after_quote.starts_with(start.as_bytes()))
        };
        // Letters that are written as escapes could be any of these words.
        let is_escaped = || memmem::find(body, b"\\u00").is_some();
        let bytes = body.len() as u64;
        match memchr_iter(b'"', body).any(|at| names(&body[at + 1..])) || is_escaped() {
            true => Input::Named(bytes),
            false => Input::Sent(bytes),
        }
    }

    fn bytes(self) -> u64 {
        let (Input::Sent(bytes) | Input::Named(bytes)) = self;
        bytes
    }
}

// === impl Estimate ===

impl Estimate {
    /// Of a request with a body of so many bytes, that wants `choices` answers of `max_output` tokens in all.
    pub fn new(operation: Operation, targets: &[Target], input: Input, max_output: Option<u64>, choices: u64) -> Estimate {
        let bytes = input.bytes();
        let worst = |target: &Target| {
            let facts = target.facts()?;
            let most = facts.max_input.or(facts.context);
            let input = match input {
                // No tokenizer makes more tokens of a text than it has bytes; a picture in it has far fewer, and the model's context bounds both.
                Input::Sent(bytes) => bytes.min(most.unwrap_or(u64::MAX)),
                Input::Named(_) => most?,
            };
            let output = max_output.unwrap_or_else(|| facts.max_output.or(facts.context).unwrap_or(UNNAMED_OUTPUT).saturating_mul(choices));
            facts.worst_cost(input, output)
        };
        let worst = match operation.is_free() {
            true => Some(Usd::default()),
            false => targets.iter().map(worst).try_fold(Usd::default(), |most, cost| Some(most.max(cost?))),
        };
        Estimate { input: bytes / BYTES_A_TOKEN, output: max_output.unwrap_or(0), worst }
    }

    /// What has to be admitted; `touches` says whether a limit's glob names one of the targets.
    pub fn need<'a>(&self, touches: &'a dyn Fn(&str) -> bool) -> Need<'a> {
        Need { requests: 1, input: self.input, output: self.output, cost: self.worst, touches, is_part: false }
    }
}

/// Whether a limit's glob names one of the targets.
pub fn touches(targets: &[Target], glob: &str) -> bool {
    targets.iter().any(|target| limits::names(glob, &target.full_name()))
}

const fn first_letters() -> [bool; 256] {
    let (mut letters, mut at) = ([false; 256], 0);
    while at < NAMING.len() + RUN_THERE.len() {
        let word = if at < NAMING.len() { NAMING[at] } else { RUN_THERE[at - NAMING.len()] };
        letters[word.as_bytes()[0] as usize] = true;
        at += 1;
    }
    letters
}
