//! Ids for what a provider gave none.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// `<prefix><of this start><counter>`: unique without asking anyone.
pub fn fresh(prefix: &str) -> String {
    static START: LazyLock<String> = LazyLock::new(|| {
        let random = crate::key::format::random_base62::<12>().unwrap_or(*b"norandom0000");
        String::from_utf8_lossy(&random).into_owned()
    });
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}{}{:08x}", *START, COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// An answer's id in OpenAI's form, of the provider's where it gave one.
pub fn answer(of_provider: &str) -> String {
    match of_provider {
        "" => fresh("chatcmpl-"),
        id if id.starts_with("chatcmpl") || id.starts_with("gen-") => id.to_owned(),
        id => format!("chatcmpl-{id}"),
    }
}

/// Seconds since 1970, now where a provider did not say.
pub fn created(told: i64) -> i64 {
    if told > 0 { told } else { jiff::Timestamp::now().as_second() }
}
