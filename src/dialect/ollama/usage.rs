//! Usage as Ollama reports it: counts in the whole answer, or in a stream's last line.
//!
//! Source: "Generate a chat completion" in Ollama's API documentation. `prompt_eval_count` is missing where the prompt was cached whole.

use serde::Deserialize;

use crate::ledger::record::Usage;

/// The counts.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reported {
    pub(super) prompt_eval_count: Option<u64>,
    pub(super) eval_count: Option<u64>,
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
        if reported.prompt_eval_count.is_none() && reported.eval_count.is_none() {
            return None;
        }
        let (input, output) = (reported.prompt_eval_count.unwrap_or(0), reported.eval_count.unwrap_or(0));
        Some(Usage { input, output, ..Usage::default() })
    }
}
