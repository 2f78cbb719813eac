//! Characters that nobody sees, and that change how others are seen: one list for whatever shows texts of others, or looks for what is in them.

/// Whether a character is not seen, or steers those that are: soft hyphens, joiners and spaces of no width, marks of direction, line separators.
pub fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}
