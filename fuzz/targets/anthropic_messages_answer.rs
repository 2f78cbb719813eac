//! Whole answers of `anthropic_messages`.

#![no_main]

keyward_fuzz::fuzz!(answer, AnthropicMessages);
