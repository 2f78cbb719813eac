//! Streams of `bedrock_converse`.

#![no_main]

keyward_fuzz::fuzz!(stream, BedrockConverse);
