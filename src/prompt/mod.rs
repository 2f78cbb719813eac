//! Prompts as APIs: Dotprompt files that callers call by name, with typed input and output, versions and a life.

pub mod advice;
pub mod chat;
pub mod dotprompt;
pub mod edit;
mod entry;
pub mod examples;
mod given;
pub mod output;
mod published;
mod shelf;
#[cfg(test)]
mod tests;

pub use entry::{Prompt, Violation};
pub use shelf::{Prompts, Shelf};

pub use crate::life::State;
