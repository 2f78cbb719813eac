//! Whole answers of `bedrock_converse`.

#![no_main]

keyward_fuzz::fuzz!(answer, BedrockConverse);
