//! Chat Completions requests, read and written.

mod decode;
mod encode;
mod fields;
mod manner;
mod messages_in;
mod messages_out;
mod parts;
mod thinking;
mod tools_in;
mod tools_out;

pub use decode::decode;
pub use encode::encode;
pub use parts::decode as part;
pub use tools_in::builtin_kind;
