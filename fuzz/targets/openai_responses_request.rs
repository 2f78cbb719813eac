//! Requests to `openai_responses`.

#![no_main]

keyward_fuzz::fuzz!(request, OpenaiResponses);
