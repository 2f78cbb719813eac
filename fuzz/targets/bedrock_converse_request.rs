//! Requests to `bedrock_converse`.

#![no_main]

keyward_fuzz::fuzz!(request, BedrockConverse);
