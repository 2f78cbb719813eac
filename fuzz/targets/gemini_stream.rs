//! Streams of `gemini`.

#![no_main]

keyward_fuzz::fuzz!(stream, Gemini);
