//! Streams of `cohere_v2`.

#![no_main]

keyward_fuzz::fuzz!(stream, CohereV2);
