//! Tokens' probabilities, as Gemini has them: the chosen ones in one list, the likeliest at each place in another.

use super::chunk::{LogprobsResult, Token, Top};
use crate::dialect::ir::TokenLogprob;

/// Reads a `logprobsResult`.
pub fn read(result: LogprobsResult) -> Vec<TokenLogprob> {
    let mut tops = result.top_candidates.into_iter();
    let chosen = result.chosen_candidates.into_iter();
    chosen
        .map(|token| TokenLogprob {
            top: tops.next().map(|top| top.candidates.into_iter().map(of).collect()).unwrap_or_default(),
            ..of(token)
        })
        .collect()
}

/// Writes a `logprobsResult`.
pub fn write(logprobs: Vec<TokenLogprob>) -> LogprobsResult {
    let has_tops = logprobs.iter().any(|token| !token.top.is_empty());
    let mut result = LogprobsResult::default();
    for TokenLogprob { token, logprob, top, .. } in logprobs {
        result.chosen_candidates.push(Token { token, log_probability: logprob });
        if has_tops {
            let candidates = top.into_iter().map(|token| Token { token: token.token, log_probability: token.logprob }).collect();
            result.top_candidates.push(Top { candidates });
        }
    }
    result
}

fn of(token: Token) -> TokenLogprob {
    TokenLogprob { token: token.token, logprob: token.log_probability, bytes: None, top: Vec::new() }
}
