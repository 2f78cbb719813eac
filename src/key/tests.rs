#![allow(clippy::unwrap_used)]

mod lookups;
mod page;

use std::net::IpAddr;

use http::Request;
use http::request::Parts;
use proptest::prelude::*;

use super::format::{KeyText, Kind, NewKey, Slip};
use super::guesses::Guesses;
use super::presented::Presented;
use super::{KeyId, Reason, diagnose, foreign, presented};
use crate::catalog::Catalog;
use crate::quota::limits::matches;

fn parts(headers: &[(&str, &str)], uri: &str) -> Parts {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, value.as_bytes());
    }
    request.body(()).unwrap().into_parts().0
}

/// What comes of the key that a request carries: its id, or why it is none.
fn found(parts: &Parts) -> Result<KeyId, Reason> {
    presented::find(parts, true).and_then(Presented::judge).map(|text| text.id())
}

fn code(headers: &[(&str, &str)]) -> &'static str {
    found(&parts(headers, "/")).map_or_else(|reason| reason.code(), |_| "found")
}

#[test]
fn a_key_is_found_wherever_an_sdk_puts_it() {
    let new = NewKey::generate(Kind::Live).unwrap();
    let key = new.expose();
    let bearer = format!("Bearer {key}");
    for headers in [[("authorization", bearer.as_str())], [("x-api-key", key)], [("x-goog-api-key", key)], [("api-key", key)]] {
        assert_eq!(found(&parts(&headers, "/")), Ok(new.id));
    }
    assert_eq!(found(&parts(&[], &format!("/x?alt=sse&key={key}"))), Ok(new.id));
    assert_eq!(code(&[("authorization", &bearer), ("x-api-key", key)]), "found");
}

#[test]
fn a_bad_key_is_told_what_is_wrong_with_it() {
    let new = NewKey::generate(Kind::Live).unwrap();
    let other = NewKey::generate(Kind::Live).unwrap();
    let key = new.expose();
    let bearer = |text: &str| format!("Bearer {text}");
    let with_at_20 = |replacement: &str| format!("{}{replacement}{}", &key[..20], &key[21..]);
    let flipped = with_at_20(if &key[20..21] == "a" { "b" } else { "a" });
    let cases = [
        (bearer(""), "key_empty"),
        (String::new(), "key_empty"),
        (key.to_owned(), "key_without_bearer"),
        (format!("Basic {key}"), "key_wrong_scheme"),
        (format!("Bearer Bearer {key}"), "key_doubled_bearer"),
        (bearer(&format!("\"{key}\"")), "key_quoted"),
        (bearer(&key.replacen('k', "k ", 1)), "key_whitespace"),
        (bearer(&format!("\u{feff}{key}")), "key_whitespace"),
        (bearer(&key[..40]), "key_wrong_length"),
        (bearer(&format!("{key}x")), "key_wrong_length"),
        (bearer(&format!("{key}{key}")), "key_doubled"),
        (bearer(&key.to_uppercase()), "key_wrong_case"),
        (bearer(&key.to_lowercase()), "key_wrong_case"),
        (bearer(&key[1..]), "key_wrong_prefix"),
        (bearer(&format!("key={key}")), "key_not_alone"),
        (bearer(&format!("{}…{}", &key[..12], &key[52..])), "key_masked"),
        (format!("Bearer: {key}"), "key_wrong_scheme"),
        (bearer(&flipped), "key_wrong_checksum"),
        // A Cyrillic letter that looks like a Latin one.
        (bearer(&with_at_20("а")), "key_wrong_character"),
        (bearer("sk-ant-api03-x"), "key_of_another_service"),
        (bearer("AIzaSyx"), "key_of_another_service"),
        (bearer("sk-dummy"), "key_placeholder"),
        (bearer("hello"), "key_malformed"),
    ];
    for (header, expected) in &cases {
        assert_eq!(code(&[("authorization", header)]), *expected, "{header}");
    }
    assert_eq!(code(&[]), "key_missing");
    assert_eq!(code(&[("x-auth-token", key)]), "key_misplaced");
    assert_eq!(code(&[("x-api-key", &bearer(key))]), "key_needless_bearer");
    assert_eq!(code(&[("x-api-key", ""), ("authorization", &bearer(key))]), "found");
    assert_eq!(code(&[("authorization", &bearer(key)), ("x-api-key", other.expose())]), "key_conflicting");
}

#[test]
fn a_key_pasted_twice_is_known() {
    let new = NewKey::generate(Kind::Live).unwrap();
    let twice = format!("{0}{0}", new.expose());
    assert_eq!(Presented(&twice).judge().unwrap_err(), Reason::Doubled);
}

#[test]
fn no_message_or_debug_output_shows_a_key() {
    let new = NewKey::generate(Kind::Test).unwrap();
    let text = KeyText::parse(new.expose()).unwrap();
    let shown = format!("{text:?} {new:?}");
    assert!(shown.contains(new.id.as_str()) && !shown.contains(&new.expose()[20..]));
}

#[test]
fn an_answer_repeats_no_key_that_was_sent() {
    let key = NewKey::generate(Kind::Live).unwrap();
    let told = |text: String| diagnose::without_keys(text);
    assert_eq!(told(format!("There is no prompt '{}'.", key.expose())), "There is no prompt '(a key)'.");
    assert_eq!(told(format!("é{0}/é{0}", &key.expose()[..30])), "é(a key)/é(a key)");
    assert_eq!(told(format!("{0}{0}", key.expose())), "(a key)");
    assert_eq!(told(key.expose().replace("kw_live_", "Kw_LIVE_")), "(a key)");
    for innocent in
        ["Keys begin with kw_live_, kw_test_ or kw_admin_.", "é", "", "snake_case_of_forty_characters_and_a_few_more", "_", "kw_live_é"]
    {
        assert_eq!(told(innocent.to_owned()), innocent);
    }
}

#[test]
fn a_typo_is_told_by_its_place() {
    for _ in 0..100 {
        let new = NewKey::generate(Kind::Live).unwrap();
        // One in some thousand looks as if something had to be filled in.
        if foreign::is_filled_in(new.expose()) {
            continue;
        }
        let mut swapped = new.expose().as_bytes().to_vec();
        let at = (8..55).find(|at| swapped[*at] != swapped[at + 1]).unwrap();
        swapped.swap(at, at + 1);
        let swapped = String::from_utf8(swapped).unwrap();
        assert_eq!(Presented(&swapped).judge().unwrap_err(), Reason::WrongChecksum(Slip::Swapped(at + 1)));
        if let Some(at) = new.expose()[8..].find('0') {
            let mut alike = new.expose().to_owned();
            alike.replace_range(8 + at..9 + at, "O");
            assert_eq!(Presented(&alike).judge().unwrap_err(), Reason::WrongChecksum(Slip::LookAlike(9 + at)));
        }
        let other_kind = new.expose().replace("kw_live_", "kw_test_");
        assert_eq!(Presented(&other_kind).judge().unwrap_err(), Reason::WrongPrefix);
    }
}

#[test]
fn guessing_is_slowed_down_by_network_and_remembered_in_bounds() {
    let guesses = Guesses::new();
    let from = |address: &str| guesses.note(Some(address.parse::<IpAddr>().unwrap()));
    let unknown = (0..200).take_while(|n| from(&format!("2001:db8:1:2::{n:x}")) == Reason::Unknown).count();
    assert!((100..110).contains(&unknown), "{unknown}");
    let Reason::TooManyGuesses(wait) = from("2001:db8:1:2:ffff::1") else { panic!("its /64 has to wait") };
    assert!(!wait.is_zero() && wait.as_secs() <= 1, "{wait:?}");
    assert_eq!(from("2001:db8:1:3::1"), Reason::Unknown);
    assert_eq!(from("192.0.2.1"), Reason::Unknown);
    assert_eq!(guesses.note(None), Reason::Unknown);
    (0..60_000u32).for_each(|n| drop(guesses.note(Some(IpAddr::from(n.to_be_bytes())))));
    assert!(guesses.addresses() <= 50_000);
}

#[test]
fn whoever_sends_each_guess_twice_keeps_no_good_key_out() {
    let (guesses, address) = (Guesses::new(), "192.0.2.7".parse::<IpAddr>().unwrap());
    while !matches!(guesses.note(Some(address)), Reason::TooManyGuesses(_)) {}
    let guess = || {
        let id = NewKey::generate(Kind::Live).unwrap().id;
        let _ = (guesses.hold_off(address, id), guesses.hold_off(address, id));
    };
    // All that may come for the first and for the second time has come.
    (0..200).for_each(|_| guess());
    let good = NewKey::generate(Kind::Live).unwrap().id;
    let tries = (1..10).find(|_| {
        guess();
        guesses.hold_off(address, good).is_none()
    });
    assert!(tries.is_some_and(|tries| tries <= 3), "{tries:?}");
}

#[test]
fn globs_match_as_people_expect() {
    let cases = [
        ("*", "a/b", true),
        ("openai/*", "openai/gpt-4o", true),
        ("openai/*", "azure/gpt-4o", false),
        ("*/gpt-?o*", "openai/gpt-4o-mini", true),
        ("gpt-4o", "gpt-4o-mini", false),
        ("*mini", "gpt-4o-mini", true),
        ("", "", true),
        ("", "x", false),
    ];
    for (glob, name, expected) in cases {
        assert_eq!(matches(glob, name), expected, "{glob} {name}");
    }
}

proptest! {
    #[test]
    fn one_changed_character_is_always_known(at in 8usize..56, replacement in "[0-9A-Za-z]") {
        let new = NewKey::generate(Kind::Live).unwrap();
        let mut text = new.expose().to_owned();
        prop_assume!(text[at..=at] != replacement);
        text.replace_range(at..=at, &replacement);
        prop_assert!(KeyText::parse(&text).is_err());
    }

    #[test]
    fn no_text_panics_and_none_is_repeated(text in ".*", kind in "kw_(live|test|admin)_|", body in "[0-9A-Za-z]{30,60}") {
        for text in [format!("{kind}{body}{text}"), format!("{text}{kind}{body}"), text] {
            let judged = [
                Presented(&text).judge().err(),
                http::HeaderValue::from_str(&text).ok().and_then(|_| found(&parts(&[("authorization", &text)], "/")).err()),
            ];
            for reason in judged.into_iter().flatten() {
                prop_assert!(!reason.message().contains(&body) && reason.message().ends_with('.'), "{}", reason.message());
            }
        }
    }
}

#[test]
fn a_key_of_another_service_is_known_among_names_that_begin_like_one() {
    let keys = [
        "sk-ant-api03-Qz7Qz7Qz7Qz7Qz7Qz7Qz7Qz7",
        "sk-0123456789abcdef0123456789abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "AIzaSyD-9tSrke72PouQ-MnMX-a7eZSW0jkFMBWY",
        "hf_abcdefghijklmnopqrstuvwxyzabcdefgh",
        "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",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.x",
    ];
    for key in keys {
        for text in [key.to_owned(), format!("openai/{key}*"), format!("GET /v1/{key}"), format!("export KEY={key}")] {
            assert!(diagnose::holds_foreign_key(&text), "{text}");
        }
        let escaped = key.replace('-', "%2D").replace('_', "%5f");
        for path in [format!("/admin/v1/keys/{key}/rotate"), format!("/v1/files/%20{escaped}")] {
            assert_eq!(diagnose::shown(&path), "a path with a key in it");
        }
    }
    let names = [
        "pa-philadelphia-onboarding-2",
        "hf_semantic_documentation_search",
        "fw/fw_listAllFirewallRules",
        "sk-*",
        "sess-summary-of-2026-01-31",
        "npm/npm_getPackageVersionDownloadStatistics",
        "hf/hf_searchDatasetsAndModelsByKeywordAndAuthor",
        "eu/SG.sendTransactionalTemplateEmailToList",
    ];
    let catalog = Catalog::load(None).unwrap();
    let models = catalog.iter().flat_map(|provider| provider.models.keys().map(move |model| format!("{}/{model}", provider.id)));
    for name in names.into_iter().map(str::to_owned).chain(models) {
        assert!(!diagnose::holds_foreign_key(&name), "{name}");
        let path = format!("/admin/v1/prompts/{name}");
        assert_eq!(diagnose::shown(&path), path);
    }
}
