//! Requests to `ollama`.

#![no_main]

keyward_fuzz::fuzz!(request, Ollama);
