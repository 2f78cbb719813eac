//! Keys that are missing, mistyped, somebody else's, or not good for what is asked.

use std::path::Path;

use serde_json::Value;

use crate::expect::{Case, Expected};
use crate::support::{keyward_json, new_key};

const BODY: &str = r#"{"model":"simulator/echo","messages":[{"role":"user","content":"hi"}]}"#;

/// Keys in every state, made before the gateway starts.
pub struct Keys {
    pub good: String,
    stranger: String,
    revoked: String,
    expired: String,
    rotated: String,
    admin: String,
    test: String,
    limited: String,
}

// === impl Keys ===

impl Keys {
    pub fn make(data: &Path, other_data: &Path) -> Keys {
        let make = |more: &[&str]| new_key(data, more);
        let text = |made: &Value| made["key"].as_str().unwrap().to_owned();
        let id = |made: &Value| made["id"].as_str().unwrap().to_owned();
        let (revoked, rotated) = (make(&[]), make(&[]));
        keyward_json(data, &["keys", "revoke", &id(&revoked)]);
        keyward_json(data, &["keys", "rotate", &id(&rotated), "--grace", "1ms"]);
        Keys {
            good: text(&make(&[])),
            stranger: text(&new_key(other_data, &[])),
            revoked: text(&revoked),
            expired: text(&make(&["--expires", "2020-01-01T00:00:00Z"])),
            rotated: text(&rotated),
            admin: text(&make(&["--kind", "admin"])),
            test: text(&make(&["--kind", "test"])),
            limited: text(&make(&["--models", "openai/*"])),
        }
    }

    /// All of them: none may stand in any answer.
    pub fn all(&self) -> Vec<String> {
        let all = [&self.good, &self.stranger, &self.revoked, &self.expired, &self.rotated, &self.admin, &self.test, &self.limited];
        all.into_iter().cloned().collect()
    }

    pub fn cases(&self) -> Vec<Case> {
        let good = &self.good;
        let bearer = |key: &str| format!("authorization: Bearer {key}\r\n");
        let last = if good.ends_with('0') { '1' } else { '0' };
        let mistyped = format!("{}{last}", &good[..good.len() - 1]);
        let headers: Vec<(&str, String, u16, &'static str)> = vec![
            ("none", String::new(), 401, "key_missing"),
            ("an empty header", "authorization: \r\n".to_owned(), 401, "key_empty"),
            ("Bearer and nothing", "authorization: Bearer \r\n".to_owned(), 401, "key_empty"),
            ("an empty x-api-key", "x-api-key:\r\n".to_owned(), 401, "key_empty"),
            ("no Bearer", format!("authorization: {good}\r\n"), 401, "key_without_bearer"),
            ("Basic", "authorization: Basic dXNlcjpwYXNz\r\n".to_owned(), 401, "key_wrong_scheme"),
            ("Bearer twice", bearer(&format!("Bearer {good}")), 401, "key_doubled_bearer"),
            ("quotes", bearer(&format!("\"{good}\"")), 401, "key_quoted"),
            ("a space within", bearer(&format!("{} {}", &good[..20], &good[20..])), 401, "key_whitespace"),
            ("two that differ", format!("{}x-api-key: {mistyped}\r\n", bearer(good)), 401, "key_conflicting"),
            ("pasted twice", bearer(&good.repeat(2)), 401, "key_doubled"),
            ("capitals", bearer(&good.to_uppercase()), 401, "key_wrong_case"),
            ("cut short", bearer(&good[..good.len() - 3]), 401, "key_wrong_length"),
            ("too long", bearer(&format!("{good}abc")), 401, "key_wrong_length"),
            ("a dash", bearer(&format!("{}-{}", &good[..20], &good[21..])), 401, "key_wrong_character"),
            ("a Cyrillic letter", bearer(&format!("{}а", &good[..good.len() - 1])), 401, "key_wrong_character"),
            ("a typo", bearer(&mistyped), 401, "key_wrong_checksum"),
            ("a word", bearer("letmein"), 401, "key_malformed"),
            ("a key of 10 KB", bearer(&"a".repeat(10_000)), 401, "key_malformed"),
            ("a placeholder", bearer("sk-dummy"), 401, "key_placeholder"),
            ("a variable left as it was", bearer("${KEYWARD_KEY}"), 401, "key_placeholder"),
            ("OpenAI's", bearer("sk-proj-0123456789abcdefghij"), 401, "key_of_another_service"),
            ("Anthropic's", "x-api-key: sk-ant-api03-0123456789\r\n".to_owned(), 401, "key_of_another_service"),
            ("Google's", "x-goog-api-key: AIza0123456789\r\n".to_owned(), 401, "key_of_another_service"),
            ("another gateway's", bearer(&self.stranger), 401, "invalid_api_key"),
            ("the right id, another secret", bearer(&with_secret_of(good, &self.stranger)), 401, "invalid_api_key"),
            ("revoked", bearer(&self.revoked), 401, "key_revoked"),
            ("expired", bearer(&self.expired), 401, "key_expired"),
            ("rotated", bearer(&self.rotated), 401, "key_rotated"),
            ("an admin's", bearer(&self.admin), 403, "key_is_admin"),
            ("not for this model", bearer(&self.limited), 403, "model_not_allowed"),
        ];
        let request = |headers: &str, body: &str| {
            let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n{headers}");
            format!("{head}content-length: {}\r\n\r\n{body}", body.len())
        };
        let mut cases: Vec<Case> = headers
            .iter()
            .map(|(name, headers, status, code)| {
                Case::new(format!("key: {name}"), request(headers, BODY), Expected::Error(*status, Some(code)))
            })
            .collect();
        let mut not_text = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer \xff\xfe\r\n".to_vec();
        not_text.extend_from_slice(b"content-length: 2\r\n\r\n{}");
        let in_query = "GET /v1/models?key=ghp_0123456789 HTTP/1.1\r\nhost: gateway\r\n\r\n";
        let usage = format!("GET /admin/v1/usage HTTP/1.1\r\nhost: gateway\r\n{}\r\n", bearer(good));
        let costly = r#"{"model":"html/m","messages":[]}"#;
        cases.extend([
            Case::new("key: no text", not_text, Expected::Error(401, Some("key_not_text"))),
            Case::new("key: GitHub's, in the query", in_query, Expected::Error(401, Some("key_of_another_service"))),
            Case::new(
                "key: a test key for a real model",
                request(&bearer(&self.test), costly),
                Expected::Error(403, Some("key_test_only")),
            ),
            Case::new("key: a live key for management", usage, Expected::Error(403, Some("key_not_admin"))),
        ]);
        cases
    }
}

/// A well-formed key with the id of one key and the secret of another.
fn with_secret_of(id_of: &str, secret_of: &str) -> String {
    const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let id_end = "kw_live_".len() + 12;
    let head = format!("{}{}", &id_of[..id_end], &secret_of[id_end..secret_of.len() - 6]);
    let mut rest = crc32fast::hash(head.as_bytes());
    let mut sum = [b'0'; 6];
    for digit in sum.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    format!("{head}{}", String::from_utf8_lossy(&sum))
}
