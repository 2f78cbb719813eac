//! Streams of `openai_chat`.

#![no_main]

keyward_fuzz::fuzz!(stream, OpenaiChat);
