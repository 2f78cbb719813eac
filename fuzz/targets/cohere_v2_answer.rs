//! Whole answers of `cohere_v2`.

#![no_main]

keyward_fuzz::fuzz!(answer, CohereV2);
