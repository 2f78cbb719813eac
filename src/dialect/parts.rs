//! What a request has that is read each by itself, up to what the model reads at once: texts, prompts, what is ranked.

use serde::de::IgnoredAny;

use super::Ask;
use super::members::Members;
use crate::catalog::Operation;

/// Members that hold such parts, in all dialects.
const IN: [&str; 9] = ["input", "inputs", "texts", "images", "requests", "instances", "prompt", "documents", "passages"];

/// The parts of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// How many.
    pub count: u64,
    /// Bytes that are read once more with them: a query with every document.
    pub again: u64,
}

// === impl Parts ===

impl Parts {
    /// A request that is read as one.
    pub const ONE: Parts = Parts { count: 1, again: 0 };

    /// Those of a request for vectors, rankings or completions; its members are read once more for that.
    pub fn of(ask: &Ask) -> Parts {
        if !ask.called.operation.has_no_output() && ask.called.operation != Operation::Completions {
            return Parts::ONE;
        }
        let Ok(members) = Members::read(&ask.body) else { return Parts::ONE };
        let count = |name| {
            let list = members.get(name).and_then(|member| serde_json::from_str::<Vec<IgnoredAny>>(member.raw).ok());
            list.map_or(0, |list| list.len())
        };
        let count = IN.into_iter().map(count).sum::<usize>().max(1) as u64;
        let query = members.get("query").map_or(0, |query| query.raw.len() as u64);
        Parts { count, again: query.saturating_mul(count) }
    }
}
