//! Requests to `cohere_v2`.

#![no_main]

keyward_fuzz::fuzz!(request, CohereV2);
