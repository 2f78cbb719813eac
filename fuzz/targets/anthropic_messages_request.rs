//! Requests to `anthropic_messages`.

#![no_main]

keyward_fuzz::fuzz!(request, AnthropicMessages);
