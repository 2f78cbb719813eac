//! Whole answers of `openai_responses`.

#![no_main]

keyward_fuzz::fuzz!(answer, OpenaiResponses);
