#![allow(clippy::unwrap_used)]

use super::*;

fn error(text: &str) -> String {
    Config::parse("keyward.toml", text).unwrap_err().to_string()
}

#[test]
fn a_wrong_field_is_named_with_file_line_and_the_nearest_valid_one() {
    let message = error("listen = \"127.0.0.1:1\"\n\n[upstream]\nconect_timeout = \"1s\"\n");
    assert!(message.starts_with("keyward.toml:4: unknown field `conect_timeout`"), "{message}");
    assert!(message.ends_with("did you mean `connect_timeout`?"), "{message}");
}

#[test]
fn a_wrong_value_says_what_would_be_right() {
    assert!(error("[upstream]\nidle_timeout = \"soon\"").contains("'soon' is no duration: write it as \"500ms\""));
    assert!(error("listen = \"nowhere\"").starts_with("keyward.toml:1: "));
}

#[test]
fn variables_win_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keyward.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:1111\"\n[upstream]\nattempts = 5\n").unwrap();
    let set = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect::<Environment>();

    let config = Config::load(Some(&file), &set(&[("KEYWARD_UPSTREAM_ATTEMPTS", "7"), ("KEYWARD_DATA", "/x")])).unwrap();
    assert_eq!((config.listen.port(), config.upstream.attempts, config.data.to_str()), (1111, 7, Some("/x")));

    let refused = Config::load(Some(&file), &set(&[("KEYWARD_LISTEN", "8080")])).unwrap_err().to_string();
    assert!(refused.starts_with("KEYWARD_LISTEN: "), "{refused}");
}

#[test]
fn an_alias_has_to_name_a_provider() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("k.toml");
    std::fs::write(&file, "[aliases]\nfast = [\"gpt\"]\n").unwrap();
    let message = Config::load(Some(&file), &Environment::default()).unwrap_err().to_string();
    assert!(message.contains("the alias 'fast' names 'gpt': write it as 'provider/model'"), "{message}");
}

#[test]
fn keys_in_memory_outlive_the_time_between_two_questions_to_the_store() {
    let set = |value: &str| std::iter::once(("KEYWARD_STORE_DOWN_FOR".to_owned(), value.to_owned())).collect::<Environment>();
    let refused = Config::load(None, &set("300ms")).unwrap_err().to_string();
    assert!(refused.contains("store.down_for is 300ms") && refused.contains("set at least \"1s\""), "{refused}");
    assert_eq!(Config::load(None, &set("1s")).unwrap().store.down_for, Duration::from_secs(1));
}

#[test]
fn days_are_durations_and_requests_are_kept_for_good_by_default() {
    assert_eq!(Config::parse("f", "[ledger]\nkeep = \"90d\"").unwrap().ledger.keep, Some(Duration::from_secs(90 * 86_400)));
    assert_eq!(Config::parse("f", "[held]\nkeep = \"400d\"").unwrap().held.keep, Some(Duration::from_secs(400 * 86_400)));
    assert_eq!((Config::default().ledger.keep, Config::default().held.keep), (None, None));
    assert!(Config::parse("f", "[ledger]\nkeep = \"0d\"").is_err());
}
