//! Usage as Ollama reports it: counts in the whole answer, or in a stream's last line.
//!
//! Source: "Generate a chat completion" in Ollama's API documentation. `prompt_eval_count` is missing where the prompt was cached whole, and
//! `eval_count` where nothing was said.

use serde::Deserialize;

use crate::dialect::count::Count;
use crate::ledger::record::Usage;

/// The counts.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reported {
    pub(super) prompt_eval_count: Count,
    pub(super) eval_count: Count,
}

/// Reads the usage of an answer or a line.
pub fn read(json: &[u8], _: Option<Usage>) -> Option<Usage> {
    serde_json::from_slice::<Reported>(json).ok()?.into()
}

/// Whether a line is the stream's last.
pub fn is_done(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Line {
        #[serde(default)]
        done: bool,
    }
    serde_json::from_slice::<Line>(json).is_ok_and(|line| line.done)
}

impl From<Reported> for Option<Usage> {
    fn from(reported: Reported) -> Option<Usage> {
        let (input, output) = match (reported.prompt_eval_count, reported.eval_count) {
            (Count::Told(input), Count::Told(output)) => (input, output),
            (Count::Told(input), Count::Absent) => (input, 0),
            (Count::Absent, Count::Told(output)) => (0, output),
            (Count::Absent, Count::Absent) | (Count::Unknown, _) | (_, Count::Unknown) => return None,
        };
        Some(Usage { input, output, ..Usage::default() })
    }
}
