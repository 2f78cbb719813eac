//! Characters that nobody sees, and that change how others are seen: one list for whatever shows texts of others, or looks for what is in them.

use std::borrow::Cow;

/// Whether a character is not seen, or steers those that are: soft hyphens, joiners and spaces of no width, marks of direction, line separators.
pub fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

/// A text that is shown, such as JSON or lines of a log, in which nothing is hidden or steers a terminal. JSON leaves DEL, C1 and what is hidden
/// as it is in its texts, and takes an escape in their place; line breaks and what JSON escapes by itself are left alone.
pub fn visible(text: &str) -> Cow<'_, str> {
    // Without a branch, so that many bytes are looked at together.
    if text.bytes().fold(0, u8::max) < 0x7f {
        return Cow::Borrowed(text);
    }
    let steers = |c: char| matches!(c, '\u{7f}'..='\u{9f}') || is_hidden(c);
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match steers(c) {
            true => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_shown_steers_no_terminal_and_reads_back_as_it_was() {
        let said = "a\u{7f}\u{9b}31m\u{202e}b\u{feff}\u{ad} 鍵 é\n";
        let json = serde_json::to_string(said).unwrap();
        let shown = visible(&json);
        assert_eq!(shown, "\"a\\u007f\\u009b31m\\u202eb\\ufeff\\u00ad 鍵 é\\n\"");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), said);
        assert!(matches!(visible("{\"a\": \"~ \\u001b\"}\n"), Cow::Borrowed(_)));
    }
}
