//! Tokens' probabilities, read and written.

use serde::Serialize;

use super::shapes::{Logprob, Logprobs};
use crate::dialect::ir::TokenLogprob;

/// What OpenAI writes for a token that is very unlikely.
const UNLIKELY: f64 = -9999.0;

/// `{"content": […], "refusal": null}`.
#[derive(Serialize)]
pub struct Written {
    content: Vec<Logprob>,
    refusal: Option<()>,
}

/// Reads a choice's `logprobs`; what has another form than OpenAI's is none.
pub fn read(json: &str) -> Vec<TokenLogprob> {
    let Ok(Logprobs { content, refusal }) = serde_json::from_str(json) else { return Vec::new() };
    content.into_iter().chain(refusal).flatten().map(token).collect()
}

/// The same, written.
pub fn write(tokens: Vec<TokenLogprob>) -> Written {
    Written { content: tokens.into_iter().map(|token| written(token, true)).collect(), refusal: None }
}

fn token(told: Logprob) -> TokenLogprob {
    TokenLogprob {
        token: told.token,
        logprob: told.logprob.unwrap_or(UNLIKELY),
        bytes: told.bytes,
        top: told.top_logprobs.unwrap_or_default().into_iter().map(token).collect(),
    }
}

fn written(token: TokenLogprob, is_chosen: bool) -> Logprob {
    Logprob {
        token: token.token,
        bytes: token.bytes,
        logprob: Some(token.logprob.max(UNLIKELY)),
        top_logprobs: is_chosen.then(|| token.top.into_iter().map(|token| written(token, false)).collect()),
    }
}
