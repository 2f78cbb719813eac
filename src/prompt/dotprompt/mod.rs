//! Dotprompt: a file of front matter and a Handlebars template, read once and rendered to messages.
//!
//! The format is that of google/dotprompt; its own cases are what `tests.rs` runs.

mod bounds;
mod compiled;
pub mod config;
mod front_matter;
mod helpers;
mod javascript;
mod message;
mod names;
mod picoschema;
mod template;
#[cfg(test)]
mod tests;

use std::fmt;

pub use front_matter::{FrontMatter, Schemas, check, line_of, split};
pub use message::{Media, Message, Part};
pub use names::variables;
pub use template::{Rendering, Template, partials_in};

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which line, from 1 on.
    pub line: usize,
    /// What is wrong there, and what would be right.
    pub message: String,
}

// === impl Fault ===

impl Fault {
    /// A fault at a line.
    pub fn at(line: usize, message: impl Into<String>) -> Fault {
        Fault { line, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}
