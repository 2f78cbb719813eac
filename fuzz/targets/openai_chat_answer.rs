//! Whole answers of `openai_chat`.

#![no_main]

keyward_fuzz::fuzz!(answer, OpenaiChat);
