//! Requests to `openai_chat`.

#![no_main]

keyward_fuzz::fuzz!(request, OpenaiChat);
