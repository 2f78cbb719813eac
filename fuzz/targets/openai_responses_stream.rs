//! Streams of `openai_responses`.

#![no_main]

keyward_fuzz::fuzz!(stream, OpenaiResponses);
