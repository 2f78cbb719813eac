//! `docs/keys.md` has every reason, its status, its code and its sentence, as the code has them.
//!
//! `KEYWARD_WRITE_DOCS=1 cargo test --lib key::tests::page` writes the table anew; without it the test fails where the page says something else.

use std::fmt::Write;
use std::time::Duration;

use crate::key::Reason;
use crate::key::format::{Kind, NewKey, Slip};
use crate::key::reason::Place;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/keys.md");
const BEGIN: &str = "<!-- reasons: written by src/key/tests/page.rs -->\n";
const END: &str = "<!-- end of reasons -->\n";

/// One of each reason, or of each of its sentences. What it is that `told` tells has to be added to `all` too.
fn all() -> Vec<Reason> {
    let when = || "2026-01-31T12:00:00Z".to_owned();
    let all = vec![
        Reason::Missing,
        Reason::Empty,
        Reason::NoScheme,
        Reason::WrongScheme,
        Reason::DoubledScheme,
        Reason::NeedlessScheme,
        Reason::Misplaced(Place::Url),
        Reason::Misplaced(Place::Header),
        Reason::Quoted,
        Reason::Whitespace,
        Reason::NotText,
        Reason::Conflicting,
        Reason::Doubled,
        Reason::NotAlone,
        Reason::UrlEncoded,
        Reason::Masked,
        Reason::WrongCase,
        Reason::WrongPrefix,
        Reason::WrongLength(40),
        Reason::WrongLength(51),
        Reason::WrongCharacter(','),
        Reason::WrongCharacter('а'),
        Reason::WrongChecksum(Slip::Other),
        Reason::WrongChecksum(Slip::Swapped(20)),
        Reason::WrongChecksum(Slip::LookAlike(20)),
        Reason::NotAKey,
        Reason::Placeholder,
        Reason::Foreign("an OpenAI key"),
        Reason::Unknown,
        Reason::TooManyGuesses(Duration::from_secs(1)),
        Reason::Expired(when()),
        Reason::NotYetValid(when()),
        Reason::Revoked(when()),
        Reason::Rotated(when()),
        Reason::Disabled,
        Reason::OwnerDisabled("ann".to_owned()),
        Reason::GroupDisabled("The project 'bot'".to_owned()),
        Reason::AdminOnDataPlane,
        Reason::NotAdmin,
        Reason::TestOnly("openai/gpt-4o-mini".to_owned()),
        Reason::AddressNotAllowed("192.0.2.7".to_owned()),
        Reason::PathNotAllowed { called: "POST /v1/embeddings".to_owned(), allowed: vec!["POST /v1/chat/*".to_owned()] },
        Reason::ModelNotAllowed { model: "openai/gpt-4o-mini".to_owned(), allowed: vec!["anthropic/*".to_owned()] },
        Reason::ToolNotAllowed { tool: "github/delete_repository".to_owned(), allowed: vec!["github/get_*".to_owned()] },
        Reason::OperationNotAllowed { operation: "weather/deleteStation".to_owned(), allowed: vec!["weather/get*".to_owned()] },
        Reason::StoreDown,
    ];
    all.iter().for_each(|reason| assert!(!told(reason).is_empty()));
    all
}

/// Who is told; a new reason does not compile before it is here.
fn told(reason: &Reason) -> &'static str {
    match reason {
        Reason::Missing
        | Reason::Empty
        | Reason::NoScheme
        | Reason::WrongScheme
        | Reason::DoubledScheme
        | Reason::NeedlessScheme
        | Reason::Misplaced(_)
        | Reason::Quoted
        | Reason::Whitespace
        | Reason::NotText
        | Reason::Conflicting
        | Reason::Doubled
        | Reason::NotAlone
        | Reason::UrlEncoded
        | Reason::Masked
        | Reason::WrongCase
        | Reason::WrongPrefix
        | Reason::WrongLength(_)
        | Reason::WrongCharacter(_)
        | Reason::WrongChecksum(_)
        | Reason::NotAKey
        | Reason::Placeholder
        | Reason::Foreign(_)
        | Reason::Unknown
        | Reason::TooManyGuesses(_)
        | Reason::StoreDown => "anyone",
        Reason::Expired(_)
        | Reason::NotYetValid(_)
        | Reason::Revoked(_)
        | Reason::Rotated(_)
        | Reason::Disabled
        | Reason::OwnerDisabled(_)
        | Reason::GroupDisabled(_)
        | Reason::AddressNotAllowed(_)
        | Reason::PathNotAllowed { .. }
        | Reason::AdminOnDataPlane
        | Reason::NotAdmin
        | Reason::TestOnly(_)
        | Reason::ModelNotAllowed { .. }
        | Reason::ToolNotAllowed { .. }
        | Reason::OperationNotAllowed { .. } => "its holder",
    }
}

fn table() -> String {
    let mut table = "| code | status | told to | sentence |\n|---|---|---|---|\n".to_owned();
    for reason in all() {
        let message = reason.message().replace('|', "\\|");
        writeln!(table, "| `{}` | {} | {} | {message} |", reason.code(), reason.status().as_u16(), told(&reason)).unwrap();
    }
    table
}

#[test]
fn the_page_has_every_reason() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (written, tail) = rest.split_once(END).unwrap();
    let table = table();
    if std::env::var_os("KEYWARD_WRITE_DOCS").is_some() {
        std::fs::write(PAGE, format!("{head}{BEGIN}{table}{END}{tail}")).unwrap();
        return;
    }
    assert_eq!(written, table, "docs/keys.md is not what the code does: KEYWARD_WRITE_DOCS=1 cargo test --lib key::tests::page");
}

/// The page's pattern and its example, taken from the page.
#[test]
fn the_pattern_on_the_page_is_that_of_keys() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    assert!(page.contains(r"\bkw_(live|test|admin)_[0-9A-Za-z]{48}\b"));
    for kind in Kind::ALL {
        let new = NewKey::generate(kind).unwrap();
        let body = new.expose().strip_prefix(&format!("kw_{}_", kind.as_str())).unwrap();
        assert!(body.len() == 48 && body.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
    let example = page.lines().find(|line| line.starts_with("kw_live_")).unwrap();
    assert!(super::KeyText::parse(example).is_ok(), "{example}");
}
