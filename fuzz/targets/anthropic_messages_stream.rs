//! Streams of `anthropic_messages`.

#![no_main]

keyward_fuzz::fuzz!(stream, AnthropicMessages);
