//! The elements of a JSON array that grows, each on as many lines as its provider likes.

use super::LONGEST_LINE;

/// An element of an array, which may lie on many lines, up to where it has come.
#[derive(Debug, Default)]
pub struct Element {
    text: Vec<u8>,
    /// Brackets that are open around what comes next, the array's own among them.
    depth: usize,
    /// Those that are open around each element: none where there is no array, but one document or several.
    around: Option<usize>,
    in_text: bool,
    is_escaped: bool,
}

// === impl Element ===

impl Element {
    /// Takes what comes, and gives each element that is whole by then, on one line.
    pub(super) fn take(&mut self, lines: &[u8], mut whole: impl FnMut(&[u8])) {
        for &byte in lines {
            match byte {
                // Outside of texts they mean nothing, and inside they are escaped.
                b'\n' | b'\r' => continue,
                _ if self.in_text => {
                    self.in_text = self.is_escaped || byte != b'"';
                    self.is_escaped = byte == b'\\' && !self.is_escaped;
                }
                b'"' => self.in_text = true,
                b'{' | b'[' => {
                    self.around.get_or_insert(usize::from(byte == b'['));
                    self.depth += 1;
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            let around = self.around.unwrap_or_default();
            let is_within = self.depth > around || (self.depth == around && byte == b'}' && !self.in_text);
            if is_within && self.text.len() < LONGEST_LINE {
                self.text.push(byte);
            }
            if is_within && self.depth == around {
                whole(&std::mem::take(&mut self.text));
            }
        }
    }
}
