//! Fuzzing of Keyward's decoders: `targets/` has a program for every dialect's requests, answers and streams.

pub mod checks;
pub mod seeds;

pub use keyward::catalog::Dialect;

/// Defines a fuzz target: `fuzz!(request, OpenaiChat);`.
#[macro_export]
macro_rules! fuzz {
    ($body:ident, $dialect:ident) => {
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::checks::$body($crate::Dialect::$dialect, bytes));
    };
}
