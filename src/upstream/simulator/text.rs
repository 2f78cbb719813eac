//! Texts and how they are counted: a token is a word with the white space before it, or sixteen characters of a long one; white space
//! without a word breaks into tokens too, so that so many tokens are never more than so many bytes.

use super::LABEL;
use super::reading::Content;

/// All choices of an answer together have so many tokens at the most.
pub(super) const MOST_TOKENS: usize = 16_384;
const LONGEST_WORD: usize = 16;
/// Characters of a token with its white space.
const LONGEST_TOKEN: usize = 64;

/// An answer's text, and whether it was cut.
pub(super) struct Cut<'a> {
    pub(super) tokens: Vec<&'a str>,
    pub(super) is_cut: bool,
}

/// Splits a text into tokens that joined are the text again.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let (mut rest, mut words_end) = (text, text.trim_end().len());
    std::iter::from_fn(move || {
        let end = end_of_token(rest, words_end)?;
        let (token, after) = rest.split_at(end);
        (rest, words_end) = (after, words_end.saturating_sub(end));
        Some(token)
    })
}

/// How many tokens a text has.
pub(super) fn count(text: &str) -> u32 {
    u32::try_from(tokens(text).count()).unwrap_or(u32::MAX)
}

/// The tokens up to a limit.
pub(super) fn cut(text: &str, limit: usize) -> Cut<'_> {
    let mut all = tokens(text);
    let tokens: Vec<&str> = all.by_ref().take(limit).collect();
    Cut { tokens, is_cut: all.next().is_some() }
}

/// The text before the first of the stops.
pub(super) fn before_stop<'a>(text: &'a str, stops: &[&str]) -> &'a str {
    let first = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop)).min();
    first.map_or(text, |at| &text[..at])
}

/// What was said, said back.
pub(super) fn echo(said: &Content) -> String {
    format!("{LABEL} You said: {}{}", said.text, said.note())
}

/// The start of a text, for a message.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

/// Where the first token ends; white space after `words_end`, where the text's last word ends, belongs to that word.
fn end_of_token(text: &str, words_end: usize) -> Option<usize> {
    let mut word = 0;
    for (count, (at, c)) in text.char_indices().enumerate() {
        if word == LONGEST_WORD || count == LONGEST_TOKEN || (word > 0 && c.is_whitespace() && at < words_end) {
            return Some(at);
        }
        word += usize::from(word > 0 || !c.is_whitespace());
    }
    (!text.is_empty()).then_some(text.len())
}

// === impl Cut ===

impl Cut<'_> {
    pub(super) fn text(&self) -> String {
        self.tokens.concat()
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX)
    }
}
