//! Whole answers of `gemini`.

#![no_main]

keyward_fuzz::fuzz!(answer, Gemini);
