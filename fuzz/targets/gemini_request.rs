//! Requests to `gemini`.

#![no_main]

keyward_fuzz::fuzz!(request, Gemini);
