//! Whole answers of `ollama`.

#![no_main]

keyward_fuzz::fuzz!(answer, Ollama);
