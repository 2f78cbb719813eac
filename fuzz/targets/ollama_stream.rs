//! Streams of `ollama`.

#![no_main]

keyward_fuzz::fuzz!(stream, Ollama);
